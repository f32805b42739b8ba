"""What a study can name as a method: the registry, a file and a line here for each.

A file holds ``METHOD``, a `mcstl.methods.base.Method`, and is imported when the method is used.
Other packages add methods by entry points (docs/extending.md).
"""

import importlib
from typing import TYPE_CHECKING

from mcstl._support import plugins
from mcstl._support.errors import InputError, did_you_mean, listed

if TYPE_CHECKING:
    from mcstl.methods.base import Method

#: The files of the methods by the methods' names, in the order in which messages list them.
_REGISTRY = {
    "mc-stl": "mc_stl",
    "multilevel": "multilevel",
    "best": "best",
    "none": "none",
    "majority": "majority",
    "dawid-skene": "dawid_skene",
    "annotators": "annotators",
    "heads": "heads",
    "shuffled": "shuffled",
    "gbm": "gbm",
    "logistic": "logistic",
    "groups-only": "groups_only",
    "irpm": "irpm",
}


def names() -> list[str]:
    """List the methods that a study can name.

    Returns:
        The names of those of this package, then of those that other packages add.
    """
    return [*_REGISTRY, *(name for name in plugins.names("methods") if name not in _REGISTRY)]


def find(name: str) -> "Method":
    """Look up a method by its name.

    Args:
        name: The name, as a study file has it.

    Returns:
        The method.

    Raises:
        InputError: If there is no such method, or if another package adds it and cannot be loaded.
    """
    if name in _REGISTRY:
        method: Method = importlib.import_module(f"mcstl.methods.{_REGISTRY[name]}").METHOD
        return method
    if name in plugins.names("methods"):
        features = importlib.import_module("mcstl.methods.features")
        added: Method = features.FeatureMethod(name, plugins.load("methods", name))
        return added
    raise InputError(
        f"there is no method {name!r}; choose from {listed(names(), 20)}."
        f"{did_you_mean(name, names())}"
    )
