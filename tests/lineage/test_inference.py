"""Lineage of sets: given, declared, found by bits; contradictions, chains, cycles, missing bases."""

from __future__ import annotations

import numpy as np
import pytest
from networks import BF16, Make, front, tuned, weights

from weightbench import zoo
from weightbench.lineage import Lineage, infer
from weightbench.lineage.clusters import families
from weightbench.lineage.comparer import Comparer
from weightbench.models import LocalSource, SyntheticSource, ZooSource, cast, open_model
from weightcodecs.errors import ConfigError


def bases(lineage: Lineage) -> dict[str, str | None]:
    return {name: parent.base for name, parent in lineage.items()}


def hows(lineage: Lineage) -> dict[str, str]:
    return {name: parent.how for name, parent in lineage.items()}


def depth_is_one(lineage: Lineage) -> bool:
    return all(
        p.base is None or (p.base in lineage and lineage[p.base].base is None) for p in lineage.values()
    )


def test_the_zoo_as_given() -> None:
    lineage = infer([open_model(ZooSource(name)) for name in zoo.names()])
    assert bases(lineage) == {name: entry.base for name, entry in zoo.ZOO.items()}
    assert hows(lineage) == {name: "given" if entry.base else "none" for name, entry in zoo.ZOO.items()}
    assert all(p.distance is not None and p.distance.related for p in lineage.values() if p.base)
    assert lineage.fine_tunes("llama") == tuple(sorted(n for n in zoo.names() if n != "llama"))


def test_the_zoo_by_its_cards_among_strangers() -> None:
    models = [open_model(LocalSource(str(zoo.directory(name)), name=name)) for name in zoo.names()]
    shapes = [info.shape for info in models[0].tensors.values()]
    models += [
        open_model(SyntheticSource(shapes=shapes, seed=seed, dtype="float32", name=f"s{seed}"))
        for seed in (1, 2)
    ]
    lineage = infer(models)
    assert bases(lineage) == {**{name: entry.base for name, entry in zoo.ZOO.items()}, "s1": None, "s2": None}
    assert {lineage[name].how for name in zoo.names()} == {"declared", "none"}


def test_the_zoo_without_its_base_has_a_surrogate() -> None:
    models = [open_model(ZooSource(name)) for name in zoo.names() if name != "llama"]
    lineage = infer(models)
    (root,) = {p.base for p in lineage.values() if p.base}
    assert root == "llama_kjv_1e-6"  # the one that changed least
    assert {p.how for name, p in lineage.items() if name != root} == {"surrogate"}
    assert all("llama is not at hand" in p.reason for p in lineage.values())
    assert depth_is_one(lineage)


def test_the_zoo_by_its_bits_alone() -> None:
    models = [open_model(ZooSource(name)) for name in zoo.names()]
    lineage = infer(models, declared=False)
    # Not the true base: the others are as far from its least fine-tune as from itself, or a little nearer.
    assert {p.base for p in lineage.values() if p.base} == {"llama_kjv_1e-6"}
    assert {p.how for name, p in lineage.items() if name != "llama_kjv_1e-6"} == {"distance"}


def test_casts_of_one_model_are_not_coded_against_each_other() -> None:
    llama = open_model(LocalSource(str(zoo.directory("llama")), name="llama"))
    half = open_model(LocalSource(str(zoo.directory("llama_kjv_1e-5")), name="half"))
    lineage = infer([llama, cast(half, "bfloat16")])
    assert bases(lineage) == {"llama": None, "half": None}
    assert "no tensor of llama corresponds" in lineage["half"].reason


def family(make: Make, dtype=np.float32):
    """Two families of one architecture, and a stranger; no cards."""
    models = []
    for letter, seed in (("a", 0), ("b", 100)):
        base = weights(seed, dtype=dtype)
        models.append(make(f"{letter}-base", base))
        models += [make(f"{letter}-{i}", tuned(base, seed + i, 3e-4 * i)) for i in (1, 2, 3)]
    return [*models, make("stranger", weights(55, dtype=dtype))]


@pytest.mark.parametrize("dtype", [np.float32, BF16, np.float16])
def test_families_are_found_by_their_bits(make: Make, dtype) -> None:
    models = family(make, dtype)
    lineage = infer(models)
    expected = {f"{x}-{i}": f"{x}-base" for x in "ab" for i in (1, 2, 3)}
    assert bases(lineage) == {**expected, "a-base": None, "b-base": None, "stranger": None}
    assert {lineage[name].how for name in expected} == {"distance"}
    for seed in range(5):
        assert bases(infer(models, samples=8192, seed=seed)) == bases(lineage)


def test_the_order_of_models_does_not_matter(make: Make) -> None:
    models = family(make)
    first = infer(models)
    rng = np.random.default_rng(0)
    for _ in range(5):
        again = infer([models[i] for i in rng.permutation(len(models))])
        assert dict(again) == dict(first)


def test_clusters_are_families(make: Make) -> None:
    comparer = Comparer(family(make))
    found = families(comparer, list(comparer.models))
    assert [sorted({name[0] for name in cluster}) for cluster in found] == [["a"], ["b"], ["s"]]
    assert [len(cluster) for cluster in found] == [4, 4, 1]


def test_a_wrong_card_is_not_believed(make: Make) -> None:
    base, other = weights(0), weights(9)
    lineage = infer([
        make("org/base", base),
        make("org/other", other),
        make("liar", tuned(base, 1), card=front(base_model="org/other")),
        make("honest", tuned(other, 2), card=front(base_model="Org/Other")),
    ])  # fmt: skip
    assert bases(lineage) == {"honest": "org/other", "liar": "org/base", "org/base": None, "org/other": None}
    assert lineage["liar"].how == "distance"
    assert "its card names org/other" in lineage["liar"].reason
    assert "not below the threshold" in lineage["liar"].reason
    assert lineage["honest"].how == "declared"


def test_a_wrong_card_without_relatives_leaves_a_model_alone(make: Make) -> None:
    lineage = infer([make("base", weights(0)), make("liar", weights(3), card=front(base_model="base"))])
    assert bases(lineage) == {"base": None, "liar": None}
    assert "not below the threshold" in lineage["liar"].reason


def test_what_was_given_ranks_first_and_a_contradiction_is_told(make: Make) -> None:
    base, other = weights(0), weights(9)
    models = [make("base", base), make("other", other)]
    true = make("true", tuned(base, 1), base="base", card=front(base_model="other"))
    false = make("false", tuned(base, 2), base="other", card=front(base_model="base"))
    lineage = infer([*models, true, false])
    assert (lineage["true"].base, lineage["true"].how) == ("base", "given")
    assert (lineage["false"].base, lineage["false"].how) == ("other", "given")
    assert "not below the threshold" in lineage["false"].reason
    assert "although" not in lineage["true"].reason


def test_few_values_do_not_contradict_a_card(make: Make) -> None:
    small = {"w": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)}
    other = {"w": np.array([[9.0, 8.0], [0.1, 0.2]], np.float32)}
    lineage = infer([make("base", small), make("model", other, card=front(base_model="base"))])
    assert (lineage["model"].base, lineage["model"].how) == ("base", "declared")


def test_a_fine_tune_of_a_fine_tune_refers_to_the_root(make: Make) -> None:
    base = weights(0)
    chat = tuned(base, 1)
    lineage = infer([
        make("base", base),
        make("chat", chat, card=front(base_model="base")),
        make("poet", tuned(chat, 2), card=front(base_model="chat")),
    ])  # fmt: skip
    assert bases(lineage) == {"base": None, "chat": "base", "poet": "base"}
    assert lineage["poet"].how == "declared"
    assert "chat" in lineage["poet"].reason
    assert depth_is_one(lineage)


def test_a_configuration_that_says_where_weights_were_loaded_from(make: Make) -> None:
    base = weights(0)
    lineage = infer([
        make("org/base", base),
        make("tuned", tuned(base, 1), config={"_name_or_path": "org/base"}),
        make("path", tuned(base, 2), config={"_name_or_path": "/tmp/checkpoint-7"}),
    ])  # fmt: skip
    assert bases(lineage) == {"org/base": None, "path": "org/base", "tuned": "org/base"}
    assert hows(lineage) == {"org/base": "none", "path": "distance", "tuned": "declared"}
    assert "its configuration" in lineage["tuned"].reason


def test_models_that_declare_each_other(make: Make) -> None:
    base = weights(0)
    lineage = infer([
        make("x", base, card=front(base_model="y")),
        make("y", tuned(base, 1), card=front(base_model="z")),
        make("z", tuned(base, 2), card=front(base_model="x")),
    ])  # fmt: skip
    assert bases(lineage) == {"x": None, "y": "x", "z": "x"}
    assert "each said to come from the other" in lineage["x"].reason
    itself = make("itself", weights(4), card=front(base_model="itself"))
    assert bases(infer([itself])) == {"itself": None}


def test_a_merge_refers_to_the_nearest_of_its_bases(make: Make) -> None:
    one, two = weights(0), weights(9)
    merged = {name: (one[name] * 0.9 + two[name] * 0.1).astype(np.float32) for name in one}
    lineage = infer([
        make("one", one),
        make("two", two),
        make("merged", merged, card=front(base_model=["two", "gone", "one"])),
    ])  # fmt: skip
    assert bases(lineage) == {"merged": "one", "one": None, "two": None}


def test_an_adapter_has_nothing_that_corresponds(make: Make) -> None:
    adapter = {"base_model.model.layers.0.lora_A.weight": np.ones((4, 64), np.float32)}
    card = front(base_model="base", base_model_relation="adapter")
    lineage = infer([make("base", weights(0)), make("adapter", adapter, card=card)])
    assert lineage["adapter"].base is None
    assert "no tensor of base corresponds" in lineage["adapter"].reason


def test_resized_renamed_copied_and_sharded_members(make: Make) -> None:
    base = weights(0)
    names = list(base)
    resized = tuned(base, 1)
    resized["model.embed_tokens.weight"] = np.concatenate(
        [resized["model.embed_tokens.weight"], np.zeros((9, 64))]
    )
    resized = {name: values.astype(np.float32) for name, values in resized.items()}
    renamed = {f"t{i}": values for i, values in enumerate(tuned(base, 2).values())}
    shards = {"a.safetensors": names[:5], "b.safetensors": names[5:], "whole.safetensors": names}
    lineage = infer([
        make("base", base),
        make("copied", tuned(base, 5), shards={"a.safetensors": names, "consolidated.safetensors": names}),
        make("renamed", renamed),
        make("resized", resized),
        make("sharded", tuned(base, 4), shards=shards),
        make("stranger", {f"t{i}": values for i, values in enumerate(weights(8).values())}),
    ])  # fmt: skip
    expected = dict.fromkeys(("copied", "renamed", "resized", "sharded"), "base")
    assert bases(lineage) == {"base": None, "stranger": None, **expected}


def test_identical_models(make: Make) -> None:
    base = weights(0)
    lineage = infer([make(name, base) for name in ("z", "x", "y")])
    assert bases(lineage) == {"x": None, "y": "x", "z": "x"}
    assert all(p.distance is None or p.distance.bits == 0 for p in lineage.values())


def test_models_need_names_of_their_own(make: Make) -> None:
    model = make("twice", weights(0))
    with pytest.raises(ConfigError, match="twice"):
        infer([model, model])
    assert dict(infer([])) == {}
