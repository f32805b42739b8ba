"""Validation by experts (A.5): a sample of each class, sheets to fill in, how far they agree."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from mcstl._support import csv_files, files
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.parts import readable
from mcstl.groups.base import Groups, need_column
from mcstl.groups.review import forms

COLUMNS = ("id", "class", "definition", "rationale", "text", "answer", "note")
SAMPLE = "sample.json"
ANSWERS = ("correct", "wrong")
Row = dict[str, str]


class Agreement(NamedTuple):
    """How far experts agree with the classes and with each other.

    Attributes:
        table: Per class, and for all in the last row: class, n (instances judged), correct (the
            share judged correct), low and high (its 95% Wilson interval).
        alpha: Krippendorff's alpha over the shared instances, None where there are none or all
            answers are the same.
        shared: Number of instances that several experts judged.
        experts: Number of sheets.
        unanswered: Number of rows without an answer.
    """

    table: pd.DataFrame
    alpha: float | None
    shared: int
    experts: int
    unanswered: int


def draw_sheets(
    groups: Groups,
    S: csr_matrix,
    annotations: Annotations,
    *,
    experts: int = 1,
    per_class: int = 100,
    shared: int = 0,
    seed: int = 0,
) -> list[list[Row]]:
    """Draw instances of each class and deal them out to experts.

    Equal rationales of a class count once. A class of few people has no instances.

    Args:
        groups: (K,) groups, which are the classes.
        S: (n, K) membership of the annotations.
        annotations: n annotations with rationales.
        experts: Number of sheets.
        per_class: Most instances to draw of a class.
        shared: How many of them every expert judges; the rest go to one expert each.
        seed: Seed of the draw.

    Returns:
        One sheet of rows per expert.

    Raises:
        InputError: There are no rationales, or more are shared than drawn.
    """
    need_column(annotations, "rationale", "A sheet for experts needs")
    if shared > per_class:
        raise InputError(f"shared is {shared}, more than the {per_class} instances of a class")
    random = np.random.default_rng(seed)
    frame = annotations.frame
    texts = frame[list(annotations.text_columns)].map(readable).agg("\n\n".join, axis=1)
    sheets: list[list[Row]] = [[] for _ in range(experts)]
    for k, group in enumerate(groups):
        if group.is_of_few:
            continue
        members = np.flatnonzero(S[:, [k]].toarray().ravel() > 0)
        instances = frame.iloc[members].assign(text_=texts.iloc[members])
        instances = instances[instances["rationale"] != ""]
        instances = instances.drop_duplicates(["rationale", "text_"])
        order = random.permutation(len(instances))[:per_class]
        for position, (_, instance) in enumerate(instances.iloc[order].iterrows()):
            row = {
                "id": f"{k}-{instance['row']}",
                "class": group.name,
                "definition": group.description,
                "rationale": str(instance["rationale"]),
                "text": str(instance["text_"]),
            }
            for sheet in sheets if position < shared else [sheets[position % experts]]:
                sheet.append(row)
    # An expert who sees one class after the other judges by contrast with the last.
    return [[sheet[i] for i in random.permutation(len(sheet))] for sheet in sheets]


def write_sheets(folder: Path, sheets: Sequence[Sequence[Row]], name: str) -> list[Path]:
    """Write each sheet as CSV and as a page, and which instances they have.

    Args:
        folder: Where they are written.
        sheets: What `draw_sheets` returned.
        name: Name of the study.

    Returns:
        The pages.

    Raises:
        InputError: The folder holds sheets already, whose answers would be lost.
    """
    if any(folder.glob("sheet-*")):
        raise InputError(f"{folder} holds sheets already; choose another --out")
    pages = []
    for number, sheet in enumerate(sheets, start=1):
        csv_files.write_csv(
            folder / f"sheet-{number}.csv",
            COLUMNS,
            ([row.get(column, "") for column in COLUMNS] for row in sheet),
            guard=True,
        )
        text = forms.render_page(
            "sheet.html.j2",
            name=name,
            number=number,
            rows=sheet,
            form={"file": f"sheet-{number}.csv", "columns": list(COLUMNS)},
        )
        files.write_text(folder / f"sheet-{number}.html", text)
        pages.append(folder / f"sheet-{number}.html")
    classes = {row["id"]: row["class"] for sheet in sheets for row in sheet}
    files.write_text(folder / SAMPLE, json.dumps(classes, indent=1, ensure_ascii=False))
    return pages


def read_agreement(folder: Path) -> Agreement:
    """Read the sheets back and measure how far experts agree.

    An instance that several have judged is correct if more than half of them say so.

    Args:
        folder: The folder of the sheets.

    Returns:
        The agreement with the classes and between experts.

    Raises:
        InputError: There is no answer yet, or a sheet or an answer is of another form.
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
            answer = forms.read_answer(row, "answer", ANSWERS, where)
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

    correct = {name: sum(a.values()) * 2 > len(a) for name, a in answers.items()}
    rows: list[dict[str, Any]] = []
    for name in [*dict.fromkeys(classes.values()), "all"]:
        judged = [correct[each] for each in correct if name in ("all", classes[each])]
        n, share, low, high = len(judged), np.nan, np.nan, np.nan
        if n:
            share = sum(judged) / n
            low, high = binomtest(sum(judged), n).proportion_ci(0.95, method="wilson")
        rows.append({"class": name, "n": n, "correct": share, "low": low, "high": high})
    return pd.DataFrame(rows)


def _alpha(
    answers: Mapping[str, Mapping[str, bool]], experts: Sequence[str]
) -> tuple[float | None, int]:
    """Krippendorff's alpha over the instances with several answers, and how many there are."""
    shared = [by_expert for by_expert in answers.values() if len(by_expert) > 1]
    if not shared:
        return None, 0
    import krippendorff

    table = np.array(
        [[float(a[expert]) if expert in a else np.nan for a in shared] for expert in experts]
    )
    if len(np.unique(table[~np.isnan(table)])) < 2:
        return None, len(shared)
    return float(krippendorff.alpha(table, level_of_measurement="nominal")), len(shared)
