"""The predictions of a study's test annotations: predictions.parquet as arrays, checked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl._support.errors import InputError, did_you_mean, listed
from mcstl.data.annotations import Annotations, minority_weights
from mcstl.data.labels import Task


@dataclass(frozen=True)
class Predictions:
    """The predictions of one run's test annotations, with all that is needed to evaluate them.

    Items and annotators have the same codes in all runs that are compared.

    Attributes:
        p: Class probabilities, (n, L).
        labels: Class indices, (n,).
        membership: Which annotations are in which group, (n, K).
        minority: How far each annotation differs from its item's majority, 0 to 1, (n,).
        items: Codes of the items, 0 or more, (n,).
        annotators: Codes of the annotators, 0 or more, (n,); an unknown one counts as a person who
            gave this annotation alone.
        task: The task.

    Raises:
        InputError: If there are no annotations, the arrays differ in length, a row of `p` is no
            probability distribution, or a label is no class.
    """

    p: FloatArray
    labels: IntArray
    membership: BoolArray
    minority: FloatArray
    items: IntArray
    annotators: IntArray
    task: Task

    def __post_init__(self) -> None:
        n = len(self.p)
        if not n:
            raise InputError("there are no predictions to evaluate")
        sizes = {name: len(value) for name, value in vars(self).items() if name != "task"}
        if wrong := [f"{name} has {size}" for name, size in sizes.items() if size != n]:
            raise InputError(f"there are {n} predictions, but {listed(wrong)} rows")
        check_probabilities(self.p)
        n_classes = self.p.shape[1]
        if self.labels.min() < 0 or self.labels.max() >= n_classes:
            raise InputError(
                f"labels run from {self.labels.min()} to {self.labels.max()}; "
                f"expected 0 to {n_classes - 1}"
            )

    @classmethod
    def of(cls, annotations: Annotations, p: FloatArray, membership: BoolArray) -> "Predictions":
        """Put predictions of annotations together with what they are judged by.

        Args:
            annotations: n annotations.
            p: Their class probabilities, (n, L).
            membership: Which of them are in which group, (n, K).

        Returns:
            The predictions.
        """
        table = annotations.frame.assign(annotator=annotations.frame.get("annotator"))
        return cls(
            p=p,
            labels=annotations.labels,
            membership=membership,
            minority=minority_weights(annotations),
            items=pd.factorize(table["item"])[0],
            annotators=annotator_codes(table),
            task=annotations.task,
        )

    def take(self, positions: IntArray) -> "Predictions":
        """Take some of the rows.

        Args:
            positions: Which ones.

        Returns:
            These rows.
        """
        arrays = {name: array for name, array in vars(self).items() if name != "task"}
        return replace(self, **{name: array[positions] for name, array in arrays.items()})

    @property
    def everyone(self) -> BoolArray:
        """The membership with everyone as a first group, (n, 1 + K)."""
        return np.column_stack([np.ones(len(self.labels), dtype=bool), self.membership])


def check_probabilities(p: npt.ArrayLike) -> None:
    """Check that every row is a probability distribution over classes.

    Args:
        p: Class probabilities, (n, L).

    Raises:
        InputError: If the shape is another, or a row does not hold probabilities that sum to 1.
    """
    p = np.asarray(p, dtype=float)
    if p.ndim != 2 or p.shape[1] < 2:
        raise InputError(f"probabilities have shape {p.shape}; expected (rows, classes)")
    for what, bad in (
        ("a probability that is not a number", ~np.isfinite(p).all(axis=1)),
        ("a probability below 0 or above 1", ((p < -1e-6) | (p > 1 + 1e-6)).any(axis=1)),
        ("probabilities that do not sum to 1", np.abs(p.sum(axis=1) - 1) > 1e-4),
    ):
        if bad.any():
            raise InputError(
                f"{int(bad.sum())} of {len(p)} predictions have {what}, "
                f"the first one {p[int(np.argmax(bad))].tolist()}"
            )


def predictions_by_method(
    table: pd.DataFrame, group_names: Sequence[str], n_classes: int, task: Task
) -> dict[str, list[Predictions]]:
    """Turn predictions.parquet into arrays.

    Args:
        table: The content of predictions.parquet.
        group_names: Names of the K groups.
        n_classes: The number of classes, L.
        task: The task.

    Returns:
        Per method the predictions of each of its seeds.

    Raises:
        InputError: If a row names a group that is not in `group_names`, or holds no probabilities.
    """
    items, annotators = pd.factorize(table["item"])[0], annotator_codes(table)
    by_method: dict[str, list[Predictions]] = {}
    positions = pd.Series(np.arange(len(table)))
    keys = [table["method"].to_numpy(), table["seed"].to_numpy()]
    for (method, _), rows in positions.groupby(keys, sort=False):
        part = table.iloc[rows.to_numpy()]
        by_method.setdefault(str(method), []).append(
            Predictions(
                p=probabilities(part, n_classes),
                labels=part["label"].to_numpy(dtype=np.int64),
                membership=membership_matrix(part["groups"], group_names),
                minority=minority_of(part),
                items=items[rows],
                annotators=annotators[rows],
                task=task,
            )
        )
    return by_method


def minority_of(table: pd.DataFrame) -> FloatArray:
    """Look up how far rows of predictions.parquet count as differing from their item's majority.

    Args:
        table: Rows of predictions.parquet. Those of older versions, where ties did not count, have
            no weights.

    Returns:
        (n,) weights from 0 to 1.
    """
    weights: FloatArray = table.get("minority_weight", table["minority"]).to_numpy(dtype=float)
    return weights


def annotator_codes(table: pd.DataFrame) -> IntArray:
    """Number the annotators of predictions.parquet.

    Args:
        table: Rows of predictions.parquet.

    Returns:
        The code of each row's annotator, (n,); an unknown one counts as a person who gave this
        annotation alone.
    """
    codes, names = pd.factorize(table["annotator"])
    return np.where(codes < 0, len(names) + table["row"].to_numpy(dtype=np.int64), codes)


def probabilities(table: pd.DataFrame, n_classes: int) -> FloatArray:
    """Take the class probabilities out of predictions.parquet.

    Args:
        table: Rows of predictions.parquet.
        n_classes: The number of classes, L.

    Returns:
        The probabilities, (n, L).
    """
    return table[[f"p_{c}" for c in range(n_classes)]].to_numpy(dtype=float)


def predictions_of(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Take the rows of one method out of predictions.parquet.

    Args:
        table: Rows of predictions.parquet.
        method: The method.

    Returns:
        The method's rows.

    Raises:
        InputError: If there are none.
    """
    rows = table[table["method"] == method]
    if rows.empty:
        methods = [str(name) for name in table["method"].unique()]
        raise InputError(
            f"there are no predictions of method {method!r}; found: {listed(methods)}."
            f"{did_you_mean(method, methods)}"
        )
    return rows


def membership_matrix(
    groups_per_row: Iterable[Sequence[str]], group_names: Sequence[str]
) -> BoolArray:
    """Turn one list of group names per row, as in predictions.parquet, into a matrix.

    Args:
        groups_per_row: The names of each row's groups.
        group_names: Names of the K groups, in the order of the columns.

    Returns:
        Which rows are in which group, (n, K).

    Raises:
        InputError: If a row names a group that is not in `group_names`.

    Example:
        >>> membership_matrix([["b"], [], ["a", "b"]], ["a", "b"]).astype(int).tolist()
        [[0, 1], [0, 0], [1, 1]]
    """
    lists, place = list(groups_per_row), {name: k for k, name in enumerate(group_names)}
    flat = [name for row in lists for name in row]
    for name in flat:
        if name not in place:
            raise InputError(
                f"predictions name a group {name!r} that the results do not have; "
                f"found: {listed(group_names)}.{did_you_mean(name, group_names)}"
            )
    membership = np.zeros((len(lists), len(group_names)), dtype=bool)
    rows = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
    membership[rows, [place[name] for name in flat]] = True
    return membership
