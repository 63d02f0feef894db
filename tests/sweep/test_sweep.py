"""Counting jobs, saying how far a sweep is, quoting commands, and estimating what cells take."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from weightbench import sweep
from weightbench.arguments import as_typed, name_models
from weightbench.console import duration, size
from weightbench.cost import _rows, estimate
from weightbench.request import register_schema
from weightbench.rows import Row, Status
from weightbench.store import Store, identity
from weightbench.sweep import Outcome, Sweep, command_line, outcomes, retry_script
from weightbench.sweep.outcomes import Job
from weightbench.sweep.watch import _product

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(
    ("overrides", "jobs"),
    [
        ([], 1),
        (["codec=zstd,elf", "granularity=tensor,chunk,layer", "dedup=true"], 6),
        (["codec=zstd,elf", "codec=lz4"], 1),  # the later one counts
        (["codec.level=range(1,6)", "eval.tasks=[a,b],[c]"], 10),
        (["codec=choice(zstd,elf)", "model='a,b'"], 2),
        (["codec=glob(*)"], None),
        (["codec=(("], None),
    ],
)
def test_jobs_are_counted_as_hydra_makes_them(overrides: list[str], jobs: int | None) -> None:
    assert _product(overrides) == jobs


def test_a_sweep_is_seen_when_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTBENCH_SWEEP", "{}")  # put back afterwards
    sweep.forget()
    assert sweep.current() is None
    assert Job.current() is None
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(
            "config",
            overrides=["experiment=granularities", "on_error=stop", f"results={tmp_path}"],
            return_hydra_config=True,
        )
    sweep.SweepCallback().on_multirun_start(config)
    begun = sweep.current()
    assert begun is not None
    params = OverridesParser.create().parse_overrides(
        [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
    )
    expected = 1
    for override in params:
        expected *= len(list(override.sweep_string_iterator()))
    assert (begun.jobs, begun.stop) == (expected, True)
    assert begun.folder.startswith(str(tmp_path))
    monkeypatch.setenv("WEIGHTBENCH_SWEEP", "{}")


def test_how_far_a_sweep_is(tmp_path: Path) -> None:
    running = Sweep(str(tmp_path), 5, 0.0, stop=True)

    def job(number: int) -> Job:
        return Job(running, number, ("codec=zstd",))

    assert job(0).progress() == "cell 1 of 5"
    job(0).record(Outcome(0, "ok", id="a", ran=False))
    assert job(1).progress() == "cell 2 of 5, 1 done"
    job(1).record(Outcome(0, "ok", id="b", ran=True))
    assert job(2).progress().startswith("cell 3 of 5, 2 done, about ")
    assert (job(2).ran("a"), job(2).ran("b"), job(2).stopped()) == (False, True, False)
    job(3).record(Outcome(1, "failed", id="c", ran=True))
    assert job(2).stopped()
    assert [outcome.number for outcome in outcomes(running)] == [0, 1, 3]
    assert outcomes(running)[0].overrides == ("codec=zstd",)
    assert outcomes(Sweep(str(tmp_path / "other"), 5, 0.0, stop=False)) == []
    assert Job(Sweep(str(tmp_path), None, 0.0, stop=False), 6, ()).progress() == "cell 7, 3 done"


def test_commands_are_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a 'b', $c"
    folder.mkdir()
    (named,) = name_models([f"model={folder}"])
    assert str(folder) not in named
    assert as_typed(named) == f"model={folder}"
    assert as_typed(name_models(["model=org/name"])[0]) == "model=org/name"
    for word in ("model=llama", "codec=zstd", "model.revision=main", "~dedup"):
        assert as_typed(word) == word
    monkeypatch.setattr("sys.orig_argv", ["python", "-X", "dev", "run.py"])
    monkeypatch.setattr("sys.argv", ["run.py"])
    line = command_line([named, "eval.tasks=[a,b]", "hydra/launcher=joblib", "hydra.sweep.dir=x"])
    assert shlex.split(line) == ["python", "run.py", f"model={folder}", "eval.tasks=[a,b]"]


def test_the_retry_script_ends_with_the_worst_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = retry_script(
        tmp_path / "retry.sh", ["touch 'a b'", "exit_with() { return $1; }; exit_with 2", "false"]
    )
    assert subprocess.run(["sh", str(script)], check=False).returncode == 2
    assert (tmp_path / "a b").exists()
    assert subprocess.run(["sh", str(retry_script(tmp_path / "x.sh", ["true"]))], check=False).returncode == 0


def row(codec: str, raw: int, seconds: float, revision: str = "r", kind: str = "tensor") -> Row:
    cell = {
        "codec": {"name": codec}, "model": {"name": "m", "revision": revision, "dtype": None},
        "workload": {"kind": "single"}, "granularity": {"kind": kind}, "dedup": False,
        "measure": {"name": "ratio"}, "eval": {"mode": "none"},
    }  # fmt: skip
    result = {"sizes": {"raw_bytes": raw, "stored_bytes": raw // 2}}
    return Row(identity(cell), cell, Status.OK, result=result, seconds=seconds)


def test_the_nearest_earlier_row_tells_the_cost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked = row("elf", 0, 0.0, "new").cell
    assert estimate(asked, 1000, tmp_path) is None
    _rows.cache_clear()
    small, large = row("elf", 100, 1.0, "a"), row("elf", 4000, 50.0, "b")
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "x.png").write_bytes(b"x" * 1000)
    large = replace(large, artifacts=("artifacts/x.png",))
    failed = replace(row("elf", 1000, 9.0), status=Status.FAILED)
    for each in (small, large, failed, row("zstd", 1000, 3.0)):
        store.put(each)
    cost = estimate(asked, 1000, tmp_path)
    assert cost is not None
    assert (cost.like, cost.scale, cost.seconds, cost.scratch_bytes) == (large.id, 0.25, 12.5, 500)
    assert cost.kept_bytes == 1000 + store.path(large.id).stat().st_size
    assert "about 12 s, scratch 500 B, keeps" in cost.words()
    # The same model comes before a nearer size.
    again = estimate(row("elf", 0, 0.0, "a", "chunk").cell, 4000, tmp_path)
    assert again is not None
    assert again.like == small.id
    other = row("elf", 0, 0.0, "a").cell | {"measure": {"name": "paper"}}
    assert estimate(other, 100, tmp_path) is None
    _rows.cache_clear()


def test_times_and_sizes_in_words() -> None:
    assert [duration(s) for s in (0.2, 59, 90, 5400, 100_000)] == [
        "1 s",
        "59 s",
        "2 min",
        "1.5 h",
        "1.2 days",
    ]
    assert [size(n) for n in (0, 999, 1500, 2.5e9, 1e15)] == ["0 B", "999 B", "1.5 kB", "2.5 GB", "1 PB"]
