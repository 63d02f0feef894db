"""The command line: ``python -m weightbench.tuning codec=elf,zfp model=llama tune.budget=0.01``.

Options ``tune.*`` are those of `TunePlan`; everything else is what run.py takes. `codec` and `model` may be
lists. Unless said otherwise a probe has measure=ratio, and the evaluation that the metric needs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from weightbench.arguments import name_models, one_line, register_search_path
from weightbench.errors import WeightbenchError
from weightbench.models import ModelError
from weightbench.request import BadRequestError, register_schema
from weightbench.table import build_table
from weightbench.tuning.plan import TunePlan
from weightbench.tuning.probing import NotTunableError, Tuning, tune
from weightbench.tuning.report import print_answers, print_probe, write_picture, write_tuning
from weightcodecs import WeightCodecsError
from weightcodecs.errors import nearest_names

__all__ = ["evaluation_for", "main", "plan_of"]

FAILED, WRONG_INPUT = 1, 2
_LISTS = ("codec", "model")


def main(arguments: Sequence[str]) -> int:
    """Tune, print and write the answers; return 0, 1 if a codec could not be tuned, 2 for wrong input."""
    if not arguments or {"-h", "--help"} & {*arguments}:
        print(f"{__doc__}\n{TunePlan.__doc__}")
        return 0
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_schema()
    register_search_path()
    try:
        plan, overrides = plan_of(arguments)
        codecs, models, rest = _lists(name_models(overrides))
        worst = 0
        with initialize_config_dir(str(_conf()), version_base="1.3"):
            for model in models:
                worst = max(
                    worst, _tune_all(plan, codecs, [model, *evaluation_for(plan.metric, rest), *rest])
                )
        return worst
    except (HydraException, OmegaConfBaseException) as error:
        return _complain(one_line(error))
    except (WeightbenchError, WeightCodecsError, ModelError) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted; probes that were finished are kept, the same command goes on", file=sys.stderr)
        return 130


def _tune_all(plan: TunePlan, codecs: Sequence[str], overrides: Sequence[str]) -> int:
    """Tune each codec on one model."""
    tunings: list[Tuning] = []
    root, worst = Path(), 0
    for codec in codecs:
        config = _composed([codec, *overrides])
        root = Path(config["results"])
        print(f"\n{codec.partition('=')[2]}: {plan.metric} within {plan.budget:g}", flush=True)
        try:
            tunings.append(tune(config, plan, told=print_probe))
        except (NotTunableError, WeightCodecsError) as error:
            worst = max(worst, _complain(str(error), FAILED))
            continue
        print(f"  {write_tuning(tunings[-1], root)}")
    if tunings:
        print_answers(tunings)
        build_table(root)
        print(f"picture        {write_picture(tunings, root)}")
    return worst


def plan_of(arguments: Sequence[str]) -> tuple[TunePlan, list[str]]:
    """Split arguments into the plan (``tune.*``) and what is Hydra's.

    Raises:
        BadRequestError: an option that there is not.
        ConfigError: a value makes no sense.
    """
    ours = [argument[len("tune.") :] for argument in arguments if argument.startswith("tune.")]
    told: Any = OmegaConf.to_container(OmegaConf.from_dotlist(ours))
    known = list(TunePlan.__dataclass_fields__)
    for name in told:
        if name not in known:
            near = nearest_names(str(name), known)
            raise BadRequestError(f"tune has no option {name!r}; it has: {', '.join(near or known)}")
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
    return TunePlan(**options), [argument for argument in arguments if not argument.startswith("tune.")]


def evaluation_for(metric: str, given: Sequence[str]) -> list[str]:
    """Return the overrides that a probe needs beside those that are given: few rounds, the right metric."""
    said = {argument.partition("=")[0].lstrip("+") for argument in given}
    needed = [] if "measure" in said else ["measure=ratio"]
    if "eval" in said:
        return needed
    if metric in ("kl", "likelihood"):
        return [*needed, "eval=kl"]
    return [*needed, "eval=lm_eval", f"eval.tasks=[{metric.rpartition('/')[0]}]", "eval.kl_tokens=0"]


def _lists(overrides: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the codecs, the models (each as an override) and everything else."""
    found: dict[str, list[str]] = {
        name: [f"{name}={default}"] for name, default in zip(_LISTS, ("elf", "llama"), strict=True)
    }
    rest = []
    for override in overrides:
        name, _, values = override.partition("=")
        if name in found:
            found[name] = [f"{name}={value.strip()}" for value in values.split(",")]
        else:
            rest.append(override)
    return found["codec"], found["model"], rest


def _composed(overrides: Sequence[str]) -> Mapping[str, Any]:
    config: Any = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    return {str(key): value for key, value in config.items()}


def _conf() -> Path:
    """Return the folder with config.yaml: that of the current folder, else of the repository."""
    places = [Path.cwd() / "conf", Path(__file__).parents[3] / "conf"]
    for place in places:
        if (place / "config.yaml").exists():
            return place
    raise BadRequestError(f"no configuration found in {places[0]}; run this in the repository")


def _complain(line: str, code: int = WRONG_INPUT) -> int:
    print(f"error: {' '.join(line.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
