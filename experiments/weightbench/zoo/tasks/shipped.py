"""Data sets of the zoo's tasks, straight from the JSON lines beside this file.

lm-eval's ``data_files`` must be absolute paths, and ``datasets`` writes a cache when it loads them; a
``custom_dataset`` function needs neither: nothing is written at run time, and any working directory will do.
"""

import json
from pathlib import Path

import datasets

__all__ = ["bits_per_byte", "load"]

_HERE = Path(__file__).resolve().parent


def load(*, file: str, **_: object) -> datasets.DatasetDict:
    """The rows of one file of this folder as the split ``test``.

    Args:
        file: its name, from ``dataset_kwargs`` of the task file. lm-eval passes the task's metadata as well;
            it is not needed.
    """
    with (_HERE / file).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})


def bits_per_byte(doc: dict[str, str], results: list[float]) -> dict[str, tuple[float, int]]:
    """Log-likelihood in nats and length in UTF-8 bytes of one passage; lm-eval sums and divides both."""
    (log_likelihood,) = results
    size = len(doc["text"].encode())
    return {"bits_per_byte": (log_likelihood, size), "byte_perplexity": (log_likelihood, size)}
