"""A preference model as a reward: a function for TRL, and a Hugging Face classifier.

Both give r = o(e + V) / t of chosen groups, so that the difference of two rewards is the logit of
P(the first is preferred), as the model was calibrated (§2.4).
"""

import importlib
from typing import TYPE_CHECKING, Any

from mcstl.rewards.function import RewardFunction, score_texts

if TYPE_CHECKING:
    from mcstl.rewards.classifier import as_classifier as as_classifier
    from mcstl.rewards.classifier import load_classifier as load_classifier

#: These load transformers.
_OF_CLASSIFIERS = ("as_classifier", "load_classifier")

__all__ = ["RewardFunction", "score_texts", *_OF_CLASSIFIERS]


def __getattr__(name: str) -> Any:
    if name in _OF_CLASSIFIERS:
        return getattr(importlib.import_module("mcstl.rewards.classifier"), name)
    raise AttributeError(f"module 'mcstl.rewards' has no attribute {name!r}")
