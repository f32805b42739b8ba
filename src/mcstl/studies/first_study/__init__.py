"""A first study file from a user's own table, its columns guessed by name and by content.

Every guess stands in the file with its reason and the next best choices, so that a reader can see
at a glance what to change.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mcstl._support import files
from mcstl._support.errors import InputError, brief, listed
from mcstl._support.words import counted
from mcstl.data.annotations import Annotations, repeats_message
from mcstl.data.columns import KNOWN_COLUMNS
from mcstl.data.labels import TASK_FORMS
from mcstl.data.splits import SplitBy, part_of, split
from mcstl.data.tables import named_by, read_table
from mcstl.encoding.encoders import PAPER_ENCODER
from mcstl.encoding.english import not_english
from mcstl.studies.first_study.columns import Column, Guess, columns_of, names_of
from mcstl.studies.first_study.comments import comment, with_comment
from mcstl.studies.first_study.groups import (
    find_leaks,
    guess_groups,
    names_in,
    wrong_separator,
)
from mcstl.studies.first_study.guessed import GuessedTable
from mcstl.studies.first_study.labels import (
    LabelsGuess,
    ordered_classes,
    preference_classes,
    questions_in,
)
from mcstl.studies.first_study.shapes import Shape, entered, recognise
from mcstl.studies.first_study.texts import guess_texts, set_parts
from mcstl.studies.first_study.words import (
    AGGREGATE,
    ANNOTATOR,
    ATTRIBUTE,
    BESIDE_LABEL,
    CHOICE,
    ID,
    ITEM,
    LABEL,
    MOST_GROUPS,
    MOST_WORDS,
    NO_LABEL,
    NOT_JUDGED,
    PREFERENCE,
    RATIONALE,
    SELDOM,
    VALUES,
)

#: How much less a label is expected in a column that is often beside it.
_LESS_LIKELY = 0.1


def write_first_study(table: Path, out: Path) -> str:
    """Write a first study for a table of annotations.

    Args:
        table: The table: CSV, TSV, JSON Lines or Parquet.
        out: The study file to write.

    Returns:
        The text of the study.

    Raises:
        InputError: If `out` exists, or as `guess_study` does.
    """
    if out.exists():
        raise InputError(f"{out} is there already; remove it, or name another with --out")
    text = guess_study(table, out)
    files.write_text(out, text)
    return text


def guess_study(path: str | Path, study_path: str | Path | None = None) -> str:
    """Guess the study file for a table: its columns, labels, groups and split.

    Each guess has a comment that says why, and what else it may be. Labels whose order cannot be
    guessed are commented out, so that nothing is trained on a made-up order.

    Args:
        path: The table, in any form that `read_table` reads.
        study_path: Where the study file will stand, by default beside the table; ``data.file`` is
            relative to its folder.

    Returns:
        The text of the study file.

    Raises:
        InputError: If the table cannot be read, or no column can be the text or the label.
    """
    path = Path(path)
    folder = Path(study_path).parent if study_path is not None else path.parent
    table = read_table(path)
    if table.empty:
        raise InputError(f"{path.name} has no rows")
    shape = recognise(table, path.name)
    in_file = frozenset(map(str, [*table.columns, *entered(table).columns])) - shape.made
    guessed = GuessedTable(
        path.name, len(shape.table), columns_of(shape.table), in_file, shape.made
    )
    part = _guess_part(guessed)
    guess_texts(guessed)
    _guess_annotator(guessed)
    _guess_item(guessed)
    labels = _guess_labels(guessed, shape)
    guessed.leaks = find_leaks(guessed)
    _guess_rationale(guessed)
    _guess_values(guessed)
    groups, about_groups = guess_groups(guessed)
    columns = _columns(guessed, shape)
    reading = {"columns": columns, "layout": shape.form}
    split_by, problems = _try(table, reading, labels, named_by(path))
    if part is not None:
        split_by = {"column": part.name}
    data = [f"  file: {files.flow(Path(os.path.relpath(path, folder)).as_posix())}"]
    if shape.form is not None:
        data.append(f"  layout: {files.flow(shape.form)}")
    data.append("  columns:" if columns else "  columns: {}")
    for ours, theirs in columns.items():
        data += with_comment(f"    {ours}: {files.flow(theirs)}", guessed.guesses[ours].comment)
    leaks = listed(guessed.leaks)
    about_leaks = [f"LEAK, gives the label away: {leaks}. Keep it out of groups."] if leaks else []
    language = not_english(list(guessed.shown.dropna().unique()), [PAPER_ENCODER])
    about_language = [f"LANGUAGE: {language}."] if language else []
    lines = [
        f"# Drafted from {brief(path.name, 60)}, {len(table):,} rows.",
        *comment([*shape.seen, *guessed.notes, *about_language]),
        f"# Look at each guess, then type: mcstl check {brief(study_path or 'THIS_FILE', 200)}",
        "data:",
        *data,
        "",
        *comment([*labels.comments, *problems, *about_leaks]),
        f"task: {labels.task}",
    ]
    if labels.classes is not None:
        lines.append(f"{'' if labels.sure else '# '}labels: {files.flow(labels.classes)}")
    lines += ["", *comment(about_groups), f"groups: {files.flow(groups)}"]
    if groups == "none":
        lines += ["", *_methods(guessed)]
    lines += ["", *_about_split(part), f"split: {files.flow(split_by)}"]
    return "\n".join(lines) + "\n"


def _columns(guessed: GuessedTable, shape: Shape) -> dict[str, str | list[str]]:
    """The table's columns by our names, without those that the layout makes."""
    columns: dict[str, str | list[str]] = {
        name: guessed.guesses[name].column.name
        for name in KNOWN_COLUMNS
        if name != "split"
        and name in guessed.guesses
        and guessed.guesses[name].column.name not in shape.made
    }
    if guessed.parts:
        columns["text"] = [*names_of(guessed.parts)]
    if guessed.prompts:
        for ours in ("chosen", "rejected", "text_a", "text_b"):
            if ours in guessed.guesses:
                text = guessed.guesses[ours].column
                columns[ours] = [*names_of([*guessed.prompts, text])]
    return columns


def _methods(guessed: GuessedTable) -> list[str]:
    """The methods that can be used without groups, and what is missing for others."""
    if guessed.annotators is not None:
        return [
            "# best and annotators learn the people by themselves; without groups mc-stl is what",
            "# none is.",
            "methods: [best, annotators, none, majority]",
        ]
    return [
        "# Methods that need the text alone. A column that says who gave each label, as annotator,",
        "# would let best learn people; what is known of people, or their reasons, groups.",
        "methods: [best, none, majority, logistic]",
    ]


def _about_split(part: Column | None) -> list[str]:
    if part is not None:
        told = listed(part.counts.index, 5)
        return [
            f"# The parts that {brief(part.name)} tells: {told}. Or draw them:",
            "# split: {by: item, test: 0.2, validation: 0.1}",
        ]
    return [
        "# item: no text is on both sides of the split, as for texts yet to come; annotation: the",
        "# same text may be on both sides, as in the paper; annotator: nobody is on both sides",
    ]


def _guess_part(guessed: GuessedTable) -> Column | None:
    """Find the column that says which part of the data a row belongs to."""
    for column in guessed.columns:
        parts = {part_of(cell) for cell in column.counts.index}
        told = {"train", "test"} <= parts or {"train", "validation"} <= parts
        if told and None not in parts and column.cells.notna().all():
            guessed.guesses["split"] = Guess(column, "the parts of the data")
            return column
    return None


def _guess_annotator(guessed: GuessedTable) -> None:
    made = [column for column in guessed.left if column.name == "annotator"]
    if made and "annotator" not in guessed.file_columns:
        guessed.guesses["annotator"] = Guess(made[0], "by the layout")
        return

    def may_be(column: Column) -> bool:
        # Who is the same for all rows of a text wrote the text.
        wrote_it = column.varies_within(guessed.shown) == 0
        return len(column.counts) > 1 and not column.is_prose and not wrote_it

    named = [
        column
        for column in guessed.left
        if column.words & ANNOTATOR and column.words <= ANNOTATOR | ID and may_be(column)
    ]
    if named:
        guessed.guesses["annotator"] = Guess(named[0], "by its name", names_of(named[1:]))
        return
    # Somebody judges many texts, and each of them once.
    once = [
        column
        for column in guessed.left
        if may_be(column)
        and MOST_WORDS < len(column.counts) <= guessed.n_rows / 2
        and not math.isnan(column.varies_within(guessed.shown))
        and not column.words & (ATTRIBUTE | LABEL)
        and not pd.DataFrame({"shown": guessed.shown, "who": column.cells}).duplicated().any()
    ]
    # Of several that name the same people, as their ages may, words are rather the people.
    most = max((len(column.counts) for column in once), default=0)
    who = sorted((c for c in once if len(c.counts) == most), key=lambda column: column.is_number)
    if who and all(column.is_of(who[0].cells) for column in once):
        why = "each value comes with many texts, with each text once"
        guessed.guesses["annotator"] = Guess(who[0], why, names_of(who[1:]))


def _guess_item(guessed: GuessedTable) -> None:
    repeats = guessed.shown.nunique() < guessed.n_rows
    candidates = [
        column
        for column in guessed.left
        if column.words
        and column.words <= (ITEM | ID | {"annotation"} if column.words & ID else ITEM)
        and not column.is_prose
        and column.cells.notna().all()
    ]
    n_texts = {
        column.name: guessed.shown.groupby(column.cells.to_numpy(dtype=object)).nunique()
        for column in candidates
    }
    for column in candidates:
        several = n_texts[column.name] > 1
        if 0 < several.mean() <= SELDOM:
            guessed.notes.append(
                f"{column.name} looks like the item, but {int(several.sum()):,} of "
                f"{len(several):,} have several texts, as {brief(several.idxmax())}; so a text is "
                "its own item."
            )
    candidates = [column for column in candidates if n_texts[column.name].max() == 1]
    if not candidates and repeats:
        candidates = [column for column in guessed.left if _is_named_text(column, guessed.shown)]
    for column in sorted(candidates, key=lambda column: -column.share_named(ITEM)):
        if len(column.counts) == guessed.n_rows and repeats:
            why = "another one in every row"
            guessed.guesses.setdefault("annotation_id", Guess(column, why))
        else:
            why = f"one text for each of {len(column.counts):,} values"
            guessed.guesses.setdefault("item", Guess(column, why))


def _is_named_text(column: Column, shown: pd.Series) -> bool:
    """Whether each text has a value of its own, and the other way round."""
    if column.is_prose or column.lists or column.objects or column.cells.isna().any():
        return False
    by_value = shown.groupby(column.cells.to_numpy(dtype=object)).nunique()
    return bool(by_value.max() == 1) and len(by_value) == shown.nunique()


def _guess_labels(guessed: GuessedTable, shape: Shape) -> LabelsGuess:
    if shape.form is not None and shape.form != "lists":
        column = next(column for column in guessed.left if column.name == "label")
        guessed.guesses["label"] = Guess(column, "by the layout")
        if shape.several:
            return LabelsGuess("multilabel", None, True, ["Each column is a question."])
        return ordered_classes(column)
    if "chosen" in guessed.guesses:
        why = "Each row says that `chosen` is preferred to `rejected`, so it needs no label."
        return LabelsGuess("preference", None, True, [why])
    words = LABEL | PREFERENCE if guessed.pair else LABEL
    ranked = []
    for column in guessed.left:
        named = 0.0 if column.words & NO_LABEL else column.share_named(words)
        named -= _LESS_LIKELY * bool(column.words & BESIDE_LABEL)
        is_texts = column.varies_within(guessed.shown) == 0
        is_persons = column.is_of(guessed.annotators)
        judged = not is_texts and not is_persons
        usable = column.has_few or (named and column.is_number and len(column.counts) > 1)
        questions = questions_in(column) if named else None
        usable = usable or bool(questions)
        usable = usable and column.name in guessed.file_columns and not column.is_date
        if (
            usable
            and (questions or not column.lists)
            and (named or (judged and not column.words & NOT_JUDGED))
        ):
            few = column.has_few or bool(questions)
            ranked.append(((judged, named, few, len(column.counts)), column))
    if not ranked:
        raise guessed.nothing_for("labels (two or more ordered classes)", "label")
    ranked.sort(key=lambda candidate: candidate[0], reverse=True)
    (_, named, has_few, n), best = ranked[0]
    if not has_few:
        raise InputError(
            f"{brief(best.name)!r}, the likely label in {guessed.source}, has {n} distinct numbers "
            f"and looks continuous; {TASK_FORMS}. Cut it into a few ordered classes first"
        )
    why = f"{'by its name, ' if named else ''}{n} distinct values"
    # What is the same for a text or a person is no annotation, unless nothing else is.
    alternatives = names_of(c for (judged, *_), c in ranked[1:] if judged or not ranked[0][0][0])
    guessed.guesses["label"] = Guess(best, why, alternatives)
    if guessed.pair is None:
        return ordered_classes(best)
    preferences = preference_classes(best)
    if preferences.sure or best.words & CHOICE:
        return preferences
    # A label that says nothing of sides is about both texts together.
    parts = [*guessed.prompts, *guessed.pair]
    for name in ("text_a", "text_b"):
        del guessed.guesses[name]
    guessed.prompts = []
    set_parts(guessed, parts, "texts that are labelled together")
    return ordered_classes(best)


def _guess_rationale(guessed: GuessedTable) -> None:
    prose = guessed.comments_on_texts
    named = [
        column
        for column in prose
        # What is the same for a person is about the person.
        if column.words & RATIONALE and not column.is_of(guessed.annotators)
    ]
    if named:
        alternatives = names_of(column for column in prose if column is not named[0])
        guessed.guesses["rationale"] = Guess(named[0], "by its name", alternatives)


def _guess_values(guessed: GuessedTable) -> None:
    for column in sorted(guessed.left, key=lambda column: -column.share_named(VALUES)):
        n = len(names_in(column))
        if column.words & AGGREGATE or column.objects:
            continue
        several = column.cells.str.contains("|", regex=False).mean() > SELDOM
        if (several or column.lists) and 2 <= n <= MOST_GROUPS:
            guessed.guesses["values"] = Guess(column, f"lists of {n} distinct names")
            return
        is_value = "value" in column.words and not column.is_number and not column.is_prose
        if is_value and not wrong_separator(column) and 2 <= n <= MOST_GROUPS:
            guessed.guesses["values"] = Guess(column, f"by its name, {n} distinct names")
            return


def _try(
    table: pd.DataFrame, reading: Mapping[str, Any], labels: LabelsGuess, source: str
) -> tuple[dict[str, object], list[str]]:
    """Return the best split that can be made, and what is wrong with the table as guessed."""
    shares: dict[str, object] = {"test": 0.2, "validation": 0.1}
    if not labels.sure:
        return {"by": "item"} | shares, []
    try:
        data = Annotations.from_frame(
            table, **reading, labels=labels.classes, task=labels.task, source=source
        )
    except InputError as error:
        return {"by": "item"} | shares, [f"MEND FIRST: {error}"]
    problems = [f"{counted(n, 'row')} dropped: {why}." for why, n in data.dropped.items()]
    if repeated := repeats_message(data.repeats):
        problems.append(f"{repeated}.")
    ways: tuple[SplitBy, ...] = ("item", "annotation")
    for by in ways:
        try:
            split(data, by)
        except InputError as error:
            why = str(error)
        else:
            return {"by": by} | shares, problems
    return {"by": "annotation"} | shares, [*problems, f"MEND FIRST: {why}"]
