"""Which tensor came from which: resized, renamed, reordered, tied, sharded, copied; and strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import BF16, Make, tuned, weights

from weightbench.granularity import Granularity, units
from weightbench.lineage import BaseValues, Match, bit_distance, match_tensors, signature
from weightbench.models import LocalSource, open_model


def whole(tensors, name):
    return Match(name, tensors[name].size)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, BF16])
def test_same_names(make: Make, dtype) -> None:
    base = weights(0, dtype=dtype)
    model = make("tuned", tuned(base, 1))
    assert match_tensors(model, make("base", base)) == {name: whole(base, name) for name in base}


@pytest.mark.parametrize("rows", [200, 255, 257, 300])
def test_resized_vocabulary_matches_the_rows_in_common(make: Make, rows: int) -> None:
    head = weights(3)["model.embed_tokens.weight"]
    base = weights(0) | {"lm_head.weight": head, "lm_head.bias": np.ones(256)}
    model = tuned(base, 1)
    for name in ("model.embed_tokens.weight", "lm_head.weight", "lm_head.bias"):
        more = np.zeros((max(0, rows - 256), *base[name].shape[1:]), base[name].dtype)
        model[name] = np.concatenate([model[name][:rows], more])
    resized, original = make("resized", model), make("base", base)
    found = match_tensors(resized, original)
    assert set(found) == set(model)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert found[name] == Match(name, min(rows, 256) * 64)
    assert found["lm_head.bias"] == Match("lm_head.bias", min(rows, 256))
    assert signature(resized).loose == signature(original).loose
    assert signature(resized).exact != signature(original).exact

    values = BaseValues(original, found)
    for unit in units(resized, Granularity("tensor")):
        reference = values.reference(unit)
        assert reference is not None
        assert reference.shape == unit.shape
        n = found[unit.key].common
        assert reference.reshape(-1)[:n].tobytes() == base[unit.key].reshape(-1)[:n].tobytes()
        assert not reference.reshape(-1)[n:].any()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("", "model."), ("model.", ""), ("base_model.model.model.", "model."), ("a.", "b.c.")],
)
def test_prefixes(make: Make, ours: str, theirs: str) -> None:
    plain = {name.removeprefix("model."): values for name, values in weights(0).items()}
    base = {theirs + name: values for name, values in plain.items()}
    model = {ours + name: values for name, values in tuned(plain, 1).items()}
    found = match_tensors(make("tuned", model), make("base", base))
    assert found == {ours + name: Match(theirs + name, plain[name].size) for name in plain}


def test_a_prefix_that_fits_two_is_told_by_the_bits(make: Make) -> None:
    decoder = weights(1)
    base = {f"encoder.{name}": values for name, values in weights(0).items()}
    base |= {f"decoder.{name}": values for name, values in decoder.items()}
    model = tuned(decoder, 2)
    found = match_tensors(make("tuned", model), make("base", base))
    assert found == {name: Match("decoder." + name, model[name].size) for name in model}


@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_other_names_in_another_order(make: Make, dtype) -> None:
    base = weights(0, dtype=dtype)
    order = np.random.default_rng(4).permutation(list(base))
    model = {f"t{i:02}": values for i, values in enumerate(tuned({n: base[n] for n in order}, 1).values())}
    original, renamed = make("base", base), make("tuned", model)
    expected = {f"t{i:02}": whole(base, name) for i, name in enumerate(order)}
    assert match_tensors(renamed, original) == expected
    assert match_tensors(renamed, original, seed=5) == expected
    assert signature(renamed).loose == signature(original).loose


@pytest.mark.parametrize("rows", [200, 256, 300])
def test_other_names_and_a_resized_vocabulary(make: Make, rows: int) -> None:
    base = weights(0)
    embedding = base["model.embed_tokens.weight"]
    model = tuned(base, 1)
    more = np.ones((max(0, rows - 256), 64), np.float32)
    model["model.embed_tokens.weight"] = np.concatenate([model["model.embed_tokens.weight"][:rows], more])
    renamed = {f"t{i:02}": values for i, values in enumerate(model.values())}
    found = match_tensors(make("renamed", renamed), make("base", base))
    expected = {f"t{i:02}": whole(base, name) for i, name in enumerate(base)}
    expected["t00"] = Match("model.embed_tokens.weight", min(rows, 256) * embedding.shape[1])
    assert found == expected


def test_strangers_with_other_names_have_nothing_in_common(make: Make) -> None:
    stranger = {f"t{i}": values for i, values in enumerate(weights(9).values())}
    assert match_tensors(make("stranger", stranger), make("base", weights(0))) == {}


def test_a_few_values_are_no_evidence(make: Make) -> None:
    rng = np.random.default_rng(0)
    base = {f"a{i}": rng.standard_normal(20).astype(np.float32) for i in range(40)}
    model = {f"b{i}": rng.standard_normal(20).astype(np.float32) for i in range(40)}
    scalars = {"x": np.array(1.0, np.float32)}
    assert match_tensors(make("model", model | scalars), make("base", base | {"y": scalars["x"]})) == {}


def test_equal_tensors_are_no_evidence(make: Make) -> None:
    base = {f"norm.{i}": np.ones(64, np.float32) for i in range(9)}
    model = {f"other.{i}.weight": np.ones(64, np.float32) for i in range(9)}
    assert match_tensors(make("model", model), make("base", base)) == {}


def test_a_head_that_was_tied(make: Make) -> None:
    base = weights(0)
    model = tuned(base, 1)
    model["lm_head.weight"] = tuned(base, 2)["model.embed_tokens.weight"]
    found = match_tensors(make("tuned", model), make("base", base))
    assert (
        found["lm_head.weight"]
        == found["model.embed_tokens.weight"]
        == whole(base, "model.embed_tokens.weight")
    )


def test_a_head_that_was_tied_since(make: Make, tmp_path: Path) -> None:
    head, embedding = "lm_head.weight", "model.embed_tokens.weight"
    base = weights(0) | {head: weights(3)[embedding]}
    tensors = {name: torch.from_numpy(values) for name, values in tuned(base, 1).items()}
    folder = tmp_path / "tied"
    folder.mkdir()
    # One storage of two names is listed under the one that is saved first.
    torch.save(
        {head: tensors[embedding]} | tensors | {head: tensors[embedding]}, folder / "pytorch_model.bin"
    )
    model = open_model(LocalSource(str(folder), name="tied"))
    assert dict(model.ties) == {embedding: head}
    original = make("base", base)
    assert match_tensors(model, original)[head] == whole(base, embedding)
    back = match_tensors(original, model)
    assert back[embedding] == Match(head, base[embedding].size)
    assert head not in back
    untied = make("untied", tuned(base, 1))
    expected = bit_distance(untied, original).bits
    assert abs(bit_distance(model, original).bits - expected) < 0.2
    assert abs(bit_distance(original, model).bits - expected) < 0.2


def test_copies_in_a_second_file_and_shards(make: Make) -> None:
    base, names = weights(0), list(weights(0))
    shards = {"model-1-of-2.safetensors": names[:9], "model-2-of-2.safetensors": names[9:]}
    original = make("base", base, shards=shards | {"whole.safetensors": names})
    model = make(
        "tuned", tuned(base, 1), shards={"all.safetensors": names, "consolidated.safetensors": names}
    )
    found = match_tensors(model, original)
    assert found == {
        **{name: whole(base, name) for name in names},
        **{f"consolidated.safetensors:{name}": whole(base, name) for name in names},
    }
    assert signature(model) == signature(make("plain", tuned(base, 3)))


def test_other_formats_and_row_lengths_do_not_match(make: Make) -> None:
    base = make("base", weights(0))
    assert match_tensors(make("half", weights(0, dtype=np.float16)), base) == {}
    wide = {"model.embed_tokens.weight": np.ones((256, 65)), "model.norm.weight": np.ones((1, 64))}
    wide = {name: values.astype(np.float32) for name, values in wide.items()}
    assert match_tensors(make("wide", wide), base) == {}


def test_integers_match_by_name_and_empty_tensors_not_at_all(make: Make) -> None:
    tensors = {"ids": np.arange(7), "none": np.empty((0, 4), np.float32), "scalar": np.array(2.0, np.float32)}
    found = match_tensors(make("a", tensors), make("b", tensors))
    assert found == {"ids": Match("ids", 7), "scalar": Match("scalar", 1)}


def test_signatures_tell_architectures_apart(make: Make) -> None:
    one = signature(make("one", weights(0)))
    assert one == signature(make("same", weights(1)))
    assert one.loose == signature(make("deeper", weights(1, layers=5))).loose
    assert one.loose != signature(make("wider", weights(1, width=128))).loose
    assert one.loose != signature(make("half", weights(1, dtype=np.float16))).loose
