"""The errors of opening and reading models: typed, and each message says what to do."""

from __future__ import annotations

from collections.abc import Iterable

from weightcodecs.errors import nearest_names

__all__ = [
    "CastOverflowError",
    "DamagedCacheError",
    "DownloadError",
    "MalformedFileError",
    "ModelError",
    "ModelNotFoundError",
    "NoHubError",
    "UnknownModelError",
    "UnknownTensorError",
    "UnsafeFileError",
    "UnsupportedModelError",
]


class ModelError(Exception):
    """Base of every error that opening or reading a model raises on purpose."""


class MalformedFileError(ModelError):
    """A weight file breaks its format's rules; nothing of its data was read."""

    def __init__(self, file: object, why: str) -> None:
        super().__init__(f"{file}: {why}; the file is damaged or not what its name says: fetch it again")
        self.file, self.why = str(file), why


class UnsafeFileError(ModelError):
    """A file could only be read by running code that it holds, which is never done."""


class UnsupportedModelError(ModelError):
    """The file is sound, but holds something that this harness cannot represent."""


class ModelNotFoundError(ModelError):
    """There is no weight file where the model should be."""


class UnknownModelError(ModelError):
    """No model of this name; `nearest` holds the valid names closest to it."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        self.name, self.nearest = name, nearest_names(name, names)
        if self.nearest:
            hint = f"did you mean {' or '.join(map(repr, self.nearest))}?"
        else:
            hint = f"known: {', '.join(names) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class UnknownTensorError(ModelError):
    """The model has no tensor of this name; `nearest` holds the names closest to it."""

    def __init__(self, model: str, name: str, known: Iterable[str]) -> None:
        self.name, self.nearest = name, nearest_names(name, known)
        hint = f"; did you mean {' or '.join(map(repr, self.nearest))}?" if self.nearest else ""
        super().__init__(f"model {model!r} has no tensor {name!r}{hint}")


class NoHubError(ModelError):
    """The hub cannot be reached and the model is not in the local cache."""

    def __init__(self, repository: str, reason: str) -> None:
        super().__init__(
            f"cannot reach the hub for {repository!r} ({reason}) and it is not in the local cache; "
            "models that need no hub: model=llama (bundled), model=minilm and model=smollm2 (package index), "
            "model=synthetic, or a folder or file: model=/path/to/weights"
        )
        self.repository = repository


class DownloadError(ModelError):
    """A package could not be fetched, or is not the one that was pinned."""


class DamagedCacheError(ModelError):
    """A file in the cache is no longer what was put there."""


class CastOverflowError(ModelError):
    """Casting would turn finite values into infinities or NaN."""
