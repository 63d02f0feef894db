"""Nested mappings to typed columns, and typed columns merged: the arithmetic below :mod:`weightbench.table`.

A nested key becomes a dotted column (``result.encode.mbps``); a dot inside a key is written ``%2E``, so
that two keys never share a column. A column's type follows from the kinds of all its values: booleans bool,
integers int64, numbers float64, anything else text, where what is not a string is JSON. A list is always
JSON text. It does not depend on the order of the rows, nor on whether they came at once or one by one; but
what has been an integer beside a float may stand as ``2.0`` where a column has become text since, and a type
does not become narrower when the row that widened it goes.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weightbench import canonical

Flat = dict[str, object]
_INT64 = 1 << 63
_SCALARS: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "text"}
_KINDS = b"kinds"
_FEW = 200


def flatten(value: Mapping[str, object]) -> Flat:
    """A nested mapping as one level of dotted keys; lists as JSON text, nothing for None and {}."""
    flat: Flat = {}
    _flatten_into(flat, value, "")
    return flat


def _flatten_into(flat: Flat, value: Mapping[str, object], prefix: str) -> None:
    # The type is compared before isinstance is asked: 10,000 rows hold millions of values.
    for key, item in value.items():
        name = prefix + (key.replace("%", "%25").replace(".", "%2E") if "." in key or "%" in key else key)
        kind = type(item)
        if kind in _SCALARS:
            flat[name] = item
        elif item is None:
            continue
        elif isinstance(item, Mapping):
            _flatten_into(flat, item, name + ".")
        else:
            flat[name] = canonical.dumps(item) if isinstance(item, list | tuple) else item


def _kinds(values: Sequence[object]) -> set[str]:
    kinds = {_SCALARS.get(kind, "text") for kind in set(map(type, values)) - {type(None)}}
    # JSON has integers of any size, a column has not.
    if "int" in kinds and any(type(v) is int and not -_INT64 <= v < _INT64 for v in values):
        kinds.add("huge")
    return kinds


def _type(kinds: Iterable[str]) -> pa.DataType:
    found = set(kinds)
    if found == {"bool"}:
        return pa.bool_()
    if found == {"int"}:
        return pa.int64()
    return pa.float64() if found <= {"int", "float"} else pa.string()


def _column(name: str, values: list[object], kind: str | None) -> tuple[pa.Field, pa.Array]:
    kinds = _kinds(values) | ({kind} if kind else set())
    type_ = _type(kinds)
    if type_ == pa.string():
        values = [v if v is None or isinstance(v, str) else canonical.dumps(v) for v in values]
    elif type_ == pa.float64():
        values = [None if v is None else float(v) for v in values]  # type: ignore[arg-type]
    return pa.field(name, type_, metadata={_KINDS: ",".join(sorted(kinds))}), pa.array(values, type_)


def build(rows: Sequence[Flat], first: Mapping[str, str]) -> pa.Table:
    """A table of flat rows; the columns of ``first`` come first, the others sorted.

    Args:
        rows: flat mappings; a key that is absent is null.
        first: columns that are there in any case, with the kind of their values.
    """
    names = [*first, *sorted(set().union(*rows) - first.keys())]
    columns = [_column(name, [row.get(name) for row in rows], first.get(name)) for name in names]
    return pa.table([array for _, array in columns], schema=pa.schema([field for field, _ in columns]))


def kinds_of(field: pa.Field) -> list[str]:
    """Kinds of values that a column holds."""
    return [kind for kind in (field.metadata or {}).get(_KINDS, b"").decode().split(",") if kind]


def together(tables: Sequence[pa.Table], first: Iterable[str]) -> pa.Table:
    """The lines of all tables, one table after the other, in columns of the types that their kinds ask for.

    Args:
        tables: each made by :func:`build` or by this.
        first: columns that come first, if there are such; the others come sorted.
    """
    # By name from here on: a table makes the list of its names anew whenever it is asked.
    held = [
        dict(zip(table.column_names, zip(table.schema, table.columns, strict=True), strict=True))
        for table in tables
    ]
    there = set().union(*held)
    leading = [name for name in first if name in there]
    fields, columns = [], []
    for name in [*leading, *sorted(there.difference(leading))]:
        kinds = sorted({kind for part in held if name in part for kind in kinds_of(part[name][0])})
        type_ = _type(kinds)
        chunks: list[pa.Array] = []
        for part, table in zip(held, tables, strict=True):
            chunks += _cast(part[name][1], type_) if name in part else [pa.nulls(table.num_rows, type_)]
        fields.append(pa.field(name, type_, metadata={_KINDS: ",".join(kinds)}))
        columns.append(pa.chunked_array(chunks, type_))
    return pa.table(columns, schema=pa.schema(fields))


def _cast(column: pa.ChunkedArray, type_: pa.DataType) -> list[pa.Array]:
    """The chunks of a column in a type that is as wide or wider."""
    if column.type == type_:
        return list(column.chunks)
    if type_ == pa.float64() and column.type == pa.int64():
        return list(column.cast(type_, safe=False).chunks)
    return [pa.array([None if v is None else canonical.dumps(v) for v in column.to_pylist()], type_)]


def lines(table: pa.Table, order: np.ndarray[Any, Any]) -> pa.Table:
    """The lines of these numbers in this order: as slices, which copy nothing, where few of them will do."""
    ends = [*(np.flatnonzero(np.diff(order) != 1) + 1).tolist(), len(order)]
    if len(ends) > _FEW or not len(order):
        return table.take(pa.array(order))
    starts = [0, *ends[:-1]]
    return pa.concat_tables([table.slice(order[a], b - a) for a, b in zip(starts, ends, strict=True)])


def without(table: pa.Table, ids: Sequence[str], first: Container[str]) -> pa.Table:
    """The lines of other cells, without the columns that are empty then, unless they are of ``first``."""
    gone = pc.is_in(table["id"], value_set=pa.array(ids, pa.string()))
    if not ids or not pc.any(gone).as_py():
        return table
    kept = lines(table, np.flatnonzero(~gone.to_numpy()))
    full = [name for name in kept.column_names if name in first or kept[name].null_count < kept.num_rows]
    return kept.select(full)
