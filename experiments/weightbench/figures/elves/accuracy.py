"""What a loss costs: a table of all lossy codecs, and how many outputs stay the same."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import pandas

from weightbench.figures.charts import OURS, PAPER, look
from weightbench.figures.elves.lossy import evaluated
from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError, Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.tables import draw_table

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_HEADER = (
    "model", "codec", "error\nbound", "largest\nerror", "ratio", "bits a\nweight",
    "accuracy\nbefore → after", "change, points\n[95 %]", "KL, nats a token\n[95 %]", "same next\ntoken",
)  # fmt: skip
_WIDTHS = (1.2, 1.5, 0.9, 0.9, 0.7, 0.8, 1.3, 1.7, 2.2, 0.9)
_ROWS = 40


def _table_data(rows: Rows) -> pandas.DataFrame:
    """Return codecs with their defaults, and those of them that share a bound with another at that bound."""
    data = evaluated(rows)
    sharing = data.groupby(["model", "dtype", "bound"])["system"].transform("nunique") > 1
    data = data[data["default"] | sharing.fillna(False) | (data["system"] == "cast")]
    # A default whose bound was also given in words is the same thing twice.
    data = data.sort_values(
        ["model", "bound", "default", "codec"], ascending=[True, True, False, True], na_position="last"
    )
    once = data.assign(_bound=data["bound"].fillna(-1.0)).drop_duplicates(
        ["model", "dtype", "codec", "_bound"]
    )
    data = data.loc[once.index].reset_index(drop=True)
    return data.assign(x=data["model"], value=data["change"])


def _draw_table(data: pandas.DataFrame) -> Figure:
    shown = data.head(_ROWS)
    cells = [_cells(row) for row in shown.to_dict("records")]
    for number in range(len(cells) - 1, 0, -1):
        if cells[number][0] == cells[number - 1][0]:
            cells[number][0] = ""
    figure, axes = pyplot.subplots(figsize=(11, 1.1 + 0.21 * (len(cells) + 2)))
    draw_table(axes, _HEADER, cells, widths=_WIDTHS, left=2)
    return figure


def _cells(row: dict[Hashable, Any]) -> list[str]:
    return [
        row["model"],
        row["codec"],
        _number(row["bound"], "{:.3g}", "relative"),
        f"{row['max_abs_error']:.3g}",
        f"{row['ratio']:.3f}",
        f"{row['bits']:.2f}",
        f"{_number(row['before'], '{:.1%}')} → {_number(row['after'], '{:.1%}')}",
        _interval([100 * row[name] for name in ("change", "low", "high")], "{:+.1f}"),
        _interval([row[name] for name in ("kl", "kl_low", "kl_high")], "{:.2g}"),
        _number(row["top1"], "{:.2%}"),
    ]


def _number(value: float, form: str, missing: str = "–") -> str:
    return missing if value != value else form.format(value)


def _interval(values: Sequence[float], form: str) -> str:
    value, low, high = (_number(value, form) for value in values)
    return f"{value} [{low}, {high}]"


def _agreement_data(rows: Rows) -> pandas.DataFrame:
    """Return the share of next tokens that Elf, by its own bound, left the same; the paper's outputs."""
    data = evaluated(rows)
    data = data[data["default"] & data["system"].isin(["elf"])]
    if data.empty:
        raise NoRowsError("no model coded by elf was evaluated (eval=lm_eval_quick or kl)")
    ours = data.assign(
        x="next token, " + data["model"] + " (ours)", value=data["top1"], series="elf",
        setting=data["tokens"].map("{:.0f} tokens of held-out text, greedy choice".format),
    )[["series", "x", "value", "setting", "source", "cell"]]  # fmt: skip
    paper = published("elves", "agreement").assign(source=PAPER)
    return pandas.concat([ours, paper], ignore_index=True)


def _draw_agreement(data: pandas.DataFrame) -> Figure:
    figure, axes = pyplot.subplots(figsize=(8, 0.9 + 0.26 * len(data)))
    drawn = look("elf", ["elf"])
    for source, part in data.groupby("source", sort=False):
        ours = source == OURS
        label, colour, line = ("ours", drawn.colour, "-") if ours else ("the paper's", "white", "--")
        axes.barh(part.index, part["value"], 0.7, color=colour, edgecolor="black", linewidth=0.6,
                  linestyle=line, label=label)  # fmt: skip
    for place, row in data.iterrows():
        said = f"{row['value']:.2%}   {row['setting'].partition(';')[0]}"
        axes.annotate(said, (row["value"], place), xytext=(4, 0), textcoords="offset points", va="center",
                      fontsize=7)  # fmt: skip
    axes.set_yticks(data.index, data["x"])
    axes.invert_yaxis()
    axes.set_xlim(0, 2.6)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("share of outputs that stayed the same after Elf", loc="left")
    figure.legend(loc="outside lower right", ncols=2)
    return figure


SHEETS = (
    Sheet(
        name="accuracy",
        title="What lossy codecs do to a model, at equal bounds",
        after="the accuracy study of Elves (PVLDB 17(8), 2024)",
        note="Accuracy on the same items before and after (a short multiple-choice task), the interval of "
        "their difference paired; KL of the next token on held-out text, bootstrapped over windows. "
        "Elf at its own bound, and codecs that share an absolute bound; relative: follows the values. "
        "The paper compares outputs on random inputs, not accuracy on labelled data: see agreement.",
        experiments=("elf_error_bound", "elves_accuracy", "elves_casts"),
        data=_table_data,
        draw=_draw_table,
    ),
    Sheet(
        name="agreement",
        title="Outputs that stay the same after Elf",
        after="the accuracy study of Elves (PVLDB 17(8), 2024), by the result files of its review artefact",
        note="Theirs: ten random inputs to each of 261 models, outputs of original and restored weights "
        "compared; its text generation was sampled without a seed, so its differences cannot be put "
        "down to Elf. Ours: the most likely next token on held-out text, nothing sampled.",
        experiments=("elves_accuracy",),
        data=_agreement_data,
        draw=_draw_agreement,
    ),
)
