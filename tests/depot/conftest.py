"""What the tests of depots share: a coder that uses a base, families, and whether all comes back."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

import weightcodecs
from weightbench.lineage import BaseValues, Match
from weightcodecs import get_codec


@dataclass(frozen=True)
class WithBase:
    """A delta codec where there is a reference, zstd where there is none or the delta is not smaller."""

    delta: str = "bitx"
    name = "with_base"
    version = 1
    needs_reference = False

    def config(self):
        return {"delta": self.delta}

    def unsupported(self, format):
        return None

    def error_bound(self, format):
        return weightcodecs.EXACT

    def encode(self, values, *, reference=None, threads=1):
        alone = get_codec("zipnn").encode(values, threads=threads)
        codec = get_codec(self.delta)
        if reference is None or codec.unsupported(weightcodecs.format_of(values)):
            return alone
        delta = codec.encode(values, reference=reference, threads=threads)
        return min(alone, delta, key=len)

    def decode(self, blob, *, reference=None, out=None, threads=1):
        return weightcodecs.decode(blob, reference=reference, out=out, threads=threads)


def original(model, file):
    return bytes(model.read_range(file.name, 0, file.nbytes))


def assert_restores(depot, model, folder, exact=True):
    stored = depot.open(model.name)
    for file, restored in zip(model.files, stored.unpack(folder), strict=True):
        data = restored.path.read_bytes()
        assert restored.path == folder / file.name
        assert restored.sha256 == hashlib.sha256(data).hexdigest()
        assert restored.identical == (data == original(model, file))
        assert restored.identical or not exact


def contents(depot):
    return {str(p.relative_to(depot.path)): p.read_bytes() for p in depot.path.rglob("*") if p.is_file()}


def named(model, name):
    model.name = name
    return model


def du(path):
    seen = [path, *path.rglob("*")]
    return sum(p.stat().st_blocks * 512 for p in seen)


def family(mapped, folder, seed=3):
    """A base, a fine-tune whose embedding has 20 rows more, and one whose tensors are mostly the base's."""
    rng = np.random.default_rng(seed)

    def near(values, count=None):
        noise = (rng.standard_normal(values.shape) * 1e-4).astype(values.dtype)
        return values + noise

    base = [
        ("embed", (rng.standard_normal((100, 16)) * 0.02).astype(np.float32)),
        ("layers.0.w", (rng.standard_normal((40, 30)) * 0.02).astype(np.float32)),
        ("layers.1.w", (rng.standard_normal((40, 30)) * 0.02).astype(np.float32)),
        ("norm", np.ones(16, np.float32)),
        ("ids", np.arange(50, dtype=np.int64)),
    ]
    more = (rng.standard_normal((20, 16)) * 0.02).astype(np.float32)
    fine = [
        ("embed", np.concatenate([near(base[0][1]), more])),
        *((n, near(a)) for n, a in base[1:4]),
        base[4],
    ]
    frozen = [*base[:2], ("layers.1.w", near(base[2][1])), *base[3:]]
    models = []
    for name, tensors in (("base", base), ("org/fine", fine), ("frozen", frozen)):
        place = folder / name.replace("/", "_")
        place.mkdir(parents=True)
        models.append(named(mapped(place, {"model.bin": tensors}, gap=3), name))
    return models


def base_values(model, base):
    """Match tensors by name; of a resized one the common rows."""
    matches = {}
    for name, info in model.tensors.items():
        other = base.tensors.get(name)
        if other is not None and other.format == info.format and other.shape[1:] == info.shape[1:]:
            matches[name] = Match(name, min(int(np.prod(info.shape)), int(np.prod(other.shape))))
    return BaseValues(base, matches)


def crash_points(monkeypatch, function, count):
    """Let the process seem to die at the `count`-th change of the disk: nothing that follows happens."""
    left = count

    class Died(BaseException):
        pass

    def step():
        nonlocal left
        if left == 0:
            raise Died
        left -= 1

    def stepped(original):
        def run(*arguments, **options):
            step()
            return original(*arguments, **options)

        return run

    with monkeypatch.context() as patch:
        for module, name in ((os, "write"), (os, "fsync"), (os, "replace"), (os, "unlink"), (os, "rename")):
            patch.setattr(module, name, stepped(getattr(module, name)))
        try:
            function()
        except Died:
            return True
    return False


@pytest.fixture
def kit():
    return SimpleNamespace(
        WithBase=WithBase,
        original=original,
        assert_restores=assert_restores,
        contents=contents,
        named=named,
        du=du,
        crash_points=crash_points,
        family=family,
        base_values=base_values,
    )
