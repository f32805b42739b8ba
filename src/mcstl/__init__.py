"""mcstl: learn subjective labels without averaging people away (MC-STL)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what the names below are, for editors and type checkers
    from mcstl import datasets as datasets
    from mcstl import equations as equations
    from mcstl import evaluation as evaluation
    from mcstl._support.errors import InputError as InputError
    from mcstl.data.annotations import Annotations as Annotations
    from mcstl.data.splits import split as split
    from mcstl.data.tables import read_table as read_table
    from mcstl.encoding.encoders import load_encoder as load_encoder
    from mcstl.models.model import Model as Model
    from mcstl.models.perspectives import Jury as Jury
    from mcstl.models.perspectives import Person as Person
    from mcstl.models.training import TrainingConfig as TrainingConfig
    from mcstl.studies.one_model import evaluate as evaluate
    from mcstl.studies.one_model import fit as fit
    from mcstl.studies.run import run as run
    from mcstl.studies.study_file import Study as Study

__version__ = "0.2.0"

# Nothing heavy is imported before it is used: a name is loaded from its module on first access.
_HOME = {
    "Annotations": "data.annotations",
    "read_table": "data.tables",
    "split": "data.splits",
    "load_encoder": "encoding.encoders",
    "Jury": "models.perspectives",
    "Model": "models.model",
    "Person": "models.perspectives",
    "TrainingConfig": "models.training",
    "Study": "studies.study_file",
    "evaluate": "studies.one_model",
    "fit": "studies.one_model",
    "run": "studies.run",
    "InputError": "_support.errors",
}
_MODULES = ("datasets", "equations", "evaluation")

__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"mcstl.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"mcstl.{name}")
    raise AttributeError(f"module 'mcstl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
