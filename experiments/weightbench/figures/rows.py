"""Rows as figures read them: a frame of the cells that went well, in plain words; one of many repeats.

Beside the columns of :func:`weightbench.results.cells` the frame has:

- ``system``: codec or system; ``label``: the same with the options that are not its defaults;
- ``model``, ``dtype`` (that the weights were cast to, else the format of most bytes), ``workload``,
  ``granularity`` (with the chunk size);
- ``ratio``: raw over stored bytes; ``bits``: stored bits a parameter;
- ``rounds``: how often the speeds were measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from weightbench import results
from weightbench.errors import WeightbenchError
from weightbench.systems import get_system_or_codec
from weightcodecs import MissingExtraError, WeightCodecsError
from weightcodecs.registry import codec_class

__all__ = ["NoRowsError", "Rows", "numbers", "options_of", "parsed", "read_cells", "records"]

_NOT_WHAT = ("cell.measure.", "cell.eval.", "cell.distributions", "cell.codec.version", "cell.model.revision")
_THREADS = "cell.measure.threads"
_ROUNDS = "result.speed.encode.mb_per_s.n"


class NoRowsError(WeightbenchError):
    """No row has what a figure shows; the message says what was looked for."""


@dataclass(frozen=True)
class Rows:
    """The cells a figure may draw.

    Attributes:
        cells: one line a cell of status ok, see the module's docstring.
        folders: the stores they came from, the first preferred.
    """

    cells: pandas.DataFrame
    folders: tuple[Path, ...] = ()
    _tensors: list[pandas.DataFrame] = field(default_factory=list, repr=False)

    @classmethod
    def read(cls, folders: Sequence[Path]) -> Rows:
        """Read the ok cells of some stores; raises what :func:`weightbench.results.cells` does."""
        frame = read_cells(folders)
        return cls(frame[frame["status"] == "ok"], tuple(folders))

    def tensors(self) -> pandas.DataFrame:
        """Return the tensor records of all stores, with the ``id`` of their cells; read once."""
        if not self._tensors:
            self._tensors.append(results.tensors(list(self.folders)))
        return self._tensors[0]

    def where(self, **wanted: Any) -> Rows:
        """Return the rows with these values in these columns; a list means any of them.

        A double underscore in a name stands for a dot. A column that no row has matches None alone.
        """
        cells = self.cells
        for name, value in wanted.items():
            column, options = name.replace("__", "."), value if isinstance(value, list) else [value]
            if column not in cells:
                cells = cells if None in options else cells.iloc[:0]
                continue
            fits = cells[column].isin([option for option in options if option is not None])
            cells = cells[fits | cells[column].isna()] if None in options else cells[fits]
        return Rows(cells, self.folders, self._tensors)

    def having(self, *columns: str) -> Rows:
        """Return the rows that have a value in every one of these columns."""
        if missing := [column for column in columns if column not in self.cells]:
            return Rows(self.cells.iloc[:0].assign(**dict.fromkeys(missing)), self.folders, self._tensors)
        return Rows(self.cells.dropna(subset=list(columns)), self.folders, self._tensors)

    def timed(self) -> Rows:
        """Return the rows whose speeds come from more than one round."""
        return Rows(self.cells[self.cells["rounds"] > 1], self.folders, self._tensors)

    def one_each(self, *, threads: bool = False) -> pandas.DataFrame:
        """Return one line for each thing that was stored, however often it was measured.

        Of cells that differ in nothing but how they were measured and evaluated, and in the version of codec
        or weights, the one of the newest codec version stays, then of the first store, of the most rounds,
        then the latest.

        Args:
            threads: rows with other numbers of threads are other things.

        Raises:
            NoRowsError: there is no row at all.
        """
        cells = self.cells
        if cells.empty:
            raise NoRowsError("no row of these cells")
        what = [
            column for column in map(str, cells)
            if column.startswith("cell.") and not column.startswith(_NOT_WHAT)
        ] + [_THREADS] * threads  # fmt: skip
        order = ["cell.codec.version", "_place", "rounds", "finished"]
        place = {str(folder): -number for number, folder in enumerate(self.folders)}
        cells = cells.assign(_place=cells["store"].map(place).fillna(0))
        return (
            cells.sort_values(order, kind="stable")
            .drop_duplicates(what, keep="last")
            .drop(columns="_place")
            .sort_values(["model", "dtype", "system", "label"], kind="stable")
            .reset_index(drop=True)
            .copy()  # one block of memory instead of a piece a column, which pandas complains of
        )


def read_cells(folders: Sequence[Path]) -> pandas.DataFrame:
    """Read the cells of some stores, of any status, with the columns that the module's docstring names."""
    return _in_plain_words(results.cells(list(folders)))


def numbers(frame: pandas.DataFrame, column: str) -> pandas.Series[float]:
    """Return a column as float64; NaN throughout if no row has it."""
    if column not in frame:
        return pandas.Series(np.nan, index=frame.index, dtype=np.float64)
    return frame[column].astype(np.float64)


def records(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's lines as mappings from column to value."""
    return [{str(key): value for key, value in line.items()} for line in frame.to_dict("records")]


def parsed(frame: pandas.DataFrame, column: str) -> list[Any]:
    """Return a column of lists or mappings, which tables keep as JSON; None where there is nothing."""
    if column not in frame:
        return [None] * len(frame)
    return [json.loads(value) if isinstance(value, str) else None for value in frame[column]]


def _in_plain_words(cells: pandas.DataFrame) -> pandas.DataFrame:
    if "store" not in cells:
        cells["store"] = ""
    cells["system"] = cells["cell.codec.name"]
    cells["label"] = [_label(row) for row in _records(cells, "cell.codec.")]
    cells["model"] = cells["cell.model.name"]
    cells["dtype"] = [_dtype(row) for row in _records(cells, "cell.model.dtype", "result.model.formats.")]
    cells["workload"] = cells["cell.workload.kind"]
    cells["granularity"] = [_granularity(row) for row in _records(cells, "cell.granularity.")]
    cells["ratio"] = numbers(cells, "result.sizes.ratio")
    parameters = numbers(cells, "result.model.parameters")
    cells["bits"] = 8 * numbers(cells, "result.sizes.stored_bytes") / parameters
    cells["rounds"] = numbers(cells, _ROUNDS).fillna(0)
    return cells


def _records(cells: pandas.DataFrame, *prefixes: str) -> list[dict[str, Any]]:
    """Return, for each cell, the values that are there of the columns with these prefixes."""
    columns = [column for column in map(str, cells) if column.startswith(prefixes)]
    return [
        {str(key): value for key, value in record.items() if value is not None and value == value}
        for record in cells[columns].to_dict("records")
    ]


def options_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return a codec's options from the ``cell.codec.`` columns of a row."""
    return {
        key.removeprefix("cell.codec."): value
        for key, value in row.items()
        if key.startswith("cell.codec.") and key not in ("cell.codec.name", "cell.codec.version")
    }


@cache
def _defaults(name: str) -> dict[str, Any]:
    try:
        return dict(get_system_or_codec(name).config())
    except MissingExtraError:  # the class is there without the package that it wraps
        return {option.name: option.default for option in fields(codec_class(name))}
    except WeightCodecsError:  # a codec of a package that is not installed here: all its options are shown
        return {}


def _label(row: dict[str, Any]) -> str:
    name, defaults = str(row["cell.codec.name"]), _defaults(str(row["cell.codec.name"]))
    changed = [
        str(value)
        if key == "variant"
        else f"{key}={value:g}"
        if isinstance(value, float)
        else f"{key}={value}"
        for key, value in sorted(options_of(row).items())
        if defaults.get(key) != value
    ]
    return f"{name} ({', '.join(changed)})" if changed else name


def _dtype(row: dict[str, Any]) -> str:
    if cast := row.get("cell.model.dtype"):
        return str(cast)
    sizes = {
        key.split(".")[3]: value
        for key, value in row.items()
        if key.startswith("result.model.formats.") and key.endswith(".nbytes")
    }
    return max(sizes, key=lambda name: sizes[name], default="")


def _granularity(row: dict[str, Any]) -> str:
    kind = str(row["cell.granularity.kind"])
    if kind != "chunk":
        return kind
    return f"{row['cell.granularity.chunking']} {int(row['cell.granularity.chunk_bytes'])}"
