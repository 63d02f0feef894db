"""What is turned, from the mildest to the most lossy; options of the command line."""

from __future__ import annotations

import pytest

from weightbench.request import BadRequestError
from weightbench.tuning.__main__ import evaluation_for, main, plan_of
from weightbench.tuning.knobs import KNOBS, grid, knob_of
from weightbench.tuning.plan import TunePlan
from weightcodecs import ConfigError, codec_class


@pytest.mark.parametrize("codec", KNOBS)
def test_knobs_are_options_of_their_codecs(codec: str) -> None:
    knob = KNOBS[codec]
    assert knob.parameter is None or knob.parameter in codec_class(codec).__dataclass_fields__


def test_bounds_go_by_powers_of_two() -> None:
    values, ordered = grid(knob_of("elf", TunePlan()), 1)
    assert ordered
    assert (len(values), values[0], values[-1]) == (23, 2.0**-24, 0.25)
    values, _ = grid(knob_of("sz3", TunePlan(low=2**-4, high=2**-3)), 2)
    assert values == pytest.approx([2**-4, 2**-3.5, 2**-3])


def test_bits_go_down() -> None:
    values, ordered = grid(knob_of("zipnn_lossy", TunePlan(low=3, high=6)), 1)
    assert (list(values), ordered) == ([6, 5, 4, 3], True)


def test_choices_have_no_order() -> None:
    assert grid(knob_of("int8", TunePlan()), 1) == ((None,), False)
    values, ordered = grid(knob_of("cast", TunePlan(values=("bfloat16",))), 1)
    assert (values, ordered) == (("bfloat16",), False)


def test_other_options() -> None:
    plan = TunePlan(parameter="level", low=1, high=8)
    assert grid(knob_of("zstd", plan), 1) == ([1.0, 2.0, 4.0, 8.0], True)
    assert grid(knob_of("zstd", TunePlan(parameter="level", values=(3, 9))), 1) == ((3, 9), True)
    for plan, said in (
        (TunePlan(), "has no option that is known"),
        (TunePlan(parameter="level"), "from where to where"),
        (TunePlan(values=(1,)), "which option"),
    ):
        with pytest.raises(ConfigError, match=said):
            knob_of("zstd", plan)
    with pytest.raises(ConfigError, match="no value"):
        grid(knob_of("elf", TunePlan(low=0.3, high=0.4)), 1)


def test_arguments() -> None:
    plan, rest = plan_of(["codec=elf", "tune.budget=0.5", "tune.values=[1,2.5]", "model=llama"])
    assert (plan.budget, plan.values, rest) == (0.5, (1, 2.5), ["codec=elf", "model=llama"])
    assert plan_of([])[0] == TunePlan()
    with pytest.raises(BadRequestError, match="no option 'budgt'; it has: budget"):
        plan_of(["tune.budgt=1"])
    for wrong in ("tune.budget=-1", "tune.budget=much", "tune.steps=0", "tune.metric=acc", "tune.low=0"):
        with pytest.raises(ConfigError, match=r"tune\."):
            plan_of([wrong])


def test_the_evaluation_follows_the_metric() -> None:
    assert evaluation_for("kl", []) == ["measure=ratio", "eval=kl"]
    assert evaluation_for("arc_easy/acc", ["measure=smoke"])[:2] == ["eval=lm_eval", "eval.tasks=[arc_easy]"]
    assert evaluation_for("kl", ["eval=lm_eval_quick", "eval.limit=20"]) == ["measure=ratio"]


def test_wrong_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "budget" in capsys.readouterr().out
    for arguments in (["tune.budget=-1"], ["codec=elv"], ["codec=elf", "model.dytpe=float16"]):
        assert main(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1
