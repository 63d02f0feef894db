"""Freeze the rows of a store: ``python -m weightbench.reference freeze results --out results/reference``.

Writes cells.parquet, tensors.parquet and manifest.json (see :mod:`weightbench.frozen`): every ok, skipped
and violated row, failures left out. Equal rows give equal bytes. Several stores can be named, frozen ones
too (that of ``--out`` among them, to add to it); of equal cells the first counts. What a child printed and
tracebacks stay behind, and so do the files that rows name as artifacts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weightbench.canonical import dumps
from weightbench.columns import build, together
from weightbench.errors import EmptyStoreError, FrozenError, WeightbenchError
from weightbench.frozen import AGAIN, NAMES, SCHEMA, read_frozen, read_manifest
from weightbench.rows import SCHEMA as ROW_SCHEMA
from weightbench.rows import Row, Status, title
from weightbench.store import MANIFEST, Store, store_error, write_atomically
from weightbench.table import CELL_COLUMNS, TENSOR_COLUMNS, flat_cell, flat_tensors

__all__ = ["freeze", "main"]

README = (
    "Rows of weightbench, frozen: weightbench.results.cells(FOLDER) reads them, docs/results.md says what "
    "they hold. Do not edit: python -m weightbench.reference freeze makes this folder."
)
KEPT = (Status.OK, Status.SKIPPED, Status.VIOLATED)
_FIRST = {
    "cells": {name: kind for name, kind in CELL_COLUMNS.items() if name != "stamp"},
    "tensors": TENSOR_COLUMNS,
}
_LEFT = ("error.traceback", "stamp")  # paths of a machine; what only a store is interested in
_MOVING = ("git", "load", "variables")  # what differs between cells of one machine

Entry = dict[str, Any]
Source = tuple[dict[str, pa.Table], list[Entry], list[str]]


def freeze(stores: Sequence[Path], out: Path, commands: Sequence[str] = ()) -> Mapping[str, Any]:
    """Write the frozen tables of stores; return the manifest.

    Args:
        stores: results folders, or frozen ones; of equal cells the first counts.
        out: the folder to write to; made if it is not there.
        commands: what made the rows, for the manifest; those of frozen stores are kept.

    Raises:
        EmptyStoreError: no row to freeze.
        FrozenError: a frozen store is damaged, or ``out`` holds rows.
        StoreError: a row cannot be read, or the folder not written; ``out`` then asks to be frozen again.
    """
    if Store(out).entries():
        raise EmptyStoreError(f"{out} holds rows in cells/: name another folder with --out")
    sources = [_frozen(store) if Store(store).frozen else _live(store) for store in stores]
    owner: dict[str, int] = {}
    for number, (_, entries, _) in enumerate(sources):
        for entry in entries:
            owner.setdefault(entry["id"], number)
    if not owner:
        raise EmptyStoreError(f"no ok, skipped or violated row in {', '.join(map(str, stores))}")
    cells = [
        entry for n, (_, entries, _) in enumerate(sources) for entry in entries if owner[entry["id"]] == n
    ]
    told = dict.fromkeys([*(command for source in sources for command in source[2]), *commands])
    data = {f"{name}.parquet": _parquet(_joined(name, sources, owner)) for name in NAMES}
    manifest = _manifest(sorted(cells, key=lambda entry: str(entry["id"])), data, list(told))
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        for name, content in data.items():
            write_atomically(Path(out) / name, content)
        write_atomically(Path(out) / MANIFEST, _text(manifest).encode())
    except OSError as error:
        raise store_error(error, f"the frozen tables could not be written to {out}") from error
    return manifest


def _live(root: Path) -> Source:
    rows = [row for row in Store(root).rows() if row.status in KEPT]
    cells = [{k: v for k, v in flat_cell(row).items() if k not in _LEFT} for row in rows]
    tensors = [line for row in rows for line in flat_tensors(row)]
    tables = {"cells": build(cells, _FIRST["cells"]), "tensors": build(tensors, _FIRST["tensors"])}
    return tables, [_entry(row) for row in rows], []


def _frozen(root: Path) -> Source:
    manifest = read_manifest(root)
    tables = {"cells": read_frozen(root, "cells"), "tensors": read_frozen(root, "tensors")}
    try:
        entries = [
            {**entry, "environment": manifest["environments"][entry["environment"]]}
            for entry in manifest["cells"]
        ]
        ids, commands = sorted(entry["id"] for entry in entries), list(map(str, manifest["commands"]))
    except (KeyError, IndexError, TypeError) as error:
        raise FrozenError(f"{root / MANIFEST} is damaged ({error!r}): {AGAIN}") from error
    if ids != sorted(tables["cells"]["id"].to_pylist()):
        raise FrozenError(f"{root / MANIFEST} lists other cells than its table holds: {AGAIN}")
    return tables, entries, commands


def _entry(row: Row) -> Entry:
    """What the manifest says of a row; its environment is numbered later."""
    environment: Mapping[str, Any] = row.environment
    sizes: Any = row.result.get("sizes") or {}
    codec, model = (row.cell[part] for part in ("codec", "model"))
    assert isinstance(codec, Mapping) and isinstance(model, Mapping)  # noqa: PT018 - what every cell has
    stable = {key: value for key, value in environment.items() if key not in _MOVING}
    for part, moving in (("cpu", ("mhz",)), ("memory", ("available_bytes",))):
        stable[part] = {k: v for k, v in (stable.get(part) or {}).items() if k not in moving}
    return {
        "id": row.id,
        "title": title(row.cell),
        "status": str(row.status),
        "codec_version": codec.get("version"),
        "model_revision": model.get("revision"),
        "ratio": sizes.get("ratio"),
        "finished": row.finished,
        "git": environment.get("git"),
        "environment": stable,
    }


def _joined(name: str, sources: Sequence[Source], owner: Mapping[str, int]) -> pa.Table:
    parts = []
    for number, (tables, _, _) in enumerate(sources):
        own = pa.array([id_ for id_, by in owner.items() if by == number], pa.string())
        parts.append(tables[name].filter(pc.is_in(tables[name]["id"], value_set=own)))
    table = together(parts, _FIRST[name])
    return table.sort_by([("id", "ascending"), *([("index", "ascending")] if name == "tensors" else [])])


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.combine_chunks(), sink, compression="zstd", compression_level=19, write_statistics=False
    )
    return bytes(sink.getvalue().to_pybytes())


def _manifest(cells: list[Entry], data: Mapping[str, bytes], commands: list[str]) -> dict[str, Any]:
    environments = _distinct(entry["environment"] for entry in cells)
    numbered = {text: number for number, text in enumerate(environments)}
    revisions = _distinct(entry["git"] for entry in cells)
    return {
        "readme": README,
        "schema": SCHEMA,
        "row_schema": ROW_SCHEMA,
        "commands": commands,
        "tables": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in data.items()
        },
        "statuses": dict(sorted(Counter(entry["status"] for entry in cells).items())),
        "git": [{"revision": json.loads(text), "cells": number} for text, number in revisions.items()],
        "environments": [json.loads(text) for text in environments],
        "cells": [{**e, "environment": numbered[dumps(e["environment"])]} for e in cells],
    }


def _distinct(values: Iterable[object]) -> dict[str, int]:
    """Different values as JSON text, and how often each is there, in the order of the texts."""
    return dict(sorted(Counter(dumps(value) for value in values).items()))


def _text(manifest: Mapping[str, Any]) -> str:
    """JSON with a line an element of its lists, so that differences can be read."""
    parts = []
    for key, value in manifest.items():
        lines = [json.dumps(item, ensure_ascii=False) for item in value] if isinstance(value, list) else []
        text = "[\n  " + ",\n  ".join(lines) + "\n ]" if lines else json.dumps(value, ensure_ascii=False)
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main(arguments: Sequence[str]) -> int:
    """Freeze; return 0, or 2 for wrong input."""
    parser = argparse.ArgumentParser("python -m weightbench.reference", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    command = parser.add_subparsers(required=True).add_parser("freeze", help="write frozen tables of stores")
    command.add_argument("stores", nargs="+", type=Path, metavar="RESULTS", help="results folders")
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="such as results/reference"
    )
    command.add_argument(
        "--command",
        action="append",
        default=[],
        metavar="TEXT",
        help="a command that made some of the rows, for the manifest; repeatable",
    )
    options = parser.parse_args(arguments)
    try:
        manifest = freeze(options.stores, options.out, options.command)
    except WeightbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    counts = ", ".join(f"{number} {status}" for status, number in manifest["statuses"].items())
    sizes = sum(table["bytes"] for table in manifest["tables"].values())
    print(f"{options.out}: {counts}; tables of {sizes / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
