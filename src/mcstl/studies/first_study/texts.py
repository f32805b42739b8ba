"""Which columns of a table are the text, the parts of one, or a pair of texts."""

from collections.abc import Sequence

from mcstl.studies.first_study.columns import Column, Guess, names_of, tokens_of
from mcstl.studies.first_study.guessed import GuessedTable
from mcstl.studies.first_study.words import (
    ANNOTATOR,
    ATTRIBUTE,
    CHOSEN,
    ID,
    PARTS,
    RATIONALE,
    REACTION,
    SETTING,
    SHORTEST_OF_A_PAIR,
    SIDES,
    TEXT,
)


def guess_texts(guessed: GuessedTable) -> None:
    """Guess which columns are the text, its parts, or the two texts of a pair.

    Args:
        guessed: The table, which gets the guess.

    Raises:
        InputError: If no column can be a text.
    """
    entries = _entries_of_a_text(guessed.columns)
    if len(entries) > 1:
        set_parts(guessed, entries, "the parts of the text")
        return
    pair = _pair(guessed.columns)
    if pair is not None:
        (ours_a, a), (ours_b, b) = pair
        guessed.guesses[ours_a] = Guess(a, "the names say that these two are a pair")
        guessed.guesses[ours_b] = Guess(b, "the other text of the pair")
        guessed.prompts = _prompts(guessed.left, a)
        return
    named = [
        column
        for column in guessed.columns
        if column.tokens
        and (column.tokens[-1] in TEXT or "text" in column.words)
        and not column.words & ID
        and (column.is_prose or (column.tokens == ("text",) and not column.is_number))
    ]
    named = [column for column in named if not column.words & RATIONALE] or named
    reactions = [column for column in named if column.words & REACTION]
    judged = named
    if all(column.words & (REACTION | SETTING) for column in named):
        judged = reactions or named
    prose = [column for column in guessed.columns if column.is_prose]
    plain = [column for column in prose if not column.words & RATIONALE] or prose
    candidates = sorted(judged or plain, key=lambda column: -column.length)
    if not candidates:
        raise guessed.nothing_for("a text", "text")
    best = candidates[0]
    alternatives = [
        column
        for column in plain
        if column is not best
        and column.length > best.length / 4
        and not column.words & (ATTRIBUTE | ANNOTATOR)
    ]
    why = "by its name" if named else "the longest texts"
    parts = _two_parts(best, prose)
    if parts:
        set_parts(guessed, parts, "by their names, the parts of the text")
        return
    guessed.guesses["text"] = Guess(best, why, names_of(alternatives))


def set_parts(guessed: GuessedTable, parts: Sequence[Column], why: str) -> None:
    """Make several columns the parts of the text.

    Args:
        guessed: The table, which gets the guess.
        parts: The columns, the one that is judged last.
        why: The reason.
    """
    guessed.parts = [*parts]
    judged = parts[-1]
    guessed.guesses["text"] = Guess(judged, f"{why}; or the last alone")


def _entries_of_a_text(columns: Sequence[Column]) -> list[Column]:
    """The entries of objects in a column of texts: ``text.post`` and ``text.reply``."""
    bases = [column.name.partition(".")[0] for column in columns]
    entries = [
        column
        for base, column in zip(bases, columns, strict=True)
        if "." in column.name and {*tokens_of(base)} & TEXT and not column.is_number
    ]
    return [column for column in entries if column.length >= SHORTEST_OF_A_PAIR]


def _two_parts(best: Column, prose: Sequence[Column]) -> list[Column]:
    """The two columns that are a text in parts, by their names, if `best` is one of them."""
    for names in PARTS:
        parts = [
            next((c for c in prose if c.tokens and c.tokens[-1] == name), None) for name in names
        ]
        if best in parts and None not in parts:
            return [part for part in parts if part is not None]
    return []


def _pair(columns: Sequence[Column]) -> tuple[tuple[str, Column], tuple[str, Column]] | None:
    """Find two columns of texts whose names differ in one word that tells two sides apart."""
    pairs = []
    for a in columns:
        for b in columns:
            differ = [(x, y) for x, y in zip(a.tokens, b.tokens, strict=False) if x != y]
            if len(a.tokens) != len(b.tokens) or len(differ) != 1 or a.is_number or b.is_number:
                continue
            if a.lists or b.lists or min(a.length, b.length) < SHORTEST_OF_A_PAIR:
                continue
            if differ[0] in CHOSEN:
                pairs.append((True, a.length, ("chosen", a), ("rejected", b)))
            elif differ[0] in SIDES:
                pairs.append((False, a.length, ("text_a", a), ("text_b", b)))
    return max(pairs, key=lambda pair: pair[:2])[2:] if pairs else None


def _prompts(columns: Sequence[Column], answer: Column) -> list[Column]:
    """Columns of what the texts of a pair answer, where these do not begin with it themselves."""
    named = [column for column in columns if column.words & SETTING and column.is_prose]
    return [
        column
        for column in named
        if not column.words & (ID | RATIONALE)
        and not all(
            prompt is None or (text or "").strip().startswith(prompt.strip())
            for prompt, text in zip(column.cells, answer.cells, strict=True)
        )
    ]
