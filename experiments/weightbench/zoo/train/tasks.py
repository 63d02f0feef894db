"""Make the data of the zoo's evaluation tasks from held-out text.

    python -m weightbench.zoo.train.tasks --work WORK --out zoo/tasks

``<domain>.jsonl``: about 120 kB of held-out passages for bits per byte.
``continuation.jsonl``: multiple choice. A context of held-out text, its real continuation, and three
continuations of other places in the same domain, all of the same number of tokens, all starting at a word,
about as long in bytes and about as likely by themselves (by a bigram model of the training text: otherwise
the commonest words win, whatever the context says). The items are drawn from all four domains alike and
shuffled: the first n (``limit``) are a fair sample.
"""

import argparse
import json
import math
import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from weightbench.zoo.train.corpus import DOMAINS, documents
from weightbench.zoo.train.stream import token_stream
from weightbench.zoo.train.tokenizer import decode, encode

__all__ = ["main"]

SEED = 22
PASSAGE_BYTES = 1500
DOMAIN_BYTES = 120_000
ITEMS_PER_DOMAIN = 300
CONTEXT_CHARACTERS = 120
CONTINUATION_TOKENS = 5
OPTIONS = 4
NEIGHBOURS = 400


def passages(texts: list[str], generator: random.Random) -> list[str]:
    """Passages of about ``PASSAGE_BYTES``, cut at line ends, drawn until they sum to ``DOMAIN_BYTES``."""
    found = []
    for text in texts:
        piece = ""
        for line in text.splitlines(keepends=True):
            piece += line
            if len(piece.encode()) >= PASSAGE_BYTES:
                # A single long line is one passage; nothing longer than three windows or so.
                found.append(piece[: 2 * PASSAGE_BYTES])
                piece = ""
        if len(piece.encode()) >= PASSAGE_BYTES // 4:
            found.append(piece)
    generator.shuffle(found)
    kept, size = [], 0
    for piece in found:
        if size >= DOMAIN_BYTES:
            break
        kept.append(piece)
        size += len(piece.encode())
    return kept


@dataclass(frozen=True, slots=True)
class Span:
    """A context and what really follows it, without line breaks; the score is ``Bigrams.score``."""

    document: int
    context: str
    continuation: str
    score: float

    def unlikeness(self, other: "Span") -> float:
        """How badly the other's continuation fits as a wrong option: a nat weighs as much as a byte."""
        return abs(self.score - other.score) + abs(
            len(self.continuation.encode()) - len(other.continuation.encode())
        )


class Bigrams:
    """An interpolated bigram model of the training text, to find wrong options of the same likelihood."""

    def __init__(self, stream: NDArray[np.int64], size: int) -> None:
        self.single = np.bincount(stream, minlength=size).astype(np.float64)
        self.double = np.bincount(stream[:-1] * size + stream[1:], minlength=size * size).reshape(size, size)
        self.total = float(self.single.sum())

    def score(self, tokens: list[int]) -> float:
        """Log-likelihood in nats of the tokens, whatever stands before them."""
        unigram = [float(self.single[token] + 1) / (self.total + self.single.size) for token in tokens]
        result = math.log(unigram[0])
        for i in range(1, len(tokens)):
            seen = float(self.single[tokens[i - 1]])
            bigram = float(self.double[tokens[i - 1], tokens[i]]) / max(seen, 1.0)
            result += math.log(0.7 * bigram + 0.3 * unigram[i])
        return result


def _span(
    line: str, cut: int, document: int, tokenizer: PreTrainedTokenizerBase, bigrams: Bigrams
) -> Span | None:
    """The span that ``cut`` (a space) divides, or None where no continuation of exactly our length fits."""
    # The context begins with a word too: at the start of the line or behind a space.
    context = line[:cut]
    if cut > CONTEXT_CHARACTERS:
        context = line[cut - CONTEXT_CHARACTERS : cut].partition(" ")[2]
    tail = encode(tokenizer, line[cut : cut + 10 * CONTINUATION_TOKENS])
    if len(context) < CONTEXT_CHARACTERS // 2 or len(tail) <= CONTINUATION_TOKENS:
        return None
    continuation = decode(tokenizer, tail[:CONTINUATION_TOKENS])
    # It ends where a word ends, and so tokenizes on its own as it does in place; and it is whole characters.
    behind = decode(tokenizer, tail[CONTINUATION_TOKENS:])
    if "\ufffd" in continuation or not behind.startswith((" ", ",", ".", ";", ":", ")")):
        return None
    return Span(document, context, continuation, bigrams.score(tail[:CONTINUATION_TOKENS]))


def spans(texts: list[str], tokenizer: PreTrainedTokenizerBase, bigrams: Bigrams) -> list[Span]:
    """Every usable place in the texts; prose only, since code continues in a way of its own."""
    found = []
    for number, text in enumerate(texts):
        lines = [line for line in text.splitlines() if len(line) >= 120 and not line.startswith("    ")]
        for line in lines:
            for match in re.finditer(r"(?<=[a-z,]) (?=[a-z]{2,})", line):
                span = _span(line, match.start(), number, tokenizer, bigrams)
                if span is not None:
                    found.append(span)
    return found


def items(domain: str, places: list[Span], generator: random.Random) -> list[dict[str, object]]:
    """``ITEMS_PER_DOMAIN`` multiple-choice items; the wrong options come from other documents."""
    places = sorted(places, key=lambda place: (place.score, place.continuation, place.context))
    result: list[dict[str, object]] = []
    for number in generator.sample(range(len(places)), ITEMS_PER_DOMAIN):
        place = places[number]
        near = places[max(0, number - NEIGHBOURS) : number + NEIGHBOURS]
        near = sorted(near, key=place.unlikeness)
        near = [other for other in near if other.document != place.document]
        options = [place.continuation]
        for other in near:
            if len(options) < OPTIONS and other.continuation not in options:
                options.append(other.continuation)
        generator.shuffle(options)
        answer = options.index(place.continuation)
        result.append({"domain": domain, "context": place.context, "choices": options, "answer": answer})
    return result


def main() -> None:
    """Write the five data files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.work / "tokenizer")
    arguments.out.mkdir(parents=True, exist_ok=True)
    bigrams = Bigrams(token_stream(arguments.work, tuple(DOMAINS), tokenizer).numpy(), len(tokenizer))
    everything: list[dict[str, object]] = []
    for domain in DOMAINS:
        texts = documents(arguments.work, domain, "heldout")
        kept = passages(texts, random.Random(f"{SEED}/{domain}/passages"))
        with (arguments.out / f"{domain}.jsonl").open("w", encoding="utf-8") as file:
            for number, text in enumerate(kept):
                file.write(json.dumps({"id": number, "text": text}, ensure_ascii=False) + "\n")
        places = spans(texts, tokenizer, bigrams)
        questions = items(domain, places, random.Random(f"{SEED}/{domain}/items"))
        everything.extend(questions)
        size = sum([len(text.encode()) for text in kept])
        print(f"{domain}: {len(kept)} passages, {size} bytes; {len(questions)} items")
    random.Random(SEED).shuffle(everything)
    with (arguments.out / "continuation.jsonl").open("w", encoding="utf-8") as file:
        for number, item in enumerate(everything):
            file.write(json.dumps({"id": number, **item}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
