"""A row: what one cell of a sweep gave, whatever became of it. :mod:`weightbench.store` keeps them."""

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import cast

from weightbench import canonical
from weightbench.errors import DamagedRowError, NotPlainError, SchemaError

SCHEMA = 1
"""Version of the row's layout. A change that an older reader would misread raises it by one."""

MIGRATIONS: dict[int, Callable[[dict[str, object]], dict[str, object]]] = {}
"""From an older schema number to the function that lifts a row's JSON by one version."""

Plain = Mapping[str, object]


class Status(enum.StrEnum):
    """What became of a cell."""

    OK = "ok"
    FAILED = "failed"  # it raised, crashed, or ended without a result
    TIMEOUT = "timeout"  # it ran into its wall-clock limit
    OOM = "oom"  # it ran into its memory limit, or the system's
    SKIPPED = "skipped"  # it cannot be run, with a reason
    VIOLATED = "violated"  # the codec broke its promise: not bit-exact, or beyond its bound


@dataclass(frozen=True, slots=True)
class Row:
    """One cell's outcome.

    Attributes:
        id: :func:`weightbench.canonical.identity` of ``cell``.
        cell: the resolved cell: nested mappings of plain values.
        status: what became of it.
        reason: one line for the table; empty when ok.
        error: ``type``, ``message``, ``traceback``, ``details`` and ``output`` (the end of what the child
            printed), or None when ok or skipped.
        lasting: for a skipped row, whether the reason follows from the cell alone (see ``errors.Skip``).
        started, finished: UTC, ISO 8601, to the millisecond.
        seconds: wall time from starting the child to its end.
        peak_memory_bytes: largest memory of the child that a sample saw (anonymous and shared memory and
            swap; file mappings do not count); 0 if it ended before the first sample.
        environment: see :func:`weightbench.environment.record`.
        result: nested mapping of measured numbers; empty unless ok.
        tensors: one flat mapping per tensor.
        artifacts: files kept beside the row, as paths relative to the store with forward slashes.
        schema: layout version of this row.
    """

    id: str
    cell: Plain
    status: Status
    reason: str = ""
    error: Plain | None = None
    lasting: bool = True
    started: str = ""
    finished: str = ""
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    environment: Plain = field(default_factory=dict)
    result: Plain = field(default_factory=dict)
    tensors: tuple[Plain, ...] = ()
    artifacts: tuple[str, ...] = ()
    schema: int = SCHEMA


def title(cell: Plain) -> str:
    """Return a cell in a few words: codec with its options, what is stored, granularity."""
    codec, model = (cast("Plain", cell[part]) for part in ("codec", "model"))
    dtype = f" as {model['dtype']}" if model["dtype"] else ""
    stored = f"{workload_title(cell)}{model['name']}{dtype}"
    return f"{codec_title(codec)} on {stored}, granularity {granularity_title(cell)}"


def workload_title(cell: Plain) -> str:
    """Return what a cell stores beside its first model, to stand before that one's name; "" for nothing."""
    workload = cast("Plain", cell["workload"])
    members = len(cast("list[object]", workload.get("members", [])))
    match workload["kind"]:
        case "single":
            return ""
        case "pair":
            return f"the pair with {workload.get('low', 'a low-precision version')} of "
        case kind:
            return f"a {kind} of {members + 1} {'models' if members else 'model'} with "


def granularity_title(cell: Plain) -> str:
    """Return how a cell's model is cut, in a few words: kind, size of chunks, deduplication."""
    granularity = cast("Plain", cell["granularity"])
    words = [str(granularity["kind"])]
    if granularity["kind"] == "chunk":
        words.append(f"of {granularity['chunk_bytes']:,} bytes")
        if granularity["chunking"] != "fixed":
            words.append(f"by {granularity['chunking']}")
    return " ".join(words) + (" with dedup" if cell["dedup"] else "")


def codec_title(codec: Plain) -> str:
    """Return a cell's codec in a few words: its name and the options that are set."""
    shown = {key: value for key, value in codec.items() if key not in ("name", "version")}
    options = ", ".join(f"{key}={_word(shown[key])}" for key in sorted(shown) if shown[key] is not None)
    return f"{codec['name']}({options})" if options else str(codec["name"])


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def done(row: Row) -> bool:
    """Whether the cell need not run again unless forced.

    An ok row is done, and so are a violated one (the codec's version is part of the cell: the same code
    breaks the same promise again) and a skipped one whose reason lies in the cell. Failures, time-outs,
    out-of-memory and skips that the machine caused run again next time.
    """
    if row.status is Status.SKIPPED:
        return row.lasting
    return row.status in (Status.OK, Status.VIOLATED)


def to_json(row: Row) -> str:
    """The text of a row file.

    Raises:
        NotPlainError: the row holds a value JSON cannot.
    """
    return canonical.dumps({f.name: getattr(row, f.name) for f in fields(Row)}) + "\n"


def from_json(text: str | bytes, name: str) -> Row:
    """Read a row file's text, checking every field.

    Args:
        text: the file's content; not trusted.
        name: how errors call it.

    Raises:
        DamagedRowError: not a row, or its cell does not give its id.
        SchemaError: written by a newer version.
    """
    try:
        data = canonical.loads(text)
    except ValueError as error:
        raise DamagedRowError(f"{name} is damaged ({error}): delete it and run its cell again") from error
    if not isinstance(data, dict):
        raise DamagedRowError(f"{name} is damaged (no JSON object): delete it and run its cell again")
    return _row(_current(data, name), name)


def _current(data: dict[str, object], name: str) -> dict[str, object]:
    version = data.get("schema")
    if type(version) is not int or version < 1:
        raise DamagedRowError(f"{name} is damaged (no schema number): delete it and run its cell again")
    if version > SCHEMA:
        raise SchemaError(
            f"{name} was written by a newer weightbench (row schema {version}; this one reads {SCHEMA}): "
            "upgrade weightbench, or name another results folder with WEIGHTBENCH_RESULTS"
        )
    while version < SCHEMA:
        if version not in MIGRATIONS:
            raise SchemaError(
                f"{name} has row schema {version}, which this weightbench (schema {SCHEMA}) no longer reads: "
                "open it with the version that wrote it, or run its cell again with force=true"
            )
        data = MIGRATIONS[version](data)
        version += 1
    return data | {"schema": SCHEMA}


_TYPES: dict[str, type | tuple[type, ...]] = {
    "id": str, "cell": dict, "status": str, "reason": str, "error": (dict, type(None)), "lasting": bool,
    "started": str, "finished": str, "seconds": (int, float), "peak_memory_bytes": int, "environment": dict,
    "result": dict, "tensors": list, "artifacts": list, "schema": int,
}  # fmt: skip


def _row(data: dict[str, object], name: str) -> Row:
    def damaged(what: str) -> DamagedRowError:
        return DamagedRowError(f"{name} is damaged ({what}): delete it and run its cell again")

    if data.keys() != _TYPES.keys():
        raise damaged(f"fields {sorted(data.keys() ^ _TYPES.keys())} missing or unknown")
    for key, kind in _TYPES.items():
        if not isinstance(data[key], kind):
            raise damaged(f"{key} is a {type(data[key]).__name__}")
    if data["status"] not in tuple(Status):
        raise damaged(f"unknown status {data['status']!r:.40}")
    tensors = cast("list[object]", data["tensors"])
    if not all(isinstance(tensor, dict) for tensor in tensors):
        raise damaged("a tensor record is no mapping")
    artifacts = cast("list[object]", data["artifacts"])
    if not all(isinstance(path, str) and is_inside(path) for path in artifacts):
        raise damaged("an artifact's path leaves the store")
    try:
        true_id = canonical.identity(cast("Plain", data["cell"]))
    except NotPlainError as error:
        raise damaged(str(error)) from error
    if data["id"] != true_id:
        raise damaged("its cell does not give its id")
    changed = {
        "status": Status(cast("str", data["status"])),
        "tensors": tuple(tensors),
        "artifacts": tuple(artifacts),
    }
    return Row(**(data | changed))  # type: ignore[arg-type]  # every field's type was checked above


def is_inside(path: str) -> bool:
    """Whether a relative path with forward slashes stays below the folder it starts from."""
    return (
        bool(path) and re.fullmatch(r"[A-Za-z]:.*|/.*|.*\\.*", path) is None and ".." not in path.split("/")
    )
