"""Blobs that were written once decode for ever, and our own codecs still write the same bytes."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from configurations import BROUGHT
from corpus import assert_faithful, bits
from golden import FOLDER, GOLDEN, Golden, encoded, quantised_version, recipe, references_for

import weightcodecs
from weightcodecs import Codec, MissingExtraError, PairCodec

every_blob = pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.path.stem)


def _codec(golden: Golden) -> Codec:
    try:
        return weightcodecs.get_codec(golden.codec, **golden.config)
    except MissingExtraError as error:
        pytest.skip(str(error))


@every_blob
def test_decodes(golden: Golden) -> None:
    assert golden.path.exists(), "run: python tests/golden/make.py"
    blob = golden.path.read_bytes()
    assert len(blob) < (32 << 10 if "qstore-paper" in golden.path.stem else 2048)  # 4.6 kB a scale group
    values = recipe(golden.format)
    codec = _codec(golden)
    extra = references_for(codec, values)
    decoded = weightcodecs.decode(blob, **extra)
    assert_faithful(codec, golden.format, values, decoded, golden.path.stem)
    # Bounded codecs too give back the same bits as ever: those of a round trip today.
    assert (bits(decoded) == bits(codec.decode(encoded(codec, values, golden.low), **extra))).all()
    assert weightcodecs.inspect(blob).version == golden.version
    if isinstance(codec, PairCodec):
        low, made = codec.decode_low(blob), quantised_version(values, golden.low)
        assert (bits(low.codes) == bits(made.codes)).all()
        assert golden.low.endswith("without scales") or (bits(low.scales) == bits(made.scales)).all()


@every_blob
def test_same_bytes_again(golden: Golden) -> None:
    codec = _codec(golden)
    if not golden.ours or codec.version != golden.version:
        pytest.skip("a library decides on these bytes, or an older version wrote them")
    values = recipe(golden.format)
    assert bytes(encoded(codec, values, golden.low)) == golden.path.read_bytes()


def test_none_is_forgotten() -> None:
    assert {golden.codec for golden in GOLDEN} >= set(BROUGHT), "add rows in golden.py, then run make.py"
    assert {path.name for path in FOLDER.glob("*.blob")} == {golden.path.name for golden in GOLDEN}


@pytest.mark.parametrize("name", BROUGHT)
def test_every_choice_has_a_blob(name: str) -> None:
    """Each value of each option that names its values stands in a row."""
    cls = weightcodecs.codec_class(name)
    hints = get_type_hints(cls)
    configs = [golden.config for golden in GOLDEN if golden.codec == name]
    for option in dataclasses.fields(cls):
        if get_origin(hints[option.name]) is Literal:
            chosen = {config.get(option.name, option.default) for config in configs}
            assert chosen == set(get_args(hints[option.name])), f"{option.name}: add rows in golden.py"


def test_coded_not_raw() -> None:
    """Apart from identity, a golden blob shows its codec at work in at least one format."""
    coded = {golden.codec for golden in GOLDEN if not weightcodecs.inspect(golden.path.read_bytes()).raw}
    assert coded == {golden.codec for golden in GOLDEN} - {"identity"}
