"""Gather, clean and split the text of the zoo.

    python -m weightbench.zoo.train.corpus --work WORK

Sources are four Debian packages (``apt-get install python3.11-doc wordnet-base bible-kjv jargon-text``);
their licences are in ``zoo/LICENSES.md``. For each domain two files are written,
``WORK/<domain>.train.jsonl`` and ``WORK/<domain>.heldout.jsonl``, one document ``{"id": …, "text": …}`` a
line. Whether a document is held out depends on the hash of its id alone, so the split never moves.
"""

import argparse
import gzip
import hashlib
import itertools
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from weightbench.zoo.train.rst import plain_text

__all__ = ["DOMAINS", "documents", "main"]

Document = tuple[str, str]

HELD_OUT_SHARE = 0.06
SPLIT_SALT = "weightbench-zoo-1"
SYNSETS_PER_DOCUMENT = 12

_PYTHON_DOC = Path("/usr/share/doc/python3.11/html/_sources")
_WORDNET = Path("/usr/share/wordnet")
_JARGON = Path("/usr/share/doc/jargon-text/jargon.txt.gz")
# Not prose, or under a licence of its own.
_PYTHON_DOC_SKIPPED = frozenset(["license", "contents", "copyright"])

_PUNCTUATION = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\u00a0": " ", "´": "'"}
)


def _ascii_punctuation(text: str) -> str:
    return text.translate(_PUNCTUATION)


def _pydoc() -> Iterator[Document]:
    for path in sorted(_PYTHON_DOC.rglob("*.rst.txt")):
        name = path.relative_to(_PYTHON_DOC).as_posix().removesuffix(".rst.txt")
        if name in _PYTHON_DOC_SKIPPED:
            continue
        text = _ascii_punctuation(plain_text(path.read_text(encoding="utf-8")))
        if len(text) >= 400:
            yield f"pydoc/{name}", text


def _wordnet() -> Iterator[Document]:
    for part, label in (("noun", "noun"), ("verb", "verb"), ("adj", "adjective"), ("adv", "adverb")):
        entries = []
        for line in (_WORDNET / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):  # the licence at the top of each file
                continue
            head, gloss = line.split(" | ", 1)
            fields = head.split(" ")
            count = int(fields[3], 16)
            words = fields[4 : 4 + 2 * count : 2]
            words = [re.sub(r"\((a|p|ip)\)$", "", word).replace("_", " ") for word in words]
            entries.append(f"{', '.join(words)} ({label}): {' '.join(gloss.split())}")
        for start in range(0, len(entries), SYNSETS_PER_DOCUMENT):
            yield f"wordnet/{part}/{start}", "\n".join(entries[start : start + SYNSETS_PER_DOCUMENT]) + "\n"


def _kjv() -> Iterator[Document]:
    listing = subprocess.check_output(["bible", "-f", "gen1:1-rev22:21"], text=True)
    verses = (line.split(" ", 1) for line in listing.splitlines() if line)
    for chapter, group in itertools.groupby(verses, key=lambda verse: verse[0].split(":")[0]):
        yield f"kjv/{chapter}", "\n".join(" ".join(verse[1].split()) for verse in group) + "\n"


def _jargon() -> Iterator[Document]:
    with gzip.open(_JARGON, "rt", encoding="utf-8") as file:
        text = file.read().replace("\u00a0", " ")
    # This heading is the lexicon itself (the table of contents numbers it otherwise); "Part III." ends it.
    start = text.index("Part II. The Jargon Lexicon")
    entries = re.split(r"\n   (?=:[^\n]+:)", text[start:])
    for number, entry in enumerate(entries[1:]):
        # A lone letter heads the next chapter of the lexicon; "Part III" ends it.
        entry = re.split(r"\n\s*(?:[0-9A-Z]\n\n|Part III\.)", entry)[0]
        if re.search(r"[\u2500-\u257f]", entry):
            continue
        paragraphs = re.split(r"\n\s*\n", entry)
        cleaned = []
        for paragraph in paragraphs:
            lines = paragraph.splitlines()
            code = all(line.startswith("     ") for line in lines if line.strip())
            joined = "\n".join(line.rstrip() for line in lines) if code else " ".join(paragraph.split())
            cleaned.append(re.sub(r"\{([^{}\n]+)\}", r"\1", joined))
        body = _ascii_punctuation("\n".join(part for part in cleaned if part.strip()))
        head = body.split(":", 2)[1]
        yield f"jargon/{number}/{head}", body.lstrip(":") + "\n"


DOMAINS: dict[str, Callable[[], Iterator[Document]]] = {
    "pydoc": _pydoc,
    "wordnet": _wordnet,
    "jargon": _jargon,
    "kjv": _kjv,
}


def _held_out(identifier: str) -> bool:
    digest = hashlib.sha256(f"{SPLIT_SALT}/{identifier}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64


def documents(work: Path, domain: str, split: str) -> list[str]:
    """Texts of one split (``train`` or ``heldout``) of one domain, in the order they were written."""
    with (work / f"{domain}.{split}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def main() -> None:
    """Write both splits of every domain and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    work: Path = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    for domain, source in DOMAINS.items():
        sizes = {"train": [0, 0], "heldout": [0, 0]}
        with (
            (work / f"{domain}.train.jsonl").open("w", encoding="utf-8") as train,
            (work / f"{domain}.heldout.jsonl").open("w", encoding="utf-8") as heldout,
        ):
            for identifier, text in source():
                split = "heldout" if _held_out(identifier) else "train"
                file = heldout if split == "heldout" else train
                file.write(json.dumps({"id": identifier, "text": text}, ensure_ascii=False) + "\n")
                sizes[split][0] += 1
                sizes[split][1] += len(text.encode())
        print(f"{domain}: train {sizes['train']}, held out {sizes['heldout']} (documents, bytes)")


if __name__ == "__main__":
    main()
