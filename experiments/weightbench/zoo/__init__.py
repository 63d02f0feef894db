"""The zoo: a small Llama family that ships with weightbench, so that ``model=llama`` needs no hub and no GPU.

One base model and its fine-tunes, fp32 masters in Hugging Face layout, with lm-eval tasks beside them.
``zoo/README.md`` says how they were trained and on what. This module only knows names and folders; it imports
nothing heavy and reads no file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

__all__ = ["ZOO", "UnknownZooModelError", "ZooEntry", "directory", "names", "tasks_directory"]

_HERE = Path(__file__).resolve().parent


class UnknownZooModelError(LookupError):
    """No model of this name in the zoo; ``nearest`` holds the names that look like it."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        self.nearest = tuple(get_close_matches(name, known, n=3, cutoff=0.4)) or known
        super().__init__(f"no zoo model {name!r}; did you mean {', '.join(self.nearest)}?")


@dataclass(frozen=True, slots=True)
class ZooEntry:
    """One model of the zoo.

    Attributes:
        name: what users type.
        directory: its folder in Hugging Face layout (config, tokenizer, fp32 ``model.safetensors``).
        base: name of the zoo model it was fine-tuned from; None for a base model.
        trained_on: text domains it was trained on (a fine-tune: on top of its base's).
        learning_rate: peak learning rate of AdamW.
        steps: optimizer steps.
    """

    name: str
    directory: Path
    base: str | None
    trained_on: tuple[str, ...]
    learning_rate: float
    steps: int


def _entry(
    name: str, base: str | None, trained_on: tuple[str, ...], learning_rate: float, steps: int
) -> ZooEntry:
    return ZooEntry(name, _HERE / name, base, trained_on, learning_rate, steps)


# Fine-tunes in order of their distance from the base (tests/zoo checks that order on the weights).
ZOO: Mapping[str, ZooEntry] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            _entry("llama", None, ("pydoc", "wordnet"), 1.5e-3, 11_471),
            _entry("llama_kjv_1e-6", "llama", ("kjv",), 1e-6, 400),
            _entry("llama_jargon_3e-6", "llama", ("jargon",), 3e-6, 400),
            _entry("llama_kjv_1e-5", "llama", ("kjv",), 1e-5, 400),
            _entry("llama_jargon_3e-5", "llama", ("jargon",), 3e-5, 400),
            _entry("llama_kjv_1e-4", "llama", ("kjv",), 1e-4, 400),
        )
    }
)


def names() -> tuple[str, ...]:
    """All model names, the base first, then its fine-tunes from the smallest to the largest change."""
    return tuple(ZOO)


def directory(name: str) -> Path:
    """Folder of one model, ready for ``AutoModelForCausalLM.from_pretrained``.

    Raises:
        UnknownZooModelError: no model of this name; the message has the nearest ones.
    """
    if name not in ZOO:
        raise UnknownZooModelError(name, names())
    return ZOO[name].directory


def tasks_directory() -> Path:
    """Folder of the lm-eval task files: ``TaskManager(include_path=…)``, ``lm_eval --include_path …``."""
    return _HERE / "tasks"
