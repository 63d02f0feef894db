"""A comparison as a run in MLflow."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from weightbench.compare.changes import Change, Thresholds
from weightbench.compare.export import exported
from weightbench.compare.overall import Overall
from weightbench.compare.sides import CompareError
from weightbench.errors import MissingExtraError

__all__ = ["log_to_mlflow"]

EXPERIMENT = "weightbench"


def log_to_mlflow(
    uri: str,
    names: tuple[str, str],
    found: Sequence[Change],
    means: Sequence[Overall],
    thresholds: Thresholds,
) -> str:
    """Log a comparison: what was compared as parameters, means and counts as metrics, all changes as a file.

    Args:
        uri: of the tracking server or store, such as ``sqlite:///mlflow.db``.
        names: of the two sides.
        found, means, thresholds: what came of it.

    Returns:
        the id of the run, in the experiment ``weightbench``.

    Raises:
        MissingExtraError: MLflow is not installed.
        CompareError: the store cannot be used.
    """
    mlflow = _mlflow()
    try:
        return _log(mlflow.MlflowClient(tracking_uri=uri), names, found, means, thresholds)
    except mlflow.exceptions.MlflowException as error:
        raise CompareError(f"MLflow, {uri}: {str(error).splitlines()[0]}") from error


def _log(
    client: Any,
    names: tuple[str, str],
    found: Sequence[Change],
    means: Sequence[Overall],
    thresholds: Thresholds,
) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
    run = client.create_run(experiment_id, run_name=f"{names[0]} | {names[1]}").info.run_id
    for name, value in {"a": names[0], "b": names[1], **asdict(thresholds)}.items():
        client.log_param(run, name, value)
    for mean in means:
        for part in ("mean", "low", "high", "pairs"):
            value = getattr(mean, part)
            if value is not None and math.isfinite(value):
                client.log_metric(run, re.sub(r"[^\w./-]", ".", f"{mean.measure}.{part}"), value)
    client.log_metric(run, "regressions", sum(change.verdict == "regression" for change in found))
    client.log_text(run, exported(found, "csv").decode(), "changes.csv")
    client.set_terminated(run)
    return str(run)


def _mlflow() -> Any:
    try:
        return importlib.import_module("mlflow")
    except ImportError as error:
        raise MissingExtraError(
            "MLflow is not installed: pip install -c constraints.txt -e '.[mlflow]', and sqlalchemy for a "
            "store in a file"
        ) from error
