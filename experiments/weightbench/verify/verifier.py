"""Verify unit by unit, round by round, holding a few numbers a unit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from weightbench.systems import Coder
from weightbench.verify.compare import check
from weightbench.verify.histogram import new_counts, plain_counts
from weightbench.verify.moments import Moments, psnr
from weightbench.verify.verdict import UnitVerdict, Verdict

__all__ = ["Verifier"]

_MAX_VIOLATIONS = 20


@dataclass
class Verifier:
    """Collects the verdicts of all units of one codec.

    The first check of a unit compares every value. Later rounds of a bounded codec compare the decoded bits
    with those of the first round (by XXH3-128), and every value again only if they differ.
    """

    codec: Coder
    _first: dict[str, tuple[bytes, UnitVerdict, Moments]] = field(default_factory=dict)
    _worse: dict[str, UnitVerdict] = field(default_factory=dict)
    _counts: NDArray[np.int64] = field(default_factory=new_counts)
    _checks: int = 0
    _repeatable: bool = True

    def add(self, key: str, original: NDArray[Any], decoded: NDArray[Any], round: int = 1) -> UnitVerdict:
        """Check one decoded unit.

        Args:
            key: the unit's; the same key again is a later round.
            original: as it was before encoding.
            decoded: as it came back.
            round: from 1, for the verdict.

        Raises:
            UnsupportedFormatError: `original` has a dtype outside the float-format table.
        """
        self._checks += 1
        known = self._first.get(key)
        if known is not None and known[0] and known[0] == _digest(decoded):
            return known[1]
        counts = self._counts if known is None else None
        verdict, moments = check(self.codec, original, decoded, key, round, counts)
        if known is None:
            # What a lossless codec gave back is compared with the original again: that is as fast as a hash.
            plainly_exact = verdict.bit_exact and verdict.bound.lossless
            self._first[key] = (b"" if plainly_exact else _digest(decoded), verdict, moments)
            return verdict
        if verdict.bit_exact and known[1].bit_exact:
            return verdict
        self._repeatable = False
        # Means and counts stay those of the first round; extremes and broken promises count in any.
        self._worse[key] = _worse(self._worse.get(key, known[1]), verdict)
        return verdict

    @property
    def violated(self) -> bool:
        """Whether any unit broke the promise in any round."""
        return any(unit.violated for unit in self.units())

    def units(self) -> list[UnitVerdict]:
        """One verdict a unit, in the order of first checks; a later round's if that broke the promise."""
        return [
            self._worse[key] if key in self._worse and self._worse[key].violated else first
            for key, (_, first, _) in self._first.items()
        ]

    def verdict(self) -> Verdict:
        """All units together."""
        units = self.units()
        varied = list(self._worse.values())
        moments = Moments()
        for _, _, part in self._first.values():
            moments.merge(part)
        values, exact = sum(u.values for u in units), sum(u.exact_values for u in units)
        lows = [u.smallest for u in units if u.smallest is not None]
        highs = [u.largest for u in units if u.largest is not None]
        shares = [u.max_bound_share for u in units + varied if u.max_bound_share is not None]
        return Verdict(
            violated=any(u.violated for u in units),
            bit_exact=all(u.bit_exact for u in units + varied),
            repeatable=self._repeatable,
            bounds={
                u.format: {
                    "absolute": u.bound.absolute,
                    "relative": u.bound.relative,
                    **({"of_max": u.bound.of_max} if u.bound.of_max else {}),
                }
                for u in sorted(units, key=lambda u: u.format)
            },
            units=len(units),
            verified=self._checks,
            values=values,
            exact_values=exact,
            exact_share=exact / values if values else None,
            compared=sum(u.compared for u in units),
            max_abs_error=_largest(u.max_abs_error for u in units + varied),
            max_rel_error=_largest(u.max_rel_error for u in units + varied),
            mean_error=moments.mean,
            std_error=moments.std,
            rmse=moments.rms,
            psnr_db=psnr(min(lows, default=None), max(highs, default=None), moments.rms),
            share_beyond_bound=sum(u.beyond_bound for u in units) / values if values else None,
            max_bound_share=max(shares, default=None),
            nonfinite_changed=sum(u.nonfinite_changed for u in units),
            zero_sign_changed=sum(u.zero_sign_changed for u in units),
            violations=tuple(u.violation for u in units if u.violation is not None)[:_MAX_VIOLATIONS],
            histogram=plain_counts(self._counts),
        )


def _worse(before: UnitVerdict, now: UnitVerdict) -> UnitVerdict:
    shares = [unit.max_bound_share for unit in (before, now) if unit.max_bound_share is not None]
    return dataclasses.replace(
        now if now.violated and not before.violated else before,
        bit_exact=before.bit_exact and now.bit_exact,
        max_abs_error=max(before.max_abs_error, now.max_abs_error),
        max_rel_error=max(before.max_rel_error, now.max_rel_error),
        max_bound_share=max(shares, default=None),
    )


def _largest(numbers: Iterable[float]) -> float:
    return max(numbers, default=0.0)


def _digest(decoded: NDArray[Any]) -> bytes:
    array = np.ascontiguousarray(decoded)
    digest = xxhash.xxh3_128(f"{array.dtype.name}{array.shape}".encode())
    digest.update(memoryview(array.reshape(-1).view(np.uint8)))  # type: ignore[arg-type]
    return digest.digest()
