"""What the tests of models share: a cache of their own, and putting files together again from extents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from weightbench.models import Model


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory."""
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("WEIGHTBENCH_CACHE", str(path))
    return path


@pytest.fixture
def reassemble() -> Callable[[Model], dict[str, bytes]]:
    """Put every file together from literal bytes and tensors, checking the extents on the way."""

    def files(model: Model) -> dict[str, bytes]:
        contents = {}
        seen = []
        for file in model.files:
            pieces = bytearray()
            for extent in file.extents:
                assert extent.offset == len(pieces)
                if extent.tensor is None:
                    piece = bytes(model.read_range(file.name, extent.offset, extent.nbytes))
                else:
                    seen.append(extent.tensor)
                    info, array = model.tensors[extent.tensor], model.read(extent.tensor)
                    assert (info.offset, info.nbytes) == (extent.offset, extent.nbytes)
                    assert array.shape == info.shape
                    assert array.dtype.name == info.format
                    assert array.flags.aligned
                    assert not array.flags.writeable
                    piece = np.ascontiguousarray(array).tobytes()
                assert len(piece) == extent.nbytes
                pieces += piece
            assert len(pieces) == file.nbytes
            assert bytes(model.read_range(file.name, 0, file.nbytes)) == pieces
            contents[file.name] = bytes(pieces)
        assert seen == list(model.tensors)
        assert model.nbytes == sum(map(len, contents.values()))
        return contents

    return files
