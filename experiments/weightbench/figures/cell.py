"""The picture of one cell: what it stores, how fast, tensor by tensor, and what became of the accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from weightbench.figures import style
from weightbench.rows import title

from matplotlib import pyplot  # isort: skip - after style, which chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["draw_cell", "figure_of"]

_TITLE_WIDTH = 130  # characters that fit the figure's width
_NAME_WIDTH = 24
_PARTS = (("payload", style.BLUE, ""), ("side", style.ORANGE, "//"), ("literals", style.GREEN, ".."),
          ("index", style.RED, "xx"))  # fmt: skip
_OPERATIONS = (("encode", style.BLUE), ("decode", style.SKY), ("memcpy_fresh", style.GREY),
               ("memcpy_reused", style.GREY))  # fmt: skip


def draw_cell(
    result: Mapping[str, Any], tensors: Sequence[Mapping[str, Any]], cell: Mapping[str, Any], path: Path
) -> None:
    """Write the figure of one row as PNG."""
    with style.styled():
        figure = figure_of(result, tensors, cell)
        figure.savefig(path)
        pyplot.close(figure)


def figure_of(
    result: Mapping[str, Any], tensors: Sequence[Mapping[str, Any]], cell: Mapping[str, Any]
) -> Figure:
    """Return the figure of one ok row.

    Args:
        result: the row's result.
        tensors: the row's tensor records.
        cell: the row's cell.
    """
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 6.4))
    figure.suptitle(fill(title(cell), _TITLE_WIDTH), fontsize=10, x=0.01, ha="left")
    _sizes(axes[0, 0], result["sizes"])
    _speeds(axes[0, 1], result["speed"])
    _tensors(axes[1, 0], tensors)
    workload = result.get("workload") or {}
    if models := workload.get("models"):
        _models(axes[1, 1], models)
    else:
        _accuracy(axes[1, 1], result["evaluation"])
    return figure


def _sizes(axes: Axes, sizes: Mapping[str, Any]) -> None:
    axes.set_title(f"Stored bytes: {sizes['ratio']:.3f}×")
    axes.barh(["raw"], [sizes["raw_bytes"] / 1e6], color="#cccccc", edgecolor="black", linewidth=0.5)
    left = 0.0
    for part, colour, hatch in _PARTS:
        width = sizes[f"{part}_bytes"] / 1e6
        axes.barh(["stored"], [width], left=left, color=colour, hatch=hatch, edgecolor="black", linewidth=0.5,
                  label=f"{part} {width:.3g} MB")  # fmt: skip
        left += width
    axes.set_xlabel("MB (10⁶ bytes)")
    axes.invert_yaxis()
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.18), ncols=2)
    axes.grid(axis="y", visible=False)


def _speeds(axes: Axes, speed: Mapping[str, Any]) -> None:
    axes.set_title(f"Speed, {speed['threads']} thread{'s' if speed['threads'] > 1 else ''}")
    shown = [(name, colour) for name, colour in _OPERATIONS if speed[name] and speed[name]["mb_per_s"]]
    if not shown:
        _say(axes, "No bytes were coded.")
        return
    for name, colour in shown:
        rate = speed[name]["mb_per_s"]
        spread = None
        if rate["ci_low"] is not None:
            spread = [[rate["median"] - rate["ci_low"]], [rate["ci_high"] - rate["median"]]]
        label = name.replace("_", " ")
        axes.barh([label], [rate["median"]], xerr=spread, color=colour, edgecolor="black", linewidth=0.5,
                  capsize=3, hatch="//" if name == "memcpy_reused" else "")  # fmt: skip
        axes.annotate(
            f" {rate['median']:,.0f}", (rate["ci_high"] or rate["median"], label), va="center", fontsize=8
        )
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 2.5)
    axes.set_xlabel("MB/s of original bytes (median, 95 % interval)")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


def _tensors(axes: Axes, tensors: Sequence[Mapping[str, Any]]) -> None:
    axes.set_title("Units")
    sized = [t for t in tensors if t["raw_bytes"] and t["stored_bytes"]]
    if not sized:
        _say(axes, "No unit holds any bytes.")
        return
    x = [t["raw_bytes"] for t in sized]
    y = [t["raw_bytes"] / t["stored_bytes"] for t in sized]
    axes.scatter(x, y, s=14, color=style.BLUE, alpha=0.7, linewidths=0)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("raw size of the unit, bytes")
    axes.set_ylabel("ratio (raw / stored)")


def _models(axes: Axes, models: Sequence[Mapping[str, Any]]) -> None:
    """Show how much each model of a set added, as a share of its own size; those with a base are hatched."""
    axes.set_title("Stored bytes a model, as a share of its raw bytes")
    for model in models:
        share, name = 100 * model["added_bytes"] / model["raw_bytes"], model["name"][-_NAME_WIDTH:]
        axes.barh([name], [share], color=style.SKY if model["base"] else style.BLUE, edgecolor="black",
                  linewidth=0.5, hatch="//" if model["base"] else "")  # fmt: skip
        axes.annotate(f" {share:.1f} %", (share, name), va="center", fontsize=8)
    axes.axvline(100, color="black", linewidth=0.8)
    axes.set_xlim(0, max(115, axes.get_xlim()[1]))
    axes.set_xlabel("% (hatched: coded against a base)")
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


def _accuracy(axes: Axes, evaluation: Mapping[str, Any]) -> None:
    changes = evaluation["changes"]
    if evaluation["status"] == "skipped" or not changes:
        axes.set_title("Accuracy")
        _say(axes, _remark(evaluation))
        return
    axes.set_title("Accuracy: after − before, paired")
    for change in changes:
        label = f"{change['task']}\n{change['metric']}"
        interval = change["interval"]
        spread = None
        if interval:
            spread = [[change["difference"] - interval["low"]], [interval["high"] - change["difference"]]]
        axes.errorbar([change["difference"]], [label], xerr=spread, fmt="o", color=style.BLUE, capsize=4)
        text = f"{change['before']:.4f} → {change['after']:.4f}"
        at = (change["difference"], label)
        axes.annotate(text, at, xytext=(0, 8), textcoords="offset points", ha="center", fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_ylim(-0.6, len({(c["task"], c["metric"]) for c in changes}) - 0.4)
    reach = max(abs(bound) for bound in axes.get_xlim())
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("\n".join(("difference (95 % interval)", _remark(evaluation))).strip(), fontsize=8)
    axes.grid(axis="y", visible=False)


def _say(axes: Axes, text: str) -> None:
    """Show words in place of a chart."""
    axes.axis("off")
    axes.text(0, 0.9, text, va="top", wrap=True, transform=axes.transAxes)


def _remark(evaluation: Mapping[str, Any]) -> str:
    if evaluation["status"] == "skipped":
        return f"Not evaluated: {evaluation['reason']}."
    if divergence := evaluation["divergence"]:
        return (
            f"KL {divergence['mean']:.3g} nats/token over {divergence['tokens']:,} tokens, "
            f"same top choice {divergence['top1_agreement']:.2%}"
        )
    if tensors := evaluation["tensors"]:
        return f"Largest |error| {tensors['max_abs']:.3g}, RMSE {tensors['rmse']:.3g}"
    return ""
