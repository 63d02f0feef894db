"""What verification says. Every number is finite or None."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from weightcodecs import ErrorBound

__all__ = ["UnitVerdict", "Verdict", "Violation"]


@dataclass(frozen=True, slots=True)
class Violation:
    """The first value at which a codec broke its promise.

    Attributes:
        unit: key of the unit.
        kind: "not bit-exact", "beyond bound", "non-finite changed", or "shape or dtype".
        round: in which round of the measurement, from 1.
        index: flat index into the unit; None for "shape or dtype".
        original, decoded: the values, as text.
        original_bits, decoded_bits: their bit patterns in hexadecimal; "" for "shape or dtype".
        bound: what was promised, as text.
    """

    unit: str
    kind: str
    round: int
    index: int | None
    original: str
    decoded: str
    original_bits: str
    decoded_bits: str
    bound: str

    def message(self) -> str:
        """One line for the table."""
        where = self.unit if self.index is None else f"{self.unit}[{self.index}]"
        return (
            f"{self.kind}: {where} was {self.original}{self._bits(self.original_bits)}, came back as "
            f"{self.decoded}{self._bits(self.decoded_bits)} in round {self.round}; promised: {self.bound}"
        )

    @staticmethod
    def _bits(bits: str) -> str:
        return f" (0x{bits})" if bits else ""


@dataclass(frozen=True, slots=True)
class UnitVerdict:
    """One unit's decoded values beside the originals. Errors are over values finite on both sides.

    Attributes:
        key: the unit's.
        format: number format.
        bound: what the codec promises for that format.
        values: elements.
        bit_exact: every bit came back.
        exact_values: elements that came back bit for bit.
        compared: elements finite on both sides: what the error statistics are over.
        max_abs_error: largest |decoded − original|.
        max_rel_error: largest |decoded − original| / |original| over original ≠ 0.
        mean_error, std_error: mean and standard deviation (over n) of decoded − original.
        rmse: root of the mean squared error.
        psnr_db: 20·log10((largest − smallest original) / rmse); None if rmse or the range is 0.
        smallest, largest: of the original finite values; None if there are none or the unit is bit-exact and
            lossless by promise (then nobody needs them and they are not looked for).
        beyond_bound: elements beyond the bound.
        max_bound_share: largest error over its bound, 1.0 = at the bound; None for a lossless promise.
        nonfinite_changed: NaN (payload included) and infinities that changed, finite values that became such.
        zero_sign_changed: zeros that came back with the other sign.
        violation: the first broken promise, or None.
    """

    key: str
    format: str
    bound: ErrorBound
    values: int
    bit_exact: bool
    exact_values: int
    compared: int = 0
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    mean_error: float = 0.0
    std_error: float = 0.0
    rmse: float = 0.0
    psnr_db: float | None = None
    smallest: float | None = None
    largest: float | None = None
    beyond_bound: int = 0
    max_bound_share: float | None = None
    nonfinite_changed: int = 0
    zero_sign_changed: int = 0
    violation: Violation | None = None

    @property
    def violated(self) -> bool:
        """Whether the codec broke its promise here."""
        return self.violation is not None


@dataclass(frozen=True, slots=True)
class Verdict:
    """All units together; attributes as in `UnitVerdict`.

    Attributes:
        violated: the codec broke its promise somewhere.
        repeatable: every later round decoded to the same bits as the first.
        bounds: promise per number format: {"float32": {"absolute": …, "relative": …}}.
        units, verified: units, and unit checks over all rounds.
        exact_share: share of values that came back bit for bit; None without values.
        share_beyond_bound: share of values beyond the bound; None without values.
        violations: the first broken promise of every unit that has one, at most 20 of them.
        histogram: |decoded − original| by powers of two over the `compared` values of first rounds, see
            `weightbench.verify.histogram.plain_counts`; None if there are none.
    """

    violated: bool
    bit_exact: bool
    repeatable: bool
    bounds: dict[str, dict[str, float]]
    units: int
    verified: int
    values: int
    exact_values: int
    exact_share: float | None
    compared: int
    max_abs_error: float
    max_rel_error: float
    mean_error: float
    std_error: float
    rmse: float
    psnr_db: float | None
    share_beyond_bound: float | None
    max_bound_share: float | None
    nonfinite_changed: int
    zero_sign_changed: int
    violations: tuple[Violation, ...]
    histogram: dict[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """Nested dicts and lists of JSON's own types, without NaN or infinity."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))
        return plain

    def message(self) -> str:
        """One line for the table: the first broken promise, or ""."""
        return self.violations[0].message() if self.violations else ""
