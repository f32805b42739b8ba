"""D3CODE: how offensive a post is, judged in eight regions of the world (the paper's §3.1).

Source: Davani et al., "D3CODE: Disentangling Disagreements in Data across Cultures on Offensiveness
Detection and Evaluation" (EMNLP 2024); CC BY 4.0. Content warning: offensive posts.

Three files: items, raters and ratings. A rating is 0 (not offensive at all) to 4; -1, not
understood, is left out. Binary is the source's own cut, 2 and above. The items file repeats 36
posts that were picked for two reasons.

Of each rater the files tell gender, age, region, country, social standing (`ses`, 1 to 10) and six
moral foundations, each a mean of six answers from 1 to 5. They are cut into three bands of as many
raters as ties allow, by the raters file alone: ``care=high`` is the third that cares most. As
groups they are values rather than descriptors, to be compared with the paper's gender, age and
region.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from mcstl._support.errors import InputError
from mcstl.data.labels import Task
from mcstl.datasets.source import Source, banded, check_joined, read_columns

_FOUNDATIONS = ("care", "equality", "proportionality", "authority", "loyalty", "purity")
_PEOPLE = {
    "Gender": "gender",
    "Age": "age",
    "Region": "region",
    "Country": "country",
    "SES": "ses",
    **{name: name for name in _FOUNDATIONS},
}
_log = logging.getLogger("mcstl")


def _read(folder: Path, task: Task) -> pd.DataFrame:
    texts = read_columns(folder / "d3-items.csv", ("item_id", "text"))[["item_id", "text"]]
    texts = texts.drop_duplicates()
    repeated = texts[texts["item_id"].duplicated()]["item_id"]
    if len(repeated):
        raise InputError(f"{folder / 'd3-items.csv'} has two texts of item {repeated.iloc[0]}.")
    raters = read_columns(folder / "d3-raters.csv", ("rater_id", *_PEOPLE))
    raters = raters[["rater_id", *_PEOPLE]].rename(columns=_PEOPLE).drop_duplicates("rater_id")
    for name in _FOUNDATIONS:
        scores = pd.to_numeric(raters[name], errors="coerce")
        edges = np.nanquantile(scores, [1 / 3, 2 / 3]) if scores.notna().any() else [3.0, 3.0]
        raters[name] = banded(raters[name], edges, ("low", "middle", "high"))
    ratings = read_columns(folder / "d3-ratings.csv", ("item_id", "rater_id", "rating_raw"))
    frame = ratings[["item_id", "rater_id", "rating_raw"]].merge(texts, on="item_id", how="left")
    lost = int(frame["text"].isna().sum())
    check_joined(lost, len(frame), f"ratings in {folder} are of items that d3-items.csv lacks")
    frame = frame[frame["text"].notna()].merge(raters, on="rater_id", how="left", indicator=True)
    strangers = int((frame.pop("_merge") == "left_only").sum())
    check_joined(strangers, len(frame), f"ratings in {folder} are by raters not in d3-raters.csv")
    if strangers:
        _log.warning(
            "d3code: %s ratings are by raters that d3-raters.csv lacks; they are in no group",
            f"{strangers:,}",
        )
    ours = {"item_id": "item", "rater_id": "annotator", "rating_raw": "label"}
    frame = frame.rename(columns=ours)
    if lost:
        frame.attrs["dropped"] = {"rating of an item that the source's items lack": lost}
    frame.attrs["counts"] = {"items in all": len(texts), "annotators in all": len(raters)}
    return frame


SOURCES = (
    Source(
        name="d3code",
        title="D3CODE: how offensive a post is, by raters of eight regions",
        licence="CC BY 4.0",
        homepage="https://github.com/google-research-datasets/D3code",
        files=("d3-items.csv", "d3-raters.csv", "d3-ratings.csv"),
        counts={"items in all": 4554, "annotators in all": 4309},
        tasks={
            "binary": {"not offensive": [0, 1], "offensive": [2, 3, 4]},
            "ordinal": {str(rating): [rating] for rating in range(5)},
        },
        groups={"by": "attributes", "attributes": ["gender", "age", "region"]},
        choices="{by: attributes, attributes: [country, ses]}, or by moral foundation in bands: "
        f"[{', '.join(_FOUNDATIONS)}]",
        read=_read,
        attributes=tuple(_PEOPLE.values()),
        warning="Offensive posts",
    ),
)
