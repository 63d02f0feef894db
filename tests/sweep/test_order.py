"""Timings in random order: which sweeps, which order, and the same cells as Hydra's own sweeper makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from weightbench.request import BadRequestError, register_schema, request_of
from weightbench.sweep import command_line, register_sweeper
from weightbench.sweep.order import ShuffledSweeper, order, shuffle_seed
from weightbench.sweep.watch import SHUFFLED

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides: str) -> DictConfig:
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=True)


@given(st.integers(0, 300), st.integers(0, 5))
def test_an_order_is_a_permutation_that_the_seed_gives(count: int, seed: int) -> None:
    found = order(count, seed)
    assert sorted(found) == list(range(count))
    assert found == order(count, seed)


def test_drift_lines_up_with_no_axis() -> None:
    """With 10 × 10 cells, each value of either axis is early and late by turns."""
    found = order(100, 0)
    for axis in (lambda number: number // 10, lambda number: number % 10):
        for value in range(10):
            places = [place for place, number in enumerate(found) if axis(number) == value]
            assert 25 < sum(places) / 10 < 75


@pytest.mark.parametrize(
    ("overrides", "seed"),
    [
        (["measure=timing"], 0),
        (["measure=paper", "hydra.sweeper.seed=3"], 3),
        (["measure=timing", "hydra.sweeper.seed=null"], None),
        (["measure=timing", "hydra/sweeper=basic"], None),
        (["measure=ratio"], None),
        (["measure=smoke"], None),
        (["measure=ratio", "measure.min_rounds=2"], 0),
        (["measure=timing", "measure.min_rounds=0"], None),  # each cell says what is wrong
        (["experiment=granularities", "measure=ratio"], None),
    ],
)
def test_sweeps_of_timings_are_shuffled(overrides: list[str], seed: int | None) -> None:
    assert shuffle_seed(composed(*overrides)) == seed


def test_a_sweep_over_measures_is_shuffled() -> None:
    config = composed("measure=ratio")
    config.hydra.overrides.task = ["measure=ratio,timing"]
    assert shuffle_seed(config) == 0


@pytest.mark.parametrize("batch", [None, 1, 4, 100])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_the_cells_are_those_of_hydras_sweeper(batch: int | None, seed: int | None) -> None:
    words = ["codec=zstd,lz4,elf", "granularity=tensor,chunk", "model=llama"]
    overrides = OverridesParser.create().parse_overrides(words)
    batches = ShuffledSweeper(batch, seed=seed).split_arguments(overrides, batch)
    (expected,) = BasicSweeper.split_arguments(overrides, None)
    jobs = [job for each in batches for job in each]
    if seed is None:
        assert jobs == expected
    else:
        assert jobs == [expected[number] for number in order(6, seed)]
        assert jobs != expected
    assert max(map(len, batches)) == min(batch or 6, 6)


def test_hydra_finds_the_sweeper() -> None:
    register_sweeper()
    config = composed("hydra.sweeper.seed=5")
    made = Plugins.instance().instantiate_sweeper(
        config=config,
        hydra_context=Any,  # type: ignore[arg-type]
        task_function=print,
    )
    assert isinstance(made, ShuffledSweeper)
    assert config.hydra.sweeper._target_ == SHUFFLED


def test_a_command_says_each_word_once() -> None:
    assert command_line(["codec=zstd", "force=true", "force=true"]).endswith(" codec=zstd force=true")


def test_waiting_is_no_negative_time() -> None:
    config: Any = {**composed_plain(), "quiet_wait_s": -1.0}
    with pytest.raises(BadRequestError, match="quiet_wait_s must not be negative"):
        request_of(config)
    waits = request_of({**composed_plain(), "quiet_wait_s": 60.0})
    assert waits.cell(["m"], "r") == request_of(composed_plain()).cell(["m"], "r")


def composed_plain() -> dict[str, Any]:
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("config"), resolve=True)  # type: ignore[return-value]
