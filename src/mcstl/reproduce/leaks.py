"""Whether the gain of a reproduced row may be a leak: the verdict of its study's leak checks."""

from collections.abc import Mapping
from typing import Any

from mcstl._support.errors import listed
from mcstl.evaluation.tables import rounded
from mcstl.evaluation.verdict import LABEL_LEAKS


def label_leaks(results: Mapping[str, Any]) -> str:
    """Name the checks that say that something other than the text gives the label away.

    Args:
        results: The content of results.json.

    Returns:
        The checks with what they measured, or "none seen".
    """
    fired = [each for each in _fired(results) if each["check"] in LABEL_LEAKS]
    return listed([_with_value(each) for each in fired]) or "none seen"


def leak_note(key: str, results: Mapping[str, Any]) -> str:
    """Say what all leak checks of a study say.

    Args:
        key: The study's key.
        results: The content of results.json.

    Returns:
        A sentence that names the checks that worry, with their numbers, and those that do not.
    """
    fired = _fired(results)
    quiet = [_with_value(each) for each in results["controls"] if not each["fires"]]
    worry = listed([_with_value(each) for each in fired], 10) or "none"
    return f"Leak checks of {key}: {worry}. Nothing seen by: {listed(quiet, 10) or 'none'}."


def _fired(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each for each in results["controls"] if each["fires"]]


def _with_value(check: Mapping[str, Any]) -> str:
    value = "-" if check["value"] is None else rounded(check["value"], 2)
    return f"{check['check']} {value}"
