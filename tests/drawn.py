"""What a calibration figure draws, in inches from its lower left."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from mcstl._support.arrays import FloatArray


def shapes(figure: Figure, name: str) -> list[FloatArray]:
    """The corners, (k, 2), of each shape that is drawn under a name."""
    (axes,) = figure.axes
    collections = [each for each in axes.collections if each.get_gid() == name]
    return [np.asarray(path.vertices) for each in collections for path in each.get_paths()]


def panels(figure: Figure) -> list[Bbox]:
    """The frames of the panels."""
    return [Bbox([each.min(axis=0), each.max(axis=0)]) for each in shapes(figure, "frames")]


def dots(figure: Figure) -> list[FloatArray]:
    """The dots, (n, 2), of each series."""
    (axes,) = figure.axes
    return [np.asarray(line.get_xydata()) for line in axes.lines if line.get_gid() == "dots"]
