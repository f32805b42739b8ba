"""Calibration per group -> figures: the numbers of the panels, and the panels themselves.

All panels of a figure are drawn on one Axes that counts in inches: an Axes for each panel would
make a figure ten times as slow.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.markers import TICKDOWN, TICKLEFT

from mcstl._support.arrays import FloatArray
from mcstl.evaluation import metrics
from mcstl.evaluation.calibration import reliability
from mcstl.evaluation.predictions import (
    annotator_codes,
    membership_matrix,
    predictions_of,
    probabilities,
)
from mcstl.evaluation.tables import rounded
from mcstl.reporting.plots import INK, series_look, style

_TICKS = {0.0: "0", 0.5: "0.5", 1.0: "1"}
#: The markers of series as letters.
_SIGNS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "◀", "▶", "★")
#: A point in inches.
_PT = 1 / 72


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
    types = dict.fromkeys(columns[1:3], int) | dict.fromkeys(columns[3:], float)
    return CalibrationData(
        pd.DataFrame(points, columns=columns).astype(types),
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
    place, groups = pd.factorize(data.lines["group"])
    # Rows of equal length: six groups in two rows of three, not in five and one.
    columns = math.ceil(len(groups) / math.ceil(len(groups) / columns))
    n_levels = len(data.levels)
    titles = {group: _wrapped(group, 24) for group in groups}
    title_height = 0.08 + 0.14 * max(title.count("\n") + 1 for title in titles.values())
    side, gap, left, bottom = 1.62, 0.16, 0.72 if n_levels > 1 else 0.55, 0.42
    line = 0.17  # the numbers above each panel
    block_height = title_height + n_levels * (line + side) + 0.12
    width = left + columns * (side + gap)
    height = bottom + math.ceil(len(groups) / columns) * block_height + 0.05
    block, column = np.divmod(place, columns)
    top = height - 0.05 - block * block_height - title_height
    threshold = data.lines["threshold"]
    lines = data.lines.assign(
        left=left + column * (side + gap), bottom=top - (threshold + 1) * (line + side)
    )
    points = _placed(data.points, lines)
    is_lowest = (place + columns >= len(groups)) & (threshold == n_levels - 1)
    with style():
        figure, axes = _sheet(width, height)
        panels = _Panels(axes, side, margin=0.03, line_width=1.2, dot_size=3.6)
        panels.draw_bands(points)
        panels.draw_frames(lines)
        panels.draw_curves(points, lines, 0)
        # Numbers stand at the edge of the grid only.
        panels.draw_ticks(lines[is_lowest], lines[column == 0], length=2, pad=3.5, size=8)
        for _, panel in lines.iterrows():
            x, y = panel["left"] + side / 2, panel["bottom"] + side
            note = _note(panel["slope"], panel["bias"], "slope {}, bias {}")
            note += f", n {panel['n']:,.0f}"
            axes.text(x, y + 0.03 * side, note, ha="center", va="bottom", fontsize=6.5)
            if panel["threshold"] == 0:
                y += line + 4 * _PT
                axes.text(x, y, titles[panel["group"]], ha="center", linespacing=1.15)
        if n_levels > 1:
            for _, panel in lines[column == 0].iterrows():
                # Beside the ticks, and 12.6 points for their numbers.
                x, y = left - (2 + 3.5 + 12.6 + 1) * _PT, panel["bottom"] + side / 2
                name = axes.text(x, y, _wrapped(data.levels[panel["threshold"]], 24), rotation=90)
                name.set(rotation_mode="anchor", ha="center", va="bottom")
        axes.text((width + left) / 2, 0.1, "predicted probability", ha="center")
        axes.text(0.04, height / 2, "observed share", va="center", rotation=90)
    return figure


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
        n_groups = data.lines["group"].nunique()
        n_lines = math.ceil(n_groups / columns)
        grids.append((title, data, n_groups, n_lines, math.ceil(n_groups / n_lines)))
    side = (width - left) / max(in_line for *_, in_line in grids) - gap
    line, note = side + title_height + 0.06, 0.1  # a line of panels, and of numbers above them
    height = bottom + sum(
        head + n_lines * (line + note * len(data.levels)) for _, data, _, n_lines, _ in grids
    )
    with style():
        figure, axes = _sheet(width, height)
        panels = _Panels(axes, side, margin=0.04, line_width=0.9, dot_size=2.2)
        y = height
        for i, (title, data, n_groups, n_lines, in_line) in enumerate(grids):
            y -= head
            axes.text(left, y + 0.07, title, fontweight="bold")
            _level_key(axes, data.levels, width - 0.05, y + 0.07)
            place = pd.factorize(data.lines["group"])[0]
            row, column = np.divmod(place, in_line)
            line_height = line + note * len(data.levels)
            lines = data.lines.assign(
                left=left + column * (side + gap), bottom=y - (row + 1) * line_height
            )
            y -= n_lines * line_height
            points = _placed(data.points, lines)
            is_first = lines["threshold"] == 0
            panels.draw_frames(lines[is_first])
            for t in range(len(data.levels)):
                at, of = points["threshold"] == t, lines["threshold"] == t
                panels.draw_curves(points[at], lines[of], t)
            # A line above another of the same length needs no numbers of its own.
            is_lowest = is_first & (place + in_line >= n_groups) & (i == len(grids) - 1)
            is_leftmost = is_first & (column == 0)
            panels.draw_ticks(lines[is_lowest], lines[is_leftmost], length=1.5, pad=1.5, size=6.3)
            for _, panel in lines.iterrows():
                x, up = panel["left"] + side / 2, panel["bottom"] + 1.01 * side
                up += note * (len(data.levels) - 1 - panel["threshold"])
                numbers = _note(panel["slope"], panel["bias"], "{}, {}")
                colour, _ = series_look(panel["threshold"])
                axes.text(x, up, numbers, ha="center", va="bottom", fontsize=6, color=colour)
                if panel["threshold"] == 0:
                    # Names may break after a slash; a word that is cut in two is hard to read.
                    name = _wrapped(panel["group"].replace("/", "/ "), int(22 * side), 2)
                    up = panel["bottom"] + side + note * len(data.levels) + 2 * _PT
                    name = name.replace("/ ", "/")
                    axes.text(x, up, name, ha="center", fontsize=6, linespacing=1.05)
        axes.text(width / 2, 0.04, "predicted probability", ha="center", fontsize=7.5)
        axes.text(0.04, height / 2, "observed share", va="center", rotation=90, fontsize=7.5)
    return figure


class _Panels(NamedTuple):
    """How the square panels of a figure look: inches on the Axes, lines and dots in points.

    Panels are frames of data with the inches of their lower left corners, `left` and `bottom`.
    """

    axes: Axes
    side: float
    margin: float  # how far a panel goes beyond 0 and 1
    line_width: float
    dot_size: float

    def inches(self, panels: pd.DataFrame, x: npt.ArrayLike, y: npt.ArrayLike) -> FloatArray:
        """Places, (n, k, 2), of k points of each of n panels; x and y are (n or 1, k or 1)."""
        shares = np.stack(np.broadcast_arrays(x, y), axis=-1)
        corners = panels[["left", "bottom"]].to_numpy()[:, None]
        return corners + self.side * (shares + self.margin) / (1 + 2 * self.margin)

    def draw_frames(self, panels: pd.DataFrame) -> None:
        """Draw frames, which stand above all that is in them, and diagonals."""
        low, high = -self.margin, 1 + self.margin
        corners = self.inches(panels, [[low, low, high, high]], [[low, high, high, low]])
        frames = PolyCollection(list(corners), facecolors="none", edgecolors=INK, linewidths=0.6)
        frames.set(zorder=2.5, gid="frames")
        diagonals = LineCollection(list(self.inches(panels, [[0, 1]], [[0, 1]])), colors=INK)
        diagonals.set(linewidth=self.line_width / 1.5, linestyle=(0, (4, 3)), alpha=0.55)
        for each in (frames, diagonals):
            self.axes.add_collection(each, autolim=False)

    def draw_bands(self, points: pd.DataFrame) -> None:
        """Draw where the dots of a calibrated model would lie, with a line at each dot."""
        ends = self.inches(points, points[["predicted"]], points[["low", "high"]])
        first = np.flatnonzero(~points.duplicated(["group", "threshold"]))[1:]
        outlines = [np.concatenate([of[:, 0], of[::-1, 1]]) for of in np.split(ends, first)]
        bands = PolyCollection(outlines, facecolors=INK, alpha=0.13, linewidths=0, gid="bands")
        lines = LineCollection(list(ends), colors=INK, linewidths=0.6, alpha=0.35, gid="ranges")
        for each in (bands, lines):
            self.axes.add_collection(each, autolim=False)

    def draw_curves(self, points: pd.DataFrame, lines: pd.DataFrame, number: int) -> None:
        """Draw dots and fitted lines, which end at the frame, in the look of a series."""
        colour, marker = series_look(number)
        of_panel = ["group", "threshold"]
        ends = points.groupby(of_panel)["predicted"].agg(["min", "max"])
        fitted = lines[lines["slope"].notna()].join(ends, on=of_panel)
        slope, bias = fitted[["slope"]].to_numpy(), fitted[["bias"]].to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):  # a level line reaches no limit
            limits = np.sort((np.array([-self.margin, 1 + self.margin]) - bias) / slope)
        x = np.clip(fitted[["min", "max"]], limits[:, :1], limits[:, 1:])
        fits = LineCollection(list(self.inches(fitted, x, slope * x + bias)), colors=colour)
        fits.set(linewidth=self.line_width, capstyle="projecting", gid="fits")
        self.axes.add_collection(fits, autolim=False)
        x, y = self.inches(points, points[["predicted"]], points[["observed"]])[:, 0].T
        dots = self.axes.plot(x, y, linestyle="none", marker=marker, color=colour, gid="dots")
        dots[0].set_markersize(self.dot_size)

    def draw_ticks(
        self, lowest: pd.DataFrame, leftmost: pd.DataFrame, length: float, pad: float, size: float
    ) -> None:
        """Draw ticks with numbers below some panels and to the left of others."""
        shares, edge, away = [list(_TICKS)], [[-self.margin]], (length + pad) * _PT
        for places, marker, shift, ha, va in (
            (self.inches(lowest, shares, edge), TICKDOWN, (0, -away), "center", "top"),
            (self.inches(leftmost, edge, shares), TICKLEFT, (-away, 0), "right", "center_baseline"),
        ):
            x, y = places.reshape(-1, 2).T
            ticks = self.axes.plot(x, y, linestyle="none", marker=marker, color=INK, gid="ticks")
            ticks[0].set(markersize=length, markeredgewidth=0.6)
            for panel in places + shift:
                for (x, y), text in zip(panel, _TICKS.values(), strict=True):
                    self.axes.text(x, y, text, ha=ha, va=va, fontsize=size)


def _sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one Axes, without a frame, that counts its inches from the lower left."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def _placed(points: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """The points, from left to right in each panel, with the corners of their panels."""
    keys = ["group", "threshold"]
    return points.sort_values([*keys, "bin"]).merge(lines[[*keys, "left", "bottom"]], on=keys)


def _note(slope: float, bias: float, form: str) -> str:
    return "no line" if np.isnan(slope) else form.format(rounded(slope, 2), rounded(bias, 2))


def _level_key(axes: Axes, levels: Sequence[str], x: float, y: float) -> None:
    """Write, to the left of `x`, which colour and marker is which threshold, if there are two."""
    if len(levels) < 2:
        return
    for t in reversed(range(len(levels))):
        sign, (colour, _) = _SIGNS[t % len(_SIGNS)], series_look(t)
        axes.text(x, y, f"{sign} {levels[t]}", color=colour, ha="right", fontsize=6.5)
        x -= 0.052 * (len(levels[t]) + 4)


def _wrapped(text: str, width: int, lines: int = 3) -> str:
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder="…")) or text
