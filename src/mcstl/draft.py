"""A first study file from a user's own table, its columns guessed by name and by content.

Every guess stands in the file with its reason and the next best choices, so that a reader can see
at a glance what to change.
"""

import io
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mcstl import files
from mcstl.annotations import KNOWN_COLUMNS, Annotations
from mcstl.cells import cell_text, comparable, mapped
from mcstl.classes import TASK_FORMS, Task
from mcstl.errors import InputError, brief, listed
from mcstl.splits import SplitBy, split
from mcstl.tables import read_table


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


_TEXT = _words(
    "answer argument article body caption claim comment completion conclusion content context "
    "conversation dialog dialogue document excerpt headline input message meme output paragraph "
    "passage post prompt question quote reply response review scenario sentence situation "
    "statement story text transcript tweet turn utterance vignette"
)
#: What is judged, and what may stand beside it without being judged.
_REACTION = _words("answer completion output reply response")
_SETTING = _words("context conversation history input instruction parent post prompt question")
_RATIONALE = _words(
    "because comment explain explanation feedback justification justify motivation note rationale "
    "reason reasoning remark why"
)
_LABEL = _words(
    "abusive agree agreement annotation appropriate class decision disagree grade harm harmful "
    "hate hateful ironic irony judgement judgment label likert offensive offensiveness opinion "
    "overall polite politeness quality rate rating safe safety sarcasm score sentiment severity "
    "stance toxic toxicity unsafe valence verdict vote"
)
_PREFERENCE = _words("better choice label preference preferred vote winner")
#: Words of columns that say something about labels, but not one person's.
_NO_LABEL = _words(
    "average avg confidence count date duration expert gold id majority mean median model number "
    "predicted prediction probability soft std time timestamp total variance"
)
_ANNOTATOR = _words(
    "annotator assessor coder crowdworker evaluator judge labeler labeller participant person "
    "rater respondent reviewer subject turker user username voter worker"
)
_ITEM = _words(
    "argument comment conversation dialog dialogue doc document example instance item message "
    "pair post prompt question sample sentence situation stimulus text tweet unit"
)
_ID = _words("anon anonymous code hash id index key name nr number uuid")
_VALUES = _words("category moral motive principle tag topic value virtue")
_ATTRIBUTE = _words(
    "age country culture disability education ethnic ethnicity gender generation ideology income "
    "job lgbt lgbtq locale locality marital nationality occupation orientation party politic "
    "political race region religion religious ses sex state student urban"
)
#: How two columns name the two texts of a pair, the preferred one first where it is known.
_CHOSEN = (
    ("chosen", "rejected"),
    ("preferred", "rejected"),
    ("accepted", "rejected"),
    ("winner", "loser"),
    ("better", "worse"),
)
_SIDES = (("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"))
#: Orders that words are known by, lowest first; / between words for the same level.
_SCALES = (
    "false < true",
    "no < unsure/not sure/maybe/unclear/unknown/don't know/undecided/neutral < yes",
    "never < rarely/seldom < sometimes/occasionally < often/frequently < always",
    "strongly disagree < disagree < somewhat disagree/slightly disagree < neutral/undecided"
    "/neither agree nor disagree/neither < somewhat agree/slightly agree < agree < strongly agree",
    "very low < low < medium/moderate < high < very high",
    "none < slight/mild/minor < moderate < severe/extreme",
    "not at all < slightly/a little < somewhat/moderately < very/quite < extremely",
    "very bad/terrible < bad/poor < fair/ok/okay/average < good < very good < excellent",
    "very negative < negative < neutral/mixed < positive < very positive",
    "safe < unsure/ambiguous/borderline < unsafe",
    "opposes/oppose/against/con < either/neither/neutral < supports/support/favor/in favor"
    "/in favor of/in favour of/for/pro",
    "dislike < neutral < like",
    "reject < accept",
    "ham < spam",
)
_A_WINS = _words("a first left 1")
_B_WINS = _words("b second right 2")
_NO_ANSWER = frozenset(["n/a", "na", "nan", "null", "-", "?", "not understood", "skip", "skipped"])
#: Columns that are neither a judgement nor about one.
_NOT_JUDGED = _ATTRIBUTE | _NO_LABEL | _ID | _VALUES
#: A column that differs in this share of people or less is a property of people, typing errors
#: granted.
_SELDOM = 0.05
#: A rationale is worth clustering where at least this share of annotations has one, and a sign
#: in this share of cells separates names.
_OFTEN = 0.3
_SHORTEST_OF_A_PAIR = 8
_MOST_CLASSES = 20
_MOST_WORDS = 10
_MOST_GROUPS = 60
#: Of a table's rows, those in training under the drafted split.
_TRAINING_SHARE = 0.8 * 0.9


@dataclass(frozen=True, eq=False)
class _Column:
    """A column of the table as text, with what tells columns apart."""

    name: str
    cells: pd.Series  # text, missing as None
    lists: bool  # whether cells are lists; their parts are joined by "|"

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The words of the name in the singular: rater, id of raterIDs, RATER_ID and raterid."""
        return _tokens(self.name)

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(self.tokens)

    @cached_property
    def counts(self) -> pd.Series:
        """How often each distinct cell occurs, the most frequent first."""
        return self.cells.value_counts()

    @cached_property
    def length(self) -> float:
        """The mean length of the distinct cells in characters."""
        return float(np.mean([len(cell) for cell in self.counts.index] or [0]))

    @cached_property
    def is_number(self) -> bool:
        return all(isinstance(comparable(cell), float) for cell in self.counts.index)

    @cached_property
    def is_prose(self) -> bool:
        """Whether cells hold some words each, rather than a number, a name or a class."""
        # In Thai, Chinese and Japanese two characters stand for a word: no blanks part them.
        breaks = [len(re.findall(r" |[\u0e00-\uffff]{2}", cell)) for cell in self.counts.index]
        worded = bool(np.mean(breaks or [0]) >= 1)
        return not self.is_number and not self.lists and worded and len(self.counts) > 2

    @property
    def has_few(self) -> bool:
        """Whether the distinct cells can be classes."""
        return 2 <= len(self.counts) <= (_MOST_CLASSES if self.is_number else _MOST_WORDS)

    def share_named(self, words: Collection[str]) -> float:
        """The share of the name's words that are among `words`."""
        return sum(token in words for token in self.tokens) / max(len(self.tokens), 1)

    def varies_within(self, units: pd.Series | None) -> float:
        """The share of units of two or more rows in which rows differ; nan if there are none."""
        if units is None:
            return math.nan
        by_unit = self.cells.groupby(units.to_numpy(dtype=object))
        several = by_unit.count() > 1
        return float((by_unit.nunique()[several] > 1).mean()) if several.any() else math.nan


class _Guess(NamedTuple):
    """A column for one of our names, why, and the names of the next best ones."""

    column: _Column
    why: str
    others: tuple[str, ...] = ()

    @property
    def comment(self) -> str:
        return self.why + (f"; or: {listed(self.others, 5)}" if self.others else "")


class _LabelsGuess(NamedTuple):
    """The task, the ordered classes (None: no need to write them), and whether they are sure."""

    task: Task
    classes: dict[str, list[object]] | None
    sure: bool
    comments: list[str]


@dataclass
class _Draft:
    """The columns, and what has been guessed so far."""

    source: str
    n_rows: int
    columns: list[_Column]
    guesses: dict[str, _Guess] = field(default_factory=dict)

    @property
    def left(self) -> list[_Column]:
        """The columns that have no use yet."""
        used = {guess.column.name for guess in self.guesses.values()}
        return [column for column in self.columns if column.name not in used]

    @property
    def pair(self) -> tuple[_Column, _Column] | None:
        for first, second in (("chosen", "rejected"), ("text_a", "text_b")):
            if first in self.guesses:
                return self.guesses[first].column, self.guesses[second].column
        return None

    @cached_property
    def shown(self) -> pd.Series:
        """What is judged, once it is guessed: the text, or the unordered pair."""
        if self.pair is None:
            return self.guesses["text"].column.cells
        a, b = (column.cells.fillna("") for column in self.pair)
        keys = ["\0".join(sorted(both)) for both in zip(a, b, strict=True)]
        return pd.Series(keys, dtype=object)

    @property
    def annotators(self) -> pd.Series | None:
        guess = self.guesses.get("annotator")
        return guess.column.cells if guess else None

    def nothing_for(self, what: str, name: str) -> InputError:
        return InputError(
            f"no column of {self.source} looks like {what}; found: "
            f"{listed(column.name for column in self.columns)}. Write the study by hand, as "
            f"data: {{file: {self.source}, columns: {{{name}: THE_COLUMN, ...}}}}"
        )


def draft_study(path: str | Path, study_path: str | Path | None = None) -> str:
    """Return the text of a study file (DESIGN: Study file) for the table at `path`.

    `study_path` is where the file will stand, beside the table unless told; ``data.file`` is
    relative to its folder. Columns, labels, groups and split are guessed from names and contents;
    each guess has a comment that says why and what else it may be. Labels whose order cannot be
    guessed are commented out, so that nothing is trained on a made-up order.

    Raises InputError if the table cannot be read, or no column can be the text or the label.
    """
    path = Path(path)
    folder = Path(study_path).parent if study_path is not None else path.parent
    table = read_table(path)
    if table.empty:
        raise InputError(f"{path.name} has no rows")
    draft = _Draft(path.name, len(table), _columns(table))
    _guess_texts(draft)
    _guess_annotator(draft)
    _guess_item(draft)
    labels = _guess_labels(draft)
    _guess_rationale(draft)
    _guess_values(draft)
    groups, about_groups = _guess_groups(draft)
    columns = {
        name: draft.guesses[name].column.name for name in KNOWN_COLUMNS if name in draft.guesses
    }
    by, found = _try(table, columns, labels, path.name)
    about_labels = [*labels.comments, *found]
    lines = [
        f"# Drafted from {brief(path.name, 60)}, {len(table):,} rows.",
        f"# Look at each guess, then type: mcstl check {brief(study_path or 'THIS_FILE', 200)}",
        "data:",
        f"  file: {_flow(Path(os.path.relpath(path, folder)).as_posix())}",
        "  columns:",
        *(
            f"    {ours}: {_flow(theirs)}  # {draft.guesses[ours].comment}"
            for ours, theirs in columns.items()
        ),
        "",
        *(f"# {line}" for line in about_labels),
        f"task: {labels.task}",
    ]
    if labels.classes is not None:
        lines.append(f"{'' if labels.sure else '# '}labels: {_flow(labels.classes)}")
    lines += ["", *(f"# {line}" for line in about_groups)]
    if groups is not None:
        lines.append(f"groups: {_flow(groups)}")
    lines += [
        "",
        "# item: no text is on both sides of the split, as for texts yet to come; annotation: the",
        "# same text may be on both sides, as in the paper; annotator: nobody is on both sides",
        f"split: {_flow({'by': by, 'test': 0.2, 'validation': 0.1})}",
    ]
    return "\n".join(lines) + "\n"


def _columns(table: pd.DataFrame) -> list[_Column]:
    columns = []
    for name in map(str, table.columns):
        if not name or name.startswith("Unnamed: "):  # a saved index
            continue
        cells = table[name].to_numpy(dtype=object)
        lists = any(isinstance(cell, list | tuple | np.ndarray) for cell in cells)
        text = mapped(table[name], lambda cell: cell_text(_joined(cell)))
        columns.append(_Column(name, pd.Series(text, dtype=object), lists))
    return columns


def _joined(cell: object) -> object:
    return "|".join(map(str, cell)) if isinstance(cell, list | tuple | np.ndarray) else cell


def _tokens(name: str) -> tuple[str, ...]:
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d])(?=\d)|[\W_]+", " ", name)
    tokens = []
    for word in parts.casefold().split():
        known = word.removesuffix("id") in _ANNOTATOR | _ITEM
        tokens += [word.removesuffix("id"), "id"] if known and word.endswith("id") else [word]
    return tuple(
        token[:-1] if len(token) > 3 and re.search("[^siu]s$", token) else token for token in tokens
    )


def _names(columns: Iterable[_Column]) -> tuple[str, ...]:
    return tuple(column.name for column in columns)


def _guess_texts(draft: _Draft) -> None:
    pair = _pair(draft.columns)
    if pair is not None:
        (ours_a, a), (ours_b, b) = pair
        draft.guesses[ours_a] = _Guess(a, "the names say that these two are a pair")
        draft.guesses[ours_b] = _Guess(b, "the other text of the pair")
        return
    named = [
        column
        for column in draft.columns
        if column.tokens
        and (column.tokens[-1] in _TEXT or "text" in column.words)
        and not column.words & _ID
        and (column.is_prose or (column.tokens == ("text",) and not column.is_number))
    ]
    named = [column for column in named if not column.words & _RATIONALE] or named
    reactions = [column for column in named if column.words & _REACTION]
    judged = named
    if all(column.words & (_REACTION | _SETTING) for column in named):
        judged = reactions or named
    prose = [column for column in draft.columns if column.is_prose]
    plain = [column for column in prose if not column.words & _RATIONALE] or prose
    candidates = sorted(judged or plain, key=lambda column: -column.length)
    if not candidates:
        raise draft.nothing_for("a text", "text")
    best = candidates[0]
    others = [
        column
        for column in plain
        if column is not best
        and column.length > best.length / 4
        and not column.words & (_ATTRIBUTE | _ANNOTATOR)
    ]
    why = "by its name" if named else "the longest texts"
    draft.guesses["text"] = _Guess(best, why, _names(others))


def _pair(columns: Sequence[_Column]) -> tuple[tuple[str, _Column], tuple[str, _Column]] | None:
    """Find two columns of texts whose names differ in one word that tells two sides apart."""
    found = []
    for a in columns:
        for b in columns:
            differ = [(x, y) for x, y in zip(a.tokens, b.tokens, strict=False) if x != y]
            if len(a.tokens) != len(b.tokens) or len(differ) != 1 or a.is_number or b.is_number:
                continue
            if a.lists or b.lists or min(a.length, b.length) < _SHORTEST_OF_A_PAIR:
                continue
            if differ[0] in _CHOSEN:
                found.append((True, a.length, ("chosen", a), ("rejected", b)))
            elif differ[0] in _SIDES:
                found.append((False, a.length, ("text_a", a), ("text_b", b)))
    return max(found, key=lambda pair: pair[:2])[2:] if found else None


def _guess_annotator(draft: _Draft) -> None:
    def may_be(column: _Column) -> bool:
        # Who is the same for all rows of a text wrote the text.
        wrote_it = column.varies_within(draft.shown) == 0
        return len(column.counts) > 1 and not column.is_prose and not wrote_it

    named = [
        column
        for column in draft.left
        if column.words & _ANNOTATOR and column.words <= _ANNOTATOR | _ID and may_be(column)
    ]
    if named:
        draft.guesses["annotator"] = _Guess(named[0], "by its name", _names(named[1:]))
        return
    # Somebody judges many texts, and each of them once.
    once = [
        column
        for column in draft.left
        if may_be(column)
        and _MOST_WORDS < len(column.counts) <= draft.n_rows / 2
        and not math.isnan(column.varies_within(draft.shown))
        and not column.words & (_ATTRIBUTE | _LABEL)
        and not pd.DataFrame({"shown": draft.shown, "who": column.cells}).duplicated().any()
    ]
    if len(once) == 1:
        why = "each value comes with many texts, with each text once"
        draft.guesses["annotator"] = _Guess(once[0], why)


def _guess_item(draft: _Draft) -> None:
    repeats = draft.shown.nunique() < draft.n_rows
    candidates = [
        column
        for column in draft.left
        if column.words
        and column.words <= _ITEM | _ID
        and not column.is_prose
        and column.cells.notna().all()
        and draft.shown.groupby(column.cells.to_numpy(dtype=object)).nunique().max() == 1
    ]
    for column in sorted(candidates, key=lambda column: -column.share_named(_ITEM)):
        if len(column.counts) == draft.n_rows and repeats:
            why = "another one in every row"
            draft.guesses.setdefault("annotation_id", _Guess(column, why))
        else:
            why = f"one text for each of {len(column.counts):,} values"
            draft.guesses.setdefault("item", _Guess(column, why))


def _guess_labels(draft: _Draft) -> _LabelsGuess:
    if "chosen" in draft.guesses:
        why = "Each row says that `chosen` is preferred to `rejected`, so it needs no label."
        return _LabelsGuess("preference", None, True, [why])
    words = _LABEL | _PREFERENCE if draft.pair else _LABEL
    ranked = []
    for column in draft.left:
        named = 0.0 if column.words & _NO_LABEL else column.share_named(words)
        of_text = column.varies_within(draft.shown) == 0
        of_person = column.varies_within(draft.annotators) <= _SELDOM
        judged = not of_text and not of_person
        usable = column.has_few or (named and column.is_number and len(column.counts) > 1)
        if usable and not column.lists and (named or (judged and not column.words & _NOT_JUDGED)):
            ranked.append(((judged, named, column.has_few, len(column.counts)), column))
    if not ranked:
        raise draft.nothing_for("labels (two or more ordered classes)", "label")
    ranked.sort(key=lambda one: one[0], reverse=True)
    (_, named, has_few, n), best = ranked[0]
    if not has_few:
        raise InputError(
            f"{brief(best.name)!r}, the likely label in {draft.source}, has {n} distinct numbers "
            f"and looks continuous; {TASK_FORMS}. Cut it into a few ordered classes first"
        )
    why = f"{'by its name, ' if named else ''}{n} distinct values"
    others = _names(column for _, column in ranked[1:])
    draft.guesses["label"] = _Guess(best, why, others)
    return _preference_classes(best) if draft.pair else _ordered_classes(best)


def _ordered_classes(label: _Column) -> _LabelsGuess:
    found = [str(cell) for cell in label.counts.index]
    answers = [cell for cell in found if cell.casefold() not in _NO_ANSWER]
    numbers = sorted(value for value in map(comparable, answers) if isinstance(value, float))
    classes: dict[str, list[object]] | None = None
    why = "in the order of the numbers"
    if len(numbers) == len(answers):
        kept = _without_codes(numbers)
        classes = {str(cell_text(number)): [_raw(number)] for number in kept}
        answers = [cell for cell in answers if comparable(cell) in kept]
    elif scale := _scale(answers):
        why = "in the usual order of these words"
        classes = {members[0]: [*members] for members in scale}
    sure = classes is not None
    if classes is None and len(answers) == 2:
        sure, why = True, "two words; the probability given is that of the second"
        classes = {answer: [answer] for answer in sorted(answers)}
    if classes is None:
        classes = {answer: [answer] for answer in answers}
        why = "put them in order, lowest first, and take away the # before labels"
    out = [cell for cell in found if cell not in answers]
    comments = [f"{len(classes)} classes, lowest first: {why}." if sure else f"CLASSES: {why}."]
    if out:
        comments.append(f"Left out, as they look like no answer: {listed(out)}.")
    if sure and len(classes) > 2:
        first, *rest = classes.items()
        merged = {"low": first[1], "high": [value for _, values in rest for value in values]}
        comments.append(f"Or merge classes, as in task: binary, labels: {_flow(merged)}")
    return _LabelsGuess("binary" if len(classes) == 2 else "ordinal", classes, sure, comments)


def _preference_classes(label: _Column) -> _LabelsGuess:
    found = [str(cell) for cell in label.counts.index]
    numbers = {value for value in map(comparable, found) if isinstance(value, float)}
    wins: dict[str, list[object]] = {"b": [], "a": []}
    if len(numbers) == len(found):
        wins["a"] = [1]
        wins["b"] = [_raw(min(numbers)) if numbers <= {-1, 0, 1} else 2]
    else:
        for cell in found:
            last = (_tokens(cell) or ("",))[-1]
            side = "a" if last in _A_WINS else "b" if last in _B_WINS else ""
            if side:
                wins[side].append(cell)
    sure = all(wins.values()) and numbers <= {-1, 0, 1, 2}
    comments = [
        "The first class means that text_b is preferred, the second that text_a is; other rows",
        f"(ties) are dropped. The raw values are: {listed(found)}. A guess: check it.",
        "If the label is about both texts together, put both into one column and map it as text.",
    ]
    if not sure:
        wins = {"b": ["?"], "a": ["?"]}
        comments[1] = (
            f"(ties) are dropped. Fill in the raw values ({listed(found)}) and take away the #."
        )
    return _LabelsGuess("preference", wins, sure, comments)


def _without_codes(numbers: list[float]) -> list[float]:
    """Leave out numbers that stand for no answer: -1 below a scale from 0, 99 far above one."""
    scale = [number for number in numbers if 0 <= number <= _MOST_CLASSES]
    if len(scale) < 2:
        return numbers
    codes = {-99.0, -9.0, 98.0, 99.0, 999.0} | (
        {-1.0} if scale[0] == 0 and scale[-1] > 2 else set()
    )
    kept = [number for number in numbers if number not in codes]
    return kept if len(kept) >= 2 else numbers


def _scale(answers: Sequence[str]) -> list[list[str]] | None:
    """Return the answers level by level, lowest first, if a known order has all of them."""
    plain = {answer: re.sub(r"[\s_-]+", " ", answer.casefold()).strip(" .!") for answer in answers}
    for order in _SCALES:
        level = {w: i for i, ws in enumerate(order.split(" < ")) for w in ws.split("/")}
        if set(plain.values()) <= level.keys():
            levels: dict[int, list[str]] = {}
            for answer in answers:
                levels.setdefault(level[plain[answer]], []).append(answer)
            return [levels[i] for i in sorted(levels)] if len(levels) > 1 else None
    if len(answers) == 2:
        for low, high in (answers, answers[::-1]):
            if plain[low] in (f"{no}{plain[high]}" for no in ("not ", "non ", "non", "un", "in")):
                return [[low], [high]]
    return None


def _raw(number: float) -> int | float:
    return int(number) if number.is_integer() else number


def _guess_rationale(draft: _Draft) -> None:
    prose = _comments_on_texts(draft)
    named = [column for column in prose if column.words & _RATIONALE]
    if named:
        others = _names(column for column in prose if column is not named[0])
        draft.guesses["rationale"] = _Guess(named[0], "by its name", others)


def _comments_on_texts(draft: _Draft) -> list[_Column]:
    """Columns of prose that differ between the annotations of a text, so may say why."""
    return [
        column
        for column in draft.left
        if column.is_prose
        and column.varies_within(draft.shown) != 0
        and column.cells.notna().mean() >= _OFTEN
    ]


def _guess_values(draft: _Draft) -> None:
    for column in sorted(draft.left, key=lambda column: -column.share_named(_VALUES)):
        n = len(_parts(column))
        several = column.cells.str.contains("|", regex=False).mean() > _SELDOM
        if (several or column.lists) and 2 <= n <= _MOST_GROUPS:
            draft.guesses["values"] = _Guess(column, f"lists of {n} distinct names")
            return
        single = "value" in column.words and not column.is_number and not column.is_prose
        if single and not _wrong_separator(column) and 2 <= n <= _MOST_GROUPS:
            draft.guesses["values"] = _Guess(column, f"by its name, {n} distinct names")
            return


def _parts(column: _Column) -> pd.Series:
    """How often each name occurs in a column of names separated by |."""
    names = column.cells.dropna().str.split("|").explode().str.strip()
    return names[names != ""].value_counts()


def _wrong_separator(column: _Column) -> str:
    """The sign other than | that separates names in many cells, or nothing."""
    shares = {by: column.cells.str.contains(by, regex=False).mean() for by in ";,"}
    return next((by for by, share in shares.items() if share > _OFTEN), "")


def _guess_groups(draft: _Draft) -> tuple[dict[str, object] | None, list[str]]:
    """Return the ``groups`` of the study file, and comments on them and on their alternatives."""
    options: list[tuple[str, dict[str, object]]] = []
    if "values" in draft.guesses:
        column = draft.guesses["values"].column
        size = _min_size(draft.n_rows, _parts(column))
        options.append(
            (
                f"A group for each name in {brief(column.name)}",
                {"by": "taxonomy", "source": "column", "min_size": size},
            )
        )
    if "rationale" in draft.guesses:
        column = draft.guesses["rationale"].column
        k = min(5, max(2, len(column.counts) // 20))
        options.append(
            (
                f"{k} clusters of what is written in {brief(column.name)}",
                {"by": "rationale", "k": k},
            )
        )
    attributes, numbers = _attributes(draft)
    if attributes:
        why = "A group for each answer to these questions about the annotators"
    elif not options:
        attributes = [
            column
            for column in draft.left
            if not column.words & (_LABEL | _PREFERENCE | _ID) and _makes_groups(draft, column)
        ]
        why = "A GUESS: a group for each value of what is neither text nor label"
    if attributes:
        size = min(_min_size(draft.n_rows, column.counts) for column in attributes)
        config = {"by": "attributes", "attributes": [*_names(attributes)], "min_size": size}
        options.append((why, config))
    if options:
        (why, best), *rest = options
        small = "; those with less than min_size training rows are left out"
        comments = [f"{why}{small if 'min_size' in best else ''}."]
        comments += [f"Or: {other}: groups: {_flow(config)}" for other, config in rest]
    else:
        best = None
        comments = [
            "NO GROUPS: no column says whose view a label is. Add rationales, values (as",
            "Care|Honesty) or attributes of the annotators (as gender) to the table, then one of:",
            "groups: {by: rationale, k: 5}",
            "groups: {by: taxonomy, source: column}",
            "groups: {by: attributes, attributes: [gender]}",
        ]
        if reasons := _comments_on_texts(draft):
            names = listed(_names(reasons), 5)
            comments.append(
                f"If one of these says why a label was given, it is a rationale: {names}"
            )
    if numbers:
        comments.append(f"As attributes, cut these numbers into bands first: {listed(numbers)}.")
    comments += [
        f"{brief(column.name)} seems to hold lists separated by {by!r}: write | instead to use it "
        "as values."
        for column in draft.left
        if column.words & _VALUES and not column.is_prose and (by := _wrong_separator(column))
    ]
    return best, comments


def _attributes(draft: _Draft) -> tuple[list[_Column], tuple[str, ...]]:
    """Return the columns that make groups of annotators, and names of some that need bands."""
    fixed = []
    for column in draft.left:
        in_person = column.varies_within(draft.annotators)
        in_text = column.varies_within(draft.shown)
        if column.words & _ATTRIBUTE:
            of_person = math.isnan(in_person) or in_person <= _SELDOM
        else:
            of_person = in_person <= _SELDOM and in_text != 0
        if of_person and len(column.counts) > 1 and not column.lists:
            fixed.append(column)
    named = [column for column in fixed if column.words & _ATTRIBUTE]
    usable, numbers = [], []
    for column in named or fixed:
        if column.is_number and len(column.counts) > _MOST_WORDS:
            numbers.append(column.name)
        elif _makes_groups(draft, column):
            usable.append(column)
    return usable, tuple(numbers)


def _makes_groups(draft: _Draft, column: _Column) -> bool:
    """Whether two or more values are frequent, and together those of most rows."""
    if not 2 <= len(column.counts) <= _MOST_GROUPS or column.lists:
        return False
    if column.name in (*KNOWN_COLUMNS, "row", "flipped"):  # read as something else
        return False
    size = _min_size(draft.n_rows, column.counts)
    kept = column.counts[column.counts * _TRAINING_SHARE >= size]
    return len(kept) > 1 and bool(kept.sum() >= draft.n_rows / 2)


def _min_size(n_rows: int, counts: pd.Series) -> int:
    """Return a round size, small for small tables, that leaves two or more groups if any does."""
    second = _TRAINING_SHARE * sorted(counts, reverse=True)[:2][-1]
    most = min(_TRAINING_SHARE * n_rows / 20, second)
    return next((size for size in (100, 50, 20, 10, 5) if size <= most), 2)


def _try(
    table: pd.DataFrame, columns: Mapping[str, str], labels: _LabelsGuess, source: str
) -> tuple[SplitBy, list[str]]:
    """Return the best split that can be made, and what reading the table so would say."""
    if not labels.sure:
        return "item", []
    try:
        data = Annotations.from_frame(
            table, columns=columns, labels=labels.classes, task=labels.task, source=source
        )
    except InputError as error:
        return "item", [f"MEND FIRST: {error}"]
    found = [f"{n:,} rows are dropped: {why}." for why, n in data.dropped.items()]
    for by in ("item", "annotation"):
        try:
            split(data, by)
        except InputError as error:
            why = str(error)
        else:
            return by, found
    return "annotation", [*found, f"MEND FIRST: {why}"]


def _flow(value: object) -> str:
    """Return `value` as YAML on one line."""
    yaml = files.yaml()
    yaml.default_flow_style = True
    yaml.width = 1_000_000
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue().removesuffix("...\n").strip("\n")
