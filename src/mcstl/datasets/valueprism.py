"""ValuePrism: which values, rights and duties support or oppose a situation (the paper's §3.1).

Source: Sorensen et al., "Value Kaleidoscope: Engaging AI with Pluralistic Human Values, Rights, and
Duties" (AAAI 2024), the configuration `full`; AI2 ImpACT licence, medium risk: files are given to
people who accept it, so they cannot be downloaded without an account. Content warning: situations
may be violent, sexual or discriminatory.

The paper's three data sets are three registered ones, `vp-duties`, `vp-rights` and `vp-values`,
each the rows whose ``vrd`` is Duty, Right or Value. Item and text are the situation, the label is
the valence (ordinal: opposes < either < supports; binary leaves either out), and the rationale is
the value, right or duty itself ("Right to privacy"), on which the paper clusters. The explanation,
where the files have it, is seen by nothing but a language model that gives values (A.4); it was
written with the label by the model that gave both, and often says which it is. There are no
annotators.

`vp-schwartz` is all of it with the Schwartz values that each row appeals to, from ``schwartz.csv``
beside it: the columns ``situation``, ``vrd`` and ``text`` of the rows and ``values``, names
separated by ``|``. The authors' file is not public; ``mcstl label`` makes one of the folder.

A study's ``columns`` maps the source's names to those of another version of the files, as
``columns: {text: vrd_text}``.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd

from mcstl._support.errors import InputError, listed
from mcstl.data.cells import cell_text, mapped
from mcstl.data.labels import Labels, Task
from mcstl.datasets.source import Source, check_joined, read_columns

_COLUMNS = ("situation", "vrd", "text", "valence")
_KEY = ["item", "vrd", "rationale"]
_LABELLED = "schwartz.csv"
Vrd = Literal["Duty", "Right", "Value"]


def _read(folder: Path, task: Task, columns: Mapping[str, str], *, vrd: Vrd | None) -> pd.DataFrame:
    theirs = {columns.get(name, name): name for name in _COLUMNS}
    parts = []
    for path in sorted(folder.glob("full/*.csv")):
        try:
            part = read_columns(path, tuple(theirs))
            parts.append(part[[*theirs, *part.columns.intersection(["explanation"])]])
        except InputError as error:
            raise InputError(
                f"{error} If its columns have other names, map them with columns: {{situation: "
                "..., vrd: ..., text: ..., valence: ...} under data."
            ) from error
    table = pd.concat(parts, ignore_index=True).rename(columns=theirs)
    frame = pd.DataFrame(
        {
            "item": table["situation"],
            "text": table["situation"],
            "label": mapped(table["valence"], _word),
            "rationale": table["text"],
            "vrd": mapped(table["vrd"], _word),
        }
    )
    if "explanation" in table.columns:
        frame["explanation"] = table["explanation"]
    if vrd is None:
        return _with_values(frame, folder / _LABELLED).drop(columns="vrd")
    kept = frame[frame["vrd"] == vrd].drop(columns="vrd").reset_index(drop=True)
    if kept.empty:
        present = sorted({str(cell) for cell in frame["vrd"]})
        raise InputError(f"{folder} has no rows whose vrd is {vrd}; found: {listed(present)}.")
    return kept


def _word(cell: object) -> str | None:
    text = cell_text(cell)
    return text and text.capitalize()


def _with_values(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add the values of the labelled file; rows that it lacks are left out and counted."""
    labelled = read_columns(path, ("situation", "vrd", "text", "values"))
    labelled = labelled.rename(columns={"situation": "item", "text": "rationale"})
    labelled["vrd"] = mapped(labelled["vrd"], _word)
    # Rows that repeat a situation and its value are one statement, labelled once.
    values = labelled.drop_duplicates(_KEY)[[*_KEY, "values"]]
    joined = frame.merge(values, on=_KEY, how="left", indicator=True)
    labelled_too = joined.pop("_merge") == "both"
    lost = int((~labelled_too).sum())
    check_joined(lost, len(joined), f"rows of ValuePrism are not in {path}")
    joined = joined[labelled_too].reset_index(drop=True)
    if lost:
        joined.attrs["dropped"] = {f"row is not in {path.name}": lost}
    return joined


_TASKS: dict[Task, Labels] = {
    "ordinal": {"oppose": ["Opposes"], "either": ["Either"], "support": ["Supports"]},
    "binary": {"oppose": ["Opposes"], "support": ["Supports"]},
}


def _source(
    name: str, what: str, vrd: Vrd | None, annotations: int, groups: Mapping[str, object]
) -> Source:
    return Source(
        name=name,
        title=f"ValuePrism{what} support or oppose a situation",
        licence="AI2 ImpACT, medium risk: given to people who accept it",
        homepage="https://huggingface.co/datasets/allenai/ValuePrism",
        files=("full/*.csv", *([_LABELLED] if vrd is None else [])),
        counts={},
        about={"annotations": annotations, **({"items": 31000} if vrd is None else {})},
        tasks=_TASKS,
        groups=groups,
        choices="{by: rationale, k: 2 to 6}",
        read=partial(_read, vrd=vrd),
        warning="Situations may be violent, sexual or discriminatory",
        folder="valueprism",
        gated="accept the licence at the homepage with a Hugging Face account, then download the "
        "folder full/ (hf download allenai/ValuePrism --repo-type dataset --include 'full/*')"
        + (", label each row with mcstl label (docs/data.md)" if vrd is None else ""),
        columns=_COLUMNS,
    )


SOURCES = (
    # The paper's K (§4).
    _source("vp-duties", ": do duties", "Duty", 71000, {"by": "rationale", "k": 3}),
    _source("vp-rights", ": do rights", "Right", 49000, {"by": "rationale", "k": 4}),
    _source("vp-values", ": do values", "Value", 97000, {"by": "rationale", "k": 5}),
    _source(
        "vp-schwartz",
        " with Schwartz values: do values, rights and duties",
        None,
        218000,
        {"by": "taxonomy", "taxonomy": "schwartz", "source": "column"},
    ),
)
