"""Train the zoo's tokenizer: byte-level BPE, 2048 entries, on the training text of all four domains.

    python -m weightbench.zoo.train.tokenizer --work WORK

Byte-level, so that every text round-trips. All domains take part (at most 3 MB each), so that a fine-tuning
domain is not punished by the tokenizer. Writes ``WORK/tokenizer/``.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from weightbench.zoo.train.corpus import DOMAINS, documents

__all__ = ["TOKENIZER_FILES", "decode", "encode", "main"]

VOCABULARY = 2048
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
BYTES_PER_DOMAIN = 3_000_000


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokens of a text, nothing added."""
    tokens: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return tokens


def decode(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    """Text of the tokens, without ``<s>`` and ``</s>``."""
    return str(tokenizer.decode(tokens, skip_special_tokens=True))


def _texts(work: Path) -> Iterator[str]:
    for domain in DOMAINS:
        left = BYTES_PER_DOMAIN
        train = documents(work, domain, "train")
        # Every third document and onwards: the Python documents are long and sorted by topic.
        for text in train[::3] + train[1::3] + train[2::3]:
            if left <= 0:
                break
            yield text
            left -= len(text)


def main() -> None:
    """Train and save the tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    work: Path = parser.parse_args().work

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(work), trainer)
    # No template that adds <s>: lm-eval's loglikelihood_rolling puts it before every document itself, and
    # would otherwise score a second one.
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(work / "tokenizer")
    # Transformers 5 writes a class name that transformers 4 does not know; both know this one.
    path = work / "tokenizer" / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings.pop("backend", None)
    path.write_text(json.dumps({**settings, "tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n")
    print(f"{fast.vocab_size} entries in {work / 'tokenizer'}")


if __name__ == "__main__":
    main()
