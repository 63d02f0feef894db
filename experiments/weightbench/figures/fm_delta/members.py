"""The models of sets, one line each: what a fine-tune added, in whichever row it was stored."""

from __future__ import annotations

import pandas

from weightbench.figures.rows import NoRowsError, Rows, parsed, records

__all__ = ["fine_tunes"]


def fine_tunes(rows: Rows) -> pandas.DataFrame:
    """Return one line for each model with a base in families and hubs.

    Columns: ``name``, ``base``, ``value`` (% of its raw bytes that it added), ``raw_bytes``, ``added_bytes``,
    ``bit_distance``, and of its row ``label``, ``system``, ``dtype``, ``workload``, ``cell``.

    Raises:
        NoRowsError: no row has such a model.
    """
    sets = rows.having("result.workload.models")
    cells = sets.one_each() if not sets.cells.empty else sets.cells
    made = [
        {
            "name": model["name"], "base": model["base"], "bit_distance": model["bit_distance"],
            "value": 100 * model["added_bytes"] / model["raw_bytes"], "raw_bytes": model["raw_bytes"],
            "added_bytes": model["added_bytes"], "label": row["label"], "system": row["system"],
            "dtype": row["dtype"], "workload": row["workload"], "cell": row["id"],
        }
        for row, models in zip(records(cells), parsed(cells, "result.workload.models"), strict=True)
        for model in models or []
        if model["base"] is not None
    ]  # fmt: skip
    if not made:
        raise NoRowsError("no fine-tune beside its base (workload=family)")
    return pandas.DataFrame(made)
