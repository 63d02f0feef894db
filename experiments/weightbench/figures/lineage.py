"""The picture of a set's lineage: a dendrogram and, in its order, a heat map of bit distances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weightbench.figures import style

from matplotlib import pyplot  # isort: skip - after style, which chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["lineage_figure"]

Matrix = NDArray[np.float64]
_WRITTEN = 24  # models up to which the distances are written into the map
_LONGEST = 40  # characters of a name


def lineage_figure(
    names: Sequence[str], distances: Matrix, related: NDArray[np.bool_], linkage: Matrix, cut: float
) -> Figure:
    """Return the figure of n ≥ 2 models; to be called, and saved, within `style.styled`.

    Args:
        names: the models' names.
        distances: bits a weight (n, n); NaN where two models cannot be compared.
        related: which pairs the bits relate (n, n).
        linkage: SciPy's linkage (n − 1, 4) of distances over thresholds.
        cut: where families end on that scale.
    """
    from scipy.cluster.hierarchy import dendrogram

    count = len(names)
    side = min(30.0, max(2.4, 0.42 * count if count <= _WRITTEN else 0.16 * count + 4))
    longest = min(_LONGEST, max(map(len, names)))
    size = (1.1 * side + 4.5 + 0.09 * longest, side + 0.07 * longest + 1.2)
    figure, (tree, heat) = pyplot.subplots(1, 2, figsize=size, width_ratios=(2.6, 1.1 * side))
    figure.suptitle(f"Bit distances of {count} models", fontsize=10, x=0.01, ha="left", weight="bold")
    with pyplot.rc_context({"lines.linewidth": 1.2}):
        drawn = dendrogram(
            linkage, orientation="left", ax=tree, no_labels=True,
            link_color_func=lambda node: style.BLUE if linkage[node - count, 2] < cut else style.GREY,
        )  # fmt: skip
    order = list(map(int, drawn["leaves"] or ()))
    _scale(tree, cut)
    _map(
        heat,
        [_short(names[i]) for i in order],
        distances[np.ix_(order, order)],
        related[np.ix_(order, order)],
    )
    return figure


def _scale(tree: Axes, cut: float) -> None:
    tree.axvline(cut, color=style.RED, linewidth=1, linestyle="--")
    tree.set_xlim(max(tree.get_xlim()[0], cut * 1.15), 0)
    tree.invert_yaxis()
    tree.set_title("Families (end at the red line)")
    tree.set_xlabel("distance / threshold")
    tree.grid(axis="y", visible=False)
    tree.spines["left"].set_visible(False)


def _map(heat: Axes, names: Sequence[str], distances: Matrix, related: NDArray[np.bool_]) -> None:
    count = len(names)
    heat.set_title("Distances" + (" (bold: related)" if count <= _WRITTEN else ""))
    heat.set_facecolor("#eeeeee")
    low, high = _range(distances)
    image = heat.imshow(
        np.ma.masked_invalid(distances), cmap="cividis_r", aspect="auto", vmin=low, vmax=high
    )  # fmt: skip
    bar = pyplot.colorbar(image, ax=heat, shrink=0.8, pad=0.02, extend="min")
    bar.set_label("bits that differ, per weight")
    heat.set_xticks(range(count), names, rotation=90, fontsize=_size(count))
    heat.set_yticks(range(count), names, fontsize=_size(count))
    heat.yaxis.tick_right()
    heat.grid(visible=False)
    heat.spines[:].set_visible(False)
    heat.tick_params(length=0)
    if count > _WRITTEN:
        return
    for (row, column), bits in np.ndenumerate(distances):
        known = bool(np.isfinite(bits))
        heat.text(
            column, row, ("0" if bits == 0 else f"{bits:.2f}") if known else "–", ha="center", va="center",
            fontsize=6.5, color="white" if known and bits > (low + high) / 2 else "black",
            weight="bold" if related[row, column] and row != column else "normal",
        )  # fmt: skip


def _range(distances: Matrix) -> tuple[float, float]:
    """Return the ends of the colours: of what is measured between models, so that families stand out."""
    between = distances[np.isfinite(distances) & ~np.eye(len(distances), dtype=bool)]
    low, high = (float(between.min()), float(between.max())) if between.size else (0.0, 1.0)
    return max(0.0, low - 0.1 * (high - low)), max(high, low + 1e-9)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"


def _size(count: int) -> float:
    return 8 if count <= _WRITTEN else 6 if count <= 80 else 4
