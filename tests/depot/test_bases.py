from __future__ import annotations

import numpy as np
import pytest

from weightbench.depot import IN_DEPOT, Base, NoSuchModelError, UnfitBaseError, create_depot
from weightbench.granularity import Granularity
from weightbench.models import ZooSource, open_model
from weightcodecs import get_codec
from weightcodecs.errors import ConfigError

GRANULARITIES = [
    *(Granularity(kind) for kind in ("model", "layer", "tensor", "parameter")),
    Granularity("chunk", 512),
    Granularity("chunk", 512, "content"),
]


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
@pytest.mark.parametrize("of_base", GRANULARITIES, ids=str)
@pytest.mark.parametrize(("delta", "dedup"), [("bitx", True), ("fm_delta", False)])
def test_a_family_with_a_resized_embedding(kit, mapped, tmp_path, granularity, of_base, delta, dedup):
    base, fine, frozen = kit.family(mapped, tmp_path / "models")
    depot = create_depot(tmp_path / "depot")
    coder = kit.WithBase(delta)
    depot.add(base, coder, of_base, dedup=dedup)
    for model in (fine, frozen):
        values = kit.base_values(model, base)
        added = depot.add(model, coder, granularity, dedup=dedup, base=Base("base", values))
        against = {unit.key for unit in added.units if unit.against_base}
        if "parameter" in (granularity.kind, of_base.kind):
            assert not against
        elif granularity.kind == "tensor":
            assert not dedup or "ids" not in against
            if model is fine:
                assert {"embed", "layers.0.w", "layers.1.w"} <= against
                assert added.sizes.payload < 0.75 * model.nbytes
            elif dedup:
                assert "layers.1.w" in against
                if of_base.kind == "tensor":
                    repeated = {unit.key for unit in added.units if unit.repeats == IN_DEPOT}
                    assert {"embed", "layers.0.w", "norm", "ids"} <= repeated
                    assert against == {"layers.1.w"}
    depot.verify(deep=True)
    for model in (base, fine, frozen):
        kit.assert_restores(depot, model, tmp_path / "all" / model.name)
    assert depot.open("org/fine").read_tensor("embed").shape == (120, 16)
    before = depot.sizes()
    depot.delete("base")
    depot.verify(deep=True)
    assert depot.sizes().total < before.total
    for model in (fine, frozen):
        kit.assert_restores(depot, model, tmp_path / "without" / model.name)
    depot.delete("frozen")
    kit.assert_restores(depot, fine, tmp_path / "fine")
    depot.delete("org/fine")
    assert depot.sizes().total == 0
    assert not list(depot.path.rglob("*.wb?"))


@pytest.mark.parametrize("delta", ["bitx", "fm_delta"])
def test_the_zoo(kit, tmp_path, delta):
    base, fine = open_model(ZooSource("llama")), open_model(ZooSource("llama_jargon_3e-6"))
    depot = create_depot(tmp_path / "depot")
    depot.add(base, kit.WithBase(delta), Granularity(), dedup=True)
    values = kit.base_values(fine, base)
    added = depot.add(fine, kit.WithBase(delta), Granularity(), dedup=True, base=Base(base.name, values))
    assert any(unit.against_base for unit in added.units)
    assert added.added_bytes < 0.8 * fine.nbytes
    kit.assert_restores(depot, fine, tmp_path / "fine")
    depot.delete(base.name)
    kit.assert_restores(depot, fine, tmp_path / "again")


def test_references_have_depth_one(kit, mapped, tmp_path):
    base, fine, _ = kit.family(mapped, tmp_path / "models")
    depot = create_depot(tmp_path / "depot")
    depot.add(base, kit.WithBase(), Granularity(), dedup=True)
    depot.add(fine, kit.WithBase(), Granularity(), dedup=True, base=Base("base", kit.base_values(fine, base)))
    grandchild = kit.named(kit.family(mapped, tmp_path / "other")[1], "grandchild")
    before = kit.contents(depot)
    with pytest.raises(UnfitBaseError, match="depth one"):
        depot.add(
            grandchild,
            kit.WithBase(),
            Granularity(),
            dedup=True,
            base=Base("org/fine", kit.base_values(grandchild, fine)),
        )
    assert kit.contents(depot) == before
    # A model that stands alone, but whose units are in the depot as deltas already, can be a base: what
    # would have needed a delta is coded alone.
    alone = kit.named(kit.family(mapped, tmp_path / "third")[1], "alone")
    renamed = [(name + ".x", alone.read(name)) for name in alone.tensors]
    (tmp_path / "fourth").mkdir()
    root = kit.named(mapped(tmp_path / "fourth", {"x.bin": renamed}), "root")
    added = depot.add(root, kit.WithBase(), Granularity(), dedup=True)
    assert any(unit.against_base for unit in added.units)
    (tmp_path / "fifth").mkdir()
    near = [(name, np.where(values == 1, values, values * 2)) for name, values in renamed]
    leaf = kit.named(mapped(tmp_path / "fifth", {"x.bin": near}), "leaf")
    values = kit.base_values(leaf, root)
    depot.add(leaf, kit.WithBase(), Granularity(), dedup=True, base=Base("root", values))
    depot.verify(deep=True)
    kit.assert_restores(depot, leaf, tmp_path / "leaf")


def test_unfit_bases(kit, mapped, tmp_path):
    base, fine, frozen = kit.family(mapped, tmp_path / "models")
    depot = create_depot(tmp_path / "depot")
    values = kit.base_values(fine, base)
    depot.add(base, get_codec("elf"), Granularity(), dedup=True)
    with pytest.raises(UnfitBaseError, match="error"):
        depot.add(fine, kit.WithBase(), Granularity(), dedup=True, base=Base("base", values))
    depot.delete("base")
    with pytest.raises(NoSuchModelError):
        depot.add(fine, kit.WithBase(), Granularity(), dedup=True, base=Base("base", values))
    depot.add(kit.named(frozen, "base"), kit.WithBase(), Granularity(), dedup=True)
    with pytest.raises(UnfitBaseError, match="not the one"):
        depot.add(fine, kit.WithBase(), Granularity(), dedup=True, base=Base("base", values))
    with pytest.raises(ConfigError, match="give one"):
        depot.add(fine, get_codec("bitx"), Granularity(), dedup=True)
    with pytest.raises(ConfigError, match="takes no base"):
        depot.add(fine, get_codec("zstd"), Granularity(), dedup=True, base=Base("base", values))
    assert depot.models() == ("base",)
    depot.verify(deep=True)


def test_a_delta_codec_alone(kit, mapped, tmp_path):
    base, fine, _ = kit.family(mapped, tmp_path / "models")
    depot = create_depot(tmp_path / "depot")
    depot.add(base, get_codec("zstd"), Granularity(), dedup=True)
    values = kit.base_values(fine, base)
    del values.matches["norm"]
    added = depot.add(fine, get_codec("bitx"), Granularity(), dedup=True, base=Base("base", values))
    assert added.passed_through["norm"] == "no base to code it against"
    kit.assert_restores(depot, fine, tmp_path / "out")
