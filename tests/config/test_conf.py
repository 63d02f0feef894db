"""Every YAML in conf/ composes and stands for a request; what does not fit is refused when it is composed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from weightbench.arguments import name_models, one_line, with_members
from weightbench.canonical import identity
from weightbench.measure import MeasurePlan
from weightbench.models import HubSource, LocalSource, WheelSource, ZooSource
from weightbench.request import BadRequestError, Request, register_schema, request_of
from weightbench.systems import SYSTEMS, get_system_or_codec
from weightcodecs import MissingExtraError, WeightCodecsError, codec_class, list_codecs

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = sorted(f"{path.parent.name}={path.stem}" for path in CONF.glob("*/*.yaml"))
# Tests of other parts register codecs of their own.
OURS = [name for name in list_codecs() if codec_class(name).__module__.startswith("weightcodecs.")]
NEEDS = {"model=local": ["model.path=/weights"], "model=hub": ["model.repository=org/name"]}


def composed(*overrides: str, members: bool = False) -> dict[str, Any]:
    """The plain values that run.py hands over; the words in `workload.members` replaced if asked for."""
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=name_models(overrides))
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
        return with_members(values) if members else values


def request(*overrides: str, members: bool = False) -> Request:
    try:
        return request_of(composed(*overrides, members=members))
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("option", [option for option in OPTIONS if not option.startswith("experiment=")])
def test_every_option_stands_for_a_request(option: str) -> None:
    made = request(option, *NEEDS.get(option, []))
    assert made.cell(["m"], "r")["codec"]["name"] == made.system.name


GRIDS = sorted(path for path in (CONF / "experiment").glob("*.yaml") if not path.stem.startswith("search_"))


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_cell_of_every_experiment_stands_for_a_request(path: Path) -> None:
    params = OmegaConf.load(path).hydra.sweeper.params
    values = [[f"{key}={value}" for value in str(params[key]).split(",")] for key in params]
    points = itertools.product(*values)
    requests = [request(f"experiment={path.stem}", *point, members=True) for point in points]
    cells = [made.cell([getattr(made.model.source, "name", "")], "r") for made in requests]
    assert len({identity(cell) for cell in cells}) == len(cells) > 1


def test_the_readme_names_every_codec() -> None:
    readme = (CONF.parent / "README.md").read_text()
    assert [name for name in OURS if f"`{name}`" not in readme] == []


def test_every_codec_has_a_configuration() -> None:
    assert sorted(path.stem for path in (CONF / "codec").glob("*.yaml")) == sorted([*OURS, *SYSTEMS])


@pytest.mark.parametrize("name", [*OURS, *SYSTEMS])
def test_a_codecs_configuration_has_all_its_options_at_its_defaults(name: str) -> None:
    made = request(f"codec={name}").system
    assert set(composed(f"codec={name}")["codec"]) - {"name"} == set(made.config())
    assert made == get_system_or_codec(name)


def test_defaults_are_the_main_job() -> None:
    made = request()
    assert (made.system.name, made.model.source) == ("elf", ZooSource("llama"))
    assert made.granularity.kind == "tensor"
    assert made.evaluation.limit == 200
    assert made.measure == MeasurePlan(name="timing")


def test_measuring_presets_grow() -> None:
    rounds = [request(f"measure={name}").measure.min_rounds for name in ("smoke", "ratio", "timing", "paper")]
    assert rounds == sorted(rounds)
    assert rounds[0] == 1
    assert rounds[2] >= 6  # the fewest that give a 95 % interval of the median


def test_models_by_path_and_hub_id(tmp_path: Path) -> None:
    assert request(f"model={tmp_path}").model.source == LocalSource(str(tmp_path))
    assert request("model=org/some-model.v2", "model.revision=abc").model.source == HubSource(
        "org/some-model.v2", revision="abc"
    )
    assert name_models(["model=llama,minilm", "codec=a/b"]) == ["model=llama,minilm", "codec=a/b"]
    mixed = name_models([f"model=llama,{tmp_path}"])[0]
    assert mixed.startswith("model=llama,local_")


def test_what_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("weights/mine", "a, b", "llama"):
        (tmp_path / folder).mkdir(parents=True)
    for path in ("weights/mine", "./weights/mine", "not/there/at/all"):
        assert request(f"model={path}").model.source == LocalSource(str(tmp_path / path))
    assert request("model='a, b'").model.source == LocalSource(str(tmp_path / "a, b"))
    assert request("model=llama").model.source == ZooSource("llama")


def test_wheels_are_pinned() -> None:
    for name in ("minilm", "minilm_sre", "smollm2", "wordllama"):
        source = request(f"model={name}").model.source
        assert isinstance(source, WheelSource)
        assert len(source.sha256) == 64
        assert source.note


def test_identity_does_not_depend_on_how_a_cell_was_asked_for() -> None:
    plain = request("codec=elf").cell(["m"], "r")
    assert request("codec=elf", "codec.level=1", "force=true", "limits.timeout_s=5").cell(["m"], "r") == plain
    assert request("codec=elf", "codec.level=2").cell(["m"], "r") != plain
    assert request("codec=elf", "model.dtype=float16").cell(["m"], "r") != plain
    assert "distributions" not in plain
    assert request("codec=elf", "distributions=true").cell(["m"], "r") == {**plain, "distributions": True}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["codec=zstdd"], "unknown codec 'zstdd'; did you mean 'zstd'?"),
        (["model=lama"], "unknown model 'lama'; did you mean 'llama'"),
        (["granularity=chunks"], "unknown granularity 'chunks'; did you mean 'chunk'?"),
        (["granularity.kind=chunks"], "unknown granularity 'chunks'; did you mean 'chunk'?"),
        (["model.dtype=bf16"], "unknown dtype 'bf16'; did you mean 'bfloat16'"),
        (["codec.levl=3"], "did you mean 'level'?"),
        (["codec.level=high"], "level must be a whole number"),
        (["measure.min_rounds=many"], "measure.min_rounds"),
        (["measure.min_round=2"], "did you mean 'min_rounds'"),
        (["measure.min_rounds=0"], "min_rounds"),
        (["eval.limit=-1"], "eval.limit must be above 0"),
        (["eval.mode=lm_evil"], "did you mean 'lm_eval'?"),
        (["limits.timeout_s=soon"], "limits.timeout_s"),
        (["dedup=maybe"], "dedup"),
        (["nothing=1"], "unknown option of the run 'nothing'"),
        (["codec=elf", "codec.variant=quick"], "'fast' or 'paper'"),
        (["workload.kind=hubs"], "unknown workload"),
        (["model=hub"], "model.repository is not given"),
        (["model=local"], "model.path is not given"),
        (["results="], "results is empty"),
        (["+nothing=1"], "the run has no option 'nothing'"),
        (["limits.timeout_s=0"], "limits.timeout_s must be above 0"),
        (["limits.memory_gb=-1"], "limits.memory_gb must be above 0"),
    ],
)
def test_wrong_input_is_refused_in_one_line(overrides: list[str], message: str) -> None:
    from omegaconf.errors import OmegaConfBaseException

    refusals = (HydraException, OmegaConfBaseException, BadRequestError, WeightCodecsError)
    with pytest.raises(refusals) as caught:
        request(*overrides)
    error = caught.value
    line = one_line(error) if isinstance(error, HydraException | OmegaConfBaseException) else str(error)
    assert message in line
    assert "\n" not in line
