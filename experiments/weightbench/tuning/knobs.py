"""Which option of a codec is turned, and which values it may have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from weightbench.tuning.plan import Scalar, TunePlan
from weightcodecs.errors import ConfigError

__all__ = ["KNOBS", "Knob", "grid", "knob_of"]


@dataclass(frozen=True, slots=True)
class Knob:
    """An option of a codec.

    Attributes:
        parameter: its name; None for a codec that can only be taken as it is.
        kind: "log" (a number, larger is more lossy, powers of two and points between them), "bits" (a whole
            number, fewer is more lossy), or "choice" (values in no order that could be bisected).
        low, high: smallest and largest value of a number.
        values: the choices.
    """

    parameter: str | None
    kind: Literal["log", "bits", "choice"]
    low: float = 0.0
    high: float = 0.0
    values: tuple[Scalar | None, ...] = ()


_BOUND = Knob("error_bound_absolute", "log", 2.0**-24, 2.0**-2)
_FIXED = Knob(None, "choice", values=(None,))

KNOBS: dict[str, Knob] = {
    "elf": _BOUND,
    "sz3": _BOUND,
    "zfp": _BOUND,
    "zipnn_lossy": Knob("factor", "bits", 1, 30),
    "cast": Knob("to", "choice", values=("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")),
    "int8": _FIXED,
    "int4": _FIXED,
    "nf4": _FIXED,
}
"""What is turned unless ``tune.parameter`` says otherwise. Quantisers have no knob: they are points to
compare with. The bound 2^-24 is Elf's finest for float32; zipnn_lossy holds 30 bits in float32."""


def knob_of(codec: str, plan: TunePlan) -> Knob:
    """Return the knob of a codec under a plan.

    Raises:
        ConfigError: the codec has none that is known, or the plan does not fit it.
    """
    knob = KNOBS.get(codec)
    if plan.values:
        parameter = plan.parameter or (knob.parameter if knob else None)
        if parameter is None:
            raise ConfigError(f"say which option of {codec} the values are for: tune.parameter=…")
        return Knob(parameter, "choice" if knob == KNOBS["cast"] else "log", values=plan.values)
    if knob is not None and plan.parameter in (None, knob.parameter):
        low, high = plan.low or knob.low, plan.high or knob.high
        return Knob(knob.parameter, knob.kind, low, high, knob.values)
    if plan.parameter is None:
        known = ", ".join(sorted(KNOBS))
        raise ConfigError(f"{codec} has no option that is known to be tuned (these have: {known}); "
                          "say tune.parameter=…, with tune.low and tune.high or tune.values")  # fmt: skip
    if plan.low is None or plan.high is None:
        raise ConfigError(
            f"say from where to where {codec}'s {plan.parameter} may go: tune.low=… tune.high=…"
        )
    return Knob(plan.parameter, "log", plan.low, plan.high)


def grid(knob: Knob, steps: int) -> tuple[Sequence[Scalar | None], bool]:
    """Return a knob's values from the mildest to the most lossy, and whether that is their order.

    Args:
        knob: the knob; a list of values is taken as it is.
        steps: points an octave of a logarithmic grid, whose points are powers of 2^(1/steps).

    Raises:
        ConfigError: no value lies between low and high.
    """
    if knob.values:
        return knob.values, knob.kind != "choice"
    values: list[Scalar | None]
    if knob.kind == "bits":
        values = list(range(math.floor(knob.high), math.ceil(knob.low) - 1, -1))
    else:
        # 1e-9: the logarithm of a power of two may come out a hair beside the whole number
        first = math.ceil(math.log2(knob.low) * steps - 1e-9)
        last = math.floor(math.log2(knob.high) * steps + 1e-9)
        values = [2.0 ** (index / steps) for index in range(first, last + 1)]
    if not values:
        raise ConfigError(f"no value of the grid lies between {knob.low:g} and {knob.high:g}")
    return values, True
