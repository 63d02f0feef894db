"""Searches: what they ask, what a trial may choose, what is refused, what is kept of trials."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf, open_dict

from weightbench.arguments import one_line, register_search_path
from weightbench.canonical import identity
from weightbench.figures.search import draw_search, search_figure
from weightbench.request import register_schema, request_of
from weightbench.rows import Row, Status
from weightbench.search import SearchCallback, explained, finish, forget, searched, suggest, values
from weightbench.search.question import Question, begin, question_of
from weightbench.search.spaces import BadSpaceError
from weightbench.store import Store
from weightbench.sweep import Outcome, Refusal, command_line, is_search
from weightcodecs import MissingExtraError

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import optuna

CONF = Path(__file__).parents[2] / "conf"
SEARCHES = sorted(path.stem for path in (CONF / "experiment").glob("search_*.yaml"))
SMALL = ("hydra/sweeper=optuna", "measure=ratio", "eval=none", "objectives=[ratio,rmse]")


def composed(*overrides: str) -> DictConfig:
    """As Hydra composes for a whole sweep: its axes are in hydra.overrides.task."""
    register_schema()
    register_search_path()
    axes = [word for word in overrides if "(" in word and not word.startswith("+")]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(
            "config", overrides=[word for word in overrides if word not in axes], return_hydra_config=True
        )
    with open_dict(config):
        config.hydra.overrides.task = [*config.hydra.overrides.task, *axes]
    return config


@pytest.fixture(autouse=True)
def _no_search() -> Iterator[None]:
    yield
    forget()


@pytest.mark.parametrize("name", SEARCHES)
def test_experiments_search_by_themselves(name: str) -> None:
    config = composed(f"experiment={name}")
    assert is_search(config)
    assert config.hydra.mode.name == "MULTIRUN"
    asked = question_of(config)
    assert len(asked.objectives) == 3
    assert asked.space


def test_sweeps_are_no_searches(tmp_path: Path) -> None:
    config = composed("codec=zstd", f"results={tmp_path}")
    assert not is_search(config)
    SearchCallback().on_multirun_start(config)
    assert searched() is None


def trials_of(config: DictConfig, count: int) -> list[Any]:
    """Trials as Optuna's sweeper makes them."""
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    space, _ = create_params_from_overrides([f"{k}={v}" for k, v in question_of(config).space.items()])
    study = optuna.create_study(directions=["maximize"] * 2, sampler=optuna.samplers.RandomSampler(1))
    made = []
    for _ in range(count):
        trial = study.ask()
        for key, distribution in space.items():
            trial._suggest(key, distribution)
        suggest(config, trial)
        made.append(trial)
    return made


@pytest.mark.parametrize("name", SEARCHES)
def test_every_trial_of_an_experiment_is_a_request(name: str) -> None:
    config = composed(f"experiment={name}")
    seen = set()
    for trial in trials_of(config, 40):
        codec = trial.params.get("codec", config.codec.name)
        if codec in seen:
            continue
        seen.add(codec)
        words = [f"{key}={value}" for key, value in trial.params.items()]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            made = compose("config", [f"experiment={name}", *words])
        cell: Any = OmegaConf.to_container(made, resolve=True)
        try:
            assert request_of(cell).system.name == codec
        except MissingExtraError:
            continue  # its package is not installed here
    assert seen >= set(config.spaces)


def test_spaces_are_for_their_codec_alone() -> None:
    spaces = "{zstd: {codec.level: 'range(1,9)'}, elf: {codec.level: 'range(1,3)'}}"
    config = composed("codec=zstd", f"+spaces={spaces}")
    assert all(set(trial.params) == {"codec.level"} for trial in trials_of(config, 3))
    for wrong, said in (("{zstd: 3}", "must say what"), ("{zstd: {codec.level: 3}}", "one value only")):
        with pytest.raises(BadSpaceError, match=said):
            trials_of(composed("codec=zstd", f"+spaces={wrong}"), 1)


def settled(tmp_path: Path, *overrides: str) -> DictConfig:
    config = composed(*SMALL, f"results={tmp_path}", *overrides)
    SearchCallback().on_multirun_start(config)
    return config


def test_the_sweeper_is_settled(tmp_path: Path) -> None:
    config = settled(tmp_path, "codec.level=range(1,9)", "codec=zstd")
    sweeper = config.hydra.sweeper
    assert list(sweeper.direction) == ["maximize", "minimize"]
    assert (sweeper.max_failure_rate, sweeper.n_jobs, sweeper.sampler.seed) == (1.0, 1, 1)
    asked = searched()
    assert asked is not None
    said = json.loads(asked.path.read_text())
    assert said["space"] == {"codec.level": "range(1,9)"}
    assert [tmp_path / run for run in said["runs"]] == [Path(config.hydra.sweep.dir)]
    seeded = settled(tmp_path, "codec.level=range(1,9)", "codec=zstd", "hydra.sweeper.sampler.seed=7")
    assert seeded.hydra.sweeper.sampler.seed == 7
    again = searched()
    assert again is not None
    assert again.id == asked.id
    assert len(json.loads(asked.path.read_text())["runs"]) == 2
    settled(tmp_path, "codec.level=range(1,8)", "codec=zstd")
    other = searched()
    assert other is not None
    assert other.id != asked.id


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["codec=zstd"], "nothing is searched"),
        (["codec.level=range(1,9)", "dry_run=true"], "nothing to list"),
        (["codec.level=range(1,9)", "objectives=[ratio,speed]"], "unknown objective 'speed'"),
        (["codec.level=range(1,9)", "objectives=[ratio,encode_mb_per_s]"], "measure=timing"),
        (["codec.level=range(1,9)", "objectives=[ratio,kl]"], "add eval=kl"),
        (["codec.level=range(1,9)", "+spaces.elf=3"], "spaces.elf must say"),
    ],
)
def test_what_is_refused(tmp_path: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        settled(tmp_path, *overrides)
    assert searched() is None
    assert not (tmp_path / "searches").exists()


def test_trials_in_a_storage_count(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"
    asked = ("codec=zstd", "codec.level=range(1,9)")
    words = (*asked, f"hydra.sweeper.storage={storage}", "hydra.sweeper.n_trials=5")
    config = settled(tmp_path, *words)
    assert (config.hydra.sweeper.n_trials, config.hydra.sweeper.sampler.seed) == (5, 1)
    name = config.hydra.sweeper.study_name
    study = optuna.create_study(storage=storage, study_name=name, directions=["maximize", "minimize"])
    study.tell(study.ask(), [1.0, 2.0])
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    study.ask()  # was interrupted: does not count
    config = settled(tmp_path, *words)
    assert config.hydra.sweeper.study_name == name
    assert (config.hydra.sweeper.n_trials, config.hydra.sweeper.sampler.seed) == (3, 3)
    with pytest.raises(Refusal, match="cannot be used"):
        settled(tmp_path, *asked, "hydra.sweeper.storage=sqlite:////nowhere/at/all.db")


def test_errors_of_optuna_are_one_line(tmp_path: Path) -> None:
    error = ValueError("No trials are completed yet.")
    assert explained(error) is None
    settled(tmp_path, "codec=zstd", "codec.level=range(1,9)")
    assert explained(error) == "no trial came to values"
    assert explained(TypeError("x")) is None


def test_a_failed_trial_is_tried_again_alone() -> None:
    assert command_line(["experiment=search_elf", "codec.level=3"], search=True).endswith(" hydra.mode=RUN")


def row(
    store: Store, codec: str, ratio: float, rmse: float, status: Status = Status.OK, version: int = 1
) -> Row:
    cell = {
        "codec": {"name": codec, "version": version, "level": ratio},
        "model": {"name": "m", "dtype": None, "revision": "r"},
        "workload": {"kind": "single"},
        "granularity": {"kind": "tensor"},
        "dedup": False,
    }
    result = {"sizes": {"ratio": ratio}, "error": {"rmse": rmse}} if status is Status.OK else {}
    return store.put(Row(identity(cell), cell, status, result=result))


def leave(folder: Path, number: int, row: Row | None, level: str) -> Outcome:
    """What a job leaves."""
    words = ["codec=zstd", f"codec.level={level}"]
    said = {
        "code": 0 if row else 2,
        "status": row.status if row else "wrong input",
        "title": "t",
        "reason": "",
        "id": row.id if row else "",
        "root": "",
        "ran": True,
        "cost": None,
        "number": number,
        "overrides": words,
    }
    (folder / "outcomes").mkdir(parents=True, exist_ok=True)
    (folder / "outcomes" / f"{number}.json").write_text(json.dumps(said))
    return Outcome(**{**said, "overrides": tuple(words)})  # type: ignore[arg-type]


@pytest.fixture
def asked(tmp_path: Path) -> Question:
    return question_of(composed(*SMALL, f"results={tmp_path}", "codec=zstd", "codec.level=range(1,9)"))


def test_trials_are_kept_with_their_front(
    asked: Question, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, first, second = Store(tmp_path), tmp_path / "logs" / "1", tmp_path / "logs" / "2"
    rows = [row(store, "zstd", 2.0, 0.5), row(store, "zstd", 3.0, 0.7), row(store, "lz4", 1.5, 0.6)]
    for number, each in enumerate(rows):
        leave(first, number, each, str(number))
    leave(second, 0, rows[0], "0")  # found again
    leave(second, 1, row(store, "zstd", 9.0, 0.0, Status.FAILED), "8")
    leave(second, 2, None, "9")
    leave(second, 3, row(store, "xz", 4.0, float("nan")), "7")
    begin(asked, first)
    begin(asked, second)
    finish(asked)
    said = json.loads(asked.path.read_text())
    trials = said["trials"]
    assert [trial["parameters"]["codec.level"] for trial in trials] == ["0", "1", "2", "8", "9", "7"]
    assert [trial["on_front"] for trial in trials] == [True, True, False, False, False, False]
    assert [trial["objectives"] is None for trial in trials] == [False] * 3 + [True] * 3
    assert "no finite number" in trials[-1]["reason"]
    assert trials[0]["row"] == rows[0].id
    printed = capsys.readouterr().out
    assert "Pareto front: 2 of 6 trials, 3 of which came to no values" in printed
    assert printed.index("codec.level=1") < printed.index("codec.level=0")  # the larger ratio first
    assert asked.path.with_suffix(".png").stat().st_size > 10_000
    # Hydra's folders may go; a row of a later version of the codec puts those of the earlier aside.
    for file in first.rglob("*.json"):
        file.unlink()
    leave(second, 4, row(store, "lz4", 1.0, 0.9, version=2), "6")
    finish(asked)
    levels = [trial["parameters"]["codec.level"] for trial in json.loads(asked.path.read_text())["trials"]]
    assert levels == ["0", "1", "8", "9", "7", "6"]


def test_what_optuna_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def told(row: Row, *names: str) -> object:
        return values(names, Outcome(0, row.status, id=row.id, root=str(tmp_path)))

    good = row(store, "zstd", 2.0, 0.5)
    assert told(good, "ratio", "rmse") == (2.0, 0.5)
    assert told(good, "ratio") == 2.0
    assert told(good, "ratio", "stored_bytes") is None
    assert told(row(store, "zstd", 4.0, float("nan")), "ratio", "rmse") is None
    assert told(row(store, "zstd", 3.0, 0.5, Status.VIOLATED), "ratio", "rmse") is None
    assert values(["ratio"], Outcome(2, "wrong input")) is None


def drawn(count: int, trials: int = 6) -> dict[str, Any]:
    names = ["ratio", "kl", "rmse", "speed"][:count]
    objectives = [{"name": name, "label": name, "larger_is_better": name == "ratio"} for name in names]
    found = [
        {
            "codec": codec,
            "model": "m",
            "on_front": number < 2,
            "objectives": {
                name: {"value": float(number * 10**place), "low": None, "high": number + 1.0}
                for place, name in enumerate(names)
            },
        }
        for number, codec in zip(range(trials), "aabbcd", strict=False)
    ]
    return {"objectives": objectives, "trials": [*found, {"objectives": None}]}


@pytest.mark.parametrize(("objectives", "panels"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_pictures(objectives: int, panels: int, tmp_path: Path) -> None:
    figure = search_figure(drawn(objectives))
    assert len(figure.axes) == panels
    assert all(axes.get_ylabel() for axes in figure.axes)
    draw_search(drawn(objectives, 1), tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_without_the_plug_in_the_command_is_said() -> None:
    error = MissingConfigException("", "hydra/sweeper/optuna", ["basic"])
    assert "pip install -c constraints.txt -e '.[sweeps]'" in one_line(error)
