"""Nested mappings to typed columns, and typed columns merged: the arithmetic below :mod:`weightbench.table`.

A nested key becomes a dotted column (``result.encode.mbps``); a dot inside a key is written ``%2E``, so
that two keys never share a column. A column's type follows from the kinds of all its values: booleans bool,
integers int64, numbers float64, anything else text, where what is not a string is JSON. A list is always
JSON text. It does not depend on the order of the rows, nor on whether they came at once or one by one.
"""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from weightbench import canonical

Flat = dict[str, object]
_INT64 = 1 << 63
_SCALARS: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "text"}
_KINDS = b"kinds"


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


def _column(name: str, values: list[object], more_kinds: Iterable[str] = ()) -> tuple[pa.Field, pa.Array]:
    kinds = _kinds(values) | set(more_kinds)
    type_ = _type(kinds)
    if type_ == pa.string():
        values = [v if v is None or isinstance(v, str) else canonical.dumps(v) for v in values]
    elif type_ == pa.float64():
        values = [None if v is None else float(v) for v in values]  # type: ignore[arg-type]
    return pa.field(name, type_, metadata={_KINDS: ",".join(sorted(kinds))}), pa.array(values, type_)


def build(rows: Sequence[Flat], first: Mapping[str, str], old: pa.Table | None = None) -> pa.Table:
    """A table of flat rows; the columns of ``first`` come first, the others sorted.

    Args:
        rows: flat mappings; a key that is absent is null.
        first: columns that are there in any case, with the kind of their values.
        old: a table of earlier rows, whose columns' kinds count when types are chosen.
    """
    kinds = {name: [kind] for name, kind in first.items()}
    if old is not None:
        kinds |= {field.name: kinds_of(field) for field in old.schema}
    names = [*first, *sorted(set().union(*rows) - first.keys())]
    columns = [_column(name, [row.get(name) for row in rows], kinds.get(name, ())) for name in names]
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
    there = set().union(*(table.column_names for table in tables))
    leading = [name for name in first if name in there]
    names = [*leading, *sorted(there.difference(leading))]
    fields, columns = [], []
    for name in names:
        held = [table.schema.field(name) for table in tables if name in table.column_names]
        kinds = sorted({kind for field in held for kind in kinds_of(field)})
        type_ = _type(kinds)
        fields.append(pa.field(name, type_, metadata={_KINDS: ",".join(kinds)}))
        columns.append(pa.chunked_array([c for table in tables for c in _chunks(table, name, type_)], type_))
    return pa.table(columns, schema=pa.schema(fields))


def _chunks(table: pa.Table, name: str, type_: pa.DataType) -> list[pa.Array]:
    """A column in a type that is as wide or wider, nulls where the table has none."""
    if name not in table.column_names:
        return [pa.nulls(table.num_rows, type_)]
    column = table.column(name)
    if column.type == type_:
        return list(column.chunks)
    if type_ == pa.float64() and column.type == pa.int64():
        return list(column.cast(type_, safe=False).chunks)
    texts = [None if value is None else canonical.dumps(value) for value in column.to_pylist()]
    return [pa.array(texts, type_)]


def append(old: pa.Table, rows: Sequence[Flat], first: Mapping[str, str]) -> pa.Table | None:
    """``old`` and ``rows`` in one table, as :func:`build` would make it of all; None if that must be redone.

    It must when new values turn a column of numbers into text: the old numbers have to be written otherwise.
    """
    new = build(rows, first, old)
    names = [*first, *sorted((set(old.column_names) | set(new.column_names)) - first.keys())]
    fields = [(new if name in new.column_names else old).schema.field(name) for name in names]
    columns = []
    for field in fields:
        before, after = _chunks_or_none(old, field), _chunks_or_none(new, field)
        if before is None or after is None:
            return None
        columns.append(pa.chunked_array([*before, *after], field.type))
    return pa.table(columns, schema=pa.schema(fields))


def _chunks_or_none(table: pa.Table, field: pa.Field) -> list[pa.Array] | None:
    """The column ``field`` of a table in that type, nulls where it has none; None if it does not go."""
    if field.name not in table.column_names:
        return [pa.nulls(table.num_rows, field.type)]
    column = table.column(field.name)
    if column.type == field.type:
        return list(column.chunks)
    if (column.type, field.type) == (pa.int64(), pa.float64()):
        return list(column.cast(field.type, safe=False).chunks)
    return None


def without(old: pa.Table, keep: pa.Array, first: Mapping[str, str]) -> pa.Table | None:
    """The rows of ``old`` where ``keep`` is true; None if a column may change its type by that."""
    dropped = old.filter(pc.invert(keep))
    for field in old.schema:
        if len(kinds_of(field)) > 1 and dropped.column(field.name).null_count < dropped.num_rows:
            return None
    kept = old.filter(keep)
    empty = [
        name
        for name in kept.column_names
        if name not in first and kept.column(name).null_count == kept.num_rows
    ]
    return kept.drop_columns(empty)
