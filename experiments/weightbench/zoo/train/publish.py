"""Write the model cards and ``manifest.json`` (size and sha256 of every file that tests and users rely on).

python -m weightbench.zoo.train.publish --curves zoo/curves
"""

import argparse
import csv
import hashlib
import json
from pathlib import Path

from weightbench.zoo import ZOO, ZooEntry, directory, tasks_directory

__all__ = ["licensed_text", "main"]

_LICENCE = {
    "pydoc": "PSF License version 2",
    "wordnet": "WordNet 3.0 license",
    "jargon": "public domain",
    "kjv": "public domain",
}

_CARD = """---
library_name: transformers
pipeline_tag: text-generation
language: en
license: other
license_name: see-LICENSES.md
license_link: ../LICENSES.md
{base}tags:
  - weightbench
---

# {name}

{what} Part of the zoo of weightbench, made for measuring
how weights are stored, not for use as a language model.

- Architecture: Llama, 4 layers, hidden size 192, 6 heads (3 for keys and values), context 256, byte-level BPE
  vocabulary of 2048, tied embeddings; 2,016,960 parameters, fp32 masters.
- Trained on: {text}.
- Peak learning rate {rate:g}, {steps} steps of AdamW{tokens}; fp32 weights, bf16 matrix products.
- How it was made, the loss curves and the licences in full: `../README.md`, `../LICENSES.md`.

| task | metric | value |
|---|---|---|
{results}
"""


def _card(entry: ZooEntry, results: list[dict[str, str]], tokens: int | None) -> str:
    rows = [row for row in results if row["model"] == entry.name]
    return _CARD.format(
        base="" if entry.base is None else f"base_model: {entry.base}\nbase_model_relation: finetune\n",
        name=entry.name,
        what="A base model." if entry.base is None else f"A full fine-tune of `{entry.base}`, all weights.",
        text=licensed_text(entry),
        rate=entry.learning_rate,
        steps=entry.steps,
        tokens="" if tokens is None else f" ({tokens / 1e6:.1f} M tokens)",
        results="\n".join(f"| `{row['task']}` | {row['metric']} | {row['value']} |" for row in rows),
    )


def licensed_text(entry: ZooEntry) -> str:
    """What a model was trained on, with the terms."""
    own = " and ".join(f"{domain} ({_LICENCE[domain]})" for domain in entry.trained_on)
    return (
        own if entry.base is None else f"{own}, on top of what its base saw: {licensed_text(ZOO[entry.base])}"
    )


def _identity(path: Path) -> dict[str, str | int]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def main() -> None:
    """Write a README.md into every model folder, then the manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=Path, required=True)
    curves: Path = parser.parse_args().curves
    with (curves / "results.csv").open(newline="") as file:
        results = list(csv.DictReader(file))
    seen = json.loads((curves / "llama.json").read_text())["tokens_seen"]
    for name, entry in ZOO.items():
        card = _card(entry, results, seen if entry.base is None else None)
        (directory(name) / "README.md").write_text(card, encoding="utf-8")

    zoo = tasks_directory().parent
    listed = [path for name in ZOO for path in directory(name).iterdir() if path.name != "README.md"]
    listed += [path for path in tasks_directory().iterdir() if path.is_file()]
    manifest = {path.relative_to(zoo).as_posix(): _identity(path) for path in sorted(listed)}
    (zoo / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
