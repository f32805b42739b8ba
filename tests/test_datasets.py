"""Registered data sets: small files in the sources' own formats; the real ones where present."""

import gzip
import io
import logging
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args
from xml.sax.saxutils import escape

import numpy as np
import pytest

from mcstl import datasets
from mcstl._support.errors import InputError
from mcstl.data.labels import Task
from mcstl.data.splits import split

VALUES = ("Hedonism", "Security: personal", "Universalism: nature")
ARCHIVE = "UKPConvArg1-full-XML.tar.gz"


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def valueeval23(root: Path, changes: Callable[[str, list[str]], list[str]] | None = None) -> Path:
    """Forty arguments in the source's two parts and two kinds of unquoted TSV."""
    folder = root / "valueeval23"
    for part, first, last in (("training", 0, 30), ("validation", 30, 40)):
        arguments = ["Argument ID\tConclusion\tStance\tPremise"]
        labels = ["\t".join(("Argument ID", *VALUES))]
        for i in range(first, last):
            stance = ("against", "in favor of", "in favour of")[i % 3]
            conclusion = '"Tea for all" is a good rule' if i % 4 == 0 else f"We need {i % 4} lamps"
            arguments.append(f'A{i:05d}\t{conclusion}\t{stance}\tbecause of "reason" {i}')
            labels.append("\t".join((f"A{i:05d}", *(str(int(i % (k + 2) == 0)) for k in range(3)))))
        for kind, lines in (("arguments", arguments), ("labels", labels)):
            name = f"{kind}-{part}.tsv"
            write(folder / name, changes(name, lines) if changes else lines)
    return root


def popquorn(root: Path) -> Path:
    people = [
        "0,Man,White,35-39,Unemployed,College degree",
        "1,Woman,Asian,>65,Prefer not to disclose,Other",
    ]
    lines = ["instance_id,user_id,text,offensiveness,gender,race,age,occupation,education"]
    for item in range(6):
        for person in people:
            user, rest = person.split(",", 1)
            rating = float(1 + (item + int(user)) % 5)
            lines.append(f'{item},{user},"Lamp, or ""tea"" {item}?",{rating},{rest}')
    write(root / "popquorn" / "raw_data.csv", lines)
    return root


def pair_xml(number: str, first: str, second: str, votes: list[tuple[str, str, str]]) -> str:
    assignments = "".join(
        f"<mTurkAssignment><turkID>{who}</turkID><hitID>H</hitID><value>{value}</value>"
        f"<reason>{escape(reason)}</reason><turkRank>1</turkRank></mTurkAssignment>"
        for who, value, reason in votes
    )
    return (
        f"<annotatedArgumentPair><id>{number}</id>"
        f"<arg1><author>x</author><stance>Tea</stance><text>{escape(first)}</text><id>1</id></arg1>"
        f"<arg2><author>y</author><stance>Tea</stance><text>{escape(second)}</text><id>2</id></arg2>"
        f"<debateMetaData><title>Tea</title></debateMetaData>"
        f"<mTurkAssignments>{assignments}</mTurkAssignments>"
        "<goldLabel>a1</goldLabel></annotatedArgumentPair>"
    )


PAIRS = (
    pair_xml(
        "10_11",
        "Tea warms <all>",
        "Tea & calm",
        [("W1", "a1", "A1 is warm"), ("W2", "equal", "Both"), ("W3", "a2", "")],
    ),
    pair_xml("12_13", "Tea & calm", "Tea warms <all>", [("W1", "a1", "A1 is calm")]),
    pair_xml("14_15", "Tea warms <all>", "Tea & calm", [("W4", "a2", "A2 is calm")]),
    pair_xml("16_17", "Green", "Black", [("W2", "a1", "A1 is green")]),
)


def ukpconvarg1(root: Path, files: tuple[str, ...] | None = None) -> Path:
    texts = files or tuple(
        f'<?xml version="1.0"?>\n<list>\n{"".join(part)}\n</list>'
        for part in (PAIRS[:3], PAIRS[3:])
    )
    path = root / "ukpconvarg1" / ARCHIVE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("data/UKPConvArg1-full-XML")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for number, text in enumerate(texts):
            member = tarfile.TarInfo(f"data/UKPConvArg1-full-XML/topic_{number}.xml")
            content = text.encode()
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return root


def test_every_source_states_what_a_user_has_to_know() -> None:
    for name, source in datasets.sources().items():
        assert source.name == name
        assert source.title
        assert source.licence
        assert source.homepage
        assert all(count > 0 for count in {**source.about, **source.counts}.values())
        assert source.counts or source.about
        assert set(source.tasks) <= set(get_args(Task))
        assert source.warning or name == "simulated"
        assert source.groups


def test_valueeval23_joins_both_parts_and_keeps_quotation_marks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="mcstl"):
        data = datasets.load("valueeval23", data_dir=valueeval23(tmp_path))
    assert data.task == "binary"
    assert data.classes == ("against", "in favor of")
    assert data.source == "valueeval23"
    assert data.labels.tolist() == [int(i % 3 > 0) for i in range(40)]  # both spellings are class 1
    assert data.items()["item"].nunique() == 4
    first = data.frame.iloc[0]
    assert first["text"] == first["item"] == '"Tea for all" is a good rule'
    assert first["rationale"] == 'because of "reason" 0'
    assert data.frame["values"].tolist()[:5] == [
        list(VALUES),
        [],
        [VALUES[0]],
        [VALUES[1]],
        [VALUES[0], VALUES[2]],
    ]
    assert data.attributes == ()
    assert not data.has("annotator")
    assert data.dropped == {}
    assert "valueeval23 has 40 annotations where the source has 7,289" in caplog.text


def test_valueeval23_counts_arguments_that_do_not_join(tmp_path: Path) -> None:
    def one_lost(name: str, lines: list[str]) -> list[str]:
        return lines[:-1] if name == "labels-training.tsv" else lines

    data = datasets.load("valueeval23", data_dir=valueeval23(tmp_path, one_lost))
    assert len(data) == 39
    assert data.dropped == {"argument in only one of the source's two files": 1}
    assert data.frame["row"].tolist() == list(range(39))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("labels-training.tsv", lambda lines: lines[:-5], "5 of 40 arguments"),
        ("labels-training.tsv", lambda lines: [*lines, lines[-1]], "repeat an annotation_id"),
        ("labels-validation.tsv", lambda lines: [*lines[:-1], "A00039\t2\t0\t0"], "holds '2'"),
        ("arguments-training.tsv", lambda lines: ["x" + lines[0], *lines[1:]], "Argument ID"),
        ("arguments-validation.tsv", lambda lines: [], "cannot be read"),
    ],
)
def test_valueeval23_says_what_is_wrong(
    tmp_path: Path, name: str, change: Callable[[list[str]], list[str]], message: str
) -> None:
    root = valueeval23(tmp_path, lambda file, lines: change(lines) if file == name else lines)
    with pytest.raises(InputError, match=message):
        datasets.load("valueeval23", data_dir=root)


def test_popquorn_has_five_classes_and_attributes(tmp_path: Path) -> None:
    data = datasets.load("popquorn", data_dir=popquorn(tmp_path))
    assert data.task == "ordinal"
    assert data.classes == ("1", "2", "3", "4", "5")
    assert data.labels.tolist() == [(i + who) % 5 for i in range(6) for who in (0, 1)]
    assert data.attributes == ("gender", "race", "age", "occupation", "education")
    second = data.frame.iloc[1]
    assert second["text"] == 'Lamp, or "tea" 0?'
    assert second["annotator"] == "1"
    assert second[["gender", "race", "age", "education"]].tolist() == [
        "Woman",
        "Asian",
        ">65",
        "Other",
    ]
    # A refusal is no group of people.
    assert data.frame["occupation"].tolist() == ["Unemployed", None] * 6


def test_a_task_or_labels_choose_the_form(tmp_path: Path) -> None:
    root = popquorn(tmp_path)
    binary = datasets.load("popquorn", data_dir=root, task="binary")
    assert binary.classes == ("not offensive", "offensive")
    assert binary.labels.tolist()[:4] == [0, 1, 1, 1]
    merged = datasets.load(
        "popquorn", data_dir=root, labels={"fine": [1], "mild": [2], "rude": [3, 4]}
    )
    assert (merged.task, merged.classes) == ("ordinal", ("fine", "mild", "rude"))
    assert sum(merged.dropped.values()) == 2  # the fives
    two = datasets.load("popquorn", data_dir=root, labels={"fine": [1, 2], "rude": [3, 4, 5]})
    assert two.task == "binary"
    with pytest.raises(InputError, match="popquorn has no task 'preference'; choose from ordinal"):
        datasets.load("popquorn", data_dir=root, task="preference")


def test_ukpconvarg1_as_preference(tmp_path: Path) -> None:
    data = datasets.load("ukpconvarg1", data_dir=ukpconvarg1(tmp_path))
    assert data.task == "preference"
    assert data.classes == ("a2", "a1")
    assert data.labels.tolist() == [1, 0, 1, 0, 1]
    assert sum(data.dropped.values()) == 1  # the equal vote
    assert data.frame["row"].tolist() == [0, 2, 3, 4, 5]
    assert data.frame["item"].tolist() == ["10_11"] * 4 + ["16_17"]
    assert data.frame["flipped"].tolist() == [False, False, True, False, False]
    assert data.frame.iloc[0][["text_a", "text_b"]].tolist() == ["Tea warms <all>", "Tea & calm"]
    assert data.frame["annotator"].tolist() == ["W1", "W3", "W1", "W4", "W2"]
    assert data.frame["rationale"].tolist()[:2] == ["A1 is warm", ""]
    assert data.attributes == ()


def test_ukpconvarg1_as_three_ordered_classes(tmp_path: Path) -> None:
    data = datasets.load("ukpconvarg1", data_dir=ukpconvarg1(tmp_path), task="ordinal")
    assert data.classes == ("a2", "equal", "a1")
    assert data.labels.tolist() == [2, 1, 0, 2, 0, 2]
    # The same two texts in the same order are one item, whatever the pair's name.
    assert data.frame["item"].tolist() == ["10_11"] * 3 + ["12_13", "10_11", "16_17"]
    assert data.frame.loc[0, "text"] == (
        "First argument: Tea warms <all>\n\nSecond argument: Tea & calm"
    )


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.99])
def test_a_truncated_archive_is_said_to_be(tmp_path: Path, share: float) -> None:
    rng = np.random.default_rng(0)  # texts that do not compress, so that cuts fall inside them
    pairs = "".join(
        pair_xml(f"{i}_x", rng.bytes(400).hex(), rng.bytes(400).hex(), [("W", "a1", "A1 is best")])
        for i in range(200)
    )
    path = ukpconvarg1(tmp_path, (f"<list>{pairs}</list>",)) / "ukpconvarg1" / ARCHIVE
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        InputError, match=r"is it whole\? The files of ukpconvarg1 come from https:"
    ):
        datasets.load("ukpconvarg1", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"this is no archive", "cannot be read"),
        (gzip.compress(b"this is no archive either" * 100, mtime=0), "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_what_is_no_archive_is_said_to_be(tmp_path: Path, content: bytes, message: str) -> None:
    path = ukpconvarg1(tmp_path) / "ukpconvarg1" / ARCHIVE
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        datasets.load("ukpconvarg1", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<list>" + PAIRS[0], "topic_0.xml is not as the source's: no element found"),
        ("<list>" + PAIRS[0].replace("<turkID>W1</turkID>", "") + "</list>", "has no turkID"),
        ("<list>" + PAIRS[0].replace("text>", "words>") + "</list>", "has no arg1/text"),
        ("<list></list>", "holds no votes"),
    ],
)
def test_xml_of_another_form_is_said_to_be(tmp_path: Path, xml: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        datasets.load("ukpconvarg1", data_dir=ukpconvarg1(tmp_path, (xml,)))


def test_a_missing_file_is_named_with_where_it_comes_from(tmp_path: Path) -> None:
    (valueeval23(tmp_path) / "valueeval23" / "labels-training.tsv").unlink()
    with pytest.raises(InputError) as caught:
        datasets.load("valueeval23", data_dir=tmp_path)
    assert "lacks labels-training.tsv" in str(caught.value)
    assert "https://doi.org/10.5281/zenodo.6814563" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"popquorn lacks raw_data.csv\. .* come from https"):
        datasets.load("popquorn", data_dir=tmp_path)


def test_the_data_directory_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MCSTL_DATA", raising=False)
    with pytest.raises(InputError, match=r"--data-dir .* or set MCSTL_DATA"):
        datasets.load("popquorn")
    monkeypatch.setenv("MCSTL_DATA", str(popquorn(tmp_path)))
    assert len(datasets.load("popquorn")) == 12


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no data set 'popcorn'.* Did you mean 'popquorn'"):
        datasets.load("popcorn")


def test_only_simulated_data_has_a_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MCSTL_DATA", raising=False)
    with caplog.at_level(logging.WARNING, logger="mcstl"):
        default = datasets.load("simulated")
    assert caplog.text == ""  # it has the counts that it states
    assert len(default) == datasets.sources()["simulated"].counts["annotations"]
    assert default.attributes == datasets.sources()["simulated"].attributes
    assert len(datasets.load("simulated", annotations=321, task="preference")) == 321
    with pytest.raises(InputError, match="sets the size of simulated data; popquorn has its own"):
        datasets.load("popquorn", data_dir=popquorn(tmp_path), annotations=5)


def test_real_valueeval23(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = datasets.load("valueeval23", data_dir=data_dir)
    assert caplog.text == ""
    assert (len(data), data.frame["item"].nunique()) == (7289, 489)
    assert np.bincount(data.labels).tolist() == [3333, 3956]
    assert data.dropped == {}
    sizes = data.frame["values"].explode().value_counts()
    assert len(sizes) == 20
    assert sizes["Universalism: concern"] == 2768
    assert (data.frame["values"].map(len) == 0).sum() == 1
    assert data.frame["text"].str.startswith('"').sum() == 2
    assert (data.frame["rationale"] != "").all()


def test_real_popquorn(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = datasets.load("popquorn", data_dir=data_dir)
    assert caplog.text == ""
    assert np.bincount(data.labels).tolist() == [7516, 2190, 1590, 1039, 701]
    assert data.frame["item"].nunique() == 1500
    people = data.frame.drop_duplicates("annotator")
    assert len(people) == 262
    assert people["gender"].value_counts().to_dict() == {"Woman": 131, "Man": 124, "Non-binary": 7}
    assert people[list(data.attributes)].nunique().to_dict() == {
        "gender": 3,
        "race": 6,
        "age": 10,
        "occupation": 7,
        "education": 5,
    }
    assert people["occupation"].isna().sum() == 1
    assert people[["gender", "race", "age", "education"]].notna().all(axis=None)
    binary = datasets.load("popquorn", data_dir=data_dir, task="binary")
    assert np.bincount(binary.labels).tolist() == [7516, 5520]


def test_real_ukpconvarg1(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = datasets.load("ukpconvarg1", data_dir=data_dir)
    assert caplog.text == ""
    assert np.bincount(data.labels).tolist() == [32491, 32849]
    assert sum(data.dropped.values()) == 19105
    frame = data.frame
    assert frame.iloc[0][["item", "label", "flipped"]].tolist() == ["803_794", 0, False]
    assert frame["flipped"].any()
    assert (frame["rationale"] != "").all()
    # Arguments are only compared within a debate's side, so these are what an item split moves.
    parts = split(data, "item", seed=0)
    assert len(parts.test) == pytest.approx(0.2 * len(data), rel=0.3)


def test_real_ukpconvarg1_with_equal(data_dir: Path) -> None:
    data = datasets.load("ukpconvarg1", data_dir=data_dir, task="ordinal")
    assert np.bincount(data.labels).tolist() == [32491, 19105, 32849]
    assert (len(data), data.frame["annotator"].nunique()) == (84445, 3815)
    assert data.frame["item"].nunique() == data.frame["text"].nunique() == 16702
