"""What the codecs are to reach, and whether they do: one table, evaluated on the rows of a measurement."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from rounds import ALONE


@dataclass(frozen=True)
class Target:
    """A limit for some rows.

    Attributes:
        family, case, contestant: shell patterns of the rows it is for.
        threads: of these rows.
        what: bits (a parameter), ratio (raw over coded), payload (share of raw without the blob's own
            header and checksum); or payload, size, encode or decode in comparison with `other`.
        sign: at most or at least.
        limit: the number.
    """

    family: str
    case: str
    contestant: str
    threads: int
    what: Literal["bits", "ratio", "payload", "size", "encode", "decode"]
    sign: Literal["<=", ">="]
    limit: float
    other: str = ""

    @property
    def words(self) -> str:
        """As the tables have it."""
        beside = f" / {self.other}" if self.other else ""
        return f"{self.what}{beside} {self.sign} {self.limit:.6g}"


def both(
    family: str, case: str, contestant: str, threads: int, other: str, encode: float, decode: float
) -> list[Target]:
    """Return targets for encode and decode speed."""
    return [
        Target(family, case, contestant, threads, "encode", ">=", encode, other),
        Target(family, case, contestant, threads, "decode", ">=", decode, other),
    ]


_ZIPNN = ("zipnn", "zoo", "minilm")
TARGETS: tuple[Target, ...] = (
    *(Target(family, "*", "zipnn auto", 1, "size", "<=", 1.0, "zipnn official") for family in _ZIPNN),
    *(
        target
        for family in _ZIPNN
        for target in (
            *both(family, "*", "zipnn auto", 1, "zipnn official", 2.5, 1.8),
            *both(family, "*", "zipnn auto", 2, ALONE, 1.6, 1.6),
            # Not for fp16, which openzl stores whole with these graphs.
            *both(family, "bf16*", "zipnn huffman", 1, "openzl huffman", 1.0, 1.0),
            *both(family, "bf16*", "zipnn ans", 1, "openzl fse", 1.0, 1.0),
            *both(family, "fp32*", "zipnn huffman", 1, "openzl huffman", 1.0, 1.0),
            *both(family, "fp32*", "zipnn ans", 1, "openzl fse", 1.0, 1.0),
        )
    ),
    Target("zipnn", "bf16", "zipnn ans", 1, "ratio", ">=", 1.515),
    Target("vectors", "*", "fm_delta paper", 1, "payload", "<=", 1.0, "FM-Delta recorded"),
    Target("vectors", "*", "fm_delta 8", 1, "size", "<=", 1.0, "FM-Delta recorded"),
    Target("*", "*", "fm_delta 8", 1, "size", "<=", 1.0, "fm_delta paper"),
    *both("pairs", "*", "fm_delta paper", 1, "memcpy", 0.02, 0.02),
    *both("pairs", "*", "fm_delta 8", 1, "memcpy", 0.10, 0.12),
    Target("vectors", "bfloat16 0.0001", "bitx auto", 1, "bits", "<=", 4.30),
    Target("vectors", "bfloat16 *", "bitx auto", 1, "size", "<=", 1.0, "BitX recorded"),
    *both("pairs", "*", "bitx auto", 1, "memcpy", 0.07, 0.15),
    Target("qstore", "gaussian bf16 (g)", "qstore fast", 1, "bits", "<=", 10.75),
    Target("qstore", "student-t5 bf16 (t)", "qstore fast", 1, "bits", "<=", 10.95),
    Target("qstore", "row-varying bf16 (r)", "qstore fast", 1, "bits", "<=", 10.95),
    Target("qstore", "gaussian fp16 (g)", "qstore fast", 1, "bits", "<=", 13.9),
    Target("qstore", "*", "qstore fast", 1, "decode", ">=", 0.035, "memcpy"),
    Target("qstore", "*", "qstore INT8 alone", 1, "decode", ">=", 0.15, "memcpy"),
    Target("elf", "float32 *", "elf none", 1, "payload", "<=", 24 / 32),
    Target("elf", "float16 *", "elf none", 1, "payload", "<=", 11 / 16),
    Target("elf", "float64 *", "elf none", 1, "payload", "<=", 53 / 64),
    Target("elf", "float32 *", "elf auto", 1, "ratio", ">=", 1.60),
    *both("elf", "*", "elf none", 1, "memcpy", 0.5, 0.5),
    *(
        target
        for name, library in (("zstd 1", "zstd library 1"), ("zstd 3", "zstd library 3"),
                              ("lz4", "lz4 library"), ("brotli 1", "brotli library 1"))
        for target in both("adapters", "*", name, 1, library, 0.97, 0.97)
    ),
)  # fmt: skip
"""The sources of these numbers: the official programs' own on the same data, with a margin. `elf` holds where
no value is an exception."""


def judge(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the targets of a row of a family with what it reached, where that was measured."""
    judged = []
    for target in TARGETS:
        if not (
            fnmatchcase(row["family"], target.family)
            and fnmatchcase(row["case"], target.case)
            and row["contestant"] == target.contestant
            and target.threads == row["threads"]
        ):
            continue
        value = _value(row, target)
        if value is not None:
            met = value <= target.limit if target.sign == "<=" else value >= target.limit
            judged.append({"target": target.words, "value": value, "met": met})
    return judged


def _value(row: dict[str, Any], target: Target) -> float | None:
    if not target.other:
        return row["payload_bytes"] / row["raw_bytes"] if target.what == "payload" else row[target.what]
    found = row["against"].get(target.other, {}).get(target.what)
    return found["median"] if isinstance(found, dict) else found
