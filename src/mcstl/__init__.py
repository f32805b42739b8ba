"""mcstl: learn subjective labels without averaging people away (MC-STL)."""

import importlib
from typing import Any

__version__ = "0.1.0"

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
