"""CADE: how acceptable a comment on a celebrity's scandal is, with raters' moral foundations.

Source: Lo et al., "That is Unacceptable: the Moral Foundations of Canceling" (ACL 2025). No licence
is stated with the file used here: publish aggregate figures, never its texts. Content warning:
racist, sexist and violent comments.

A rater says how acceptable a comment is, from 1 (acceptable) to 4 (not at all), and what its stance
is: -1 takes the celebrity's side, 1 is against them. The label is the first;
``columns: {label: stance}`` with ``labels: {for: [-1], neutral: [0], against: [1]}`` learns the
other. Rows without the label are left out (343 of the first).

An item is a comment of the platform, known by its id. Eight ids have a second text, by one rater
each: seven times it is the same comment with other spaces or quotation marks, and the text that
most rows have stands for both. Once it is something else (a lone comma); that row is left out.

Of each rater the file tells five moral foundations, means of six answers from 0 to 5, gender, and
whether they are students, activists or researchers. By default the foundations make the groups,
each cut into three bands of about as many training rows.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mcstl.data.labels import Task
from mcstl.datasets.source import Source, read_columns, without

_FOUNDATIONS = ("care", "fairness", "loyalty", "authority", "purity")
_OTHER_TEXT = "text is another than its id's"


def _read(folder: Path, task: Task, columns: Mapping[str, str]) -> pd.DataFrame:
    ours = {
        "text_id": "item",
        "text": "text",
        "annotator_id": "annotator",
        **{name: name for name in _FOUNDATIONS},
        "Gender identity": "gender",
        "stakeholder": "stakeholder",
    }
    theirs = columns.get("label", "acceptability")
    table = read_columns(folder / "cade.parquet", (*ours, theirs))
    frame = table[[*ours]].rename(columns=ours).assign(label=table[theirs])
    frame["gender"] = without(frame["gender"], "Prefer not to say")
    texts = frame.groupby("item", sort=False)["text"].agg(lambda each: each.mode().iloc[0])
    usual = frame["item"].map(texts)
    same = frame["text"].map(_letters) == usual.map(_letters)
    frame = frame.assign(text=usual)[same].reset_index(drop=True)
    if not same.all():
        frame.attrs["dropped"] = {_OTHER_TEXT: int((~same).sum())}
    frame.attrs["counts"] = {"annotations": len(same)}
    return frame


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


SOURCES = (
    Source(
        name="cade",
        title="CADE: acceptability of comments on scandals, with raters' moral foundations",
        licence="none stated with the file: publish aggregate figures, never its texts",
        homepage="https://aclanthology.org/2025.acl-long.330",
        files=("cade.parquet",),
        counts={"annotations": 11935, "items": 2094, "annotators": 57},
        tasks={
            "ordinal": {str(rating): [rating] for rating in range(1, 5)},
            "binary": {"acceptable": [1, 2], "not acceptable": [3, 4]},
        },
        groups={"by": "attributes", "attributes": list(_FOUNDATIONS)},
        choices="{by: attributes, attributes: [gender, stakeholder]}",
        read=_read,
        attributes=(*_FOUNDATIONS, "gender", "stakeholder"),
        warning="Racist, sexist and violent comments",
        gated="get the data set's Parquet file (aequa-tech/CADE on the Hugging Face hub)",
        columns=("label",),
    ),
)
