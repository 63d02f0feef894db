"""The adapters of other people's codecs: sizes as theirs, bounds enforced, absent packages explained."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from corpus import bits, random_bits, weights

import weightcodecs
from weightcodecs import FORMATS, ConfigError, MissingExtraError, get_codec

PACKAGES = {
    "openzl": "openzl",
    "blosc2": "blosc2",
    "pcodec": "pcodec",
    "fpzip": "fpzip",
    "zfp": "zfpy",
    "sz3": "pysz",
}
FLOAT32 = FORMATS["float32"]


def needs(codec: str) -> None:
    if importlib.util.find_spec(PACKAGES[codec]) is None:
        pytest.skip(f"{PACKAGES[codec]} is not installed (extra baselines)")


@pytest.mark.parametrize("codec", PACKAGES)
def test_absent_package(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightcodecs.peer.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"{PACKAGES[codec]}.*\[baselines\]"):
        get_codec(codec)


def test_packages_are_imported_when_first_used() -> None:
    there = [codec for codec, package in PACKAGES.items() if importlib.util.find_spec(package)]
    code = (
        f"import sys, weightcodecs; [weightcodecs.get_codec(name) for name in {there}]; "
        f"print([name for name in {list(PACKAGES.values())} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("codec", "config", "format", "ratio"),
    [
        ("openzl", {}, "bfloat16", 1.5076),
        ("openzl", {"graph": "fse"}, "bfloat16", 1.5154),
        ("openzl", {}, "float32", 1.2024),
        ("blosc2", {}, "bfloat16", 1.4526),
        ("pcodec", {}, "bfloat16", 1.5165),
    ],
)
def test_ratios_on_gaussian_weights(codec: str, config: dict[str, Any], format: str, ratio: float) -> None:
    """As measured with the packages themselves."""
    needs(codec)
    values = weights(FORMATS[format], 1 << 20)
    blob = get_codec(codec, **config).encode(values)
    assert values.nbytes / len(blob) == pytest.approx(ratio, rel=0.005)


@pytest.mark.parametrize("codec", ["sz3", "zfp"])
@pytest.mark.parametrize("format", ["float32", "float64"])
@pytest.mark.parametrize("bound", [1e-6, 1e-3, 0.5])
def test_bounds_are_enforced(codec: str, format: str, bound: float) -> None:
    needs(codec)
    values = weights(FORMATS[format], 20_000)
    values[::37] *= 1e6
    values[5::501] = random_bits(FORMATS[format], values[5::501].size)
    made = get_codec(codec, error_bound_absolute=bound)
    decoded = weightcodecs.decode(made.encode(values))
    finite = np.isfinite(values)
    assert (np.abs(decoded - values)[finite] <= bound).all()
    assert (bits(decoded)[~finite] == bits(values)[~finite]).all()


@pytest.mark.parametrize("codec", ["sz3", "zfp"])
@pytest.mark.parametrize("bound", [0.0, -1.0, float("inf"), float("nan")])
def test_bounds_that_are_none(codec: str, bound: float) -> None:
    needs(codec)
    with pytest.raises(ConfigError, match="error_bound_absolute"):
        get_codec(codec, error_bound_absolute=bound)


@pytest.mark.parametrize("format", ["float32", "float64"])
def test_fpzip_is_not_given_what_expands(format: str) -> None:
    """Its encoder writes beyond its buffer there, and the process ends."""
    needs("fpzip")
    made = get_codec("fpzip")
    for count in (1, 5, 64, 100, 5000):
        values = random_bits(FORMATS[format], count)
        assert weightcodecs.inspect(made.encode(values)).raw
    smooth = np.linspace(0, 1, 5000, dtype=format)
    assert len(made.encode(smooth)) < 0.8 * smooth.nbytes


def test_byte_grouping() -> None:
    made = get_codec("bg4_lz4")
    values = np.arange(100_003, dtype=np.float32)
    blob = made.encode(values)
    assert len(blob) < len(get_codec("lz4").encode(values)) / 2
    for cut in range(5):
        tail = values.view(np.uint8)[cut:]
        assert (made.decode(made.encode(tail, threads=2)) == tail).all()
