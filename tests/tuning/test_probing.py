"""Probes are cells: run once, found again, reported; answers as files and pictures. Rows come from a fake."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from weightbench import canonical
from weightbench.request import Request, register_schema
from weightbench.rows import Row, Status
from weightbench.store import Store, identity
from weightbench.tuning.plan import TunePlan
from weightbench.tuning.probing import NotTunableError, Probe, Tuning, tune
from weightbench.tuning.report import print_answers, print_probe, write_picture, write_tuning
from weightcodecs import ConfigError

CONF = Path(__file__).parents[2] / "conf"


def composed(root: Path, *overrides: str) -> dict[str, Any]:
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=["measure=ratio", "eval=kl", f"results={root}", *overrides])
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


class Lab:
    """Gives rows whose loss is a function of an option of the codec, and keeps them as a run would."""

    def __init__(self, option: str, loss: Callable[[Any], float], wide: float = 1.1) -> None:
        self.option, self.loss, self.wide, self.ran = option, loss, wide, list[Any]()

    def __call__(
        self, request: Request, config: Mapping[str, Any], cell: Mapping[str, Any], store: Store
    ) -> Row:
        value = cell["codec"].get(self.option)
        assert config["codec"].get(self.option) == value
        self.ran.append(value)
        loss = self.loss(value)
        interval = {"low": loss / self.wide, "high": loss * self.wide}
        result = {
            "error": {"bit_exact": loss == 0},
            "sizes": {"ratio": 2.0 + len(self.ran), "stored_bytes": 100},
            "evaluation": {
                "status": "ok",
                "changes": [],
                "likelihood": None,
                "divergence": {"mean": loss, "interval": interval},
            },
        }
        return store.put(Row(identity(cell), cell, Status.OK, result=result))


def test_the_largest_bound_within_the_budget_and_nothing_twice(tmp_path: Path) -> None:
    lab = Lab("error_bound_absolute", lambda bound: bound**2)
    told: list[Probe] = []
    config = composed(tmp_path, "codec=elf")
    found = tune(config, TunePlan(budget=1e-4), run_cell=lab, told=told.append)
    assert found.best is not None
    assert found.best.value == 2.0**-7  # 2^-14 · 1.1 < 1e-4 < 2^-12 / 1.1
    assert [probe.value for probe in found.probes] == sorted(lab.ran)
    assert len(told) == len(lab.ran) == len({*lab.ran}) <= 6
    assert {probe.judgement for probe in found.probes} == {"within", "beyond"}
    assert "error_bound_absolute" not in found.cell["codec"]
    assert (found.above, found.unsteady, found.refused) == ((), (), {})
    # the same question, and one with another budget, start from what is there
    before = len(lab.ran)
    again = tune(config, TunePlan(budget=1e-4), run_cell=lab)
    assert (again, len(lab.ran)) == (found, before)
    other = tune(config, TunePlan(budget=2e-4), run_cell=lab)
    assert len(lab.ran) <= before + 1
    assert other.id != found.id
    tune({**config, "force": True}, TunePlan(budget=1e-4), run_cell=lab)
    assert len(lab.ran) > before + 3


def test_fewest_bits(tmp_path: Path) -> None:
    lab = Lab("factor", lambda bits: 4.0**-bits, wide=1.01)
    found = tune(composed(tmp_path, "codec=zipnn_lossy"), TunePlan(budget=1e-3), run_cell=lab)
    assert found.best is not None
    assert found.best.value == 5
    assert found.values == tuple(range(30, 0, -1))


def test_values_that_a_codec_refuses_are_left_out(tmp_path: Path) -> None:
    lab = Lab("factor", lambda bits: 4.0**-bits)
    config = composed(tmp_path, "codec=zipnn_lossy", "model.dtype=float16")
    found = tune(config, TunePlan(budget=1e-3), run_cell=lab)
    assert found.values == tuple(range(14, 0, -1))
    assert "no room" in found.refused["15"]
    with pytest.raises(NotTunableError, match="7 mantissa bits"):
        tune(composed(tmp_path, "codec=elf", "model.dtype=bfloat16"), TunePlan(), run_cell=lab)


def test_fixed_points_and_choices(tmp_path: Path) -> None:
    lab = Lab("to", lambda dtype: 0.0 if dtype == "float16" else 0.5 if "e5" in dtype else 1e-3)
    found = tune(composed(tmp_path, "codec=cast"), TunePlan(), run_cell=lab)
    assert lab.ran == ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
    assert found.best is not None
    assert found.best.value == "float8_e4m3fn"  # later ratios of the lab are larger
    found = tune(composed(tmp_path, "codec=int8"), TunePlan(), run_cell=Lab("", lambda _: 0.5))
    assert (found.best, len(found.probes)) == (None, 1)


def test_a_loss_that_does_not_grow_steadily_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {2.0**-6: 0.5}
    lab = Lab("error_bound_absolute", lambda bound: bad.get(bound, 1e-4))
    plan = TunePlan(low=2**-9, high=2**-3)
    found = tune(composed(tmp_path, "codec=elf"), plan, run_cell=lab)
    assert found.best is not None
    assert found.best.value == 2.0**-7
    assert found.above == (2.0**-5,)
    assert found.unsteady == ((2.0**-6, 2.0**-5),)
    print_answers([found])
    out = capsys.readouterr().out
    assert "within the budget again at 0.03125" in out
    assert "the loss falls from error_bound_absolute=0.015625 to 0.03125" in out


def test_cells_that_end_badly_count_as_beyond(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def crash(request: Request, config: Any, cell: Mapping[str, Any], store: Store) -> Row:
        return Row(identity(cell), cell, Status.OOM, reason="out of memory")

    found = tune(
        composed(tmp_path, "codec=elf"), TunePlan(low=0.01, high=0.1), run_cell=crash, told=print_probe
    )
    assert found.best is None
    assert {probe.judgement for probe in found.probes} == {"failed"}
    print_answers([found])
    out = capsys.readouterr().out
    assert "nothing is within the budget" in out
    assert "oom: out of memory" in out

    def skip(request: Request, config: Any, cell: Mapping[str, Any], store: Store) -> Row:
        return Row(identity(cell), cell, Status.SKIPPED, reason="no text beside it")

    with pytest.raises(NotTunableError, match="no text"):
        tune(composed(tmp_path, "codec=elf"), TunePlan(), run_cell=skip)


def test_what_cannot_be_tuned(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="zstd has no option"):
        tune(composed(tmp_path, "codec=zstd"), TunePlan())
    with pytest.raises(NotTunableError, match="workload=single"):
        tune(composed(tmp_path, "codec=elf", "workload=hub"), TunePlan())


def answers(root: Path) -> list[Tuning]:
    return [
        tune(composed(root, "codec=elf"), TunePlan(), run_cell=Lab("error_bound_absolute", lambda b: 4 * b)),
        tune(composed(root, "codec=zipnn_lossy"), TunePlan(),
             run_cell=Lab("factor", lambda bits: math.nan if bits < 4 else 2.0**-bits, wide=3)),
        tune(composed(root, "codec=cast"), TunePlan(), run_cell=Lab("to", lambda dtype: 0.0)),
        tune(composed(root, "codec=int4"), TunePlan(), run_cell=Lab("", lambda _: 0.7)),
    ]  # fmt: skip


def test_answers_are_written_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answers(tmp_path)
    path = write_tuning(found[0], tmp_path)
    held: Any = canonical.loads(path.read_bytes())
    assert path.parent == tmp_path / "tuning"
    assert path.stem == held["id"] == found[0].id
    assert held["best"]["value"] == 2.0**-9
    assert all(Store(tmp_path).get(probe["row"]) is not None for probe in held["probes"])
    assert write_picture(found, tmp_path).read_bytes().startswith(b"\x89PNG")
    print_answers(found)
    out = capsys.readouterr().out
    assert "error_bound_absolute=0.00195312" in out
    assert "unclear at" in out
    nothing = [each for each in found if each.best is None]
    assert write_picture(nothing, tmp_path).exists()
