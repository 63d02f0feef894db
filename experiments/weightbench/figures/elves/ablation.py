"""The steps that Elf and Elves are made of, as published and ours."""

from __future__ import annotations

import pandas

from weightbench.figures.charts import OURS, PAPER, named_bars, reference_line
from weightbench.figures.elves.compared import DEQUANTISED
from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError, Rows
from weightbench.figures.sheet import Sheet

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_STEPS = {
    ("zstd", "", "", "tensor"): "zstd alone",
    ("distance", "fast", "none", "tensor"): "distance encoding",
    ("elf", "paper", "none", "tensor"): "elf codes alone",
    ("elf", "paper", "zstd", "tensor"): "elf codes, zstd",
    ("elf", "fast", "none", "tensor"): "elf byte planes (ours)",
    ("elf", "fast", "zstd", "tensor"): "elf byte planes, zstd (ours)",
    ("elf", "fast", "auto", "tensor"): "elf byte planes, entropy coder (ours)",
    ("elves", "paper", "auto", "model"): "elves as published",
    ("elves", "paper", "auto", "tensor"): "elves as published, by tensor",
    ("elves", "fast", "auto", "tensor"): "elves by tensor (ours)",
}
"""Steps by codec, variant, entropy and granularity; a name begins with the system whose colour it has."""
_PLAIN = (None, "auto", "none", "zstd", "paper", "fast")
_OPTIONS = ("cell.codec.error_bound_absolute", "cell.codec.widen_bfloat16")
_CASES = 6


def _data(rows: Rows) -> pandas.DataFrame:
    rows = rows.where(
        workload="single", system=sorted({key[0] for key in _STEPS}), granularity=["tensor", "model"]
    )
    cells = rows.one_each()
    keys = zip(
        cells["system"], _text(cells, "variant"), _text(cells, "entropy"), cells["granularity"], strict=True
    )
    cells = cells.assign(series=[_STEPS.get(key, "") for key in keys]).copy()
    # Steps are those of the formats' own bounds and of the default levels.
    for option in _OPTIONS:
        if option in cells:
            cells = cells[cells[option].isna() | (cells[option] == False)]  # noqa: E712 - a column
    cells = cells[cells["series"].ne("") & ~cells["label"].str.contains("level=|search=", regex=True)]
    # Steps begin with the authors' codes by themselves.
    about = cells[cells["series"] == _STEPS["elf", "paper", "none", "tensor"]]
    cells = cells.merge(about[["model", "dtype"]].drop_duplicates(), on=["model", "dtype"])
    if cells.empty:
        raise NoRowsError("no model coded by elf with codec.variant=paper and codec.entropy=none")
    place = {name: number for number, name in enumerate(_STEPS.values())}
    columns = {
        "series": cells["series"],
        "x": cells["dtype"],
        "model": cells["model"],
        "dtype": cells["dtype"],
        "value": cells["ratio"],
        "bits": cells["bits"],
        "model_note": cells.get("result.model.note", pandas.Series("", cells.index)).fillna(""),
        "source": OURS,
        "cell": cells["id"],
    }
    ours = pandas.DataFrame(columns).drop_duplicates(["model", "dtype", "series"])
    ours = ours.assign(_place=ours["series"].map(place)).sort_values(["model", "dtype", "_place"])
    paper = published("elves", "ablation").assign(source=PAPER)
    return pandas.concat(
        [ours.drop(columns="_place"), paper[paper["x"].isin(ours["dtype"])]], ignore_index=True
    )


def _text(cells: pandas.DataFrame, option: str) -> pandas.Series[str]:
    return cells.get(f"cell.codec.{option}", pandas.Series(None, cells.index, dtype=object)).fillna("")


def _draw(data: pandas.DataFrame) -> Figure:
    ours, paper = data[data["source"] == OURS], data[data["source"] == PAPER]
    cases = list(ours.groupby(["model", "dtype"], sort=False))[:_CASES]
    order = [name for name in _STEPS.values() if (ours["series"] == name).any()]
    figure, grid = pyplot.subplots(
        len(cases), 1, figsize=(8, 0.9 + 2.6 * len(cases)), squeeze=False, sharex=True
    )
    for axes, ((model, dtype), part) in zip(grid[:, 0], cases, strict=True):
        named_bars(axes, pandas.concat([part, paper[paper["x"] == dtype]]), order=order)
        starred = "*" if part["model_note"].str.contains(DEQUANTISED).any() else ""
        axes.set_title(f"{model}, {dtype}{starred}")
        reference_line(axes, 1.0, "raw", vertical=True)
        axes.set_ylim(top=-1.5)
    grid[-1, 0].set_xlabel("ratio (raw / stored)")
    return figure


SHEETS = (
    Sheet(
        name="ablation",
        title="Elf and Elves step by step",
        after="the ablation of Elves (PVLDB 17(8), 2024)",
        note="As published: interleaved codes, zstd-3, one choice a model before zstd over the authors' "
        "flattened arrays; ours: byte planes, an entropy coder, a choice a tensor at the end. "
        "Diamonds: the ratio that the release's layout gives by itself if every value fits; the "
        "paper's measured values are not known. *: dequantised from a 4-bit grid.",
        experiments=("elf_ablation", "elves_ablation", "elves_codecs"),
        data=_data,
        draw=_draw,
    ),
)
