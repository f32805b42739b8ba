"""The checked table of annotations: mapping of columns, items, and majorities.

Everything downstream takes an `Annotations`. What it promises: every row has an item, a text (or
two) and a class index; a text is never empty; one item is one text (or one unordered pair).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from mcstl._support.arrays import BoolArray, Float32Array, FloatArray, IntArray
from mcstl._support.errors import (
    InputError,
    brief,
    did_you_mean,
    listed,
    need_extra,
    need_names,
)
from mcstl._support.notebook import Shown
from mcstl._support.words import counted
from mcstl.data.cells import (
    as_first_written,
    as_values,
    cell_text,
    comparable,
    mapped,
    need_whole_letters,
    objects,
    shown,
    without_markers,
)
from mcstl.data.checks import check_ids, set_items, weights_of, with_texts
from mcstl.data.columns import KNOWN_COLUMNS, Columns, header_hint, renamed
from mcstl.data.entries import is_object
from mcstl.data.labels import TASK_FORMS, Labels, Task, classes_of, guess_task
from mcstl.data.layouts import POSITION, Layout, LayoutForm, to_long
from mcstl.data.parts import readable, split_rationale, with_rationale
from mcstl.data.questions import answers_of
from mcstl.data.row_numbers import Source
from mcstl.data.tables import named_by, read_table

TEXT_COLUMNS: dict[Task, tuple[str, ...]] = {
    "binary": ("text",),
    "ordinal": ("text",),
    "preference": ("text_a", "text_b"),
    "multilabel": ("text",),
}
#: In one question's annotations: which set of answers its row gave, for splits.
ANSWERED_TOGETHER = "answered together"

#: What weights are for, said wherever measures of weighted annotations are shown.
WEIGHTS_NOTE = (
    "Weights count in training and in the population's mixture. Measures, intervals and tests take "
    "every annotation once: each is one observation, whatever it was worth in training."
)


@dataclass(frozen=True, repr=False)
class Annotations(Shown):
    """The checked table of annotations; one row is one label given to one item by one person.

    Build it with `from_frame`, `from_dataset` or `read`; the constructor checks nothing.

    Attributes:
        frame: The table; its index is 0 ... n-1. Columns that every table has: ``row`` (position
            in the table with a row per annotation, before anything is dropped), ``item`` (text),
            ``text`` or ``text_a`` and ``text_b``, ``label`` (class index; in preference 1 means A
            is preferred), ``flipped`` (the row shows its pair the other way round than the item's
            first row; always False for single texts); in multilabel ``label`` is a tuple of the
            questions answered with yes. Columns that it may have: ``weight`` (a
            number above 0: a row of weight 2 is trained on as two would be; metrics count it
            once), ``annotator`` (text, missing as None), ``rationale`` (text, missing as ""),
            ``explanation`` (text, missing as "": the rationale's context, which only a language
            model that gives values reads), ``inferred`` (whether the rationale is a language
            model's guess), ``values`` (a list of names), ``split`` (the part that the source puts
            the row into, as it is written), and the `attributes` (text, missing as None).
        task: The task form.
        classes: Names of the L classes, lowest first; in multilabel those of the questions.
        attributes: Columns that describe the annotators.
        dropped: Rows left out, by reason.
        merged_items: How many names of items are gone since their pair of texts has another name.
        source: What the table was read from, for messages.
    """

    frame: pd.DataFrame
    task: Task
    classes: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    merged_items: int = 0
    source: str = "a table"

    def __len__(self) -> int:
        return len(self.frame)

    def shown_facts(self) -> Mapping[str, str]:
        """List where the annotations come from, how many there are, and of what.

        Returns:
            Facts by their names.
        """
        table = self.frame
        facts = {
            "source": self.source,
            "annotations": f"{len(self):,} of {counted(table['item'].nunique(), 'item')}",
            "task": str(self.task),
            "classes": ", ".join(
                f"{name} {share:.0%}"
                for name, share in zip(self.classes, self._shares(), strict=True)
            ),
        }
        if self.has("annotator"):
            facts["people"] = f"{table['annotator'].nunique():,}"
        if self.attributes:
            facts["attributes"] = listed(self.attributes)
        if dropped := sum(self.dropped.values()):
            facts["dropped"] = counted(dropped, "row")
        return facts

    def _shares(self) -> FloatArray:
        """The share of each class."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return counts / max(len(self), 1)

    @classmethod
    def of(cls, data: Any) -> Self:
        """Take annotations as they are, or make them of a table whose columns have our names.

        Args:
            data: Annotations, a data frame, or the path of a file.

        Returns:
            The annotations.

        Raises:
            InputError: If it is none of these, or cannot be used.
        """
        if isinstance(data, cls):
            return data
        if isinstance(data, pd.DataFrame):
            return cls.from_frame(data)
        if isinstance(data, str | Path):
            return cls.read(data)
        raise InputError(
            f"data: expected annotations, a data frame or the path of a file; got "
            f"{type(data).__name__}. A Dataset is read by mcstl.Annotations.from_dataset"
        )

    def has(self, column: str) -> bool:
        """Say whether the table has a column.

        Args:
            column: An optional column: annotator, rationale, values, weight, split or an attribute.

        Returns:
            True if it is there.
        """
        return column in self.frame.columns

    @property
    def text_columns(self) -> tuple[str, ...]:
        """``("text",)``, or ``("text_a", "text_b")`` in preference."""
        return TEXT_COLUMNS[self.task]

    @property
    def n_thresholds(self) -> int:
        """The number of levels T: 1 in binary and preference, L - 1 for L ordered classes."""
        return len(self.classes) - 1

    @property
    def labels(self) -> IntArray:
        """(n,) class indices; a multilabel table has one for each `question`."""
        if self.task == "multilabel":
            raise InputError(
                f"{self.source} has a label for each of {listed(self.classes, 5)}; take one of "
                f"them, as in question({self.classes[0]!r})"
            )
        return self.frame["label"].to_numpy(dtype=np.int64)

    @property
    def strata(self) -> IntArray:
        """(n,) codes of the answers, of all questions together where there are several."""
        if self.task == "multilabel":
            return np.unique(self.frame["label"].map(str), return_inverse=True)[1].astype(np.int64)
        if ANSWERED_TOGETHER in self.frame.columns and ANSWERED_TOGETHER not in self.attributes:
            return self.frame[ANSWERED_TOGETHER].to_numpy(dtype=np.int64)
        return self.labels

    def question(self, name: str) -> Self:
        """Take one question of a multilabel table.

        Args:
            name: The question, one of `classes`.

        Returns:
            The same rows as binary annotations, which splits keep as those of all questions.

        Raises:
            InputError: There is no such question.
        """
        if self.task != "multilabel" or name not in self.classes:
            several = self.task == "multilabel"
            asked = listed(self.classes) if several else f"none, as it is {self.task}"
            raise InputError(
                f"{brief(name)!r} is no question of {self.source}; its questions: {asked}."
                f"{did_you_mean(name, self.classes)}"
            )
        place = self.classes.index(name)
        labels = [int(place in yes) for yes in self.frame["label"]]
        frame = self.frame.assign(label=labels)
        frame[ANSWERED_TOGETHER] = self.strata
        return replace(self, frame=frame, task="binary", classes=(f"not {name}", name))

    @property
    def about_weights(self) -> str:
        """What a reader of measures must know where annotations have weights; "" elsewhere."""
        return "" if (self.weights == 1).all() else WEIGHTS_NOTE

    @property
    def weights(self) -> Float32Array:
        """(n,) weights in training, 1 where the table has no column ``weight``."""
        if not self.has("weight"):
            return np.ones(len(self), dtype=np.float32)
        return self.frame["weight"].to_numpy(dtype=np.float32)

    @property
    def repeats(self) -> int:
        """How many annotations repeat an earlier one: person, text, label and reason are the same.

        Where nobody is known the same label of a text may be another person's, so nothing repeats.
        """
        if not self.has("annotator"):
            return 0
        keys = ["item", *self.text_columns, "label", "annotator"]
        keys += ["rationale"] * self.has("rationale")
        return int(self.frame[keys].duplicated()[self.frame["annotator"].notna()].sum())

    def distinct_texts(self) -> tuple[list[str], IntArray]:
        """Find the distinct texts, each of which has to be encoded only once.

        Returns:
            The distinct texts, and each row's positions among them: (n, 1), or (n, 2) for pairs.
        """
        stacked = self.frame[list(self.text_columns)].to_numpy(dtype=object)
        codes, texts = pd.factorize(stacked.ravel())
        return list(texts), codes.reshape(stacked.shape).astype(np.int64)

    def take(self, rows: npt.ArrayLike) -> Self:
        """Select annotations.

        Args:
            rows: Row positions, (m,), or a boolean mask, (n,).

        Returns:
            The annotations at these positions, in that order.
        """
        return replace(self, frame=self.frame.iloc[np.asarray(rows)].reset_index(drop=True))

    def with_rationales_read(self) -> Self:
        """Put each annotation's rationale beside its text, so that models read both.

        What is predicted is then the label of somebody who gives this reason: it has to be there
        when predicting, and it may give the label away.

        Returns:
            The same annotations of the same items, whose texts end with the rationale
            (`mcstl.data.parts.with_rationale`).

        Raises:
            InputError: They have no rationales, or are preferences.
        """
        if self.task == "preference" or not self.has("rationale"):
            why = "compares two texts" if self.task == "preference" else "has no rationale"
            raise InputError(
                f"read_rationales: {self.source} {why}; map one by columns: {{rationale: ...}}"
            )
        texts = objects(map(with_rationale, self.frame["text"], self.frame["rationale"]))
        return replace(self, frame=self.frame.assign(text=texts))

    def items(self) -> pd.DataFrame:
        """List the items.

        Returns:
            A row per item: ``item`` and its text, or its two texts in unflipped order; texts in
            parts as people read them.
        """
        # The first row of every item is unflipped in the full table; a part may lack it.
        columns = list(self.text_columns)
        firsts = self.frame.drop_duplicates("item")[["item", *columns, "flipped"]].copy()
        if self.task == "preference":
            turned = firsts["flipped"].to_numpy()
            firsts.loc[turned, columns] = firsts.loc[turned, columns[::-1]].to_numpy()
        for name in columns:
            alone = [readable(split_rationale(text)[0]) for text in firsts[name]]
            firsts[name] = objects(alone).set_axis(firsts.index)
        return firsts[["item", *columns]].reset_index(drop=True)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        columns: Columns | None = None,
        layout: LayoutForm | None = None,
        labels: Labels | None = None,
        task: Task | None = None,
        source: str = "a table",
    ) -> Self:
        """Check a table and make it Annotations.

        The column ``item`` may be left out where a text is its own item. A preference table has
        ``text_a``, ``text_b`` and ``label``, or ``chosen`` and ``rejected``, which get an
        orientation that does not tell the label. Columns without a name (a saved index) are left
        out, and columns ``row`` and ``flipped`` unless they are mapped. An index that has a name
        is a column like others.

        Args:
            frame: A row per annotation, or what `layout` says; it is not modified.
            columns: The table's names of our columns, as in ``{"text": "comment"}``; our names
                that are not mapped are taken as they stand. Several columns for a text are its
                parts (`mcstl.data.parts`). ``text.reply`` is the entry reply of the objects,
                or of JSON, in the column text.
            layout: How the table is laid out (`mcstl.data.layouts`), by default a row per
                annotation. The columns that it makes, label and annotator, are not mapped.
            labels: Ordered classes, lowest first, and the raw values that each merges; rows with
                other labels are dropped and counted. In multilabel the questions, and the raw
                values that answer each with yes. By default the classes are the sorted
                numbers, or false/true and no/yes; in preference 0/1 or b/a.
            task: The task form; by default what the columns and labels suggest.
            source: What the table was read from, for messages.

        Returns:
            The checked annotations.

        Raises:
            InputError: Something cannot be used; the message says what came and what to do.

        >>> table = pd.DataFrame({"comment": ["Hi", "Hi", "Go away"], "label": [1, 2, 5],
        ...                       "gender": ["Woman", "Man", "Man"]})
        >>> data = Annotations.from_frame(table, columns={"text": "comment"},
        ...                               labels={"fine": [1, 2], "rude": [3, 4, 5]})
        >>> data.task, data.classes, data.labels, data.attributes
        ('binary', ('fine', 'rude'), array([0, 0, 1]), ('gender',))
        """
        if frame.empty:
            raise InputError(f"{source} has no rows")
        source = Source(source)
        several, form = task == "multilabel", Layout.parse(layout)
        if several and labels is None and form.shape == "one-hot":
            labels = {name: [name] for name in form.labels}
        table, dropped = to_long(
            renamed(frame, columns or {}, source).assign(**{POSITION: np.arange(len(frame))}),
            form,
            source,
            several=several,
            answers=_raw_values(labels),
        )
        need_whole_letters(table, source, table[POSITION].to_numpy(dtype=np.int64))
        table.insert(0, "row", np.arange(len(table), dtype=np.int64))
        if {"chosen", "rejected"} <= set(table.columns) and "text_a" not in table.columns:
            table = with_texts(table, ("chosen", "rejected"), source, dropped)
            _orient(table)
            # Which text was chosen is in the columns' names, so `labels` can but name the classes.
            labels = labels and {name: [i] for i, name in enumerate(labels)}
        task = task or guess_task(table, labels)
        if task not in TEXT_COLUMNS:
            raise InputError(f"task {brief(task)!r} is not known. {TASK_FORMS}")
        texts = TEXT_COLUMNS[task]
        names = set(table.columns)
        half = len({"chosen", "rejected"} & names) == 1 and not {*texts} & names
        columns_read = [str(name) for name in frame.columns]
        for needed in ("chosen", "rejected") if half else (*texts, "label"):
            if needed not in table.columns:
                map_it = f"Map it with columns: {{{needed}: ...}} for task {task}"
                hint = f"{map_it}. {header_hint(columns_read)}".strip()
                # A column of this name that is mapped to another of ours does not count.
                need_names(
                    [needed], [name for name in columns_read if name != needed], source, hint=hint
                )
        check_ids(table, source)
        table = with_texts(table, texts, source, dropped)
        if several:
            classes, yes = answers_of(table["label"], labels, source)
            kept = np.array([each is not None for each in yes], dtype=bool)
            labelled = objects(yes)
        else:
            classes, codes = classes_of(table["label"], labels, task, source)
            kept, labelled = codes >= 0, pd.Series(codes)
        if not kept.all():
            dropped["label missing or outside `labels`"] = int((~kept).sum())
        if not kept.any():
            raw = sorted(set(mapped(table["label"], shown)))
            raise InputError(
                f"no label in {source} is among the raw values in `labels`; found: "
                f"{listed(raw)}; `labels` has: {listed(_raw_values(labels))}"
            )
        table["label"] = labelled
        table = table[kept].reset_index(drop=True)
        merged = set_items(table, texts, source)
        attributes = tuple(
            str(name)
            for name in table.columns
            if name not in (*KNOWN_COLUMNS, POSITION, "row", "flipped")
            and not is_object(table[name])
        )
        readers: dict[str, Callable[[object], object]] = {
            "annotator": cell_text,
            "rationale": lambda cell: cell_text(cell) or "",
            "explanation": lambda cell: cell_text(cell) or "",
            "inferred": lambda cell: comparable(cell) == comparable(True),
            "values": as_values,
            "split": cell_text,
        }
        for name in readers.keys() & set(table.columns):
            table[name] = objects(mapped(table[name], readers[name]))
        for name in attributes:
            answers = without_markers(mapped(table[name], cell_text))
            table[name] = objects(as_first_written(objects(answers)))
        if "weight" in table.columns:
            table["weight"] = weights_of(table, source)
        order = ["row", "item", *texts, "label", "flipped", "weight"]
        order += ["annotator", "rationale", "explanation", "inferred", "values", "split"]
        order = [name for name in order if name in table.columns] + list(attributes)
        return cls(
            frame=table[order],
            task=task,
            classes=classes,
            attributes=attributes,
            dropped=dropped,
            merged_items=merged,
            source=str(source),
        )

    @classmethod
    def from_dataset(cls, dataset: Any, **options: Any) -> Self:
        """Check a Hugging Face `datasets.Dataset` and make it Annotations.

        Args:
            dataset: A row per annotation. A column of ClassLabel, or of lists of ClassLabel, is
                read by its names.
            options: As in `from_frame`.

        Returns:
            The checked annotations.

        Raises:
            InputError: As in `from_frame`; also for a `DatasetDict`, of which one split has to be
                chosen, and for a dataset that is streamed.
        """
        need_rows(dataset)
        if not hasattr(dataset, "__len__"):
            raise InputError(
                f"a table with an end is needed, this is a {type(dataset).__name__}; "
                "load it without streaming=True"
            )
        frame = dataset.to_pandas()
        for name, feature in dataset.features.items():
            names = getattr(getattr(feature, "feature", feature), "names", None)
            if names:
                frame[name] = objects([_class_names(cell, names) for cell in dataset[name]])
        options.setdefault("source", "the Dataset")
        return cls.from_frame(frame, **options)

    def to_dataset(self) -> Any:
        """Make a Hugging Face `datasets.Dataset` that `from_dataset` reads back as it is.

        Returns:
            The annotations with ``label`` as a ClassLabel and without ``row`` and ``flipped``.

        Raises:
            InputError: The package datasets is not installed.
        """
        with need_extra("datasets"):
            from datasets import ClassLabel, Dataset
        if self.task == "multilabel":
            raise InputError("a Dataset has one label each; take a question(NAME) of these")
        frame = self.frame.drop(columns=["row", "flipped", ANSWERED_TOGETHER], errors="ignore")
        dataset = Dataset.from_list(frame.to_dict("records"))
        return dataset.cast_column("label", ClassLabel(names=list(self.classes)))

    @classmethod
    def read(cls, path: str | Path, **options: Any) -> Self:
        """Read a table from a file and check it.

        Args:
            path: CSV, TSV, JSON Lines, JSON, Parquet or Excel (also .gz), by the file's name.
            options: As in `from_frame`.

        Returns:
            The checked annotations.

        Raises:
            InputError: As in `from_frame`; also for a file that is missing, truncated, in another
                encoding than UTF-8 or in another format.
        """
        options.setdefault("source", named_by(Path(path)))
        return cls.from_frame(read_table(path), **options)


def repeats_message(repeats: int) -> str:
    """Say that annotations are in a table twice.

    Args:
        repeats: How many repeat another one (`Annotations.repeats`).

    Returns:
        A sentence without a full stop; "" for none.

    >>> repeats_message(1)
    '1 row repeats another row exactly (who, text, label and reason); both count'
    """
    if not repeats:
        return ""
    repeat = "row repeats" if repeats == 1 else "rows repeat"
    return (
        f"{repeats:,} {repeat} another row exactly (who, text, label and reason); "
        f"{'both' if repeats == 1 else 'all'} count"
    )


def need_rows(dataset: Any) -> None:
    """Check that a data set is one table, not several splits.

    Args:
        dataset: A `datasets.Dataset`, rows in memory, or a `datasets.DatasetDict`.

    Raises:
        InputError: It is a DatasetDict.
    """
    if isinstance(dataset, dict):
        raise InputError(
            f"this is a {type(dataset).__name__} with the splits {listed(dataset)}; "
            f"pass one, as dataset[{next(iter(dataset), 'train')!r}]"
        )


def minority_weights(annotations: Annotations) -> FloatArray:
    """Weight the annotations that differ from their item's majority label (A.6).

    The paper is silent on ties, yet prints a 1-EMD for pairs judged once each way, which all are
    ties. We take the average over which of t tied labels is called the majority: a row of one of
    them then differs from it t - 1 times in t, and any other row always.

    Args:
        annotations: All that count for the majority, per unordered pair in preference.

    Returns:
        (n,) 0 for the majority's rows, 1 for the minority's, and 1 - 1/t where t labels tie.

    Example:
        >>> table = pd.DataFrame({"text": ["a"] * 3 + ["b"] * 2, "label": [0, 0, 1, 0, 1]})
        >>> minority_weights(Annotations.from_frame(table))
        array([0. , 0. , 1. , 0.5, 0.5])
    """
    most_frequent = _most_frequent(annotations)
    items, labels = items_and_labels(annotations)
    tied = most_frequent.sum(axis=1)[items]
    return np.where(most_frequent[items, labels], 1 - 1 / tied, 1.0)


def majority_rows(annotations: Annotations) -> BoolArray:
    """Mark the annotations that carry the most frequent label of their item: Maj(Y), §3.3.

    Where labels tie, on which the paper is silent, one of them is the majority, chosen by a hash of
    the item, so that neither the order of rows nor a seed changes it.

    Args:
        annotations: All that count for the majority, per unordered pair in preference.

    Returns:
        (n,) True where a row is in the majority.
    """
    most_frequent = _most_frequent(annotations)
    majority = most_frequent.argmax(axis=1)
    known = annotations.items()
    names, turned = known["item"].to_numpy(), np.zeros(len(known), dtype=bool)
    if annotations.task == "preference":  # a pair's first row decides which text is A
        turned = (known["text_a"] > known["text_b"]).to_numpy()
    for code in np.flatnonzero(most_frequent.sum(axis=1) > 1):
        labels = np.flatnonzero(most_frequent[code])
        labels = labels[::-1] if turned[code] else labels
        digest = hashlib.blake2b(str(names[code]).encode(), digest_size=8).digest()
        majority[code] = labels[int.from_bytes(digest, "big") % len(labels)]
    items, labels = items_and_labels(annotations)
    return np.asarray(majority[items] == labels)


def items_and_labels(annotations: Annotations) -> tuple[IntArray, IntArray]:
    """Number the items, and turn the labels of flipped pairs round.

    Args:
        annotations: Of any task form.

    Returns:
        (n,) item codes in order of first occurrence, and (n,) class indices as if every pair were
        shown the same way round.
    """
    items = pd.factorize(annotations.frame["item"])[0].astype(np.int64)
    flipped = annotations.frame["flipped"].to_numpy(dtype=bool)
    return items, np.where(
        flipped, len(annotations.classes) - 1 - annotations.labels, annotations.labels
    )


def _most_frequent(annotations: Annotations) -> BoolArray:
    """(items, L): whether a label is as frequent as any among an item's annotations."""
    items, labels = items_and_labels(annotations)
    votes = np.zeros((int(items.max(initial=-1)) + 1, len(annotations.classes)), dtype=np.int64)
    np.add.at(votes, (items, labels), 1)
    return np.asarray(votes == votes.max(axis=1, keepdims=True))


def _orient(table: pd.DataFrame) -> None:
    """Turn chosen/rejected into text_a/text_b/label by a hash of the unordered pair, in place.

    With the chosen text always first the label would be constant; a hash of the unordered pair
    shows every repetition of a contested pair the same way round, whatever the run's seed.
    """
    pairs = table[["chosen", "rejected"]].to_numpy(dtype=object)
    chosen_is_a = np.array([_smaller_first(a, b) == (a <= b) for a, b in pairs], dtype=bool)
    table["text_a"] = np.where(chosen_is_a, pairs[:, 0], pairs[:, 1])
    table["text_b"] = np.where(chosen_is_a, pairs[:, 1], pairs[:, 0])
    table["label"] = chosen_is_a.astype(np.int64)


def _smaller_first(a: str, b: str) -> bool:
    """Decide by hash whether the alphabetically smaller text of an unordered pair is text_a."""
    return hashlib.blake2b("\0".join(sorted((a, b))).encode(), digest_size=1).digest()[0] % 2 == 0


def _raw_values(labels: Labels | None) -> list[object]:
    """List the raw values of all classes."""
    lists = [each for each in (labels or {}).values() if isinstance(each, list | tuple)]
    return [value for values in lists for value in values]


def _class_names(cell: Any, names: Sequence[str]) -> object:
    """Replace the index of a ClassLabel, or each of a list, by its name; -1 and None by None."""
    if isinstance(cell, list):
        return [_class_names(part, names) for part in cell]
    return None if cell is None or cell < 0 else names[cell]
