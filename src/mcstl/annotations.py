"""The datum: the checked, columnar table of annotations; reading, column mapping, splitting.

Everything downstream takes an `Annotations`. What it promises: every row has an item, a text (or
two) and a class index; a text is never empty; one item is one text (or one unordered pair).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mcstl.errors import InputError, did_you_mean, listed

Task = Literal["binary", "ordinal", "preference"]
SplitBy = Literal["annotation", "item", "annotator"]
Labels = Mapping[str, Sequence[object]]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TEXT_COLUMNS: dict[Task, tuple[str, ...]] = {
    "binary": ("text",),
    "ordinal": ("text",),
    "preference": ("text_a", "text_b"),
}
#: Columns with a meaning of their own; every other column is an attribute of the annotator.
KNOWN_COLUMNS = (
    "annotation_id",
    "item",
    "text",
    "text_a",
    "text_b",
    "chosen",
    "rejected",
    "label",
    "annotator",
    "rationale",
    "values",
)
TASK_FORMS = (
    "The task forms are binary (two classes), ordinal (ordered classes) and preference "
    "(text_a against text_b)"
)
_MOST_INFERRED_CLASSES = 20
_LABELS_EXAMPLE = "labels: {low: [1, 2], high: [3]}"


class Split(NamedTuple):
    """Row positions of the three parts of an `Annotations`, each in ascending order."""

    train: IntArray
    validation: IntArray
    test: IntArray


@dataclass(frozen=True)
class Annotations:
    """The checked table of annotations; one row is one label given to one item by one person.

    Build it with `from_frame`, `from_dataset` or `read`; the constructor checks nothing.

    `frame` has the columns ``row`` (position in the table as read, before anything is dropped),
    ``item`` (text), ``text`` or ``text_a`` and ``text_b``, ``label`` (class index; in preference
    1 means that A is preferred), ``flipped`` (the row shows its pair the other way round than the
    item's first row; always False for single texts), where known ``annotator`` (text, missing as
    None), ``rationale`` (text, missing as ""), ``values`` (a list of names), and the `attributes`
    (text, missing as None). Its index is 0 ... n-1.
    """

    frame: pd.DataFrame
    task: Task
    classes: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    source: str = "a table"

    def __len__(self) -> int:
        return len(self.frame)

    def has(self, column: str) -> bool:
        """Say whether the optional `column` (annotator, rationale, values, an attribute) exists."""
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
        """(n,) class indices."""
        return self.frame["label"].to_numpy(dtype=np.int64)

    def distinct_texts(self) -> tuple[list[str], IntArray]:
        """Return the distinct texts and, (n, 1 or 2), each row's positions among them."""
        stacked = self.frame[list(self.text_columns)].to_numpy(dtype=object)
        codes, texts = pd.factorize(stacked.ravel())
        return list(texts), codes.reshape(stacked.shape).astype(np.int64)

    def take(self, rows: npt.ArrayLike) -> Self:
        """Return the annotations at the given row positions (or boolean mask), in that order."""
        return replace(self, frame=self.frame.iloc[np.asarray(rows)].reset_index(drop=True))

    def items(self) -> pd.DataFrame:
        """Return one row per item: ``item`` and its text, or its two texts in unflipped order."""
        # The first row of every item is unflipped in the full table; a part may lack it.
        columns = list(self.text_columns)
        firsts = self.frame.drop_duplicates("item")[["item", *columns, "flipped"]].copy()
        if self.task == "preference":
            turned = firsts["flipped"].to_numpy()
            firsts.loc[turned, columns] = firsts.loc[turned, columns[::-1]].to_numpy()
        return firsts[["item", *columns]].reset_index(drop=True)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        columns: Mapping[str, str] | None = None,
        labels: Labels | None = None,
        task: Task | None = None,
        source: str = "a table",
    ) -> Self:
        """Check a table and make it Annotations (DESIGN: Annotations contract).

        `columns` maps our names to the table's, as in ``{"text": "comment"}``; names of ours that
        are not mapped are taken as they stand. `labels` maps ordered classes to the raw values
        that they merge; rows with other labels are dropped and counted. Without `labels` the
        classes are the sorted numbers, or false/true and no/yes. `item` may be left out where a
        text is its own item. A preference table has ``text_a``, ``text_b`` and ``label``, or
        ``chosen`` and ``rejected``, which get an orientation that does not tell the label.

        Raises InputError for anything that cannot be used, saying what came and what to do.

        >>> table = pd.DataFrame({"comment": ["Hi", "Hi", "Go away"], "label": [1, 2, 5],
        ...                       "gender": ["Woman", "Man", "Man"]})
        >>> data = Annotations.from_frame(table, columns={"text": "comment"},
        ...                               labels={"fine": [1, 2], "rude": [3, 4, 5]})
        >>> data.task, data.classes, data.labels, data.attributes
        ('binary', ('fine', 'rude'), array([0, 0, 1]), ('gender',))
        """
        table = _renamed(frame, columns or {}, source)
        table.insert(0, "row", np.arange(len(table), dtype=np.int64))
        if table.empty:
            raise InputError(f"{source} has no rows")
        if {"chosen", "rejected"} <= set(table.columns) and "text_a" not in table.columns:
            _check_texts(table, ("chosen", "rejected"), source)
            _orient(table)
        task = task or _guess_task(table, labels)
        texts = TEXT_COLUMNS[task]
        for needed in (*texts, "label"):
            if needed not in table.columns:
                raise InputError(_missing_column(needed, frame.columns, source, task))
        _check_ids(table, source)
        classes, codes = _classes(table["label"], labels, task, source)
        kept = codes >= 0
        dropped = {}
        if not kept.all():
            dropped["label missing or outside `labels`"] = int((~kept).sum())
        if not kept.any():
            found = table["label"].map(_shown).unique()
            raise InputError(
                f"no label in {source} is among `labels` {dict(labels or {})}; "
                f"found: {listed(found)}"
            )
        table["label"] = codes
        table = table[kept].reset_index(drop=True)
        _check_texts(table, texts, source)
        _set_items(table, texts, source)
        attributes = tuple(
            str(name) for name in table.columns if name not in (*KNOWN_COLUMNS, "row", "flipped")
        )
        for name in attributes:
            table[name] = _text_or_none(table[name])
        if "annotator" in table.columns:
            table["annotator"] = _text_or_none(table["annotator"])
        if "rationale" in table.columns:
            table["rationale"] = _text_or_none(table["rationale"]).fillna("")
        if "values" in table.columns:
            table["values"] = table["values"].map(_as_values)
        known = ["row", "item", *texts, "label", "flipped", "annotator", "rationale", "values"]
        order = [name for name in known if name in table.columns] + list(attributes)
        return cls(
            frame=table[order],
            task=task,
            classes=classes,
            attributes=attributes,
            dropped=dropped,
            source=source,
        )

    @classmethod
    def from_dataset(cls, dataset: Any, **options: Any) -> Self:
        """Check a Hugging Face `datasets.Dataset` and make it Annotations; options as `from_frame`.

        A ClassLabel column is read by its names. Raises InputError as `from_frame` does, and for a
        `DatasetDict`, of which one split has to be chosen.
        """
        if isinstance(dataset, dict):
            raise InputError(
                f"this is a DatasetDict with the splits {listed(dataset)}; "
                "pass one, as dataset['train']"
            )
        frame = dataset.to_pandas()
        for name, feature in dataset.features.items():
            names = getattr(feature, "names", None)
            if names:
                frame[name] = [
                    names[i] if i is not None and i >= 0 else None for i in dataset[name]
                ]
        options.setdefault("source", "the Dataset")
        return cls.from_frame(frame, **options)

    @classmethod
    def read(cls, path: str | Path, **options: Any) -> Self:
        """Read CSV, TSV, JSON Lines or Parquet (also .gz) and check it; options as `from_frame`.

        Raises InputError for a file that is missing, truncated, in another encoding than UTF-8 or
        of another kind.
        """
        options.setdefault("source", Path(path).name)
        return cls.from_frame(read_table(path), **options)


def read_table(path: str | Path) -> pd.DataFrame:
    """Read CSV, TSV, JSON Lines or Parquet by the file's name; in CSV and TSV all cells are text.

    Raises InputError if the file cannot be read, saying why.
    """
    path = Path(path)
    if not path.exists():
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*")])
        raise InputError(f"there is no file {path}.{near}")
    kind = path.name.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    try:
        match kind:
            case "csv" | "tsv":
                # `NA` and `None` are answers people give, so only the empty cell is missing.
                return pd.read_csv(
                    path,
                    sep="," if kind == "csv" else "\t",
                    dtype=str,
                    keep_default_na=False,
                    na_values=[""],
                    encoding="utf-8-sig",
                )
            case "jsonl" | "ndjson":
                return pd.read_json(path, lines=True, dtype=False, convert_dates=False)
            case "parquet":
                return pd.read_parquet(path)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte 0x{error.object[error.start]:02x} at position "
            f"{error.start}); save it as UTF-8, or: iconv -f latin1 -t utf-8 {path.name}"
        ) from error
    except Exception as error:  # whatever pandas, pyarrow, gzip or the disk says is the user's news
        why = str(error).strip().splitlines()
        raise InputError(
            f"{path} cannot be read as {kind}: {why[0] if why else type(error).__name__}; "
            "is it whole?"
        ) from error
    raise InputError(
        f"{path.name} is not a table that can be read; expected .csv, .tsv, .jsonl or .parquet"
    )


def minority_rows(annotations: Annotations) -> BoolArray:
    """Mark (n,) the annotations that differ from their item's majority label (A.6).

    The majority is over all annotations given, per unordered pair in preference. An item whose
    most frequent label is tied has no majority, hence no minority rows.
    """
    votes = _votes(annotations)
    majority = votes == votes.max(axis=1, keepdims=True)
    clear = majority.sum(axis=1) == 1
    items, labels = _items_and_unflipped(annotations)
    return np.asarray(clear[items] & ~majority[items, labels])


def majority_rows(annotations: Annotations) -> BoolArray:
    """Mark (n,) the annotations that carry a most frequent label of their item: Maj(Y), §3.3.

    All tied labels are kept (the paper is silent on ties).
    """
    votes = _votes(annotations)
    items, labels = _items_and_unflipped(annotations)
    return np.asarray((votes == votes.max(axis=1, keepdims=True))[items, labels])


def split(
    annotations: Annotations,
    by: SplitBy = "annotation",
    *,
    test: float = 0.2,
    validation: float = 0.1,
    seed: int = 0,
) -> Split:
    """Split into training, validation and test rows; the same on every machine for a seed.

    ``annotation`` is the paper's split (§3), stratified by label: the same text is on both sides.
    ``item`` keeps all annotations of a text on one side (for pairs: of a connected component of
    shared texts). ``annotator`` keeps a person on one side. `test` is a share of all rows and
    `validation` a share of those left, taken the same way.

    Raises InputError if a share is not in [0, 1), if annotators are missing, or if a part would
    be empty or lack a class to train on.
    """
    for name, share in (("test", test), ("validation", validation)):
        if not 0 <= share < 1:
            raise InputError(f"split: {name} is a share from 0 to below 1; got {share}")
    if by not in get_args(SplitBy):
        raise InputError(f"split by {by!r} is not known; choose from {listed(get_args(SplitBy))}")
    units = _units(annotations, by)
    rest, test_rows = _part(units, annotations.labels, np.arange(len(annotations)), test, [seed, 0])
    train, validation_rows = _part(units, annotations.labels, rest, validation, [seed, 1])
    parts = Split(train, validation_rows, test_rows)
    for name, rows, share in zip(parts._fields, parts, (1.0, validation, test), strict=True):
        if share and not len(rows):
            kind = "annotations" if units is None else f"{by}s that share nothing"
            raise InputError(f"split by {by}: no rows left for {name}; there are too few {kind}")
    present = np.bincount(annotations.labels[train], minlength=len(annotations.classes))
    if (present == 0).any():
        empty = [c for c, n in zip(annotations.classes, present, strict=True) if n == 0]
        raise InputError(
            f"no training annotation has the label {listed(empty)} (split by {by}, seed {seed}); "
            "merge classes in `labels` or use more data"
        )
    return parts


def _units(annotations: Annotations, by: SplitBy) -> IntArray | None:
    """(n,) codes of what must stay on one side, or None where every row stands alone."""
    if by == "annotation":
        return None
    if by == "annotator":
        if not annotations.has("annotator"):
            raise InputError(
                f"{annotations.source} has no annotator column, so it cannot be split by annotator"
            )
        missing = int(annotations.frame["annotator"].isna().sum())
        if missing:
            raise InputError(
                f"{missing} rows of {annotations.source} have no annotator; "
                "split by item instead, or drop them"
            )
        return _sorted_codes(annotations.frame["annotator"])
    # Items that share a text stay together, and so do all pairs of a connected set of texts.
    texts, positions = annotations.distinct_texts()
    items = _sorted_codes(annotations.frame["item"])
    n_items = int(items.max()) + 1
    ends = positions + n_items
    links = coo_matrix(
        (np.ones(ends.size), (np.repeat(items, ends.shape[1]), ends.ravel())),
        shape=(n_items + len(texts),) * 2,
    )
    _, component = connected_components(links, directed=False)
    return component[items].astype(np.int64)


def _part(
    units: IntArray | None, labels: IntArray, rows: IntArray, share: float, seed: list[int]
) -> tuple[IntArray, IntArray]:
    """Split `rows` in two, the second with `share` of them, keeping units whole."""
    if share == 0:
        return rows, rows[:0]
    if units is None:
        taken = np.zeros(len(rows), dtype=bool)
        order = _random_order(len(rows), seed)
        for label in np.unique(labels[rows]):
            stratum = order[labels[rows][order] == label]
            taken[stratum[: round(share * len(stratum))]] = True
    else:
        names, codes, sizes = np.unique(units[rows], return_inverse=True, return_counts=True)
        order = _random_order(len(names), seed)
        before = np.cumsum(sizes[order]) - sizes[order]
        # A unit is taken while at least half of it still fits, so the share is met on average.
        chosen = order[before + sizes[order] / 2 <= share * len(rows)]
        taken = np.isin(codes, chosen)
    return rows[~taken], rows[taken]


def _random_order(n: int, seed: list[int]) -> IntArray:
    """Return a permutation from raw bits, whose stream NumPy promises never to change."""
    bits = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(n)
    return np.argsort(bits, kind="stable")


def _sorted_codes(values: pd.Series) -> IntArray:
    """Codes in the order of the sorted values, so that they do not depend on the rows' order."""
    return np.unique(values.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


def _items_and_unflipped(annotations: Annotations) -> tuple[IntArray, IntArray]:
    """(n,) item codes and (n,) labels as if every pair were shown the same way round."""
    items = pd.factorize(annotations.frame["item"])[0].astype(np.int64)
    flipped = annotations.frame["flipped"].to_numpy(dtype=bool)
    return items, np.where(
        flipped, len(annotations.classes) - 1 - annotations.labels, annotations.labels
    )


def _votes(annotations: Annotations) -> IntArray:
    items, labels = _items_and_unflipped(annotations)
    votes = np.zeros((int(items.max(initial=-1)) + 1, len(annotations.classes)), dtype=np.int64)
    np.add.at(votes, (items, labels), 1)
    return votes


def _renamed(frame: pd.DataFrame, columns: Mapping[str, str], source: str) -> pd.DataFrame:
    found = [str(name) for name in frame.columns]
    for ours, theirs in columns.items():
        if ours not in KNOWN_COLUMNS:
            raise InputError(
                f"columns: {ours!r} is not a column that mcstl knows; "
                f"known: {listed(KNOWN_COLUMNS)}.{did_you_mean(ours, KNOWN_COLUMNS)}"
            )
        if theirs not in found:
            raise InputError(
                f"column {theirs!r} is not in {source}; found: {listed(found)}."
                f"{did_you_mean(theirs, found)}"
            )
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise InputError(f"{source} has two columns named {listed(repeated)}")
    # One of the table's columns may serve twice (a text that is its own item), so copy, not rename.
    taken = {ours: frame[theirs] for ours, theirs in columns.items()}
    others = {
        str(name): frame[name]
        for name in frame.columns
        if str(name) not in taken and str(name) not in columns.values() and str(name) != "row"
    }
    return pd.DataFrame({**taken, **others}).reset_index(drop=True)


def _missing_column(needed: str, found: Iterable[object], source: str, task: Task) -> str:
    names = [str(name) for name in found]
    near = did_you_mean(needed, names)
    return (
        f"column {needed!r} is not in {source} (task {task}); found: {listed(names)}.{near} "
        f"Map it with columns: {{{needed}: ...}}"
    )


def _guess_task(table: pd.DataFrame, labels: Labels | None) -> Task:
    if {"text_a", "text_b"} <= set(table.columns):
        return "preference"
    if labels is not None:
        return "binary" if len(labels) == 2 else "ordinal"
    if "label" in table.columns:
        return (
            "binary"
            if len({_shown(v) for v in table["label"] if not _is_missing(v)}) <= 2
            else "ordinal"
        )
    return "ordinal"


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


def _check_ids(table: pd.DataFrame, source: str) -> None:
    if "annotation_id" not in table.columns:
        return
    ids = table["annotation_id"]
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise InputError(
            f"{len(repeated)} rows of {source} repeat an annotation_id, the first one "
            f"{repeated.iloc[0]!r} in row {repeated.index[0]}; every annotation needs its own"
        )


def _check_texts(table: pd.DataFrame, columns: tuple[str, ...], source: str) -> None:
    for name in columns:
        texts = table[name]
        is_text = texts.map(lambda value: isinstance(value, str))
        bad = ~is_text | (texts.where(is_text, "").str.strip() == "")
        if bad.any():
            rows = table.loc[bad, "row"]
            raise InputError(
                f"{len(rows)} rows of {source} have an empty or missing {name}: row "
                f"{listed(rows, 5)} (counted from 0); fill them or drop them"
            )


def _set_items(table: pd.DataFrame, texts: tuple[str, ...], source: str) -> None:
    """Give every row its item and say whether its pair is flipped, in place.

    One unordered pair is one item, under the first name that it has in the table.
    """
    cells = table[list(texts)].to_numpy(dtype=object)
    if len(texts) == 1:
        keys = cells[:, 0]
    else:
        keys = np.array(["\0".join(sorted(pair)) for pair in cells], dtype=object)
    codes, distinct = pd.factorize(keys)
    first = np.unique(codes, return_index=True)[1]
    if "item" in table.columns:
        missing = table["item"].isna()
        if missing.any():
            raise InputError(
                f"{int(missing.sum())} rows of {source} have no item: row "
                f"{listed(table.loc[missing, 'row'], 5)} (counted from 0)"
            )
        names = table["item"].map(_shown).to_numpy(dtype=object)
        texts_of_item = pd.Series(codes).groupby(names).nunique()
        if (texts_of_item > 1).any():
            bad = texts_of_item.index[texts_of_item > 1]
            raise InputError(
                f"{len(bad)} items of {source} have more than one text, the first one item "
                f"{bad[0]!r}; an item is one text (or pair), so give each its own name"
            )
    else:
        # A text that has no name is named by its content, the same in every table.
        named = [hashlib.blake2b(str(key).encode(), digest_size=8).hexdigest() for key in distinct]
        names = np.array(named, dtype=object)[codes]
    if len(texts) == 2:
        names = names[first][codes]
        table["flipped"] = cells[:, 0] != cells[first, 0][codes]
    else:
        table["flipped"] = False
    table["item"] = names


def _classes(
    raw: pd.Series, labels: Labels | None, task: Task, source: str
) -> tuple[tuple[str, ...], IntArray]:
    """Return the class names and (n,) class indices, -1 where a label is in no class."""
    if raw.map(lambda value: isinstance(value, list | tuple | set | np.ndarray)).any():
        raise InputError(
            f"labels in {source} are lists (multi-label); {TASK_FORMS}. Make one row per label, "
            "or put the lists into `values` as groups"
        )
    classes = _inferred_labels(raw, task, source) if labels is None else labels
    if len(classes) < 2 or (task != "ordinal" and len(classes) != 2):
        expected = "two or more" if task == "ordinal" else "exactly two"
        raise InputError(f"task {task} needs {expected} classes; `labels` has {listed(classes)}")
    index: dict[float | str, int] = {}
    for position, (name, values) in enumerate(classes.items()):
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise InputError(f"labels: {name} needs a list of raw values, as in {_LABELS_EXAMPLE}")
        for value in values:
            if index.setdefault(_comparable(value), position) != position:
                raise InputError(f"labels: the raw value {value!r} is in two classes")
    codes = raw.map(lambda value: -1 if _is_missing(value) else index.get(_comparable(value), -1))
    return tuple(str(name) for name in classes), codes.to_numpy(dtype=np.int64)


def _inferred_labels(raw: pd.Series, task: Task, source: str) -> dict[str, list[object]]:
    found = {_comparable(value): _shown(value) for value in raw if not _is_missing(value)}
    if not found:
        raise InputError(f"every label in {source} is missing")
    names = sorted(found.values())
    texts = [key for key in found if isinstance(key, str)]
    if not texts:
        numbers = sorted(key for key in found if not isinstance(key, str))
        if len(numbers) > _MOST_INFERRED_CLASSES:
            raise InputError(
                f"labels in {source} have {len(numbers)} distinct numbers from {numbers[0]:g} to "
                f"{numbers[-1]:g} and look continuous; {TASK_FORMS}. Merge them into ordered "
                f"classes, as in {_LABELS_EXAMPLE}"
            )
        return {found[number]: [number] for number in numbers}
    for pair in (("false", "true"), ("no", "yes"), ("b", "a")):
        if {str(key).casefold() for key in found} <= set(pair):
            by_folded = {str(key).casefold(): name for key, name in found.items()}
            return {by_folded.get(end, end): [by_folded.get(end, end)] for end in pair}
    if any("|" in text for text in texts):
        raise InputError(
            f"labels in {source} hold several values each (multi-label), as {names[0]!r}; "
            f"{TASK_FORMS}. Make one row per label, or put them into `values` as groups"
        )
    raise InputError(
        f"labels in {source} are words without a known order (nominal?): {listed(names)}; "
        f"{TASK_FORMS}. If they have an order, say so, lowest first, as in "
        f"labels: {{{names[0]}: [{names[0]}], {names[-1]}: [{names[-1]}]}}"
        + (
            "; for preference the second class means that A is preferred"
            if task == "preference"
            else ""
        )
    )


def _comparable(value: object) -> float | str:
    """A number where `value` is one (also as text), else its stripped text."""
    if isinstance(value, str | bytes):
        text = value.decode() if isinstance(value, bytes) else value
        try:
            return float(text)
        except ValueError:
            return text.strip()
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return str(value).strip()


def _shown(value: object) -> str:
    """Text of a cell, whole numbers without a decimal point."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or value != value or value == ""


def _text_or_none(column: pd.Series) -> pd.Series:
    values = [None if _is_missing(v) or not _shown(v) else _shown(v) for v in column]
    return pd.Series(values, index=column.index, dtype=object)


def _as_values(cell: object) -> list[str]:
    if isinstance(cell, str):
        parts: Iterable[object] = cell.split("|")
    elif isinstance(cell, list | tuple | set | np.ndarray):
        parts = cell
    else:
        parts = () if _is_missing(cell) else (cell,)
    return list(
        dict.fromkeys(_shown(part) for part in parts if not _is_missing(part) and _shown(part))
    )
