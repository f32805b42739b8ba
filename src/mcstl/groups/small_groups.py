"""What is said and shown of groups of few people, everywhere: in tables, reports, cards and models.

Of a handful of people, what is learnt of the group may be theirs alone, and a count may mean
somebody in particular. Such a group is learnt, but its size is forgotten as soon as the group is
formed (0 stands for it), what its members answered is left out of every table and page, and no
prediction is made for it unless somebody asks for groups of a single person (`min_people`).
"""

from collections.abc import Mapping
from typing import Any

from mcstl._support.words import counted

#: A group of fewer people is learnt, with a warning; neither it nor its people are counted.
FEW_PEOPLE = 5
#: How such a group is called, and what the reason begins with where it was left out.
OF_FEW = f"fewer than {FEW_PEOPLE} people"


def is_of_few(n_people: int | None) -> bool:
    """Say whether a group is of too few people to be shown.

    Args:
        n_people: The number of its annotators, 0 where it was too small to be kept; None where they
            are not known.

    Returns:
        Whether they are known to be fewer than five.
    """
    return n_people is not None and n_people < FEW_PEOPLE


def few_people_warning(n_people: int | None) -> str:
    """Word what a reader must know of a group of few people.

    Args:
        n_people: The number of annotators in the group, None where they are not known.

    Returns:
        The warning, "" for a group that needs none.
    """
    if not is_of_few(n_people):
        return ""
    return f"{OF_FEW}: what is learnt of this group may be theirs alone, and may identify them"


def shown_people(n_people: int | None) -> str:
    """Write a count of people as a reader may see it.

    >>> shown_people(4), shown_people(1200), shown_people(None)
    ('fewer than 5', '1,200', '–')

    Args:
        n_people: The number of people, None where they are not known.

    Returns:
        The number, "fewer than 5" for a small one, a dash where it is not known.
    """
    if n_people is None:
        return "–"
    return f"fewer than {FEW_PEOPLE}" if is_of_few(n_people) else f"{n_people:,}"


def shown_size(size: int, n_people: int | None) -> str:
    """Write what a group rests on as a reader may see it.

    >>> shown_size(120, 8), shown_size(120, None), shown_size(0, 0)
    ('120 annotations by 8 people', '120 annotations', 'fewer than 5 people')

    Args:
        size: The number of its annotations.
        n_people: The number of people who gave them, None where they are not known.

    Returns:
        Both numbers, but none of a group of few people.
    """
    if is_of_few(n_people):
        return OF_FEW
    return counted(size, "annotation") + ("" if n_people is None else f" by {n_people:,} people")


def not_shown(n_groups: int) -> str:
    """Say that groups of few people are left out of a page or a table.

    Args:
        n_groups: How many they are.

    Returns:
        A sentence, "" for none.
    """
    if not n_groups:
        return ""
    groups = f"{counted(n_groups, 'group')} of {OF_FEW}"
    return f"Not shown: {groups}, whose answers could be told from what stands here."


def left_out_words(left_out: Mapping[str, str], most: int = 5) -> str:
    """Say which groups were left out as too small, and why.

    >>> left_out_words({"gender=Man": "7 training annotations, min_size is 100"})
    '1 group: gender=Man (7 training annotations, min_size is 100)'

    Args:
        left_out: The reason of each group by its name.
        most: How many are named; of those of few people none is.

    Returns:
        Their number, names and reasons; "" where there is none.
    """
    if not left_out:
        return ""
    named = [f"{k} ({why})" for k, why in left_out.items() if not why.startswith(OF_FEW)]
    n_few = len(left_out) - len(named)
    if len(named) > most:
        named[most:] = [f"{len(named) - most:,} more"]
    if n_few:
        named.append(f"{n_few:,} of {OF_FEW}")
    return f"{counted(len(left_out), 'group')}: {'; '.join(named)}"


def without_few(results: dict[str, Any]) -> dict[str, Any]:
    """Take out of results.json what tells the answers of groups of few people.

    A group that is of few people in the training part of any seed counts as one in all.

    Args:
        results: The content of results.json.

    Returns:
        The same with such groups named in ``groups_not_shown`` of its ``data``, without their
        sizes, and without what is measured of them alone. What has been taken out stays out.
    """
    hidden = {name for run in results["runs"] for name in run.get("groups_not_shown", ())}
    hidden |= {each["name"] for each in results["groups"] if is_of_few(each.get("annotators"))}
    hidden |= set(results["data"].get("groups_not_shown", ()))
    groups = [
        each | {"size": 0, "annotators": 0, "warning": few_people_warning(0)}
        if each["name"] in hidden
        else each
        for each in results["groups"]
    ]
    pruned: dict[str, Any] = {
        key: value if key in ("study", "data", "groups") else _without(value, hidden)
        for key, value in results.items()
    }
    data = results["data"] | {"groups_not_shown": sorted(hidden)}
    return pruned | {"data": data, "groups": groups}


def _without(value: Any, hidden: set[str]) -> Any:
    """Drop entries about hidden groups: those with their name as ``group``, or under ``groups``."""
    if isinstance(value, list):
        about = [each.get("group") if isinstance(each, dict) else None for each in value]
        pairs = zip(value, about, strict=True)
        return [_without(each, hidden) for each, group in pairs if group not in hidden]
    if isinstance(value, dict):
        return {
            key: {
                name: _without(each, hidden) for name, each in inner.items() if name not in hidden
            }
            if key == "groups" and isinstance(inner, dict)
            else _without(inner, hidden)
            for key, inner in value.items()
        }
    return value
