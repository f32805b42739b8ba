"""What a run would do, said without running it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mcstl import methods as registry
from mcstl._support import files
from mcstl._support.arrays import IntArray
from mcstl._support.errors import brief, listed
from mcstl._support.text_tables import plain_table
from mcstl._support.words import counted
from mcstl.data.annotations import Annotations, minority_weights, repeats_message
from mcstl.encoding.encoders import load_encoder
from mcstl.encoding.english import not_english
from mcstl.groups import NoGroupsConfig, fit_scheme
from mcstl.groups.base import need_column
from mcstl.groups.label_leakage import leakage_of
from mcstl.groups.small_groups import few_people_warning, left_out_words, shown_size
from mcstl.studies.build_model import method_of_model
from mcstl.studies.preparation import split_rows, with_usable_seeds
from mcstl.studies.study_file import Study, reads_rationales

#: How many rows are shown, how wide they are, and how much of a cell.
_ROWS_SHOWN, _WIDTH_SHOWN, _CELL = 3, 66, 24
#: How many groups are named; the report names all.
_GROUPS_SHOWN = 30
#: What the two classes of a preference mean.
_PREFERRED = (" (the second text is preferred)", " (the first text is preferred)")


def describe(study: Study, data_dir: str | Path | None = None) -> Iterator[tuple[str, str]]:
    """Read and split a study's data for its first seed, and say what a run would do.

    Groups that need no encoder are formed, too.

    Args:
        study: The study.
        data_dir: The folder of the registered data sets, by default that of MCSTL_DATA.

    Yields:
        Lines, each a word for what it is about (empty: as before) and a text.

    Raises:
        InputError: As `run` does, also where an encoder or a transformer cannot be had.
    """
    data = study.load(data_dir)
    yield from _describe_data(data)
    yield from _first_rows(data)
    if data.task == "multilabel":  # split and groups are the same for all
        data = data.question(data.classes[0])
    study, left_out = with_usable_seeds(study, data)
    for seed, why in left_out.items():
        yield "seeds", f"{seed} is left out: {why}"
    parts = split_rows(study, data, study.seeds[0])
    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in parts._asdict().items())
    how = f"by {study.split.by}" if study.split.column is None else "official"
    yield "split", f"{how}: {sizes} (seed {study.seeds[0]})"
    yield from _describe_groups(study, data, parts.train)
    for method in study.methods:
        registry.find(method.name).check(method, data)
    load_encoder(study.encoder_name)  # so that what cannot be had is said now, not by a run
    yield "encoder", str(study.encoder)
    names = study.encoder if isinstance(study.encoder, tuple) else [study.encoder_name]
    if warning := not_english(data.distinct_texts()[0], names):
        yield "", warning
    titles = listed(method.title for method in study.methods)
    yield "methods", f"{titles}; seeds {listed(study.seeds)}"
    saved = method_of_model(study)
    yield (
        "model",
        f"that of {saved.title} is saved" if saved else "none of these methods leaves one",
    )


def _describe_data(data: Annotations) -> Iterator[tuple[str, str]]:
    items = data.frame["item"].nunique()
    yield "data", f"{data.source}: {counted(len(data), 'annotation')}, {counted(items, 'item')}"
    if merged := data.merged_items:
        names = counted(merged, "further name", "further names")
        yield "", f"{names} of items whose pair of texts has a name already; each pair is one item"
    for reason, count in data.dropped.items():
        yield "", f"{count:,} dropped: {reason}"
    if repeated := repeats_message(data.repeats):
        yield "", repeated
    if data.has("annotator"):
        people = data.frame["annotator"]
        unknown = int(people.isna().sum())
        yield "annotators", f"{people.nunique():,}; {counted(unknown, 'annotation')} without one"
    if data.task == "multilabel":
        yes = [data.question(name).labels.mean() for name in data.classes]
        shares = ", ".join(f"{c} {r:.1%}" for c, r in zip(data.classes, yes, strict=True))
        yield "task", f"multilabel, {len(yes)} questions; yes to {shares}"
        return
    rates = np.bincount(data.labels, minlength=len(data.classes)) / len(data)
    is_pairs = data.task == "preference"
    meant = _PREFERRED if is_pairs else [""] * len(rates)
    shares = ", ".join(
        f"{c}{which} {r:.1%}" for c, which, r in zip(data.classes, meant, rates, strict=True)
    )
    yield "task", f"{data.task}; {shares}"
    minority = minority_weights(data)
    against, tied = int((minority == 1).sum()), int(((minority > 0) & (minority < 1)).sum())
    ties = f"; {tied:,} in ties" if tied else ""
    yield "minority", f"{counted(against, 'annotation')} against the majority of their item{ties}"


def _first_rows(data: Annotations) -> Iterator[tuple[str, str]]:
    """Show the first annotations as they are read."""
    table = data.frame.head(_ROWS_SHOWN).copy()
    table["label"] = [
        [data.classes[k] for k in label] if isinstance(label, tuple) else data.classes[label]
        for label in table["label"]
    ]
    names = [name for name in table.columns if name not in ("row", "flipped")]
    columns = [
        [brief(name, _CELL), *(brief(_shown(cell), _CELL) for cell in table[name])]
        for name in names
    ]
    ends = np.cumsum([max(map(len, column)) + 2 for column in columns])
    n_shown = max(1, int(np.searchsorted(ends, _WIDTH_SHOWN, side="right")))
    header, *rows = zip(*columns[:n_shown], strict=True)
    for i, line in enumerate(plain_table(header, rows).splitlines()):
        yield "" if i else "first rows", line
    if more := names[n_shown:]:
        yield "", f"and {counted(len(more), 'more column')}: {listed(more)}"


def _shown(cell: object) -> object:
    if isinstance(cell, list):
        return "|".join(cell)
    return "-" if cell is None else cell


def _describe_groups(
    study: Study, data: Annotations, train_rows: IntArray
) -> Iterator[tuple[str, str]]:
    config = study.groups_for(data)
    if reads_rationales(config):
        need_column(data, "rationale", "These groups need")
        form = files.flow(config.model_dump(mode="json", exclude_none=True))
        yield "groups", f"{form}, formed when the study runs"
        if empty := int((data.frame["rationale"].str.strip() == "").sum()):
            yield (
                "",
                f"{empty:,} of {len(data):,} reasons are empty: those annotations are in no group "
                "of reasons",
            )
        return
    train = data.take(train_rows)
    scheme = fit_scheme(config, train, None)
    if isinstance(config, NoGroupsConfig):
        yield "groups", "none: nobody's view is told from another's"
        return
    of_few = [group.name for group in scheme.groups if group.is_of_few]
    counted_groups = [group for group in scheme.groups if not group.is_of_few]
    sizes = " (sizes in the training rows)" if counted_groups else ""
    yield "groups", f"{len(scheme.groups)}{sizes}"
    for group in counted_groups[:_GROUPS_SHOWN]:
        warning = f"  ({group.warning})" if group.warning else ""
        yield "", f"{group.name}: {shown_size(group.size, group.annotators)}{warning}"
    if (more := len(counted_groups) - _GROUPS_SHOWN) > 0:
        yield "", f"and {counted(more, 'more group')}"
    if of_few:
        yield "", f"{listed(of_few, 5)}: {few_people_warning(0)}. Their sizes are not shown"
    if left_out := left_out_words(dict(scheme.left_out), most=3):
        yield "", f"left out: {left_out}"
    S = scheme.assign(data, None)
    yield "", f"in no group: {counted(int((S.getnnz(axis=1) == 0).sum()), 'annotation')}"
    if warning := leakage_of(S[train_rows], train):
        yield "", warning
