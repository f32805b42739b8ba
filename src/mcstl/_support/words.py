"""Words that go with numbers."""


def counted(n: int, one: str, several: str = "") -> str:
    """Write a number of things, as "1 text" or "1,200 texts".

    Args:
        n: How many there are.
        one: The word for one of them.
        several: The word for any other number, by default `one` with an s.

    Returns:
        The number and the word.

    >>> counted(1, "text"), counted(1200, "text"), counted(2, "person", "people")
    ('1 text', '1,200 texts', '2 people')

    """
    return f"{n:,} {one if n == 1 else several or f'{one}s'}"
