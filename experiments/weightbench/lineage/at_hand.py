"""From the id by which a base is declared to one of the models at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

__all__ = ["find_at_hand"]


def find_at_hand(declared: str, names: Mapping[str, str], *, but: str = "") -> str | None:
    """Return the model that an id stands for, or None if it is not at hand or not the only one.

    The first rule that fits one model decides: the same name; the same in another case, or with
    ``owner/name`` written ``owner_name``, ``owner--name`` or ``models--owner--name``; the same last part
    (folder or file name without its suffix, repository without its owner).

    Args:
        declared: what a card or the user names: a hub id, a name, a path.
        names: the models' names, each with the name of its folder or file ("" if it has none).
        but: a model that is not meant: the one that declares it.
    """
    others = {name: folder for name, folder in names.items() if name != but}
    if declared in others:
        return declared
    wanted = declared.strip().rstrip("/")
    for form in (_flat, _last):
        found = [
            name
            for name, folder in others.items()
            if form(wanted) and form(wanted) in {form(name), form(folder)}
        ]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _flat(name: str) -> str:
    text = name.rstrip("/").lower().removeprefix("models--")
    return text.replace("--", "_").replace("/", "_")


def _last(name: str) -> str:
    path = PurePosixPath(name.rstrip("/").lower().replace("--", "/"))
    return path.stem if path.suffix in {".safetensors", ".gguf", ".bin"} else path.name
