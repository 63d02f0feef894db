"""Writers that are killed, that meet each other, and that find the disk full."""

from __future__ import annotations

import errno
import functools
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from weightbench.archive import ArchiveError
from weightbench.depot import (
    Base,
    DepotError,
    DepotLockedError,
    NoSuchModelError,
    adding,
    create_depot,
    open_depot,
    pack_writing,
)
from weightbench.depot.lock import writing
from weightbench.granularity import Granularity
from weightcodecs import get_codec

# Adds and deletes for ever; what is there at any moment follows from the names alone.
WRITER = """
import sys
from weightbench.depot import open_depot, pack_writing
from weightbench.granularity import Granularity
from weightbench.models import LocalSource, open_model
from weightcodecs import get_codec

path, models = sys.argv[1], sys.argv[2:]
pack_writing.PACK_BYTES = 50_000
print("ready", flush=True)
while True:
    depot = open_depot(path, write=True)
    for place in models:
        model = open_model(LocalSource(place))
        model.name = place
        if place in depot.models():
            depot.delete(place)
            print("deleted", place, flush=True)
        depot.add(model, get_codec("zstd"), Granularity("chunk", 1 << 14), dedup=True, threads=2)
        print("added", place, flush=True)
    depot.delete(models[0])
    print("deleted", models[0], flush=True)
"""


def write_models(folder):
    """Safetensors models that share half of their tensors."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    shared = {f"s{i}": rng.standard_normal((64, 64)).astype(np.float32) for i in range(4)}
    places = []
    for name in ("one", "two", "three"):
        (folder / name).mkdir(parents=True)
        own = {f"o{i}": rng.standard_normal((64, 64)).astype(np.float32) for i in range(4)}
        save_file({**shared, **own}, folder / name / "model.safetensors")
        places.append(str(folder / name))
    return places


def assert_old_or_new(path, places, work):
    """Whatever is there is whole, and nothing else is there after the next writer has looked."""
    depot = open_depot(path)
    depot.verify(deep=True)
    for name in depot.models():
        assert name in places
        (restored,) = depot.open(name).unpack(work / "out")
        assert restored.identical
        assert restored.path.read_bytes() == (work / "models" / name / "model.safetensors").read_bytes()
        restored.path.unlink()
    depot = open_depot(path, write=True)
    depot.verify(deep=True)
    assert not list(path.rglob("*.tmp"))
    needed = {id for use in depot._folder.models.values() for id in use.objects}
    held = [stored.id for pack in depot._folder.packs.values() for stored in pack.objects]
    assert sorted(held) == sorted(needed)  # nothing dead, nothing twice
    return depot.models()


def killed(path, places, seconds, environment=None):
    command = [sys.executable, "-c", WRITER, str(path), *places]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        told = process.stdout.read().splitlines()
        assert process.wait() == -signal.SIGKILL, process.stderr.read()
    return told


def run_kills(tmp_path, tries, seed):
    places = write_models(tmp_path / "models")
    path = tmp_path / "depot"
    create_depot(path)
    draw = random.Random(seed)
    for _ in range(tries):
        before = set(open_depot(path).models())
        told = [line.split() for line in killed(path, places, draw.uniform(0, 0.6))]
        # What was told is there; beyond that at most one step more.
        for what, name in told:
            (before.add if what == "added" else before.discard)(name)
        after = set(assert_old_or_new(path, places, tmp_path))
        assert len(before ^ after) <= 1, (before, after)


def test_killed_writers_leave_the_old_or_the_new_state(tmp_path):
    run_kills(tmp_path, 6, 1)


@pytest.mark.slow
def test_many_killed_writers(tmp_path):
    run_kills(tmp_path, 60, 2)


@pytest.mark.parametrize("what", ["add", "overlapped add", "delete", "move"])
def test_every_single_step(kit, mapped, tmp_path, monkeypatch, what):
    """Stop before each write, fsync, rename and removal in turn: the depot is the old or the new one."""
    if what != "move":  # one object a pack, so that nothing is moved to another one
        monkeypatch.setattr(pack_writing, "PACK_BYTES", 1)
    base, fine, frozen = kit.family(mapped, tmp_path / "models")
    coder = kit.WithBase()
    there = {"base": base, "frozen": frozen}
    new = {"frozen": frozen} if what in ("delete", "move") else {**there, "org/fine": fine}

    def change(depot):
        if what in ("delete", "move"):
            depot.delete("base")
        else:
            against = Base("base", kit.base_values(fine, base))
            overlap = what == "overlapped add"
            depot.add(fine, coder, Granularity(), dedup=True, base=against, overlap=overlap)

    outcomes = set()
    for count in range(1000):
        path = tmp_path / f"{count}"
        depot = create_depot(path)
        depot.add(base, coder, Granularity(), dedup=True)
        depot.add(frozen, coder, Granularity(), dedup=True)
        died = kit.crash_points(monkeypatch, functools.partial(change, depot), count)
        depot = open_depot(path)
        depot.verify(deep=True)
        assert set(depot.models()) in (set(there), set(new))
        outcomes.add((died, len(depot.models())))
        depot = open_depot(path, write=True)
        for name in depot.models():
            kit.assert_restores(depot, {**there, **new}[name], path / "out" / name)
        depot.verify(deep=True)
        assert not list(path.rglob("*.tmp"))
        packs = [stored.id for pack in depot._folder.packs.values() for stored in pack.objects]
        assert len(set(packs)) == len(packs)
        if not died:
            break
    assert outcomes == {(True, len(there)), (True, len(new)), (False, len(new))}
    assert count >= (4 if what == "delete" else 8)


def test_two_writers(kit, mapped, tmp_path):
    base, fine, _ = kit.family(mapped, tmp_path / "models")
    depot = create_depot(tmp_path / "depot")
    depot.add(base, get_codec("zstd"), Granularity(), dedup=True)
    with writing(depot.path):
        other = open_depot(depot.path)  # readers do not mind
        assert other.open("base").read_tensor("norm").sum() == 16
        for change in (
            lambda: other.add(fine, get_codec("zstd"), Granularity(), dedup=True),
            lambda: other.delete("base"),
            other.prune,
        ):
            with pytest.raises(DepotLockedError, match=f"process {os.getpid()} on"):
                change()
    assert (depot.path / "lock").stat().st_size == 0
    # Each sees what the other has done.
    other.add(fine, get_codec("zstd"), Granularity(), dedup=True)
    assert depot.models() == ("base", "org/fine")
    depot.delete("org/fine")
    assert other.models() == ("base",)


def test_readers_go_on(kit, mapped, tmp_path):
    base, fine, frozen = kit.family(mapped, tmp_path / "models")
    depot = create_depot(tmp_path / "depot")
    for model in (base, fine, frozen):
        depot.add(model, get_codec("zstd"), Granularity(), dedup=True)
    reader = open_depot(depot.path)
    stored = reader.open("frozen")
    depot.delete("base")
    depot.delete("frozen")
    (restored,) = stored.unpack(tmp_path / "out")
    assert restored.identical
    with pytest.raises(NoSuchModelError):
        reader.open("frozen")
    kit.assert_restores(reader, fine, tmp_path / "fine")


def test_a_full_disk(kit, mapped, tmp_path):
    base, fine, _ = kit.family(mapped, tmp_path / "models")
    depot = create_depot(tmp_path / "depot")
    depot.add(base, get_codec("identity"), Granularity(), dedup=True)
    before = kit.contents(depot)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for limit in (10, 400, 8_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            with pytest.raises(ArchiveError) as error:
                depot.add(fine, get_codec("identity"), Granularity(), dedup=True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert error.value.errno == errno.EFBIG
            assert kit.contents(depot) == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


def test_errors_of_the_coder_and_interrupts(kit, mapped, tmp_path):
    base, fine, _ = kit.family(mapped, tmp_path / "models")
    depot = create_depot(tmp_path / "depot")
    depot.add(base, get_codec("zstd"), Granularity(), dedup=True)
    before = kit.contents(depot)

    class Failing(kit.WithBase):
        def encode(self, values, *, reference=None, threads=1):
            if values.shape == (16,):
                raise RuntimeError("no norms")
            return super().encode(values, threads=threads)

    def interrupt(done, total):
        if 2 * done > total:
            raise KeyboardInterrupt

    for overlap in (True, False):
        with pytest.raises(RuntimeError, match="no norms"):
            depot.add(fine, Failing(), Granularity(), dedup=False, overlap=overlap)
        with pytest.raises(KeyboardInterrupt):
            depot.add(fine, kit.WithBase(), Granularity(), dedup=False, overlap=overlap, progress=interrupt)
        assert kit.contents(depot) == before


@pytest.mark.parametrize("granularity", [Granularity(), Granularity("chunk", 256), Granularity("parameter")])
def test_bytes_do_not_depend_on_threads_or_memory(kit, mapped, tmp_path, monkeypatch, granularity):
    monkeypatch.setattr(adding, "DROP_BYTES", 1000)
    models = kit.family(mapped, tmp_path / "models")
    found = []
    for i, options in enumerate(
        ({"overlap": False}, {"threads": 1}, {"threads": 4}, {"threads": 3, "memory_bytes": 1})
    ):
        depot = create_depot(tmp_path / f"{i}")
        depot.add(models[0], kit.WithBase(), granularity, dedup=True, **options)
        for model in models[1:]:
            base = Base("base", kit.base_values(model, models[0]))
            depot.add(model, kit.WithBase(), granularity, dedup=True, base=base, **options)
        found.append(kit.contents(depot))
    assert all(other == found[0] for other in found[1:])


def test_names(kit, mapped, tmp_path):
    (tmp_path / "model").mkdir()
    model = mapped(tmp_path / "model", {"x.bin": [("a", np.ones(3, np.float32))]})
    depot = create_depot(tmp_path / "depot")
    names = [
        "..",
        ".",
        "a/../../b",
        "/etc/x",
        "a\\b",
        "ü.wbm",
        "a" * 3000,
        "a" * 3001,
        "%2E",
        "con",
        "a\n",
    ]
    for name in names:
        depot.add(kit.named(model, name), get_codec("zstd"), Granularity(), dedup=True)
        assert depot.open(name).read_tensor("a").sum() == 3
    assert set(depot.models()) == set(names)
    assert all(path.parent == depot.path / "models" for path in depot._folder.manifest_files())
    assert len(depot._folder.manifest_files()) == len(names)
    assert len(list((depot.path / "packs").iterdir())) == 1
    assert set(tmp_path.iterdir()) == {tmp_path / "model", tmp_path / "depot"}
    with pytest.raises(DepotError, match="already"):
        depot.add(model, get_codec("zstd"), Granularity(), dedup=True)
    with pytest.raises(NoSuchModelError) as error:
        depot.open("comn")
    assert list(error.value.nearest) == ["con"]
    for name in ("", "\ud800"):
        with pytest.raises(DepotError):
            depot.add(kit.named(model, name), get_codec("zstd"), Granularity(), dedup=True)
    for name in names:
        depot.delete(name)
    assert depot.sizes().total == 0
    with pytest.raises(DepotError, match="not an empty"):
        create_depot(depot.path)
    with pytest.raises(DepotError, match="not a depot"):
        open_depot(tmp_path / "model")


def test_readers_beside_a_writer(tmp_path):
    """While models come and go in another process, everything that can be opened can be read."""
    places = write_models(tmp_path / "models")
    path = tmp_path / "depot"
    create_depot(path)
    command = [sys.executable, "-c", WRITER, str(path), *places]
    reads = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            end = time.monotonic() + 4
            depot = open_depot(path)
            while time.monotonic() < end or not reads:
                for name in places:
                    try:
                        stored = depot.open(name)
                    except NoSuchModelError:
                        continue
                    stored.verify(deep=True)
                    reads += 1
                depot.verify()
                depot.sizes()
                assert process.poll() is None, process.stderr.read()
        finally:
            process.kill()
            process.stdout.read()
    assert_old_or_new(path, places, tmp_path)


def test_many_packs_are_not_held_open(kit, mapped, tmp_path):
    """A depot of more models than a process may have files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    depot = create_depot(tmp_path / "depot")
    models = []
    for i in range(60):
        (tmp_path / f"{i}").mkdir()
        tensors = [("a", np.full(8, i, np.float32)), ("b", np.ones(8, np.float32))]
        models.append(kit.named(mapped(tmp_path / f"{i}", {"x.bin": tensors}), f"{i}"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 20, hard))
    try:
        for model in models:
            depot.add(model, get_codec("zstd"), Granularity(), dedup=True)
        depot.verify(deep=True)
        for model in models:
            assert depot.open(model.name).read_tensor("b").sum() == 8
        for model in models[:55]:
            depot.delete(model.name)
        depot.verify(deep=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
