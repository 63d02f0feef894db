"""What Hydra calls when a search starts: it settles how Optuna's sweeper runs, and refuses some."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf, read_write

from weightbench.errors import MissingExtraError, WeightbenchError
from weightbench.launchers import is_parallel
from weightbench.objectives import refuse_unmeasured
from weightbench.request import BadRequestError, measure_plan
from weightbench.search.question import Question, begin, question_of
from weightbench.sweep import Refusal, is_search, swept

__all__ = ["SearchCallback", "explained", "forget", "searched"]

_SEED = 1
_current: Question | None = None


def searched() -> Question | None:
    """What the sweep asks that this process has started; None if it is no search."""
    return _current


def forget() -> None:
    """Start no search."""
    global _current
    _current = None


class SearchCallback(Callback):
    """Prepares Optuna's sweeper. Does nothing for other sweepers."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check what is asked, note it, and settle the sweeper's options that follow from it.

        Raises:
            Refusal: the plug-in is not installed, or the cells would not have the objectives.
        """
        global _current
        if not is_search(config):
            return
        try:
            _require_optuna()
            question = question_of(config)
            _refuse(config, question)
            with read_write(config):
                _settle(config.hydra.sweeper, question, parallel=is_parallel(config))
            folder = Path(config.hydra.sweep.dir).absolute()
            folder.mkdir(parents=True, exist_ok=True)  # the sweeper writes there at its end
            begin(question, folder)
        except (WeightbenchError, HydraException, OSError) as error:
            raise Refusal(str(error)) from error
        _current = question


def _require_optuna() -> None:
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise MissingExtraError(
            f"a search needs {error.name}, which is not there; "
            "run: pip install -c constraints.txt -e '.[sweeps]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a line for every trial, and what we say ourselves
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def _refuse(config: DictConfig, question: Question) -> None:
    if config.dry_run:
        raise BadRequestError(
            "a search chooses each cell by what those before it came to, so there is nothing to list; "
            "dry_run=true without hydra/sweeper=optuna estimates one cell"
        )
    if not question.space and not question.spaces:
        raise BadRequestError("nothing is searched; add such as 'codec.level=range(1,10)'")
    groups = {key.split(".")[0] for key in swept(config)}
    plan: Any = OmegaConf.to_container(config.measure, resolve=True)
    evaluation: Any = OmegaConf.to_container(config.eval, resolve=True)
    refuse_unmeasured(
        question.objectives,
        None if "measure" in groups else measure_plan(plan),
        None if "eval" in groups else evaluation,
    )


def _settle(sweeper: DictConfig, question: Question, *, parallel: bool) -> None:
    """Set what follows from the search, and what Optuna's sweeper leaves open; the rest stays as given.

    A trial without values must not end the search; trials learn from all before them unless cells run side
    by side; and without a storage it is the seed that leads the same command the same way again.
    """
    directions = ["maximize" if each.larger_is_better else "minimize" for each in question.objectives]
    sweeper.direction = ListConfig(directions)
    sweeper.max_failure_rate = 1.0
    if not parallel:
        sweeper.n_jobs = 1
    if sweeper.custom_search_space is None:
        sweeper.custom_search_space = "weightbench.search.suggest"
    if "seed" in sweeper.sampler and sweeper.sampler.seed is None:
        sweeper.sampler.seed = _SEED
    if sweeper.storage is not None:
        if sweeper.study_name is None:
            sweeper.study_name = question.id
        there = _trials_there(sweeper.storage, sweeper.study_name)
        sweeper.n_trials = max(0, sweeper.n_trials - there)
        if "seed" in sweeper.sampler:  # the same seed would draw the same random trials again
            sweeper.sampler.seed += there


def _trials_there(storage: str, study: str) -> int:
    """How many trials of a study have come to an end."""
    import optuna

    try:
        found = optuna.load_study(study_name=study, storage=storage).get_trials(deepcopy=False)
    except KeyError:  # a new study
        return 0
    except Exception as error:  # of SQLAlchemy, in all its kinds
        raise BadRequestError(f"the search's storage {storage} cannot be used: {error}") from error
    return sum(trial.state.is_finished() for trial in found)


def explained(error: BaseException) -> str | None:
    """Say in one line what Optuna or its sweeper raised; None of any other error."""
    origin = type(error).__module__.partition(".")[0]
    if _current is None or (origin not in ("optuna", "sqlalchemy") and not isinstance(error, ValueError)):
        return None
    if "No trials are completed" in str(error):  # the sweeper asks for the best of none
        return "no trial came to values"
    return f"the search failed ({type(error).__name__}: {' '.join(str(error).split())})"
