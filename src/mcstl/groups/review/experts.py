"""Do experts agree with the labels (A.5): a seeded sample per class, sheets, and what they say."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from mcstl._support import files
from mcstl._support.errors import InputError, need_extra
from mcstl.data.annotations import Annotations
from mcstl.groups.base import Groups, need_column
from mcstl.groups.review import forms

COLUMNS = ("id", "class", "definition", "rationale", "text", "answer", "note")
SAMPLE = "sample.json"
ANSWERS = ("correct", "wrong")
Row = dict[str, str]


class Agreement(NamedTuple):
    """What experts found: per class and overall, and how far they agree with each other.

    `table` has per class (the last row is all) how many instances were judged (n), the share found
    correct and its 95% interval (Wilson). `alpha` is Krippendorff's over the `shared` instances
    that several experts judged, None where there are none or all answers are the same.
    """

    table: pd.DataFrame
    alpha: float | None
    shared: int
    experts: int
    unanswered: int


def draw(
    groups: Groups,
    S: csr_matrix,
    annotations: Annotations,
    *,
    experts: int = 1,
    per_class: int = 100,
    shared: int = 0,
    seed: int = 0,
) -> list[list[Row]]:
    """Draw instances of each class and deal them out: one sheet of rows per expert.

    Of the `per_class` instances of a class, or all that it has, `shared` go to every expert and
    the others to one each. Equal rationales of a class count once. Deterministic for a seed.

    Raises InputError without rationales, or for more shared than drawn.
    """
    need_column(annotations, "rationale", "a sheet for experts needs")
    if shared > per_class:
        raise InputError(f"shared is {shared}, more than the {per_class} instances of a class")
    random = np.random.default_rng(seed)
    frame = annotations.frame
    texts = frame[list(annotations.text_columns)].agg("\n\n".join, axis=1)
    sheets: list[list[Row]] = [[] for _ in range(experts)]
    for k, group in enumerate(groups):
        members = np.flatnonzero(S[:, [k]].toarray().ravel() > 0)
        some = frame.iloc[members].assign(text_=texts.iloc[members])
        some = some[some["rationale"] != ""].drop_duplicates(["rationale", "text_"])
        order = random.permutation(len(some))[:per_class]
        for place, (_, each) in enumerate(some.iloc[order].iterrows()):
            row = {
                "id": f"{k}-{each['row']}",
                "class": group.name,
                "definition": group.description,
                "rationale": str(each["rationale"]),
                "text": str(each["text_"]),
            }
            whose = sheets if place < shared else [sheets[place % experts]]
            for sheet in whose:
                sheet.append(row)
    # An expert who sees one class after the other judges by contrast with the last.
    return [[sheet[i] for i in random.permutation(len(sheet))] for sheet in sheets]


def write(folder: Path, sheets: Sequence[Sequence[Row]], name: str) -> list[Path]:
    """Write each sheet as CSV and as a page, and which instances are out; return the pages.

    Raises InputError if the folder holds sheets already: answers in them would be lost.
    """
    if any(folder.glob("sheet-*")):
        raise InputError(f"{folder} holds sheets already; choose another --out")
    pages = []
    for number, sheet in enumerate(sheets, start=1):
        forms.write_csv(folder / f"sheet-{number}.csv", COLUMNS, sheet)
        text = forms.page(
            "sheet.html.j2",
            name=name,
            number=number,
            rows=sheet,
            form={"file": f"sheet-{number}.csv", "columns": list(COLUMNS)},
        )
        files.write_text(folder / f"sheet-{number}.html", text)
        pages.append(folder / f"sheet-{number}.html")
    out = {row["id"]: row["class"] for sheet in sheets for row in sheet}
    files.write_text(folder / SAMPLE, json.dumps(out, indent=1, ensure_ascii=False))
    return pages


def read(folder: Path) -> Agreement:
    """Read the sheets back and say how far experts agree with the classes and with each other.

    An instance that several have judged is correct if more than half of them say so. Raises
    InputError for a sheet that is not one of these, or an answer that is none.
    """
    if not (folder / SAMPLE).exists():
        raise InputError(f"{folder} holds no sheets; `mcstl groups review` writes some")
    classes: dict[str, str] = json.loads((folder / SAMPLE).read_text(encoding="utf-8"))
    answers: dict[str, dict[str, bool]] = defaultdict(dict)
    unanswered = 0
    experts = sorted(folder.glob("sheet-*.csv"))
    for path in experts:
        for number, row in enumerate(forms.read_csv(path, COLUMNS), start=2):
            where = f"{path} line {number}"
            if row["id"] not in classes:
                raise InputError(f"{where}: {row['id']!r} is no instance of this review")
            answer = forms.answered(row, "answer", ANSWERS, where)
            if answer:
                answers[row["id"]][path.stem] = answer == "correct"
            else:
                unanswered += 1
    if not answers:
        raise InputError(f"no sheet in {folder} has an answer yet")
    alpha, shared = _alpha(answers, [path.stem for path in experts])
    return Agreement(_table(answers, classes), alpha, shared, len(experts), unanswered)


def _table(answers: Mapping[str, Mapping[str, bool]], classes: Mapping[str, str]) -> pd.DataFrame:
    from scipy.stats import binomtest

    right = {one: sum(said.values()) * 2 > len(said) for one, said in answers.items()}
    rows: list[dict[str, Any]] = []
    for name in [*dict.fromkeys(classes.values()), "all"]:
        own = [right[one] for one in right if name in ("all", classes[one])]
        if not own:
            rows.append({"class": name, "n": 0, "correct": np.nan, "low": np.nan, "high": np.nan})
            continue
        low, high = binomtest(sum(own), len(own)).proportion_ci(0.95, method="wilson")
        share = sum(own) / len(own)
        rows.append({"class": name, "n": len(own), "correct": share, "low": low, "high": high})
    return pd.DataFrame(rows)


def _alpha(
    answers: Mapping[str, Mapping[str, bool]], experts: Sequence[str]
) -> tuple[float | None, int]:
    """Krippendorff's alpha over the instances with several answers, and how many there are."""
    several = [said for said in answers.values() if len(said) > 1]
    if not several:
        return None, 0
    with need_extra("review"):
        import krippendorff
    table = np.array(
        [[float(said[e]) if e in said else np.nan for said in several] for e in experts]
    )
    if len(np.unique(table[~np.isnan(table)])) < 2:
        return None, len(several)
    return float(krippendorff.alpha(table, level_of_measurement="nominal")), len(several)
