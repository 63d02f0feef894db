"""The cache of baselines among processes: however many ask at once, one computes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

from weightbench.evaluate.baseline import computing, read_baseline, write_baseline

KEY = "0" * 64


def _evaluate(folder: Path, log: Path, die: bool) -> None:
    payload, _ = read_baseline(folder, KEY)
    if payload is None:
        with computing(folder, KEY, lambda _: None):
            payload, _ = read_baseline(folder, KEY)
            if payload is None:
                with log.open("a") as file:
                    file.write(f"{os.getpid()}\n")
                time.sleep(0.1)
                if die:
                    os.kill(os.getpid(), signal.SIGKILL)
                write_baseline(folder, KEY, [1.0, float("inf")])
                payload, _ = read_baseline(folder, KEY)
    assert payload == [1.0, float("inf")]


def _race(folder: Path, log: Path, number: int, *, die: bool = False) -> list[int | None]:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_evaluate, args=(folder, log, die)) for _ in range(number)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def test_one_process_computes_a_baseline(tmp_path: Path) -> None:
    assert _race(tmp_path / "cache", tmp_path / "log", 6) == [0] * 6
    assert len((tmp_path / "log").read_text().split()) == 1


def test_a_process_that_dies_computing_is_succeeded(tmp_path: Path) -> None:
    assert _race(tmp_path / "cache", tmp_path / "log", 1, die=True) == [-signal.SIGKILL]
    assert _race(tmp_path / "cache", tmp_path / "log", 4) == [0] * 4
    assert len((tmp_path / "log").read_text().split()) == 2
