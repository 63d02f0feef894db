"""Hydra's launchers: whether the plug-in is there, and whether cells would share cores that they must not.

Their configurations in conf/hydra/launcher name Hydra's own plug-ins. Two resolvers serve them:
``${absolute:path}``, seen from the folder that the sweep was started in, whatever folder a job runs in, and
``${minutes:seconds,more}``, whole minutes for so many seconds, and some more.
"""

from __future__ import annotations

import importlib
import math
import shutil
import warnings
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from weightbench.errors import MissingExtraError, RunnerError
from weightbench.measure.plan import MeasurePlan
from weightbench.request import BadRequestError

__all__ = ["cells_beside", "is_parallel", "queued", "refuse_shared_cores", "require_plugin", "worker_loss"]

_BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
_LOCAL = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"
# Of each plug-in: what it brings in later, and the extra of ours that installs both.
_EXTRAS = {
    "hydra_joblib_launcher": ("joblib", "sweeps"),
    "hydra_submitit_launcher": ("submitit", "sweeps"),
    "hydra_ray_launcher": ("ray", "ray"),
}

OmegaConf.register_new_resolver(
    "minutes", lambda seconds, more=0: math.ceil(float(seconds) / 60) + int(more), replace=True
)

# That is what is wanted: our files, checked against the plug-ins' own schemas.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")


def is_parallel(config: DictConfig) -> bool:
    """Whether the launcher of a composed configuration, Hydra's part included, runs cells side by side."""
    return str(config.hydra.launcher._target_) != _BASIC


def runs_here(config: DictConfig) -> bool:
    """Whether cells run on this machine, rather than on whichever a cluster chooses."""
    words = str(config.hydra.launcher._target_).split(".")
    if words[-1] == "RayLauncher":
        return OmegaConf.select(config, "hydra.launcher.ray.init.address") in (None, "local")
    return words[-1] != "SlurmLauncher"


def starts_all_at_once(config: DictConfig) -> bool:
    """Whether the launcher starts every job of a sweep at once on this machine, however many there are."""
    return str(config.hydra.launcher._target_) == _LOCAL


def cells_beside(launcher: Any, cores_per_cell: int | None, cores: int) -> int:
    """How many cells the launcher runs side by side on a machine of so many cores; 1 at least.

    On Slurm 1: what a job may take is Slurm's business, which keeps it to that by a control group.

    Args:
        launcher: its composed configuration.
        cores_per_cell: cores that each cell has for itself; None: they share.
        cores: cores that cells may use on the machine.
    """
    words = str(launcher._target_).split(".")
    match words[-1]:
        case "JoblibLauncher":
            told = int(launcher.n_jobs)
            most = told if told > 0 else cores + 1 + told  # -1: all, as joblib counts
        case "LocalLauncher":
            most = cores
        case "RayLauncher":
            most = int(cores / (launcher.ray.remote.num_cpus or 1))
        case _:
            most = 1
    if cores_per_cell is not None:
        most = min(most, cores // cores_per_cell)
    return max(1, most)


def require_plugin(config: DictConfig) -> None:
    """Check that the launcher's plug-in can be imported.

    Raises:
        MissingExtraError: it cannot; the message has the command that installs it.
        RunnerError: it is for Slurm, and Slurm's commands are not here.
    """
    words = str(config.hydra.launcher._target_).split(".")
    if words[0] != "hydra_plugins":
        return
    brought, extra = _EXTRAS.get(words[1], ("", ""))
    for module in filter(None, (".".join(words[:2]), brought)):
        try:
            importlib.import_module(module)
        except ImportError as error:
            advice = f"run: pip install -c constraints.txt -e '.[{extra}]'" if extra else "install it"
            raise MissingExtraError(
                f"the launcher {_name(config)!r} needs {error.name or module}, which is not there; {advice}"
            ) from error
    if words[-1] == "SlurmLauncher" and shutil.which("sbatch") is None:
        raise RunnerError("there is no Slurm here (sbatch is not found); start it where jobs are submitted")


def _name(config: DictConfig) -> str:
    return str(OmegaConf.select(config, "hydra.runtime.choices")["hydra/launcher"])


def refuse_shared_cores(plan: MeasurePlan, cores_per_cell: int | None) -> None:
    """Refuse to take timings side by side on cores that cells share; for sweeps whose launcher is parallel.

    Raises:
        BadRequestError: `plan` measures speeds and cells have no cores of their own.
    """
    if plan.single_round or cores_per_cell is not None:
        return
    raise BadRequestError(
        f"measure={plan.name} takes timings, and cells that run side by side on the same cores spoil them: "
        f"add cores_per_cell={plan.threads} (each cell has cores of its own), take measure=ratio (sizes, one "
        "round), or leave hydra/launcher=… away"
    )


def queued(folder: Path) -> list[str]:
    """The numbers of the Slurm jobs that a sweep has handed over, by what submitit left in its folder."""
    scripts = folder.glob(".submitit/*/*submission.sh")
    return sorted({script.parent.name.partition("_")[0] for script in scripts})


def worker_loss(error: BaseException) -> str | None:
    """Say in one line what a launcher raised of itself or its workers; None of any other error."""
    origin = type(error).__module__.partition(".")[0]
    if origin not in ("joblib", "submitit", "ray"):
        return None
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"the launcher failed ({origin}, {type(error).__name__}: {said})"
