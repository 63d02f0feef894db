"""Every system gives back what it was given, and its choice is the one that it promises."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import weightcodecs
from weightbench.granularity import Granularity, units
from weightbench.lineage import BaseValues, Match
from weightbench.models import Model
from weightbench.systems import SYSTEMS, PlainSystem, System, decode_unit, get_system, get_system_or_codec
from weightbench.systems.elves import paper_choice
from weightbench.systems.smallest import SAMPLED, promising, repeats_pay
from weightcodecs import FORMATS, ConfigError, FloatFormat, UnknownNameError, WrongReferenceError, get_codec

Array = NDArray[Any]

CONFIGURATIONS: list[tuple[str, dict[str, Any]]] = [
    ("dedup", {}),
    ("zipllm", {}),
    ("zipllm", {"stand_alone": "zstd"}),
    ("zipllm", {"delta": "fm_delta"}),
    ("zipllm", {"variant": "paper"}),
    ("zipllm", {"variant": "paper", "stand_alone": "zstd"}),
    ("elves", {}),
    ("elves", {"entropy": "zstd", "search": "all"}),
    ("elves", {"error_bound_absolute": 1e-3, "widen_bfloat16": True}),
    ("elves", {"variant": "paper"}),
    ("bitx", {}),
    ("zipnn", {}),
]
every_system = pytest.mark.parametrize(
    "system",
    [
        pytest.param(get_system_or_codec(name, **config), id=f"{name}-{config}")
        for name, config in CONFIGURATIONS
    ],
)
every_format = pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)


def bits(values: Array) -> Array:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def odd_arrays(format: FloatFormat) -> list[Array]:
    """Weights, every kind of bit pattern, repeats, scalars, empty ones, several dimensions."""
    rng = np.random.default_rng(5)
    noise = np.frombuffer(rng.bytes(3001 * format.nbytes), format.bits_dtype).view(format.dtype)
    if format.name == "bool":
        noise = noise.view(np.uint8).astype(bool)
    weights = (rng.standard_normal(5000) * (0.02 if format.is_float else 20)).astype(format.dtype)
    empty = np.empty((0, 4), format.dtype)
    return [
        weights,
        noise,
        np.repeat(weights[:60], 70).reshape(70, 60),
        weights[:1].reshape(()),
        weights[:3],
        empty,
    ]


def base_of(values: Array) -> Array:
    """An array that agrees with `values` but for a low bit here and there."""
    base = values.copy()
    base.reshape(-1).view(np.uint8)[:: 7 * values.itemsize] ^= 1
    return base


def assert_within(system: System, values: Array, decoded: Array) -> None:
    bound = system.error_bound(weightcodecs.format_of(values))
    assert decoded.shape == values.shape
    assert decoded.dtype == values.dtype
    if bound.lossless:
        assert (bits(decoded) == bits(values)).all()
        return
    with np.errstate(invalid="ignore"):
        wide, back = values.astype(np.float64), decoded.astype(np.float64)
        finite = np.isfinite(wide)
        assert (np.abs(back - wide)[finite] <= bound.absolute).all()
    assert (bits(decoded[~finite]) == bits(values[~finite])).all()


@pytest.fixture
def coder_of(mapped: Any, tmp_path: Path) -> Any:
    """What a system makes for a small model."""
    rng = np.random.default_rng(1)
    tensors = [("w", (rng.standard_normal((30, 40)) * 0.02).astype(np.float32)), ("n", np.arange(9))]
    model = mapped(tmp_path, {"small.bin": tensors})
    return lambda system: system.coder(model, units(model, Granularity()), None)


@every_format
@every_system
def test_round_trip(system: System, format: FloatFormat, coder_of: Any) -> None:
    coder = coder_of(system)
    assert (coder.name, coder.version, coder.config()) == (system.name, system.version, system.config())
    assert not coder.needs_reference
    if coder.unsupported(format):
        pytest.skip("refused")
    for values in odd_arrays(format):
        base = base_of(values)
        for reference in (None, base):
            blob = coder.encode(values, reference=reference)
            assert len(blob) <= values.nbytes + 100
            used = weightcodecs.inspect(blob).reference is not None
            assert not used or reference is not None
            decoded = coder.decode(blob, reference=base)
            assert_within(system, values, decoded)
            assert (bits(decode_unit(blob, reference=base if used else None)) == bits(decoded)).all()
            assert (bits(weightcodecs.decode(blob, reference=base if used else None)) == bits(decoded)).all()
            out = np.empty_like(values)
            assert coder.decode(blob, reference=reference, out=out) is out
            if used:
                with pytest.raises(WrongReferenceError):
                    coder.decode(blob)


@every_system
def test_a_system_is_its_configuration(system: System) -> None:
    twin = get_system_or_codec(system.name, **system.config())
    assert twin == system
    assert hash(twin) == hash(system)
    assert pickle.loads(pickle.dumps(system)) == system
    with pytest.raises(dataclasses.FrozenInstanceError):
        system.variant = "other"  # type: ignore[attr-defined]


def test_zipllm_takes_the_smaller(coder_of: Any) -> None:
    coder = coder_of(get_system("zipllm"))
    bitx, zipnn = get_codec("bitx"), get_codec("zipnn")
    rng = np.random.default_rng(0)
    for size in (1000, SAMPLED + 3):
        values = (rng.standard_normal(size) * 0.02).astype(np.float32)
        near = values + (rng.standard_normal(size) * 1e-5).astype(np.float32)
        for base, wanted in ((near, "bitx"), (-values[::-1], "zipnn")):
            blob = coder.encode(values, reference=base)
            assert weightcodecs.inspect(blob).codec == wanted
            assert len(blob) == min(len(bitx.encode(values, reference=base)), len(zipnn.encode(values)))
        assert weightcodecs.inspect(coder.encode(values)).codec == "zipnn"


def test_zipllm_with_the_other_delta(coder_of: Any) -> None:
    coder = coder_of(get_system("zipllm", delta="fm_delta"))
    rng = np.random.default_rng(0)
    for format, wanted in (("float32", "fm_delta"), ("bfloat16", "fm_delta"), ("float8_e4m3fn", "bitx")):
        values = (rng.standard_normal(4000) * 0.02).astype(FORMATS[format].dtype)
        blob = coder.encode(values, reference=base_of(values))
        assert weightcodecs.inspect(blob).codec == wanted
    with pytest.raises(ConfigError, match="delta=bitx"):
        get_system("zipllm", variant="paper", delta="fm_delta")


def test_zipllm_as_published(coder_of: Any) -> None:
    values = np.linspace(-1, 1, 2000).astype(np.float32)
    published = coder_of(get_system("zipllm", variant="paper"))
    released = coder_of(get_system("zipllm", variant="paper", stand_alone="zstd"))
    assert published.encode(values, reference=-values[::-1]) == get_codec("bitx", variant="paper").encode(
        values, reference=-values[::-1]
    )
    assert published.encode(values) == get_codec("zipnn", variant="paper").encode(values)
    assert released.encode(values) == get_codec("zstd", level=3).encode(values)
    doubles = values.astype(np.float64)  # ZipNN as published refuses them
    assert published.encode(doubles) == get_codec("zstd", level=3).encode(doubles)


def families(size: int) -> dict[str, Array]:
    rng = np.random.default_rng(2)
    gaussian = (rng.standard_normal(size) * 0.02).astype(np.float32)
    return {
        "gaussian": gaussian,
        "bfloat16 in float32": gaussian.astype(ml_dtypes.bfloat16).astype(np.float32),
        "a grid": np.round(gaussian * 500).astype(np.float32) / 500 + 2,
        "few": rng.choice(gaussian[:40], size),
        "tiled": np.tile(gaussian[: size // 8], 8),
        "outside": gaussian * 1e4,
        "half": gaussian.astype(np.float16),
        "whole numbers": np.arange(size),
    }


@pytest.mark.parametrize("size", [4000, SAMPLED])
@pytest.mark.parametrize("config", [{}, {"entropy": "zstd"}, {"search": "all"}], ids=str)
def test_elves_takes_the_smallest(size: int, config: dict[str, Any], coder_of: Any) -> None:
    coder = coder_of(get_system("elves", **config))
    ours = [get_codec("zipnn"), get_codec("elf", level=3)]
    theirs = [get_codec("elf", entropy="zstd", level=3)]
    codecs = [
        get_codec("zstd", level=3),
        get_codec("distance", entropy="zstd"),
        *(theirs if config.get("entropy") == "zstd" else ours),
    ]
    chosen = set()
    for what, values in families(size).items():
        format = weightcodecs.format_of(values)
        sizes = [len(codec.encode(values)) for codec in codecs if codec.unsupported(format) is None]
        blob = coder.encode(values)
        assert len(blob) == min(sizes), what
        chosen.add(weightcodecs.inspect(blob).codec)
    assert {"elf", "distance"} < chosen


def test_what_a_sample_leaves_out() -> None:
    few, gaussian = families(SAMPLED)["few"], families(SAMPLED)["gaussian"]
    assert repeats_pay(few, 8.0)
    assert not repeats_pay(gaussian, 20.0)
    codecs = [get_codec(name) for name in ("zipnn", "distance", "elf", "zstd")]
    assert [codec.name for codec in promising(gaussian, codecs)] == ["elf"]
    assert "distance" in [codec.name for codec in promising(np.tile(gaussian[: 1 << 14], 8), codecs)]
    assert promising(gaussian[:-1], codecs) is codecs


def one_tensor_each(mapped: Any, folder: Path, tensors: list[tuple[str, Array]]) -> Model:
    made: Model = mapped(folder, {"weights.bin": tensors})
    return made


@pytest.mark.parametrize(
    ("wanted", "scale"),
    [("raw", 1e4), ("elf", 1.0), ("distance", 0.0)],
)
def test_the_authors_rule(wanted: str, scale: float, mapped: Any, tmp_path: Path) -> None:
    """Weights outside (−1, 1) defeat Elf, many repeats make Distance Encoding the smallest."""
    rng = np.random.default_rng(3)
    weights = (rng.standard_normal((40, 50)) * 0.02).astype(np.float32)
    weights = rng.choice(weights[0, :3], (40, 50)) if scale == 0.0 else weights * np.float32(scale)
    other = rng.standard_normal(300).astype(ml_dtypes.bfloat16)
    made = one_tensor_each(mapped, tmp_path, [("a", weights), ("b", weights[:7] * 2), ("c", other)])
    system = get_system("elves", variant="paper")
    assert paper_choice(units(made, Granularity())) == wanted
    coder = system.coder(made, units(made, Granularity()), None)
    codec = {
        "raw": get_codec("zstd", level=3),
        "distance": get_codec("distance", variant="paper", entropy="zstd"),
        "elf": get_codec("elf", variant="paper", entropy="zstd", level=3),
    }[wanted]
    for unit in units(made, Granularity()):
        used = codec if unit.format == "float32" else get_codec("zstd", level=3)
        assert coder.encode(unit.array()) == used.encode(unit.array())


def test_the_authors_rule_counts_before_zstd_for_the_whole_model(mapped: Any, tmp_path: Path) -> None:
    """Elf wins by the sum, though zstd would make the second tensor far smaller than Elf does."""
    rng = np.random.default_rng(4)
    first = (rng.standard_normal(6000) * 0.02).astype(np.float32)
    second = np.tile(np.linspace(2, 3, 64, dtype=np.float32), 8)
    made = one_tensor_each(mapped, tmp_path, [("a", first), ("b", second)])
    assert paper_choice(units(made, Granularity())) == "elf"
    coder = get_system("elves", variant="paper").coder(made, units(made, Granularity()), None)
    blob = coder.encode(second)
    assert (decode_unit(blob) == second).all()
    # What stands there again is not counted again: then the values outside (−1, 1) would outweigh the rest.
    again = [("a", first), ("b", second), *((f"c{i}", second) for i in range(30))]
    assert paper_choice(units(one_tensor_each(mapped, tmp_path, again), Granularity())) == "elf"


def test_the_authors_rule_of_ties() -> None:
    assert paper_choice(iter(())) == "raw"


def test_sizes_before_zstd() -> None:
    from weightcodecs import distance, elf

    for values in families(4000).values():
        if values.dtype.name not in elf.PAPER_FORMATS:
            continue
        for module in (distance, elf):
            codec = get_codec(module.__name__.rpartition(".")[2], variant="paper", entropy="none")
            blob = weightcodecs.inspect(codec.encode(values))
            size = module.paper_nbytes(values)
            assert size == len(blob.payload) if not blob.raw else size >= values.nbytes - 12


def test_plain_systems() -> None:
    plain = get_system_or_codec("zstd", alone=get_codec("elf"), level=5)
    assert plain == PlainSystem(get_codec("zstd", level=5))
    assert (plain.uses_base, plain.needs_base, plain.dedup) == (False, False, None)
    delta = get_system_or_codec("bitx")
    assert delta == PlainSystem(get_codec("bitx"), get_codec("zipnn"))
    assert (delta.uses_base, delta.needs_base, delta.dedup) == (True, True, None)
    assert delta.config() == get_codec("bitx").config()
    assert delta.unsupported(FORMATS["float64"]) is None
    refuses = get_system_or_codec("bitx", alone=get_codec("zipnn", variant="paper"))
    assert refuses.unsupported(FORMATS["float64"])


def test_against_the_base_of_a_model(mapped: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    weights = (rng.standard_normal((30, 40)) * 0.02).astype(np.float32)
    (tmp_path / "tune").mkdir()
    base = one_tensor_each(mapped, tmp_path, [("w", weights)])
    tuned = weights + np.float32(1e-6)
    model = one_tensor_each(mapped, tmp_path / "tune", [("w", tuned), ("new", weights[0])])
    values = BaseValues(base, {"w": Match("w", weights.size)})
    for name in ("zipllm", "bitx", "fm_delta"):
        coder = get_system_or_codec(name).coder(model, (), values)
        for unit in units(model, Granularity()):
            reference = values.reference(unit)
            blob = coder.encode(unit.array(), reference=reference)
            assert (weightcodecs.inspect(blob).reference is not None) == (unit.key == "w")
            assert (bits(coder.decode(blob, reference=reference)) == bits(unit.array())).all()


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("zipllm", {"varient": "paper"}, "did you mean 'variant'"),
        ("zipllm", {"variant": "papers"}, "'fast' or 'paper'"),
        ("dedup", {"level": 3}, "has no option 'level'"),
        ("elves", {"variant": "paper", "entropy": "zstd"}, "variant=paper"),
        ("elves", {"variant": "paper", "error_bound_absolute": 0.1}, "variant=paper"),
        ("elves", {"error_bound_absolute": 2.0}, "error_bound_absolute"),
        ("elves", {"level": 99}, "level"),
        ("bitx", {"levl": 1}, "did you mean 'level'"),
        ("bitx", {"alone": get_codec("elf")}, "lossless"),
        ("bitx", {"alone": get_codec("bitx")}, "needs a base itself"),
    ],
)
def test_configurations_that_do_not_fit(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_system_or_codec(name, **config)


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'zipllm'"):
        get_system("ziplm")
    for wrong, nearest in (("ziplm", "zipllm"), ("elfes", "elves"), ("zstdd", "zstd")):
        with pytest.raises(UnknownNameError) as caught:
            get_system_or_codec(wrong)
        assert nearest in caught.value.nearest
    assert set(SYSTEMS) == {"dedup", "elves", "zipllm"}
    with pytest.raises(ConfigError, match="codes against a base"):
        PlainSystem(get_codec("bitx"))
