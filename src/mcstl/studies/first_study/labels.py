"""The ordered classes that a label column seems to have."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from mcstl._support import files
from mcstl._support.errors import listed
from mcstl.data.cells import cell_text, comparable
from mcstl.data.labels import Task
from mcstl.data.layouts import parts_of
from mcstl.data.scales import possible_order, usual_order
from mcstl.studies.first_study.columns import Column, tokens_of
from mcstl.studies.first_study.words import (
    A_WINS,
    B_WINS,
    MOST_CLASSES,
    MOST_GROUPS,
    NO_ANSWER,
    SELDOM,
)


class LabelsGuess(NamedTuple):
    """What a label column seems to hold.

    Attributes:
        task: binary, ordinal, preference or multilabel.
        classes: The raw labels of each class, the lowest class first; None where the study file
            need not say them.
        sure: Whether the order can be relied on.
        comments: What the study file says about the guess.
    """

    task: Task
    classes: dict[str, list[object]] | None
    sure: bool
    comments: list[str]


def ordered_classes(label: Column) -> LabelsGuess:
    """Order the answers of a label column by number, or as such words usually are.

    Args:
        label: The label column.

    Returns:
        The task and its classes.
    """
    if questions := questions_in(label):
        return several_questions(questions)
    raw = [str(cell) for cell in label.counts.index]
    answers = [cell for cell in raw if cell.casefold() not in NO_ANSWER]
    several = [cell for cell in answers if _is_several(cell, answers)]
    answers = [cell for cell in answers if cell not in several]
    numbers = sorted(value for value in map(comparable, answers) if isinstance(value, float))
    classes: dict[str, list[object]] | None = None
    why = "in the order of the numbers"
    if scale := usual_order(answers):
        why = "in the usual order of these words"
        classes = {members[0]: [*members] for members in scale}
    elif len(numbers) == len(answers):
        kept = _without_codes(numbers)
        classes = {str(cell_text(number)): [_raw(number)] for number in kept}
        answers = [cell for cell in answers if comparable(cell) in kept]
    sure = classes is not None
    if classes is None and several:
        # Words without an order, some of them given together, are questions of their own.
        return several_questions([*dict.fromkeys(answers)])
    if classes is None and len(answers) == 2:
        sure, why = True, "two words, by the alphabet"
        classes = {answer: [answer] for answer in sorted(answers)}
    if classes is None:
        possible = possible_order(answers) or [[answer] for answer in answers]
        classes = {members[0]: [*members] for members in possible}
        why = "put them in order, lowest first, and take away the # before labels"
    out = [cell for cell in raw if cell not in answers and cell not in several]
    comments = [f"{len(classes)} classes, lowest first: {why}." if sure else f"CLASSES: {why}."]
    if sure and all(isinstance(comparable(name), float) for name in classes):
        named = {f"name of {name}": values for name, values in classes.items()}
        comments.append(f"Reports show these numbers; for words: labels: {files.flow(named)}")
    if sure and len(classes) == 2:
        turned = dict([*classes.items()][::-1])
        comments.append(
            f"The second class, {listed([*classes][1:])}, is the one whose probability is given "
            "and which thresholds flag. Put what you look for last; the other way round: "
            f"labels: {files.flow(turned)}"
        )
    if not sure:
        comments.append("Without an order each can be a question of its own: task: multilabel")
    if several:
        share = label.counts[several].sum() / label.counts.sum()
        comments.append(
            f"Left out, {share:.0%} of the rows, as they give several labels at once: "
            f"{listed(several, 4)}."
        )
    if out:
        comments.append(f"Left out, as they look like no answer: {listed(out)}.")
    if sure and len(classes) > 2:
        first, *rest = classes.items()
        merged = {"low": first[1], "high": [value for _, values in rest for value in values]}
        comments.append(f"Or merge classes, as in task: binary, labels: {files.flow(merged)}")
    return LabelsGuess("binary" if len(classes) == 2 else "ordinal", classes, sure, comments)


def questions_in(label: Column) -> list[str] | None:
    """Find the answers in a column whose cells may hold several at once.

    Args:
        label: The label column.

    Returns:
        The distinct answers, the most frequent first, where more than a few cells hold several;
        None where cells hold one each.
    """
    given = [str(cell) for cell in label.counts.index if str(cell).casefold() not in NO_ANSWER]
    parts = {cell: [part.strip() for part in _parts(cell, label.lists, given)] for cell in given}
    if label.counts[[cell for cell in given if len(parts[cell]) > 1]].sum() <= (
        SELDOM * label.counts[given].sum()
    ):
        return None
    n_rows = Counter[str]()
    for cell in given:
        n_rows.update({part: int(label.counts[cell]) for part in parts[cell] if part})
    words = max(len(answer.split()) for answer in n_rows)
    return [*dict(n_rows.most_common())] if words <= 3 and len(n_rows) <= MOST_GROUPS else None


def several_questions(questions: Sequence[str]) -> LabelsGuess:
    """Make each of several answers a question.

    Args:
        questions: The answers.

    Returns:
        The task multilabel.
    """
    classes: dict[str, list[object]] = {question: [question] for question in questions}
    comments = [
        f"{len(questions)} questions, each answered yes or no, as a row may have several labels.",
        "Leave out questions, or give one several answers, as in {upset: [anger, fear]}.",
    ]
    return LabelsGuess("multilabel", classes, True, comments)


def _parts(cell: str, lists: bool, given: Sequence[str]) -> list[str]:
    """The answers in a cell; a comma is a sign between them where each stands alone elsewhere."""
    if lists or re.search(r"[|;]", cell):
        return re.split(r"[|;]", cell)
    if cell.startswith("["):
        return [str(part) for part in parts_of(cell)]
    parts = [part.strip() for part in cell.split(",")]
    return parts if {*parts} <= {*given} else [cell]


def _is_several(answer: str, answers: Sequence[str]) -> bool:
    """Whether an answer is several of the others, as ``true | either``."""
    parts = [part.strip() for part in re.split("[|,;]", answer)]
    return len(parts) > 1 and {*parts} <= {*answers}


def preference_classes(label: Column) -> LabelsGuess:
    """Find out which answers of a label column prefer the first text, and which the second.

    Args:
        label: The label column of a table of pairs.

    Returns:
        The task preference and its two classes.
    """
    raw = [str(cell) for cell in label.counts.index]
    numbers = {value for value in map(comparable, raw) if isinstance(value, float)}
    wins: dict[str, list[object]] = {"b": [], "a": []}
    if len(numbers) == len(raw):
        wins["a"] = [1]
        wins["b"] = [_raw(min(numbers)) if numbers <= {-1, 0, 1} else 2]
    else:
        for cell in raw:
            last = (tokens_of(cell) or ("",))[-1]
            side = "a" if last in A_WINS else "b" if last in B_WINS else ""
            if side:
                wins[side].append(cell)
    sure = all(wins.values()) and numbers <= {-1, 0, 1, 2}
    comments = [
        "The first class means that text_b is preferred, the second that text_a is; other rows",
        f"(ties) are dropped. The raw values are: {listed(raw)}. A guess: check it.",
        "If the label is about both texts together, put both into one column and map it as text.",
    ]
    if not sure:
        wins = {"b": ["?"], "a": ["?"]}
        comments[1] = (
            f"(ties) are dropped. Fill in the raw values ({listed(raw)}) and take away the #."
        )
    return LabelsGuess("preference", wins, sure, comments)


def _without_codes(numbers: list[float]) -> list[float]:
    """Leave out numbers that stand for no answer: -1 below a scale from 0, 99 far above one."""
    scale = [number for number in numbers if 0 <= number <= MOST_CLASSES]
    if len(scale) < 2:
        return numbers
    codes = {-99.0, -9.0, 98.0, 99.0, 999.0} | (
        {-1.0} if scale[0] == 0 and scale[-1] > 2 and min(numbers) == -1 else set()
    )
    kept = [number for number in numbers if number not in codes]
    return kept if len(kept) >= 2 else numbers


def _raw(number: float) -> int | float:
    return int(number) if number.is_integer() else number
