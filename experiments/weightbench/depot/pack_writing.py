"""Writing objects into new packs, one after the other."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from weightbench.archive.atomic import atomic_file
from weightcodecs.blob import byte_view

from .folder import Folder
from .objects import Kind, ObjectId, ObjectSpan
from .pack import PackFileWriter

__all__ = ["PACK_BYTES", "NewPacks"]

# A pack gets no further objects beyond this size: deleting a model rewrites the packs that it shares with
# others, which shall not need much more room than they free.
PACK_BYTES = 1 << 30


class NewPacks:
    """Packs that are being written: a context. Each is there as soon as it is full, the last at the end.

    If the block fails they are removed again. Nothing refers to them before a manifest does.

    Attributes:
        paths: of the packs that are complete.
        nbytes: their sizes, together.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder, self._serial = folder, folder.next_serial()
        self._open: PackFileWriter | None = None
        self._stack = ExitStack()
        self.paths: list[Path] = []
        self.nbytes = 0

    def add(
        self,
        id: ObjectId,
        kind: Kind,
        exact: bool,
        overhead: int,
        spans: tuple[ObjectSpan, ...],
        data: bytes | memoryview,
    ) -> None:
        """Append an object; see `StoredObject`."""
        view = byte_view(data)
        if self._open is not None and self._open.nbytes + len(view) > PACK_BYTES:
            self._finish()
        if self._open is None:
            path = self._folder.pack_path(self._serial)
            self._open = PackFileWriter(self._stack.enter_context(atomic_file(path)))
        self._open.add(id, kind, exact, overhead, spans, view)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except BaseException:
            self._remove(*sys.exc_info())
            raise
        if kind is not None:
            self._remove(kind, error, trace)

    def _finish(self) -> None:
        if self._open is None:
            return
        self._open.finish()
        self._stack.close()
        self._open = None
        path = self._folder.pack_path(self._serial)
        self.nbytes += path.stat().st_size
        self.paths.append(path)
        self._serial += 1

    def _remove(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        self.discard()

    def discard(self) -> None:
        """Remove the packs that are complete."""
        for path in self.paths:
            path.unlink(missing_ok=True)
        self.paths.clear()
