"""POPQUORN: how offensive a comment is, from 1 to 5, with who says so.

Source: Pei and Jurgens, "When Do Annotator Demographics Matter? Measuring the Influence of
Annotator Demographics with the POPQUORN Dataset" (2023), offensiveness part. No licence is stated
at the source: publish aggregate figures, never its texts. Content warning: offensive comments.

It has the structure of the paper's DICES study (§3.1): sociocultural groups. `age` comes in the
source's bands of five years, spelt as there (the one from 55 to 59 is "54-59"). "Prefer not to
disclose" is a missing attribute, not a group; "Other" is an answer and stays.
"""

from pathlib import Path

import pandas as pd

from mcstl.data.labels import Task
from mcstl.datasets.source import Source, read_columns

_ATTRIBUTES = ("gender", "race", "age", "occupation", "education")
_REFUSED = "Prefer not to disclose"


def _read(folder: Path, task: Task) -> pd.DataFrame:
    ours = {"instance_id": "item", "text": "text", "offensiveness": "label", "user_id": "annotator"}
    table = read_columns(folder / "raw_data.csv", (*ours, *_ATTRIBUTES))
    frame = table[[*ours, *_ATTRIBUTES]].rename(columns=ours)
    frame[list(_ATTRIBUTES)] = frame[list(_ATTRIBUTES)].replace(_REFUSED, None)
    return frame


SOURCES = (
    Source(
        name="popquorn",
        title="POPQUORN: offensiveness of comments, with annotator demographics",
        licence="none stated at the source: publish aggregate figures, never its texts",
        homepage="https://github.com/Jiaxin-Pei/Potato-Prolific-Dataset",
        files=("raw_data.csv",),
        counts={"annotations": 13036, "items": 1500, "annotators": 262},
        tasks={
            "ordinal": {"1": [1], "2": [2], "3": [3], "4": [4], "5": [5]},
            "binary": {"not offensive": [1], "offensive": [2, 3, 4, 5]},
        },
        groups={"by": "attributes", "attributes": ["gender", "race", "education", "age"]},
        read=_read,
        attributes=_ATTRIBUTES,
        warning="Offensive comments",
    ),
)
