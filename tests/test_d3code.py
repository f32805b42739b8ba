"""D3CODE: generated ratings on items and raters of the source's columns, and on its real ones."""

import csv
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mcstl import datasets
from mcstl._support.errors import InputError

FOUNDATIONS = ("care", "equality", "proportionality", "authority", "loyalty", "purity")
PEOPLE = ("rater_id", "Age", "Gender", "Region", "Country", "SES", *FOUNDATIONS)
RATINGS = ("item_id", "rater_id", "rating_raw", "rating_binary")


def write(path: Path, rows: list[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def rating(item: str, rater: str, raw: int) -> tuple[str, ...]:
    return item, rater, str(raw), "na" if raw < 0 else str(int(raw > 1))


def d3code(root: Path, strangers: int = 0, lost: int = 0) -> Path:
    """Thirty raters of ten posts; some ratings by unknown raters and of unknown items."""
    items = [(str(i), f'Post, "{i}"', "random", "random") for i in range(10)]
    write(
        root / "d3code" / "d3-items.csv", [("item_id", "text", "category", "sub-category"), *items]
    )
    with (root / "d3code" / "d3-items.csv").open("a", encoding="utf-8") as stream:
        stream.write('3,"Post, ""3""",moral,care\n')  # picked for two reasons
    people = [
        (
            *(f"R_{k}", "18-30", ("Man", "Woman", "Other")[k % 3], "Oceania", "Australia"),
            str(k % 10),
            *(f"{1 + 4 * k / 29:.9f}" for _ in FOUNDATIONS),
        )
        for k in range(30)
    ]
    write(root / "d3code" / "d3-raters.csv", [PEOPLE, *people])
    rows = [rating(str(i), f"R_{k}", (i + k) % 6 - 1) for i in range(10) for k in range(30)]
    rows[:strangers] = [rating("1", f"R_new{k}", 2) for k in range(strangers)]
    rows[100 : 100 + lost] = [rating(f"x{k}", "R_1", 2) for k in range(lost)]
    write(root / "d3code" / "d3-ratings.csv", [RATINGS, *rows])
    return root


def test_likert_and_binary(tmp_path: Path) -> None:
    binary = datasets.load("d3code", data_dir=d3code(tmp_path))
    assert binary.classes == ("not offensive", "offensive")
    assert binary.dropped == {"label missing or outside `labels`": 50}  # not understood
    likert = datasets.load("d3code", data_dir=tmp_path, task="ordinal")
    assert np.bincount(likert.labels).tolist() == [50] * 5
    assert (binary.labels == (likert.labels > 1)).all()
    three = {"no": [0], "some": [1, 2], "yes": [3, 4]}
    assert datasets.load("d3code", data_dir=tmp_path, labels=three).task == "ordinal"
    assert likert.frame["text"].iloc[0] == 'Post, "0"'


def test_moral_foundations_are_thirds_of_the_raters(tmp_path: Path) -> None:
    data = datasets.load("d3code", data_dir=d3code(tmp_path), task="ordinal")
    assert data.attributes == ("gender", "age", "region", "country", "ses", *FOUNDATIONS)
    people = data.frame.drop_duplicates("annotator")
    for name in FOUNDATIONS:
        assert people[name].value_counts().to_dict() == {"low": 10, "middle": 10, "high": 10}
    highest = people.set_index("annotator").loc["R_29"]
    assert (highest["care"], highest["gender"]) == ("high", "Other")


def test_raters_without_metadata_are_in_no_group(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="mcstl"):
        data = datasets.load("d3code", data_dir=d3code(tmp_path, strangers=4))
    assert "4 ratings are by raters that d3-raters.csv lacks" in caplog.text
    assert data.frame["gender"].isna().sum() == 4
    with pytest.raises(InputError, match=r"40 of 300 ratings in .* are by raters not in"):
        datasets.load("d3code", data_dir=d3code(tmp_path, strangers=40))


def test_ratings_of_unknown_items_are_counted(tmp_path: Path) -> None:
    data = datasets.load("d3code", data_dir=d3code(tmp_path, lost=3))
    assert data.dropped["rating of an item that the source's items lack"] == 3
    with pytest.raises(InputError, match=r"50 of 300 ratings in .* are of items that d3-items"):
        datasets.load("d3code", data_dir=d3code(tmp_path, lost=50))


def test_wrong_files_are_said_to_be(tmp_path: Path) -> None:
    folder = d3code(tmp_path) / "d3code"
    write(folder / "d3-items.csv", [("item_id", "text"), ("1", "a"), ("1", "b")])
    with pytest.raises(InputError, match=r"has two texts of item 1"):
        datasets.load("d3code", data_dir=tmp_path)
    write(folder / "d3-ratings.csv", [("item", "rater_id", "rating_raw"), ("1", "R_1", "2")])
    d3 = d3code(tmp_path / "other") / "d3code" / "d3-items.csv"
    shutil.copy(d3, folder / "d3-items.csv")
    with pytest.raises(InputError, match=r"column 'item_id' is not in .* Did you mean 'item'"):
        datasets.load("d3code", data_dir=tmp_path)


def test_real_items_and_raters(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "d3code"
    shutil.copytree(data_dir / "d3code", folder)
    folder.chmod(0o755)
    items = pd.read_csv(folder / "d3-items.csv", dtype=str)["item_id"].unique()
    raters = pd.read_csv(folder / "d3-raters.csv", dtype=str)["rater_id"]
    rng = np.random.default_rng(0)
    rows = [
        rating(items[(37 * k + j) % len(items)], who, int(rng.integers(-1, 5)))
        for k, who in enumerate(raters)
        for j in range(2)
    ]
    write(folder / "d3-ratings.csv", [RATINGS, *rows])
    data = datasets.load("d3code", data_dir=tmp_path, task="ordinal")
    assert len(data) + sum(data.dropped.values()) == 2 * 4309
    people = data.frame.drop_duplicates("annotator")
    assert people["gender"].nunique() == 3
    assert people["region"].nunique() == 8
    assert people["country"].nunique() == 21
    for name in FOUNDATIONS:  # ties keep thirds from being equal
        shares = people[name].value_counts(normalize=True)
        assert set(shares.index) == {"low", "middle", "high"}
        assert shares.min() > 0.2
