"""ValuePrism in files of the source's columns: subsets, classes, Schwartz's values, bad files."""

import csv
import logging
from pathlib import Path

import pytest

from mcstl import datasets
from mcstl._support.errors import InputError
from mcstl.studies.study_file import Study

COLUMNS = ("situation", "vrd", "text", "explanation", "valence")
ROWS: list[tuple[str, ...]] = [
    ("Feeding a stray cat", "Value", "Compassion", "It helps, and is kind.", "Supports"),
    ("Feeding a stray cat", "Right", 'Right to "life"', "Cats live.", "Supports"),
    ("Feeding a stray cat", "Duty", "Duty to neighbours", "They may mind.", "Either"),
    ("Feeding a stray cat", "Value", "Cleanliness", "It may be messy.", "Opposes"),
    ("Reading a diary,\nin secret", "Right", "Right to privacy", "It is private.", "Opposes"),
    ("Reading a diary,\nin secret", "Duty", "Duty to respect", "It is rude.", "Opposes"),
]


def write(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Data in two files, as the source's folder `full` may have them."""
    write(tmp_path / "valueprism" / "full" / "a.csv", COLUMNS, ROWS[:3])
    write(tmp_path / "valueprism" / "full" / "b.csv", COLUMNS, ROWS[3:])
    return tmp_path


def test_a_subset_is_the_rows_of_its_kind(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mcstl"):
        data = datasets.load("vp-rights", data_dir=root)
    assert data.classes == ("oppose", "either", "support")
    assert data.frame["rationale"].tolist() == ['Right to "life"', "Right to privacy"]
    assert data.frame["item"].tolist() == ["Feeding a stray cat", "Reading a diary,\nin secret"]
    assert data.labels.tolist() == [2, 0]
    assert data.attributes == ()
    assert data.frame["explanation"].tolist() == ["Cats live.", "It is private."]
    assert "vp-rights has 2 annotations where the source has about 49,000" in caplog.text


def test_ordinal_keeps_either_and_binary_drops_it(root: Path) -> None:
    assert datasets.load("vp-duties", data_dir=root).labels.tolist() == [1, 0]
    binary = datasets.load("vp-duties", data_dir=root, task="binary")
    assert (binary.classes, binary.labels.tolist()) == (("oppose", "support"), [0])
    assert sum(binary.dropped.values()) == 1


def test_the_default_groups_are_the_papers_clusters() -> None:
    sources = datasets.sources()
    found = {name: sources[name].groups.get("k") for name in sources if name.startswith("vp-")}
    assert found == {"vp-duties": 3, "vp-rights": 4, "vp-values": 5, "vp-schwartz": None}


def schwartz(root: Path, rows: list[tuple[int, tuple[str, ...]]]) -> None:
    write(
        root / "valueprism" / "schwartz.csv",
        ("situation", "vrd", "text", "values"),
        [(*row[:3], "Benevolence|Universalism" if k % 2 else "Security") for k, row in rows],
    )


def test_schwartz_values_come_from_the_labelled_file(root: Path) -> None:
    schwartz(root, list(enumerate(ROWS)))
    data = datasets.load("vp-schwartz", data_dir=root, task="binary")
    assert data.frame["values"].tolist() == [
        ["Security"],
        ["Benevolence", "Universalism"],
        ["Benevolence", "Universalism"],
        ["Security"],
        ["Benevolence", "Universalism"],
    ]
    assert data.dropped == {"label missing or outside `labels`": 1}


def test_rows_without_values_are_counted_and_many_are_an_error(root: Path) -> None:
    many: list[tuple[str, ...]] = [
        (f"Situation {i}", "Value", "Calm", "", "Supports") for i in range(30)
    ]
    write(root / "valueprism" / "full" / "c.csv", COLUMNS, many)
    labelled = list(enumerate([*ROWS, *many]))
    schwartz(root, labelled[:-1])
    data = datasets.load("vp-schwartz", data_dir=root)
    assert (len(data), data.dropped) == (35, {"row is not in schwartz.csv": 1})
    schwartz(root, labelled[:-2])
    with pytest.raises(InputError, match=r"2 of 36 rows of ValuePrism are not in .*schwartz.csv"):
        datasets.load("vp-schwartz", data_dir=root)


def test_other_columns_are_told_and_can_be_mapped(root: Path) -> None:
    for name in ("a", "b"):
        path = root / "valueprism" / "full" / f"{name}.csv"
        path.write_text(path.read_text(encoding="utf-8").replace("text", "vrd_text", 1))
    with pytest.raises(
        InputError, match=r"column 'text' is not in .*a\.csv; found: situation, vrd"
    ):
        datasets.load("vp-values", data_dir=root)
    study = Study(data={"dataset": "vp-values", "columns": {"text": "vrd_text"}})
    assert study.load(root).frame["rationale"].tolist() == ["Compassion", "Cleanliness"]
    wrong = Study(data={"dataset": "vp-values", "columns": {"valance": "x"}})
    with pytest.raises(InputError, match=r"vp-values has no 'valance'.* Did you mean 'valence'"):
        wrong.load(root)


def test_what_is_missing_is_told(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks schwartz\.csv\. Type: mcstl data get vp-schwartz"):
        datasets.load("vp-schwartz", data_dir=root)
    write(root / "valueprism" / "full" / "b.csv", COLUMNS, [])
    write(root / "valueprism" / "full" / "a.csv", COLUMNS, ROWS[:1])
    with pytest.raises(InputError, match=r"no rows whose vrd is Right; found: Value"):
        datasets.load("vp-rights", data_dir=root)
