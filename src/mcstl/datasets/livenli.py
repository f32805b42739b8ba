"""LiveNLI: is a statement true, false or either, given a context, with the raters' explanations.

Source: Jiang, Tan and de Marneffe, "Ecologically Valid Explanations for Label Variation in NLI"
(Findings of EMNLP 2023). No licence is stated at the source: publish aggregate figures, never its
texts. Content warning: a few of the contexts, from news and fiction, tell of violence.

A text is in two parts, premise and hypothesis. The label says what the hypothesis is: true
(entailment), either (neutral) or false (contradiction); in that order, from the lowest, they are
false < either < true. A rater may choose several (``true | either``, 237 rows): each is an
annotation, with the same explanation, which is the rationale. As ``task: multilabel`` an answer is
one annotation, and each of the three a question. `livenli-single` has the answers that chose one
alone, and counts the others as dropped: several labels of one person are no disagreement.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from mcstl.data.labels import Labels, Task
from mcstl.data.parts import join_parts
from mcstl.datasets.source import Source, read_columns


def _read(folder: Path, task: Task, *, single: bool) -> pd.DataFrame:
    ours = {
        "uid": "item",
        "worker_id": "annotator",
        "multilabel": "label",
        "explanation": "rationale",
    }
    table = read_columns(folder / "livenli.csv", (*ours, "premise", "hypothesis"))
    frame = table[[*ours]].rename(columns=ours)
    pairs = zip(table["premise"], table["hypothesis"], strict=True)
    frame["text"] = [join_parts(pair) for pair in pairs]
    frame.attrs["counts"] = {"answers": len(frame)}
    if single:
        return frame
    frame["label"] = frame["label"].str.split("|")
    return frame if task == "multilabel" else frame.explode("label", ignore_index=True)


_TASKS: dict[Task, Labels] = {
    "ordinal": {name: [name] for name in ("false", "either", "true")},
    "binary": {"false": ["false"], "true": ["true"]},
}


def _source(name: str, what: str, tasks: Mapping[Task, Labels], single: bool) -> Source:
    return Source(
        name=name,
        title=f"LiveNLI: is a statement true, false or either, with explanations{what}",
        licence="none stated at the source: publish aggregate figures, never its texts",
        homepage="https://github.com/njjiang/LiveNLI",
        files=("livenli.csv",),
        counts={"answers": 1405, "items": 122, "annotators": 48},
        tasks=tasks,
        groups={"by": "rationale", "k": 3},
        read=partial(_read, single=single),
        warning="Some contexts, from news and fiction, tell of violence",
        folder="livenli",
    )


_SEVERAL: Labels = {name: [name] for name in ("true", "either", "false")}
SOURCES = (
    _source("livenli", "", {**_TASKS, "multilabel": _SEVERAL}, single=False),
    _source("livenli-single", ", one answer each", _TASKS, single=True),
)
