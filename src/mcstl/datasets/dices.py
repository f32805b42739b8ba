"""DICES: is a chatbot's answer unsafe, with who says so (the paper's §3.1).

Source: Aroyo et al., "DICES Dataset: Diversity in Conversational AI Evaluation for Safety" (NeurIPS
2023); CC BY 4.0. Content warning: conversations that were meant to provoke harmful answers.

Two sets, registered as `dices-990` (the paper's) and `dices-350`. The text is the conversation up
to the answer, and the answer; the label is ``Q_overall``, is the answer unsafe: unsafe (Yes) <
unsure < safe (No), the paper's order. ``degree_of_harm`` is an expert's label of the item and is
not read. Raters of the first come from two countries (`locale`), those of the second from one.
"""

from functools import partial
from pathlib import Path

import pandas as pd

from mcstl.data.labels import Labels, Task
from mcstl.datasets.source import Source, read_columns

_ATTRIBUTES = ("gender", "race", "age", "locale", "education")
_TASKS: dict[Task, Labels] = {
    "ordinal": {"unsafe": ["Yes"], "unsure": ["Unsure"], "safe": ["No"]},
    "binary": {"unsafe": ["Yes"], "safe": ["No"]},
}


def _read(folder: Path, task: Task, *, file: str, attributes: tuple[str, ...]) -> pd.DataFrame:
    theirs = {f"rater_{name}": name for name in attributes}
    needed = ("item_id", "rater_id", "context", "response", "Q_overall", *theirs)
    table = read_columns(folder / file, needed)
    # Some conversations start with the answer; an empty cell is missing.
    context = table["context"].fillna("").str.strip()
    head = (context + "\n\n").where(context != "", "")
    frame = pd.DataFrame(
        {
            "item": table["item_id"],
            "text": head + table["response"].fillna("").str.strip(),
            "label": table["Q_overall"],
            "annotator": table["rater_id"],
        }
    )
    return frame.join(table[list(theirs)].rename(columns=theirs))


def _source(size: int, attributes: tuple[str, ...], annotations: int, annotators: int) -> Source:
    file = f"{size}/diverse_safety_adversarial_dialog_{size}.csv"
    groups = [name for name in attributes if name != "education"]
    return Source(
        name=f"dices-{size}",
        title=f"DICES-{size}: is a chatbot's answer unsafe, with rater demographics",
        licence="CC BY 4.0",
        homepage="https://github.com/google-research-datasets/dices-dataset",
        files=(file,),
        counts={"annotations": annotations, "items": size, "annotators": annotators},
        tasks=_TASKS,
        groups={"by": "attributes", "attributes": groups},
        choices=f"{{by: attributes, attributes: [{', '.join(attributes)}]}}",
        read=partial(_read, file=file, attributes=attributes),
        attributes=attributes,
        warning="Conversations that were meant to provoke harmful answers",
        folder="dices",
    )


SOURCES = (
    _source(990, _ATTRIBUTES, 72103, 173),
    _source(350, tuple(name for name in _ATTRIBUTES if name != "locale"), 43050, 123),
)
