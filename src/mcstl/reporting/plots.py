"""Results -> figures: each `..._data` returns the numbers, each `plot_...` only draws them.

Matplotlib's object interface, no pyplot: nothing global changes. Colours can be told apart by
colour-blind readers and every series has its own marker too, so that figures survive grey print.
"""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mcstl._support.files import replacing, write_text
from mcstl.evaluation.tables import ResultsTable

#: Text, axes and reference lines; in `to_svg` this colour follows the page.
INK = "#1b1b1b"
_DARK_INK = "#e4e4e4"
_COLOURS = (
    *("#2380c0", "#d55e00", "#009e73", "#b65f93", "#7a7a7a"),
    *("#a8791d", "#7b5bd6", "#c73e4d", "#2aa7b8", "#6f8f1f"),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
_STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.facecolor": "none",
    "axes.titlesize": 8,
    "figure.facecolor": "white",
    "text.color": INK,
    # A group may be called "income=$20k to $50k", which is no formula.
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    # The same figure gives the same bytes.
    "svg.hashsalt": "mcstl",
}


def comparison_data(table: ResultsTable) -> pd.DataFrame:
    """Turn the results table into one row per metric and method.

    Args:
        table: The results table.

    Returns:
        The columns metric, title, method, mean, low and high; the last two are NaN where there is
        no interval.
    """
    rows = [
        (column.metric, column.title, method, cells[i].mean, cells[i].low, cells[i].high)
        for i, column in enumerate(table.columns)
        for method, cells in table.rows
    ]
    frame = pd.DataFrame(rows, columns=["metric", "title", "method", "mean", "low", "high"])
    return frame.astype({"mean": float, "low": float, "high": float})


def plot_comparison(data: pd.DataFrame, *, columns: int = 3) -> Figure:
    """Draw a dot per method and its interval, a panel per metric; dotted lines are the ideal.

    Args:
        data: As from `comparison_data`; with a column ``study`` every study has a colour, and those
            of a method stand together.
        columns: How many panels stand in a row.

    Returns:
        The figure.
    """
    methods = list(dict.fromkeys(data["method"]))
    measures = list(dict.fromkeys(data["metric"]))
    studies = list(dict.fromkeys(data["study"])) if "study" in data else []
    keys = ["method", "study"] if studies else ["method"]
    order = data[keys].drop_duplicates()
    order = order.sort_values("method", key=lambda column: column.map(methods.index), kind="stable")
    n_rows = len(order)
    blocks = math.ceil(len(measures) / columns)
    left = 0.25 + 0.068 * max(len(_short(method)) for method in methods)
    panel_width, panel_height = 2.25 if columns > 1 else 2.9, 0.24 * n_rows + 0.12
    width = left + columns * (panel_width + 0.2)
    legend_height = 0.2 * math.ceil(len(studies) / columns)
    height = blocks * (panel_height + 0.62) + legend_height
    with style():
        figure = Figure(figsize=(width, height))
        for i, metric in enumerate(measures):
            block, column = divmod(i, columns)
            x = left + column * (panel_width + 0.2)
            y = height - 0.26 - block * (panel_height + 0.62) - panel_height
            axes = figure.add_axes(
                (x / width, y / height, panel_width / width, panel_height / height)
            )
            panel = data[data["metric"] == metric]
            rows = order.merge(panel, on=keys, how="left")
            for m, (_, row) in enumerate(rows.iterrows()):
                c = studies.index(row["study"]) if studies else methods.index(row["method"])
                colour, marker = series_look(c)
                axes.hlines(m, row["low"], row["high"], color=colour, linewidth=1.4)
                axes.plot([row["mean"]], [m], marker=marker, markersize=4.5, color=colour)
            ideal = {"slope_mean": 1.0, "bias_mean": 0.0}.get(metric)
            if ideal is not None:
                axes.axvline(ideal, color=INK, linewidth=0.9, linestyle=":", alpha=0.8, zorder=0)
            axes.set_title(panel["title"].iloc[0], loc="left", pad=4, fontweight="bold")
            axes.set_ylim(n_rows - 0.4, -0.6)
            is_first = (~order["method"].duplicated()).to_numpy()
            labels = [_short(method) for method in order["method"][is_first]]
            axes.set_yticks(np.flatnonzero(is_first), labels=labels)
            axes.tick_params(axis="y", labelleft=column == 0, length=0)
            axes.tick_params(axis="x", length=2, width=0.6)
            axes.locator_params(axis="x", nbins=4)
            axes.margins(x=0.12)
            axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
            axes.spines[["top", "right", "left"]].set_visible(False)
        if studies:
            handles = [
                Line2D([], [], color=series_look(c)[0], marker=series_look(c)[1], label=study)
                for c, study in enumerate(studies)
            ]
            figure.legend(handles=handles, loc="lower center", ncols=columns)
    return figure


def tradeoff_data(trace: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """Compute the calibration error and 1-EMD after each epoch (Figure 8's two axes).

    The aggregate calibration error is |mean slope - 1| + |mean bias|, 0 at best; the paper does
    not print its formula. Methods that have no epochs are not in trace.parquet.

    Args:
        trace: The content of trace.parquet.
        part: "validation" or "test".

    Returns:
        The columns method, seed, epoch, one_minus_emd and calibration_error.
    """
    rows = trace[trace["part"] == part].sort_values("epoch", kind="stable")
    error = (rows["slope_mean"] - 1).abs() + rows["bias_mean"].abs()
    columns = rows[["method", "seed", "epoch", "one_minus_emd"]].assign(calibration_error=error)
    measured = columns[["one_minus_emd", "calibration_error"]].notna().any(axis=1)
    return columns[measured].reset_index(drop=True)


def plot_tradeoff(data: pd.DataFrame, methods: Sequence[str], *, columns: int = 2) -> Figure:
    """Draw calibration error and 1-EMD by epoch: thin lines are seeds, thick ones their means.

    A mean stops where the first of its seeds stopped.

    Args:
        data: As from `tradeoff_data`.
        methods: All methods of the study, so that each has the colour that it has in
            `plot_comparison`.
        columns: How many panels stand in a row.

    Returns:
        The figure.
    """
    titles = {"calibration_error": "Calibration error", "one_minus_emd": "1-EMD of minority labels"}
    panels = {key: title for key, title in titles.items() if data[key].notna().any()}
    columns = min(columns, len(panels))
    with style():
        if columns > 1:
            figure = Figure(figsize=(7.6, 2.9))
            figure.subplots_adjust(left=0.06, right=0.985, top=0.91, bottom=0.25, wspace=0.16)
        else:
            figure = Figure(figsize=(3.6, 2.6 * len(panels)))
            figure.subplots_adjust(left=0.12, right=0.97, top=0.95 - 0.1 / len(panels))
            figure.subplots_adjust(bottom=0.31 / len(panels), hspace=0.24)
        grid = figure.subplots(len(panels) // columns, columns, squeeze=False, sharex=True)
        for axes, (key, title) in zip(grid.flat, panels.items(), strict=True):
            for m, method in enumerate(methods):
                rows = data[data["method"] == method]
                if rows.empty:
                    continue
                by_seed = rows.pivot_table(index="epoch", columns="seed", values=key)
                colour, marker = series_look(m)
                axes.plot(by_seed.index, by_seed, color=colour, linewidth=0.6, alpha=0.45)
                mean = by_seed.dropna().mean(axis=1)
                axes.plot(
                    mean.index,
                    mean,
                    color=colour,
                    linewidth=1.8,
                    marker=marker,
                    markevery=max(1, len(mean) // 6),
                    markersize=4,
                    label=_short(method),
                )
            axes.set_title(title, loc="left", fontweight="bold")
            axes.locator_params(axis="x", integer=True)
            axes.grid(color=INK, alpha=0.15, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel("epoch")
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=3)
    return figure


def plot_epochs(data: pd.DataFrame, title: str) -> Figure:
    """Draw one run's calibration error against its 1-EMD, a dot per epoch, as in Figure 8.

    Early epochs are light, the first and last are named.

    Args:
        data: As from `tradeoff_data`, of one method; its first seed is drawn.
        title: The title of the figure.

    Returns:
        The figure.
    """
    rows = data[data["seed"] == data["seed"].min()].dropna()
    x, y = rows["calibration_error"].to_numpy(), rows["one_minus_emd"].to_numpy()
    epochs = rows["epoch"].to_numpy()
    with style():
        figure = Figure(figsize=(4.4, 3.1))
        axes = figure.add_axes((0.13, 0.14, 0.7, 0.76))
        axes.plot(x, y, color=INK, linewidth=0.6, alpha=0.4)
        dots = axes.scatter(x, y, c=epochs, cmap="Blues", s=16, edgecolors=INK, linewidths=0.4)
        bar = figure.colorbar(dots, cax=figure.add_axes((0.85, 0.14, 0.025, 0.76)))
        bar.set_label("epoch")
        for k in {0, len(x) - 1} if len(x) else set():
            is_right = x[k] > (x.min() + x.max()) / 2
            name, away = f"epoch {epochs[k]}", (-6 if is_right else 6, -11 if k else 6)
            side = "right" if is_right else "left"
            axes.annotate(
                name, (x[k], y[k]), away, textcoords="offset points", ha=side, fontsize=7.5
            )
        axes.set_xlabel("aggregate calibration error: |slope - 1| + |bias|")
        axes.set_ylabel("1-EMD of minority labels")
        axes.set_title(title, loc="left", fontweight="bold")
        axes.margins(0.12)
        axes.grid(color=INK, alpha=0.15, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_trials(trials: pd.DataFrame) -> Figure:
    """Draw the trials of a search: validation NLL against calibration error and 1-EMD.

    The filled marks are each method's best, by NLL.

    Args:
        trials: The trials of `tuning.tune`, one a row.

    Returns:
        The figure.
    """
    error = (trials["slope_mean"] - 1).abs() + trials["bias_mean"].abs()
    data = trials.assign(calibration_error=error)
    panels = {"calibration_error": "Calibration error", "one_minus_emd": "1-EMD of minority labels"}
    with style():
        figure = Figure(figsize=(7.6, 3.2))
        figure.subplots_adjust(left=0.06, right=0.985, top=0.91, bottom=0.26, wspace=0.16)
        for axes, (key, title) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            for m, (method, rows) in enumerate(data.groupby("method", sort=False)):
                colour, marker = series_look(m)
                best = rows.loc[[rows["nll"].idxmin()]]
                look: dict[str, Any] = {"marker": marker, "edgecolors": colour, "linewidths": 0.8}
                axes.scatter(rows["nll"], rows[key], s=18, facecolors="none", **look)
                label = _short(str(method))
                axes.scatter(best["nll"], best[key], s=60, facecolors=colour, label=label, **look)
            axes.set_title(title, loc="left", fontweight="bold")
            axes.set_xlabel("validation NLL")
            axes.grid(color=INK, alpha=0.15, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=4)
    return figure


def save(figure: Figure, stem: Path) -> str:
    """Write a figure as PNG (160 dpi) and SVG, each whole or not at all.

    Args:
        figure: The figure.
        stem: The path of the files without their endings.

    Returns:
        The text of the SVG.
    """
    with replacing(stem.with_name(f"{stem.name}.png")) as temporary, style():
        figure.savefig(temporary, format="png", dpi=160)
    svg = to_svg(figure)
    write_text(stem.with_name(f"{stem.name}.svg"), svg)
    return svg


def to_svg(figure: Figure) -> str:
    """Turn a figure into SVG without a background, its ink light where the reader's page is dark.

    Texts stay texts, and nothing in it is loaded or run.

    Args:
        figure: The figure.

    Returns:
        The text of the SVG.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with style(), mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    ink = (
        f"<style>svg{{color:{INK}}}"
        f"@media(prefers-color-scheme:dark){{svg{{color:{_DARK_INK}}}}}</style>"
    )
    start = svg.index(">") + 1
    return svg[:start] + ink + svg[start:]


@contextmanager
def style() -> Iterator[None]:
    """Apply our settings while a figure is made or drawn, and leave the user's as they were.

    Returns:
        A context in which they hold.
    """
    with warnings.catch_warnings(), mpl.rc_context(_STYLE):
        # A name in a script that the font lacks is still a name; browsers find another font.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def series_look(number: int) -> tuple[str, str]:
    """Choose the colour and marker of a series; no two of the first hundred look alike.

    Args:
        number: The number of the series in its figure.

    Returns:
        The colour and the marker.
    """
    turn, place = divmod(number, len(_COLOURS))
    return _COLOURS[place], _MARKERS[(place + turn) % len(_MARKERS)]


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:23]}…"
