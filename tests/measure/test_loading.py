"""Loads by condition: what is timed, in which order, beside plain files; real files through the real link."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightbench.measure import (
    Clock,
    Load,
    LoadTimes,
    MeasurePlan,
    OnRead,
    measure_loads,
    measure_save_load,
    plain_load,
    write_plain,
)
from weightbench.measure import loading as loading_module
from weightbench.models import ZooSource, open_model

MB = 10**6


class Disk:
    """Loads of so many bytes that compute for so long; time passes only there and while sleeping."""

    def __init__(self) -> None:
        self.now, self.log = 0, list[str]()

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: 0, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)

    def load(self, name: str, nbytes: int, seconds: float, plain: str | None = None) -> Load:
        def read(on_read: OnRead) -> None:
            self.log.append(name)
            on_read(nbytes)
            self.sleep(seconds)

        return Load(name, read, 20 * MB, (Path(name),), plain)


def plan(**changes: Any) -> MeasurePlan:
    settings: dict[str, Any] = {"name": "test", "min_rounds": 4, "min_seconds": 0.0}
    return MeasurePlan(**(settings | changes))


def found(loads: tuple[LoadTimes, ...], name: str, bandwidth: float | None, cold: bool = False) -> LoadTimes:
    (times,) = [t for t in loads if (t.load, t.bandwidth_mb_per_s, t.cold) == (name, bandwidth, cold)]
    return times


def test_numbers_by_bandwidth() -> None:
    disk = Disk()
    loads = [disk.load("all", 10 * MB, 0.1, "plain"), disk.load("plain", 20 * MB, 0.01)]
    result = measure_loads(loads, plan(bandwidths_mb_per_s=(10.0, 1000.0)), clock=disk.clock())
    assert result.rounds == 4
    assert (len(result.loads), "sleeping" in result.throttle) == (6, True)
    assert disk.log[:10] == ["all", "plain", "all", "plain", *["all", "plain"] * 2, "plain", "all"]
    free = found(result.loads, "all", None)
    assert free.seconds.median == pytest.approx(0.1)
    assert (free.seconds.n, free.read_bytes) == (4, 10 * MB)
    assert free.mb_per_s is not None
    assert free.mb_per_s.median == pytest.approx(200)
    assert free.speed_over_plain is not None
    assert free.speed_over_plain.median == pytest.approx(0.1)  # decoding costs, and nothing is gained
    slow = found(result.loads, "all", 10.0)
    assert slow.seconds.median == pytest.approx(1.1)
    assert slow.seconds.n == 3
    assert slow.speed_over_plain is not None
    assert slow.speed_over_plain.median == pytest.approx(2.01 / 1.1)
    assert found(result.loads, "plain", 10.0).speed_over_plain is None
    assert result.cold_method == ""
    assert "not asked for" in result.cold_reason
    result.plain()


def test_cold_loads_drop_the_files_and_say_if_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    reasons: dict[str, Callable[[], str]] = {"low": lambda: "", "high": lambda: "it is mapped"}
    monkeypatch.setattr(loading_module, "drop_from_page_cache", lambda path: reasons[path.name]())
    low, high = disk.load("low", MB, 0.1), disk.load("high", MB, 0.2)
    result = measure_loads([low], plan(cold_cache=True), clock=disk.clock())
    assert found(result.loads, "low", None, cold=True).seconds.n == 4
    assert (result.cold_reason, "mincore" in result.cold_method) == ("", True)
    result = measure_loads([low, high], plan(cold_cache=True), clock=disk.clock())
    assert found(result.loads, "low", None, cold=True).seconds.n == 1
    assert result.cold_reason == "it is mapped"
    assert any("1 times only" in flag for flag in result.flags)


def test_one_round_and_no_time() -> None:
    disk = Disk()
    result = measure_loads([disk.load("all", MB, 0.1)], plan(min_rounds=1), clock=disk.clock())
    assert disk.log == ["all"]
    assert any("single round" in flag for flag in result.flags)
    result = measure_loads([disk.load("all", MB, 1.0)], plan(max_seconds=1.5), clock=disk.clock())
    assert result.rounds == 1
    assert any("max_seconds" in flag for flag in result.flags)
    assert measure_loads([], plan(), clock=disk.clock()).loads == ()


def test_names_must_make_sense() -> None:
    disk = Disk()
    with pytest.raises(ValueError, match="distinct"):
        measure_loads([disk.load("all", 1, 1), disk.load("all", 1, 1)], plan())
    with pytest.raises(ValueError, match="distinct"):
        measure_loads([disk.load("all", 1, 1, "plain")], plan())
    with pytest.raises(ValueError, match="bandwidths"):
        plan(bandwidths_mb_per_s=(0.0,))


def test_plans_without_bandwidths_are_what_they_were() -> None:
    assert "bandwidths_mb_per_s" not in plan().settings()
    assert plan(bandwidths_mb_per_s=(20.0,)).settings()["bandwidths_mb_per_s"] == (20.0,)
    assert (plan().uses_disk, plan(bandwidths_mb_per_s=(20.0,)).uses_disk) == (False, True)


def test_plain_files_of_a_model_and_a_depot_of_several(tmp_path: Path) -> None:
    model = open_model(ZooSource("llama_kjv_1e-5"))
    paths = write_plain(model, tmp_path / "plain")
    assert [path.stat().st_size for path in paths] == [file.nbytes for file in model.files]
    for path, file in zip(paths, model.files, strict=True):
        assert path.read_bytes() == bytes(model.read_range(file.name, 0, file.nbytes))
    folder = tmp_path / "depot"

    def write() -> None:
        (folder / "packs").mkdir(parents=True, exist_ok=True)
        (folder / "packs" / "0").write_bytes(os.urandom(1 << 20))
        (folder / "manifest").write_bytes(bytes(100))

    saved = measure_save_load(
        write,
        lambda: None,
        folder,
        plan(min_rounds=2, cold_cache=True),
        loads=[plain_load("plain", paths)],
    )
    assert saved.file_bytes == (1 << 20) + 100
    assert saved.loading is not None
    assert found(saved.loading.loads, "plain", None).read_bytes == model.nbytes
    assert saved.plain()["loading"]["loads"][0]["original_bytes"] == model.nbytes


def test_a_real_load_is_never_faster_than_its_link(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(np.random.default_rng(0).bytes(3 * MB))
    result = measure_loads(
        [plain_load("plain", [path])],
        plan(min_rounds=2, min_seconds=0.0, bandwidths_mb_per_s=(100.0,)),
    )
    assert found(result.loads, "plain", 100.0).seconds.min >= 0.03
