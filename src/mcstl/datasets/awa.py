"""Annotators with Attitudes: how offensive a tweet is, from 1 to 5, with what its raters believe.

Source: Sap et al., "Annotators with Attitudes: How Annotator Beliefs And Identities Bias Toxic
Language Detection" (NAACL 2022), the large study, `largeScale.csv`. No licence is stated at the
source: publish aggregate figures, never its texts. Content warning: racist and vulgar tweets.

A rater says how offensive a tweet is to themselves (`toyou`, the label), to anybody (`toany`), how
racist it is (`racist`) and whether it was meant to offend (`intent`), each from 1 to 5;
``columns: {label: racist}`` learns another of them.

Of each rater the file tells seven attitudes, means of a few answers rounded to 1 to 5, politics
from -1 (liberal) to 1 (conservative), race, gender and age. Attitudes are values of people: by
default they make the groups, cut into three bands of about as many training rows. They were asked
with every batch of tweets, so some people have several answers: each row keeps its own. A cell
``na`` is a missing answer. Raters who ticked that they did not understand a tweet (74 rows) rated
it nevertheless, and their ratings stay.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mcstl.data.labels import Task
from mcstl.datasets.source import Source, read_columns, without

_ATTITUDES = {
    "altruism": "altruism",
    "empathy": "empathy",
    "freeSpeech": "free speech",
    "harmHateSpeech": "harm of hate speech",
    "lingPurism": "linguistic purism",
    "racism": "racist beliefs",
    "traditionalism": "traditionalism",
}
_PEOPLE = {
    "annotatorPolitics": "politics",
    "annotatorRace": "race",
    "annotatorGender": "gender",
    "annotatorAge": "age",
}


def _read(folder: Path, task: Task, columns: Mapping[str, str]) -> pd.DataFrame:
    ours = {"postId": "item", "tweet": "text", "annId": "annotator"} | _ATTITUDES | _PEOPLE
    theirs = columns.get("label", "toyou")
    table = read_columns(folder / "largeScale.csv", (*ours, theirs))
    frame = table[[*ours]].rename(columns=ours).assign(label=table[theirs])
    for name in ("race", "gender"):
        frame[name] = without(frame[name], "na")
    return frame


SOURCES = (
    Source(
        name="awa",
        title="Annotators with Attitudes: offensiveness of tweets, with raters' attitudes",
        licence="none stated at the source: publish aggregate figures, never its texts",
        homepage="https://aclanthology.org/2022.naacl-main.431",
        files=("largeScale.csv",),
        counts={"annotations": 3463, "items": 627, "annotators": 184},
        tasks={
            "ordinal": {str(rating): [rating] for rating in range(1, 6)},
            "binary": {"not offensive": [1], "offensive": [2, 3, 4, 5]},
        },
        groups={
            "by": "attributes",
            "attributes": [*_ATTITUDES.values(), "politics"],
            "bands": {**dict.fromkeys(_ATTITUDES.values(), 3), "politics": [0, 0.5]},
        },
        choices="{by: attributes, attributes: [race, gender, age], bands: {age: 3}}",
        read=_read,
        attributes=(*_ATTITUDES.values(), *_PEOPLE.values()),
        warning="Racist, vulgar and hateful tweets",
        gated="ask the authors, or look for the data of their paper",
        columns=("label",),
    ),
)
