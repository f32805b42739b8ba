"""Populations of a user's own, as a census has them: cells of people and how many each has."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mcstl._support import files
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, need_names
from mcstl.data.cells import comparable, is_missing
from mcstl.data.tables import read_table
from mcstl.models.perspectives import check_weights, parse

#: The column of a table of cells that says how many people a cell has.
WEIGHT = "weight"
#: Cells by their groups, written as a perspective, or a row per cell with a column per attribute.
Population = Mapping[str, float] | pd.DataFrame


def cells_of(population: Population, groups: Sequence[str]) -> tuple[list[list[str]], FloatArray]:
    """Read the cells of a population.

    Args:
        population: Weights by perspective (``{"gender=Woman + age=18-29": 120}``), or a table with
            a column per attribute and a column ``weight``; an empty cell says nothing of it.
        groups: The names of the model's groups.

    Returns:
        The groups of each cell, and the cells' weights, (cells,).

    Raises:
        InputError: If there is no cell, a weight is no number, or nothing has a weight.

    Example:
        >>> table = pd.DataFrame({"gender": ["woman", "Man"], "weight": [51, 49]})
        >>> cells_of(table, ["gender=Man", "gender=Woman"])
        ([['gender=Woman'], ['gender=Man']], array([51., 49.]))
    """
    if isinstance(population, pd.DataFrame):
        need_names([WEIGHT], population.columns, "the population", what="column")
        attributes = [name for name in population.columns if name != WEIGHT]
        known = {_spelt(name): name for name in groups}
        cells = [
            [
                known.get(_spelt(f"{name}={value}"), f"{name}={value}")
                for name, value in zip(attributes, row, strict=True)
                if not is_missing(value)
            ]
            for row in population[attributes].itertuples(index=False)
        ]
        names = [" + ".join(cell) or f"cell {i}" for i, cell in enumerate(cells)]
        numbers = pd.to_numeric(population[WEIGHT], errors="coerce").tolist()
        checked = [
            check_weights({name: w, "": 1.0})[name] for name, w in zip(names, numbers, strict=False)
        ]
    else:
        cells = [parse(name, groups) for name in population]
        checked = list(check_weights(population).values())
    weights = np.array(checked)
    if not weights.sum() > 0:
        raise InputError("the population has nobody in it; give a cell a weight above 0")
    return cells, weights


def read_population(path: str | Path) -> Population:
    """Read a population from a file.

    Args:
        path: A YAML file of perspectives and weights, or a table of attributes with a column
            ``weight``.

    Returns:
        The population.

    Raises:
        InputError: If the file cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        return check_weights(files.read_yaml(path, "population"))
    return read_table(path)


def _spelt(name: str) -> tuple[str, object]:
    attribute, _, answer = name.partition("=")
    return attribute, comparable(answer)
