"""The verdict that opens a report: may these probabilities be used, for whom, and where not."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mcstl._support.words import counted
from mcstl.evaluation.tables import ALARM_LEVEL
from mcstl.groups.small_groups import FEW_PEOPLE

#: How an answer is worded.
ANSWERS = {"yes": "Yes", "with care": "With care", "no": "Not as they are"}
#: An error of this size, on a scale from 0 to 1, matters to who uses a probability.
MATTERS = 0.1
#: Nobody who uses a probability notices an error below this; many annotations show even those.
SLIGHT = 0.02
#: Within these ends the interval of a mean slope says that nothing is far off.
_SLOPES = (0.8, 1.25)
#: The measures of ranking, of which a task has one, and what guessing reaches in each.
_RANKS = {"accuracy": "accuracy", "auc": "AUC"}
_GUESSING = 0.5
#: The checks for leaks of the label; the others are about what the split leaves open.
LABEL_LEAKS = ("groups alone", "words of the rationale", "shuffled groups")
#: For whom the split of a study speaks.
_FOR = {
    "annotation": "further labels that the same people give to the same texts",
    "item": "new texts of the same kind, judged by the same people",
    "annotator": "new people like these, judging the same texts",
    "official": "texts and people like those of the official test part",
}
#: For any other, as where all of a new table is judged.
_FOR_OTHERS = "texts and people like those of this table"
#: Of whom it does not, and how to find out.
_NOT_FOR = {
    "annotation": "new texts (--split item) or new people (--split annotator)",
    "item": "new people (--split annotator)",
    "annotator": "new texts (--split item)",
}


class Verdict(NamedTuple):
    """What the tests of a study come to.

    Attributes:
        answer: ``yes``, ``with care`` or ``no``.
        sentences: Why, for whom, where not, and what would have to be collected to know more.
    """

    answer: Literal["yes", "with care", "no"]
    sentences: list[str]


def verdict(results: Mapping[str, Any], method: str) -> Verdict:
    """Put in words whether the probabilities of a method may be used.

    Args:
        results: The content of results.json, with its audit.
        method: The method, which the audit has.

    Returns:
        The verdict.
    """
    data, tested = results["data"], results["audit"]["methods"][method]["multicalibration"]
    worst = _worst_by_group(tested["cells"])
    off = [group for group, cell in worst.items() if _is_off(cell)]
    slight = [group for group, cell in worst.items() if _is_seen(cell) and group not in off]
    fired = [check for check in results.get("controls", []) if check["fires"]]
    leaks = [check for check in fired if check["check"] in LABEL_LEAKS]
    # Groups may tell the label because their people do answer alike; with a second sign, no.
    is_leak = any(check["check"] != "groups alone" for check in leaks)
    slope = results["summary"][method]["slope_mean"]
    far_off = _is_far_off(slope)
    unsure = {
        group: cell
        for group, cell in worst.items()
        if group not in [*off, *slight]
        and (cell["detectable"] is None or cell["detectable"] > MATTERS)
    }
    guessing = _no_better_than_guessing(results["summary"][method])
    hidden = len(data.get("groups_not_shown", ()))
    views = _views_off(results.get("use"), method)
    if is_leak or None in off or far_off or guessing:
        answer: Literal["yes", "with care", "no"] = "no"
    else:
        answer = "with care" if off or unsure or leaks or hidden or views else "yes"
    split = data["split"]["by"]
    whom = _FOR.get(split, _FOR_OTHERS)
    what = {
        "yes": f"The probabilities of {method} may be used as they are for {whom}.",
        "with care": f"The probabilities of {method} may be used with care for {whom}.",
        "no": f"The probabilities of {method} should not be used as they are.",
    }
    sentences = [what[answer]]
    sentences += [f"They may look better than they are. {check['said']}" for check in leaks]
    sentences += guessing
    if far_off:
        direction = "too sure" if slope["mean"] < 1 else "not sure enough"
        sentences.append(f"They are {direction}: where they differ, too {_size(slope['mean'])}.")
    if None in off:
        sentences.append(f"For everyone together they are off by up to {_error(worst[None])}.")
    if groups := [f"{_quoted(group)} (up to {_error(worst[group])})" for group in off if group]:
        sentences.append(f"Not for {_listed(groups)}: what is predicted is not what happens.")
    if slight:
        names = [_quoted(group) if group else "everyone together" for group in slight]
        sentences.append(
            f"An error below {SLIGHT}, too small to matter, is seen for {_listed(names)}."
        )
    sentences += views
    if hidden:
        sentences.append(
            f"Nothing is said of {counted(hidden, 'group')} of fewer than {FEW_PEOPLE} people, "
            "whose answers are not shown: the probabilities may be right or wrong for them."
        )
    if split in _NOT_FOR:
        sentences.append(f"Nothing is known about {_NOT_FOR[split]}.")
    if unseen := sum(1 for group in worst if group and group not in [*off, *slight, *unsure]):
        sentences.append(
            f"In {unseen} of {len([group for group in worst if group])} groups no error was seen, "
            f"and one of {MATTERS} would most likely have been."
        )
    if named := [_quoted(group) for group in unsure if group]:
        sentences.append(
            f"In {_listed(named, 5)} no error was seen, but one of {MATTERS} could have been "
            "missed."
        )
    sentences += _to_collect(unsure)
    return Verdict(answer, sentences)


def _worst_by_group(cells: list[Mapping[str, Any]]) -> dict[str | None, Mapping[str, Any]]:
    """Per group (None for everyone) the threshold that is furthest off or stands out most."""
    worst: dict[str | None, Mapping[str, Any]] = {}
    for cell in cells:
        known = worst.get(cell["group"])
        if known is None or _rank(cell) < _rank(known):
            worst[cell["group"]] = cell
    return worst


def _p(cell: Mapping[str, Any]) -> float:
    return 1.0 if cell["p_adjusted"] is None else float(cell["p_adjusted"])


def _rank(cell: Mapping[str, Any]) -> tuple[bool, float]:
    """Order what is off by how far, before the others by how sure they are."""
    return (False, -cell["ecce"]) if _is_off(cell) else (True, _p(cell))


def _is_seen(cell: Mapping[str, Any]) -> bool:
    return _p(cell) < ALARM_LEVEL


def _is_off(cell: Mapping[str, Any]) -> bool:
    return _is_seen(cell) and bool(cell["ecce"] >= SLIGHT)


def _is_far_off(slope: Mapping[str, Any]) -> bool:
    """Whether the whole interval of the mean slope is beyond what is called calibrated."""
    low, high = slope["low"], slope["high"]
    return low is not None and high is not None and (high < _SLOPES[0] or low > _SLOPES[1])


def _quoted(group: str) -> str:
    """A group's name, in quotes where it has a comma of its own."""
    return f"“{group}”" if "," in group else group


def _listed(words: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(words[:most])
    return shown if len(words) <= most else f"{shown} and {len(words) - most} more"


def _no_better_than_guessing(summary: Mapping[str, Any]) -> list[str]:
    """Say so where a method may rank texts no better than chance does."""
    name, value = next(
        ((title, summary[key]) for key, title in _RANKS.items() if key in summary), ("", None)
    )
    if value is None or value["low"] is None or value["low"] > _GUESSING:
        return []
    return [
        f"It is not shown that they tell texts apart: {name} is {value['mean']:.2f} "
        f"[{value['low']:.2f}, {value['high']:.2f}], and guessing has {_GUESSING}."
    ]


def _views_off(use: Mapping[str, Any] | None, method: str) -> list[str]:
    """Name the groups whose view is not what they answer, by an interval without 0."""
    if not use or use["method"] != method:
        return []
    off = [
        f"{_quoted(row['group'])} "
        f"({row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}])"
        for row in sorted(use["views"], key=lambda row: -abs(row["difference"] or 0))
        if row["low"] is not None
        and (row["low"] > 0 or row["high"] < 0)
        and abs(row["difference"]) >= SLIGHT
    ]
    if not off:
        return []
    return [
        "What is predicted as a group's view is off on average, on a scale from 0 to 1, for "
        f"{_listed(off, 3)}, of {counted(len(use['views']), 'group')}."
    ]


def _size(slope: float) -> str:
    return "much" if slope < 1 else "little"


def _error(cell: Mapping[str, Any]) -> str:
    return "?" if cell["ecce"] is None else f"{cell['ecce']:.2f}"


def _to_collect(unsure: Mapping[str | None, Mapping[str, Any]]) -> list[str]:
    """Say how many more test annotations would show an error that matters."""
    needed = {
        group: round(cell["n"] * ((cell["detectable"] / MATTERS) ** 2 - 1))
        for group, cell in unsure.items()
        if group and cell["detectable"] is not None and cell["n"]
    }
    if not needed:
        return []
    first = sorted(needed, key=lambda group: needed[group])[:3]
    amounts = [f"about {max(needed[group], 1):,} of {_quoted(group)}" for group in first]
    return [f"To know more, collect annotations to test on: {_listed(amounts)}."]
