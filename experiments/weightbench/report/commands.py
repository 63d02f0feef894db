"""The command that makes a row's cell again, from the columns of the row alone.

A word is left out where conf/ says the same, so commands are as short as what people type. Of what conf/ does
not know (another package's codec; an installed harness, which has no conf/) every option is written out.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from weightbench.evaluate import EvaluationPlan
from weightbench.granularity import Granularity
from weightbench.measure.plan import MeasurePlan
from weightbench.systems import get_system_or_codec
from weightcodecs import WeightCodecsError

__all__ = ["PLACE", "reproduce"]

PLACE = "/path/to/"
"""What stands before the name of local weights: a row does not say where they lay."""

CONF = Path(__file__).parents[3] / "conf"
_PLAIN = re.compile(r"[A-Za-z_][\w.+-]*")
_GROUPS = ("codec", "model", "workload", "granularity", "dedup", "distributions", "measure", "eval")
_PLANS: Mapping[str, type[Any]] = {
    "granularity": Granularity, "measure": MeasurePlan, "eval": EvaluationPlan,
}  # fmt: skip
_NOT_STRINGS = ("null", "true", "false", "nan", "inf")

Values = Mapping[str, Any]


def reproduce(row: Values) -> str:
    """Return the shell command that runs a row's cell again, from the repository's root.

    The path of local weights is to be put in at `PLACE`, and settings of synthetic ones beyond conf/model are
    not in a row: its revision tells whether they are the same.

    Args:
        row: the dotted columns of :func:`weightbench.results.cells` that begin with ``cell.``, those without
            a value left out.
    """
    groups: dict[str, list[tuple[str, Any]]] = {}
    for name, value in row.items():
        _, _, rest = name.partition(".")
        group, _, key = rest.partition(".")
        groups.setdefault(group, []).append((key, value))
    words = [_words(group, tuple(groups[group])) for group in _GROUPS if group in groups]
    return " ".join(["python", "run.py", *filter(None, words)])


@lru_cache(maxsize=10_000)
def _words(group: str, values: tuple[tuple[str, Any], ...]) -> str:
    """Return the words of one group; of many cells most have the same."""
    settings = dict(values)
    match group:
        case "dedup" | "distributions":
            words = [f"{group}=true"] if settings[""] else []
        case "granularity":
            words = list(_dataclass(group, settings, "kind", "tensor"))
        case "measure":
            words = list(_dataclass(group, settings, "name", "timing"))
        case _:
            words = list(_WRITERS[group](settings))
    return shlex.join(words)


def _codec(codec: Values) -> Iterator[str]:
    name = str(codec["name"])
    yield f"codec={_word(name)}"
    defaults = _codec_defaults(name)
    yield from _changed("codec", {**defaults, **codec}, _preset("codec", name), defaults, ("name", "version"))


@cache
def _codec_defaults(name: str) -> Values:
    try:
        return dict(get_system_or_codec(name).config())
    except WeightCodecsError:  # a codec that is not installed here: all its options are named
        return {}


def _model(model: Values) -> Iterator[str]:
    name, revision = str(model["name"]), str(model.get("revision", ""))
    local = CONF.is_dir() and _preset("model", name) is None and not revision.startswith("hub:")
    yield f"model={PLACE}{name}" if local else f"model={name}"
    # hub:owner/name@commit: a branch may have moved since.
    if revision.startswith("hub:") and "@" in revision:
        yield f"model.revision={_word(revision.rpartition('@')[2])}"
    preset, dtype = _preset("model", name) or {}, model.get("dtype")
    # What a synthetic model was generated with is in its revision alone.
    if preset.get("kind") != "synthetic" and dtype != preset.get("dtype"):
        yield f"model.dtype={_word(dtype)}"


def _workload(workload: Values) -> Iterator[str]:
    kind = str(workload["kind"])
    if kind == "single":
        return
    yield f"workload={_word(kind)}"
    yield from _changed("workload", workload, _preset("workload", kind), {"members": []}, ("kind",))


def _dataclass(group: str, values: Values, named_by: str, fallback: str) -> Iterator[str]:
    name = str(values.get(named_by, ""))
    if _preset(group, name) is None:
        name = fallback
    preset, defaults = _preset(group, name), _defaults(group)
    if preset is not None:
        yield f"{group}={_word(name)}"
    yield from _changed(group, {**defaults, **values}, preset, defaults)


def _evaluation(values: Values) -> Iterator[str]:
    """Yield the preset of that mode with the fewest changes: a cell does not say which one it was."""
    defaults = _defaults("eval")
    if values.get("mode") == "none":
        yield "eval=none"
        return
    choices = []
    for path in sorted((CONF / "eval").glob("*.yaml")):
        preset = _preset("eval", path.stem) or {}
        if preset.get("mode") == values.get("mode"):
            choices.append([f"eval={path.stem}", *_changed("eval", {**defaults, **values}, preset, defaults)])
    yield from min(choices, key=len, default=list(_changed("eval", {**defaults, **values}, None, defaults)))


def _changed(
    group: str, values: Values, preset: Values | None, defaults: Values, left: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield a word for each value that neither the preset nor, where that says nothing, the class has.

    Without a preset all values are said.
    """
    for key in sorted(values.keys() - set(left)):
        value, default = _same_kind(values[key], defaults.get(key)), defaults.get(key)
        if preset is None or _comparable(value) != _comparable(preset.get(key, default)):
            yield f"{group}.{key}={_word(value)}"


def _same_kind(value: Any, default: Any) -> Any:
    """Return a list for what a table keeps as JSON text."""
    if isinstance(default, list | tuple) and isinstance(value, str):
        return json.loads(value)
    return value


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@cache
def _defaults(group: str) -> Values:
    plan = _PLANS[group]()
    return {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}


@cache
def _preset(group: str, name: str) -> Values | None:
    path = CONF / group / f"{name}.yaml"
    if not re.fullmatch(r"[\w-]+", name) or not path.is_file():
        return None
    found = yaml.safe_load(path.read_text())
    return found if isinstance(found, dict) else {}


def _word(value: Any) -> str:
    """Return a value as Hydra's command line has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_word, value))}]"
    if isinstance(value, int | float):
        return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else repr(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_STRINGS:
        return text
    quoted = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", quoted) + "'"


_WRITERS: Mapping[str, Callable[[Values], Iterator[str]]] = {
    "codec": _codec, "model": _model, "workload": _workload, "eval": _evaluation,
}  # fmt: skip
