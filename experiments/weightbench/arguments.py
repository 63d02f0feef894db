"""What stands between the command line and Hydra: weights named by path or hub id, and errors in one line.

``model=/path/to/folder`` and ``model=org/name`` are no options of a Hydra group. Each such value is given an
option of its own under a safe name before Hydra looks, so that it also works inside a sweep's list. Hydra's
own errors are turned into one line with the nearest valid names. A resolver serves experiments on the
checkpoints of a run: ``${before:folder,name}`` is the folder that stands before another one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from weightbench.request import BadRequestError
from weightcodecs.errors import nearest_names
from weightcodecs.registry import configuration_packages

__all__ = ["as_typed", "name_models", "one_line", "register_search_path", "with_members"]

_OPTION = re.compile(r"[\w-]*")
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def name_models(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with every path or hub id after ``model=`` replaced by an option made for it."""
    return [_named(argument) if argument.startswith("model=") else argument for argument in arguments]


def as_typed(argument: str) -> str:
    """Return an argument of `name_models` as it was typed: with the path or hub id after ``model=``."""
    key, _, option = argument.partition("=")
    found = ConfigStore.instance().repo.get(key, {}).get(f"{option}.yaml") if key == "model" else None
    if found is None:
        return argument
    node = found.node
    return f"{key}={node.path if node.kind == 'local' else node.repository}"


def _named(argument: str) -> str:
    key, _, values = argument.partition("=")
    whole = _bare(values)  # a path may hold commas
    options = [values] if _is_path(whole) and Path(whole).expanduser().exists() else values.split(",")
    return f"{key}={','.join(map(_option, options))}"


def _is_path(text: str) -> bool:
    """Whether a value is meant as a path: bare words are the options of conf/model, whatever lies here."""
    if text.startswith(("/", ".", "~")):
        return True
    exists = not _OPTION.fullmatch(text) and Path(text).exists()
    return exists or ("/" in text and not _HUB_ID.fullmatch(text))


def _bare(value: str) -> str:
    return value.strip().strip("'\"")


def _option(value: str) -> str:
    text = _bare(value)
    node = _node(text)
    if node is None:
        return value
    option = f"{node['kind']}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    ConfigStore.instance().store(option, node, group="model")
    return option


def _node(text: str) -> dict[str, Any] | None:
    """Return what conf/model would say of a path or a hub id; None for a name of conf/model."""
    node: dict[str, Any]
    if _is_path(text):
        path = str(Path(text).expanduser().absolute())
        node = {"kind": "local", "path": path, "dequantize": False}
    elif _HUB_ID.fullmatch(text):
        node = {"kind": "hub", "repository": text, "revision": "main"}
    else:
        return None
    return node | {"name": "", "note": "", "base": None, "family": "", "dtype": None}


def with_members(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a composed configuration with the words in `workload.members` replaced by what they stand for.

    Local weights without a name get one that tells them apart within the workload, and says no more of the
    machine than that: the last part of their path, or as many as it takes.

    Args:
        config: plain values, inside of a Hydra job: names of conf/model are looked up where Hydra does.
    """
    workload = dict(config["workload"])
    members = []
    if "members" in workload:
        named = workload["members"]
        if not isinstance(named, list):
            raise BadRequestError("workload.members is a list: workload.members=[one,another]")
        members = [_member(each) for each in named]
    model, *members = _called([config["model"], *members])
    if "members" in workload:
        workload["members"] = members
    return {**config, "model": model, "workload": workload}


def _called(nodes: Sequence[Any]) -> list[Any]:
    """Return what conf/model says of models, local ones with names."""
    parts = {
        place: Path(str(node["path"])).expanduser().resolve().parts
        for place, node in enumerate(nodes)
        if isinstance(node, Mapping)
        and node.get("kind") == "local"
        and node.get("path")
        and not node.get("name")
    }
    names = [str(node.get("name")) if isinstance(node, Mapping) else "" for node in nodes]
    more, counts = list(parts), dict.fromkeys(parts, 0)
    while more:
        for place in more:
            counts[place] += 1
            names[place] = "/".join(parts[place][-counts[place] :])
        alike = [place for place in parts if names.count(names[place]) > 1]
        more = [place for place in alike if counts[place] < len(parts[place])]
    return [{**node, "name": names[place]} if place in parts else node for place, node in enumerate(nodes)]


def _member(named: Any) -> Any:
    if not isinstance(named, str):
        return named
    node = _node(_bare(named))
    if node is not None:
        return node
    try:
        composed = compose("config", overrides=[f"model={named}"])
    except HydraException as error:
        raise BadRequestError(f"workload.members: {one_line(error)}") from error
    return OmegaConf.to_container(composed.model, resolve=True)


def _before(folder: str, name: str) -> str:
    """Return the folder that sorts just before another one of the same parent; both as seen from `folder`."""
    place = Path(folder) / name
    names = sorted(path.name for path in place.parent.glob("*") if path.is_dir())
    if place.name not in names[1:]:
        raise ValueError(f"there is no {place}, or no folder before it; make the checkpoints first")
    return (Path(name).parent / names[names.index(place.name) - 1]).as_posix()


# The cache goes along to the jobs of launchers, so that all of them see the same folder.
OmegaConf.register_new_resolver(
    "absolute", lambda path: str(Path(path).absolute()), use_cache=True, replace=True
)
OmegaConf.register_new_resolver("before", _before, replace=True)


class _CodecConfigurations(SearchPathPlugin):
    """Lets an installed codec bring its YAML: the folder ``conf`` beside its module."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for package in configuration_packages():
            search_path.append(provider="weightcodecs", path=f"pkg://{package}.conf")


def register_search_path() -> None:
    """Let Hydra find the YAML of codecs that other packages bring."""
    Plugins.instance().register(_CodecConfigurations)


def one_line(error: Exception) -> str:
    """Return Hydra's or OmegaConf's complaint in one line, with the nearest valid names."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if (group, name) == ("hydra/sweeper", "optuna"):
            return "a search needs Hydra's Optuna sweeper; run: pip install -c constraints.txt -e '.[sweeps]'"
        return _unknown(group or "config", name, [str(option) for option in error.options or []])
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
        where = str(cause.full_key or cause.key).rpartition(".")[0]
        return _unknown(
            f"option of {where or 'the run'}", str(cause.key), [str(k) for k in cause.parent_node]
        )
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    place = next((line.partition(":")[2].strip() for line in lines if line.startswith("full_key:")), "")
    return f"{place}: {lines[0]}" if place else (lines[0] if lines else type(cause).__name__)


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    near = nearest_names(name, known)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(sorted(known))}"
    return f"unknown {kind} {name!r}; {hint}"
