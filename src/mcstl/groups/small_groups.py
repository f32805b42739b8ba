"""What is said and shown of groups of few people, everywhere: in tables, reports, cards and models.

Of a handful of people, what is learnt of the group may be theirs alone, and a count may mean
somebody in particular.
"""

#: A group of fewer people is learnt, with a warning, and its people are not counted out loud.
FEW_PEOPLE = 5


def few_people_warning(n_people: int | None) -> str:
    """Word what a reader must know of a group of few people.

    Args:
        n_people: The number of annotators in the group, None where they are not known.

    Returns:
        The warning, "" for a group that needs none.
    """
    if n_people is None or n_people >= FEW_PEOPLE:
        return ""
    return (
        f"fewer than {FEW_PEOPLE} people: what is learnt of this group may be theirs alone, and "
        "may identify them"
    )


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
    return f"fewer than {FEW_PEOPLE}" if n_people < FEW_PEOPLE else f"{n_people:,}"
