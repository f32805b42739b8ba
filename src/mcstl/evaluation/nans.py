"""Arithmetic in which a value that does not exist is NaN in arrays and None in JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mcstl._support.arrays import FloatArray


def ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> FloatArray:
    """Divide two arrays, with NaN instead of a warning where the denominator is 0.

    Args:
        numerator: Numbers of any shape.
        denominator: Numbers of a shape that broadcasts with the numerator's.

    Returns:
        The quotients, in the shape to which both broadcast.
    """
    quotient: FloatArray = np.full(
        np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan
    )
    is_defined = np.broadcast_to(np.asarray(denominator) != 0, quotient.shape)
    np.divide(numerator, denominator, out=quotient, where=is_defined)
    return quotient


def nanmean(values: FloatArray, axis: int) -> FloatArray:
    """Average the values that are not NaN, with NaN instead of a warning where all are.

    Args:
        values: Numbers of any shape.
        axis: The axis to average over.

    Returns:
        The means, in the shape of `values` without `axis`.
    """
    is_number = ~np.isnan(values)
    return ratio(np.where(is_number, values, 0.0).sum(axis=axis), is_number.sum(axis=axis))


def mean_of_numbers(values: Sequence[float]) -> float:
    """Average the values that are not NaN.

    Args:
        values: Numbers, of which some may be NaN.

    Returns:
        Their mean, NaN if none is a number.
    """
    return float(nanmean(np.array(values, dtype=np.float64), axis=0))


def nan_to_none(value: Any) -> Any:
    """Replace NaN by None at any depth, as JSON has no NaN.

    Args:
        value: Dictionaries and lists of anything; other containers are not entered.

    Returns:
        A copy without NaN.
    """
    if isinstance(value, dict):
        return {key: nan_to_none(each) for key, each in value.items()}
    if isinstance(value, list):
        return [nan_to_none(each) for each in value]
    if isinstance(value, float):
        return None if np.isnan(value) else value
    return value
