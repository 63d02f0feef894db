"""What a model says of its own base: the front matter of its model card, and its configuration.

Both are text by strangers. The front matter is read by PyYAML's base loader, which makes strings, lists and
maps of strings and nothing else; aliases are refused, and so is everything beyond the size limits.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from weightbench.models import Model

__all__ = ["Declaration", "declared_base", "read_front_matter"]

CARD, CONFIG = "README.md", "config.json"
CARD_BYTES = 1 << 16
CONFIG_BYTES = 1 << 20
NAME_LENGTH = 256
MOST_BASES = 64
NOTHING = frozenset({"", "null", "~", "none", "."})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a model declares.

    Attributes:
        bases: the ids it names: one, or those that were merged.
        relation: ``finetune``, ``adapter``, ``quantized``, ``merge``, or "" where the card does not say.
        source: ``card``, or ``config``: `_name_or_path` of the configuration, which is weaker evidence (it is
            where the weights were loaded from before they were trained, often a path, or the model itself).
    """

    bases: tuple[str, ...]
    relation: str
    source: Literal["card", "config"]


def declared_base(model: Model) -> Declaration | None:
    """Return what the files beside the weights say of the model's base, or None if they say nothing.

    Files that are damaged or too large say nothing; a warning tells so.
    """
    if model.directory is None:
        return None
    return _from_card(model.directory / CARD) or _from_config(model.directory / CONFIG, model)


def read_front_matter(text: str) -> dict[str, Any]:
    """Return the YAML between the first two lines of three dashes: strings, lists and maps; {} if none.

    Raises:
        ValueError: it is not such YAML, or has aliases, which can stand for any amount of data.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != "---":
        return {}
    end = next((i for i, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
    if end is None:
        raise ValueError("its front matter has no end")
    try:
        found = yaml.load("\n".join(lines[1:end]), _PlainLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from error
    return found if isinstance(found, dict) else {}


class _PlainLoader(yaml.BaseLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases")
        return super().compose_node(parent, index)


def _from_card(path: Path) -> Declaration | None:
    text = _text(path, CARD_BYTES, whole=False)
    if text is None:
        return None
    try:
        matter = read_front_matter(text)
    except ValueError as error:
        log.warning("%s: the front matter is not read: %s", path, error)
        return None
    named = matter.get("base_model")
    found = [name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str)]
    bases = tuple(dict.fromkeys(name.strip() for name in found if _is_name(name)))
    if not bases:
        return None
    relation = matter.get("base_model_relation")
    relation = relation.strip().lower()[:NAME_LENGTH] if isinstance(relation, str) else ""
    return Declaration(bases[:MOST_BASES], relation or ("merge" if len(bases) > 1 else ""), "card")


def _from_config(path: Path, model: Model) -> Declaration | None:
    text = _text(path, CONFIG_BYTES, whole=True)
    if text is None:
        return None
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        log.warning("%s is not read: %s", path, error)
        return None
    name = config.get("_name_or_path") if isinstance(config, dict) else None
    if not isinstance(name, str) or not _is_name(name) or name.strip() == model.name:
        return None
    return Declaration((name.strip(),), "", "config")


def _is_name(name: str) -> bool:
    return name.strip().lower() not in NOTHING and len(name) <= NAME_LENGTH and name.isprintable()


def _text(path: Path, limit: int, *, whole: bool) -> str | None:
    """Return at most `limit` bytes of a file as text; None if it is missing, or longer and needed `whole`."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        log.warning("%s is not read: %s", path, error)
        return None
    if len(data) > limit and whole:
        log.warning("%s is not read: it is larger than %d bytes", path, limit)
        return None
    return data[:limit].decode("utf-8", "replace")
