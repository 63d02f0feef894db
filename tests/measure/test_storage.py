import mmap
import os
from pathlib import Path
from typing import Any

import pytest

from weightbench.measure import Clock, MeasurePlan, measure_save_load
from weightbench.measure import storage as storage_module
from weightbench.measure.page_cache import drop_from_page_cache, resident_share


class Archive:
    def __init__(self, path: Path) -> None:
        self.path, self.now, self.written, self.read_back = path, 0, 0, 0

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: 0)

    def write(self) -> None:
        self.path.write_bytes(bytes(1 << 20))
        self.now += 4_000_000
        self.written += 1

    def read(self) -> None:
        self.path.read_bytes()
        self.now += 2_000_000
        self.read_back += 1


def plan(**changes: Any) -> MeasurePlan:
    return MeasurePlan(**({"name": "test", "min_rounds": 3, "min_seconds": 0.0} | changes))


def test_numbers(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.bin")
    found = measure_save_load(
        archive.write, archive.read, archive.path, plan(), original_bytes=8_000_000, clock=archive.clock()
    )
    assert (archive.written, archive.read_back) == (4, 4)  # one round of warm-up
    assert (found.rounds, found.file_bytes) == (3, 1 << 20)
    assert found.save_seconds.median == pytest.approx(4e-3)
    assert found.save_mb_per_s is not None
    assert found.save_mb_per_s.median == pytest.approx(2000)
    assert found.load_warm_mb_per_s is not None
    assert found.load_warm_mb_per_s.median == pytest.approx(4000)
    assert found.load_cold_seconds is None
    assert "not asked for" in found.cold_reason
    found.plain()


def test_single_round(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.bin")
    found = measure_save_load(
        archive.write, archive.read, archive.path, plan(min_rounds=1), clock=archive.clock()
    )
    assert (archive.written, found.rounds) == (1, 1)
    assert found.save_mb_per_s is None
    assert any("single round" in flag for flag in found.flags)


def test_max_seconds(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.bin")
    found = measure_save_load(
        archive.write,
        archive.read,
        archive.path,
        plan(min_rounds=100, max_seconds=0.013),
        clock=archive.clock(),
    )
    assert found.rounds == 2
    assert any("max_seconds" in flag for flag in found.flags)


def test_cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(tmp_path / "a.bin")
    reasons = iter(["", "", "it is mapped"])
    monkeypatch.setattr(storage_module, "drop_from_page_cache", lambda path: next(reasons))
    found = measure_save_load(
        archive.write,
        archive.read,
        archive.path,
        plan(cold_cache=True),
        original_bytes=1,
        clock=archive.clock(),
    )
    assert found.load_cold_seconds is not None
    assert found.load_cold_seconds.n == 2
    assert "mincore" in found.cold_method
    assert any("2 of 3 rounds" in flag for flag in found.flags)


def test_real_page_cache(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1 << 20))
    assert resident_share(path) in (1.0, None)
    reason = drop_from_page_cache(path)
    if reason:  # a file system in memory: the reason says so
        assert "%" in reason or "mincore" in reason or "page cache" in reason
    else:
        assert resident_share(path) == pytest.approx(0, abs=0.02)
    (tmp_path / "empty").touch()
    assert drop_from_page_cache(tmp_path / "empty") == ""


def test_mapped_file_cannot_be_dropped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1 << 20))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        assert sum(view[at] for at in range(0, 1 << 20, 4096)) > 0
        assert "%" in drop_from_page_cache(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        measure_save_load(lambda: None, lambda: None, tmp_path / "none", plan())
