"""Results -> figures: each `..._data` returns the numbers, each `plot_...` only draws them.

Matplotlib's object interface, no pyplot: nothing global changes. Colours can be told apart by
colour-blind readers and every series has its own marker too, so that figures survive grey print.
"""

import io
import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mcstl._support.files import replacing, write_text
from mcstl.evaluation import metrics
from mcstl.evaluation.calibration import reliability
from mcstl.evaluation.predictions import (
    annotator_codes,
    membership_matrix,
    predictions_of,
    probabilities,
)
from mcstl.evaluation.tables import ResultsTable, rounded

#: Text, axes and reference lines; in `to_svg` this colour follows the page.
INK = "#1b1b1b"
_DARK_INK = "#e4e4e4"
_COLOURS = (
    *("#2380c0", "#d55e00", "#009e73", "#b65f93", "#7a7a7a"),
    *("#a8791d", "#7b5bd6", "#c73e4d", "#2aa7b8", "#6f8f1f"),
)
_TICKS = ([0, 0.5, 1], ["0", "0.5", "1"])
_NO_TICKS: tuple[list[float], list[str]] = ([], [])
_SIGNS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "◀", "▶", "★")
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


class CalibrationData(NamedTuple):
    """What a grid of calibration plots shows of one method.

    Attributes:
        points: A row per group, threshold and decile: group, threshold, bin, predicted, observed,
            low and high (the ends of the band), n.
        lines: A row per group and threshold: group, threshold, slope and bias (means over seeds),
            n (rows per seed).
        levels: Per threshold what is predicted, as "above mild".
        n_seeds: The number of seeds.
    """

    points: pd.DataFrame
    lines: pd.DataFrame
    levels: tuple[str, ...]
    n_seeds: int


def calibration_data(
    predictions: pd.DataFrame, group_names: Sequence[str], classes: Sequence[str], method: str
) -> CalibrationData:
    """Compute the calibration plots of Figures 3 and 5 to 7 from predictions.

    Per group, threshold and decile: mean prediction and observed share, averaged over seeds, and
    the 95% band in which the observed share of a calibrated model would lie, with items as clusters
    (`evaluation.reliability`). A bin that ties leave empty in a seed is averaged over the other
    seeds, as is a group that a seed lacks. A group without any rows has a line of NaN and no
    points. Without groups there is one panel of all annotations.

    Args:
        predictions: The content of predictions.parquet.
        group_names: Names of the groups.
        classes: Names of the classes in their order.
        method: The method whose calibration is shown.

    Returns:
        The points and lines of all panels.

    Raises:
        InputError: If the method has no predictions.
    """
    rows = predictions_of(predictions, method)
    codes = np.stack([pd.factorize(rows["item"])[0], annotator_codes(rows)], axis=1)
    rows = rows.reset_index(drop=True)
    seeds = []
    for _, part in rows.groupby("seed"):
        levels = metrics.exceedance(probabilities(part, len(classes)))
        labels = part["label"].to_numpy(dtype=int)
        membership = (
            membership_matrix(part["groups"], group_names)
            if group_names
            else np.ones((len(part), 1), dtype=bool)
        )
        seeds.append((levels, labels, membership, codes[part.index]))
    points, lines = [], []
    for k, name in enumerate(group_names or ("everyone",)):
        for t in range(len(classes) - 1):
            outcomes = [
                (levels[inside, t], labels[inside] > t, *of_rows[inside].T)
                for levels, labels, membership, of_rows in seeds
                if (inside := membership[:, k]).any()
            ]
            fits = [metrics.calibration_line(level, y) for level, y, *_ in outcomes]
            slopes = [slope for slope, _ in fits if not np.isnan(slope)]
            biases = [bias for _, bias in fits if not np.isnan(bias)]
            n = np.mean([len(y) for _, y, *_ in outcomes]) if outcomes else 0.0
            slope, bias = (float(np.mean(v)) if v else np.nan for v in (slopes, biases))
            lines.append((name, t, slope, bias, n))
            points += [(name, t, *point) for point in zip(*reliability(outcomes), strict=True)]
    columns = ["group", "threshold", "bin", "predicted", "observed", "low", "high", "n"]
    return CalibrationData(
        pd.DataFrame(points, columns=columns),
        pd.DataFrame(lines, columns=["group", "threshold", "slope", "bias", "n"]),
        tuple(f"above {name}" for name in classes[:-1]) if len(classes) > 2 else (classes[1],),
        len(seeds),
    )


def plot_calibration(data: CalibrationData, *, columns: int = 5) -> Figure:
    """Draw a panel per group (and a row per threshold), wrapped to `columns` groups a row.

    Dots are decile bins, the band is where a calibrated model's would lie, the solid line is the
    mean fitted line, the dashed one perfect calibration.

    Args:
        data: The points and lines of the panels.
        columns: How many groups stand in a row at most.

    Returns:
        The figure.
    """
    groups = list(dict.fromkeys(data.lines["group"]))
    # Rows of equal length: six groups in two rows of three, not in five and one.
    columns = math.ceil(len(groups) / math.ceil(len(groups) / columns))
    n_levels = len(data.levels)
    titles = [_wrapped(group, 24) for group in groups]
    title_height = 0.08 + 0.14 * max(title.count("\n") + 1 for title in titles)
    side, gap, left, bottom = 1.62, 0.16, 0.72 if n_levels > 1 else 0.55, 0.42
    line = 0.17  # the numbers above each panel
    blocks = math.ceil(len(groups) / columns)
    block_height = title_height + n_levels * (line + side) + 0.12
    width = left + columns * (side + gap)
    height = bottom + blocks * block_height + 0.05
    with style():
        figure = Figure(figsize=(width, height))
        for k, (group, title) in enumerate(zip(groups, titles, strict=True)):
            block, column = divmod(k, columns)
            is_lowest = k + columns >= len(groups)
            for t, level in enumerate(data.levels):
                x = left + column * (side + gap)
                y = height - 0.05 - block * block_height - title_height - (t + 1) * (line + side)
                axes = figure.add_axes((x / width, y / height, side / width, side / height))
                _draw_panel(axes, data, group, t)
                if t == 0:
                    axes.set_title(title, pad=4 + 72 * line, y=1, linespacing=1.15)
                # Ticks at the edge of the grid only: they are most of the time it takes to draw.
                axes.set_xticks(*(_TICKS if is_lowest and t == n_levels - 1 else _NO_TICKS))
                axes.set_yticks(*(_TICKS if column == 0 else _NO_TICKS))
                if column == 0 and n_levels > 1:
                    axes.set_ylabel(_wrapped(level, 24), labelpad=1)
        figure.text(0.5 + left / 2 / width, 0.1 / height, "predicted probability", ha="center")
        figure.text(0.04 / width, 0.5, "observed share", va="center", rotation=90)
    return figure


def _draw_panel(axes: Axes, data: CalibrationData, group: str, threshold: int) -> None:
    points = data.points[
        (data.points["group"] == group) & (data.points["threshold"] == threshold)
    ].sort_values("bin")
    lines = data.lines[data.lines["group"] == group].set_index("threshold")
    slope, bias, n = lines.loc[[threshold], ["slope", "bias", "n"]].to_numpy(dtype=float)[0]
    x, y = points["predicted"].to_numpy(), points["observed"].to_numpy()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.55)
    low, high = points["low"].to_numpy(), points["high"].to_numpy()
    axes.fill_between(x, low, high, color=INK, alpha=0.13, linewidth=0)
    axes.vlines(x, low, high, color=INK, linewidth=0.6, alpha=0.35)  # also where there is one dot
    if not np.isnan(slope):
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, slope * ends + bias, color=_COLOURS[0], linewidth=1.2)
        note = f"slope {rounded(slope, 2)}, bias {rounded(bias, 2)}"
    else:
        note = "no line"
    dots = axes.plot(x, y, linestyle="none", marker=_MARKERS[0], markersize=3.6, color=_COLOURS[0])
    dots[0].set_clip_on(False)
    note += f", n {n:,.0f}"
    axes.text(0.5, 1.03, note, ha="center", va="bottom", fontsize=6.5, transform=axes.transAxes)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.tick_params(length=2, width=0.6)


def plot_calibration_small(
    data_sets: Sequence[tuple[str, CalibrationData]], *, width: float = 6.5, columns: int = 7
) -> Figure:
    """Draw small panels of several data sets under their titles, as in Figures 3 and 5 to 7.

    A data set's panels are wrapped to lines of equal length, and the longest line fills the width.
    The thresholds of ordered classes share a panel, distinguished by colour and marker. Dots, lines
    and numbers are as in `plot_calibration`; the numbers stand above the panel, where no dots are.

    Args:
        data_sets: Titles of data sets, and the points and lines of their panels.
        width: The width of the figure in inches.
        columns: How many panels stand in a line at most.

    Returns:
        The figure.
    """
    left, gap, head, title_height, bottom = 0.4, 0.08, 0.24, 0.21, 0.36
    grids = []
    for title, data in data_sets:
        names = list(dict.fromkeys(data.lines["group"]))
        n_lines = math.ceil(len(names) / columns)
        grids.append((title, data, names, n_lines, math.ceil(len(names) / n_lines)))
    side = (width - left) / max(in_line for *_, in_line in grids) - gap
    line, note = side + title_height + 0.06, 0.1  # a line of panels, and of numbers above them
    height = bottom + sum(
        head + n_lines * (line + note * len(data.levels)) for _, data, _, n_lines, _ in grids
    )
    with style():
        figure = Figure(figsize=(width, height))
        y = height
        for title, data, names, _, in_line in grids:
            y -= head
            figure.text(left / width, (y + 0.07) / height, title, fontsize=8, fontweight="bold")
            _level_key(figure, data.levels, (width - 0.05) / width, (y + 0.07) / height)
            for k, name in enumerate(names):
                if k % in_line == 0:
                    y -= line + note * len(data.levels)
                x = left + (k % in_line) * (side + gap)
                axes = figure.add_axes((x / width, y / height, side / width, side / height))
                _draw_small_panel(axes, data, name, note / side)
                # Names may break after a slash; a word that is cut in two is hard to read.
                shown = _wrapped(name.replace("/", "/ "), int(22 * side), 2).replace("/ ", "/")
                pad = 2 + 72 * note * len(data.levels)
                axes.set_title(shown, pad=pad, y=1, fontsize=6, linespacing=1.05)
                # A line above another of the same length needs no numbers of its own.
                is_lowest = k + in_line >= len(names) and title == grids[-1][0]
                axes.set_xticks(*(_TICKS if is_lowest else _NO_TICKS))
                axes.set_yticks(*(_TICKS if k % in_line == 0 else _NO_TICKS))
                axes.tick_params(length=1.5, width=0.5, labelsize=6.3, pad=1.5)
        figure.text(0.5, 0.04 / height, "predicted probability", ha="center", fontsize=7.5)
        x = 0.04 / width
        figure.text(x, 0.5, "observed share", va="center", rotation=90, fontsize=7.5)
    return figure


def _level_key(figure: Figure, levels: Sequence[str], x: float, y: float) -> None:
    """Write, to the left of `x`, which colour and marker is which threshold, if there are two."""
    if len(levels) < 2:
        return
    for t in reversed(range(len(levels))):
        colour = _COLOURS[t % len(_COLOURS)]
        text = figure.text(x, y, f"{_SIGNS[t % len(_SIGNS)]} {levels[t]}", color=colour, ha="right")
        text.set_fontsize(6.5)
        x -= 0.008 * (len(levels[t]) + 4)


def _draw_small_panel(axes: Axes, data: CalibrationData, group: str, note_height: float) -> None:
    """Draw all thresholds of one group, and write their slopes and biases above the panel."""
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=(0, (4, 3)), alpha=0.55)
    lines = data.lines[data.lines["group"] == group].set_index("threshold")
    points = data.points[data.points["group"] == group].sort_values("bin")
    for t in range(len(data.levels)):
        colour, marker = _look(t)
        at = points[points["threshold"] == t]
        x, y = at["predicted"].to_numpy(), at["observed"].to_numpy()
        slope, bias = lines.loc[[t], ["slope", "bias"]].to_numpy(dtype=float)[0]
        note = "no line"
        if not np.isnan(slope):
            ends = np.array([x.min(), x.max()])
            axes.plot(ends, slope * ends + bias, color=colour, linewidth=0.9)
            note = f"{rounded(slope, 2)}, {rounded(bias, 2)}"
        dots = axes.plot(x, y, linestyle="none", marker=marker, markersize=2.2, color=colour)
        dots[0].set_clip_on(False)
        up = 1.01 + note_height * (len(data.levels) - 1 - t)
        text = axes.text(0.5, up, note, ha="center", va="bottom", transform=axes.transAxes)
        text.set(fontsize=6, color=colour)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))


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
                colour, marker = _look(c)
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
                Line2D([], [], color=_look(c)[0], marker=_look(c)[1], label=study)
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
                colour, marker = _look(m)
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
                colour, marker = _look(m)
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


def _look(number: int) -> tuple[str, str]:
    """The colour and marker of a series; no two of the first hundred look alike."""
    turn, place = divmod(number, len(_COLOURS))
    return _COLOURS[place], _MARKERS[(place + turn) % len(_MARKERS)]


def _wrapped(text: str, width: int, lines: int = 3) -> str:
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder="…")) or text


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:23]}…"
