"""The paper's Figures 1 and 2 drawn anew from the library's own objects.

Figure 1 is one item of the simulated data under the rules of `majority` and `none`; Figure 2 has
the sizes of a scheme that is fitted and of a network that is made for the drawing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from mcstl.data.annotations import Annotations, majority_rows
from mcstl.encoding.encoders import PAPER_ENCODER
from mcstl.groups import AttributesConfig, fit_scheme
from mcstl.labelling import taxonomies
from mcstl.models.networks import Network
from mcstl.reporting import plots
from mcstl.studies.study_file import Study

_FAINT, _NO, _YES, _BOX = "#9a9a9a", "#d55e00", "#2380c0", "#8aa9c4"
#: The length of a vector of the default encoder, the paper's.
_DIMENSION = 384


def hidden_values() -> Figure:
    """Draw how a majority, or an average, hides what people value (Figure 1).

    Returns:
        The annotations of one simulated item with the values behind them, and what is left of them
        for three methods.
    """
    data = _simulated()
    rows = data.take(_telling_item(data))
    labels, kept = rows.labels, majority_rows(rows)
    values = [", ".join(names) for names in rows.frame["values"]]
    order = np.argsort(-labels, kind="stable")
    share = labels.mean()
    with plots.style():
        figure = Figure(figsize=(6.5, 3.1))
        axes = _canvas(figure, 10, len(rows) + 2.6)
        top = len(rows) + 2.2
        axes.text(0, top, f"“{rows.frame['text'].iloc[0]}”", fontsize=7.5, fontstyle="italic")
        heads = (
            (0.0, "what ten people said, and value"),
            (4.1, "Maj(Y)"),
            (5.9, "∅: nobody's values"),
            (7.9, "MC-STL: by value"),
        )
        for x, head in heads:
            axes.text(x, top - 1.1, head, fontweight="bold", fontsize=7.5)
        for line, row in enumerate(order):
            y, colour = top - 2.1 - line, _YES if labels[row] else _NO
            axes.text(0.35, y, values[row], va="center", fontsize=7)
            for x, shown in ((0.12, True), (4.3, bool(kept[row])), (6.2, True)):
                axes.plot([x], [y], marker="o", color=colour if shown else _FAINT, markersize=5)
                if not shown:
                    axes.plot([x - 0.2, x + 0.2], [y, y], color=_FAINT, linewidth=1)
        yes, no = data.classes[1], data.classes[0]
        majority = yes if share > 0.5 else no
        axes.text(4.6, top - 4.5, f"learns:\n{majority},\n100%", fontsize=7.5, va="center")
        learnt = f"learns:\n{yes} {share:.0%},\nwhoever asks"
        axes.text(6.5, top - 4.5, learnt, fontsize=7.5, va="center")
        exploded = rows.frame.assign(label=labels).explode("values")
        for line, (value, part) in enumerate(exploded.groupby("values")["label"]):
            y = top - 2.1 - 1.4 * line
            axes.text(7.9, y, f"{value}", va="center", fontsize=7)
            axes.barh([y], [part.mean() * 0.6], left=9.2, height=0.55, color=_YES)
            axes.barh(
                [y], [0.6 * (1 - part.mean())], left=9.2 + 0.6 * part.mean(), height=0.55, color=_NO
            )
        axes.text(9.2, top - 2.1 - 1.4 * (line + 1), f"● {yes}", color=_YES, fontsize=6.5)
        axes.text(9.2, top - 2.8 - 1.4 * (line + 1), f"● {no}", color=_NO, fontsize=6.5)
    return figure


def framework() -> Figure:
    """Draw the framework: groups, network and heads (Figure 2).

    Returns:
        Three ways to the membership S, the network with its sizes, and the three heads.
    """
    data = _simulated()
    scheme = fit_scheme(AttributesConfig(attributes=data.attributes), data)
    S = scheme.assign(data.take(np.arange(6))).toarray()
    network = Network(_DIMENSION, len(scheme.groups), 1)
    d, K, hidden = network.dimension, len(network.v), network.hidden
    names = taxonomies.load("schwartz").names
    with plots.style():
        figure = Figure(figsize=(6.5, 3.3))
        axes = _canvas(figure, 13, 6.6)
        for x, title in ((0, "value groups"), (4.6, "network"), (10.1, "heads")):
            axes.text(x, 6.35, title, fontweight="bold", fontsize=8)
        ways = (
            "reasons: clusters of\nsentence embeddings",
            f"taxonomy: {', '.join(names[:2])},\nand {len(names) - 2} more values",
            f"people: {', '.join(data.attributes)}",
        )
        for k, way in enumerate(ways):
            _box(axes, (0.05, 5.2 - 1.05 * k, 3.55, 0.85), way)
        _arrow(axes, (1.8, 3.0), (1.8, 2.65))
        axes.text(0, 2.35, f"membership S in K = {K} value groups", fontsize=6.5)
        axes.imshow(1 - S, cmap="gray", extent=(0, 3.6, 0.3, 2.2), aspect="auto", vmin=-0.6)
        axes.text(0, 0.02, "six annotations of the simulated data", fontsize=6, color=_FAINT)
        _box(axes, (4.6, 4.9, 2.3, 1.0), f"Vᵢⱼ = Σ vₖ over S\nvₖ: {K} × {d}")
        _box(axes, (7.2, 4.9, 2.3, 1.0), f"text xᵢ\n{PAPER_ENCODER}\ne(xᵢ): {d} numbers")
        _box(axes, (5.6, 3.5, 2.9, 0.75), "f = e(xᵢ) + Vᵢⱼ")
        _box(axes, (5.6, 2.2, 2.9, 0.85), f"linear {d} → {hidden}\nlayer norm, ReLU, dropout")
        _box(axes, (5.6, 1.0, 2.9, 0.75), f"linear {hidden} → 1, no bias: o(f)")
        _arrow(axes, (3.65, 1.6), (4.95, 4.9))
        for start, end in (((5.75, 4.9), (6.6, 4.25)), ((8.3, 4.9), (7.5, 4.25))):
            _arrow(axes, start, end)
        for y, to in ((3.5, 3.05), (2.2, 1.75)):
            _arrow(axes, (7.05, y), (7.05, to))
        heads = (
            "two classes\nP(y = 1) = σ(o(f) + b)",
            "ordered classes\nP(y > t) = σ(o(f) + bₜ)\nb₁ > b₂ > …",
            "preference\nP(xᵢ over xⱼ) =\nσ((o(fᵢ) − o(fⱼ)) / tₖ)",
        )
        for k, head in enumerate(heads):
            y = 4.6 - 1.75 * k
            _box(axes, (10.1, y, 2.85, 1.3), head)
            _arrow(axes, (8.5, 1.4), (10.1, y + 0.65))
    return figure


#: The paper's figures without numbers, by name.
DIAGRAMS: dict[str, tuple[str, Callable[[], Figure]]] = {
    "figure1": ("Labels are affected by hidden values", hidden_values),
    "figure2": ("Overview of the framework", framework),
}


def _simulated() -> Annotations:
    return Study(data={"dataset": "simulated", "annotations": 3000}, task="binary").load()


def _telling_item(data: Annotations) -> pd.Index:
    """The rows of an item that 70% say yes to, and whose values tell who does."""
    frame = data.frame.assign(label=data.labels)
    share = frame.groupby("item")["label"].transform("mean")
    each = frame[np.isclose(share, 0.7)].explode("values")
    by_value = each.groupby(["item", "values"])["label"].agg(["mean", "size"])
    apart = (by_value["mean"] - 0.5).abs() * by_value["size"]
    item = (apart.groupby("item").sum() / by_value["size"].groupby("item").sum()).idxmax()
    return frame.index[frame["item"] == item]


def _canvas(figure: Figure, width: float, height: float) -> Axes:
    axes = figure.add_axes((0.015, 0.02, 0.97, 0.96))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return axes


def _box(axes: Axes, place: tuple[float, float, float, float], text: str) -> None:
    x, y, width, height = place
    corners = "round,pad=0,rounding_size=0.12"
    box = FancyBboxPatch((x, y), width, height, corners, facecolor="none", edgecolor=_BOX)
    axes.add_patch(box)
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=6.8)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 7, "linewidth": 0.7}
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=1, shrinkB=1, color=plots.INK, **look))
