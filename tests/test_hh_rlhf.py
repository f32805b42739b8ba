"""HH-RLHF and ValueImprint: dialogues, matching, groups that do not tell the label, bad files."""

import csv
import gzip
import json
import logging
import zipfile
from pathlib import Path

import pytest

from mcstl import datasets
from mcstl._support.errors import InputError
from mcstl.datasets.hh_rlhf import turns

CATEGORIES = ("Civility/Tolerance", "Wisdom/Knowledge", "Justice/Human Rights & Animal Rights")
Pairs = list[tuple[str, str]]


def dialogue(prompt: str, answer: str) -> str:
    return f"\n\nHuman: {prompt}\n\nAssistant: Yes?\n\nHuman: Go on.\n\nAssistant: {answer}"


PAIRS: Pairs = [
    (dialogue(f"Question {i}", f"Good {i}"), dialogue(f"Question {i}", f"Bad {i}"))
    for i in range(40)
]
PAIRS.append(PAIRS[0][::-1])  # judged both ways


def write_pairs(root: Path, pairs: Pairs, name: str = "harmless-base/test") -> Path:
    path = root / "hh-rlhf" / f"{name}.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"chosen": chosen, "rejected": rejected}) for chosen, rejected in pairs]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    return root


def write_categories(
    root: Path, texts: dict[str, list[str]], zipped: bool = False, part: str = "whole"
) -> None:
    """ValueImprint's two tables: each text with the category of its position."""
    folder = root / "valueimprint"
    folder.mkdir(exist_ok=True)
    for shift, side in enumerate(("chosen", "rejected")):
        rows = [("Text", "Prediction")]
        for i, text in enumerate(texts[side]):
            shown = text.rsplit("Assistant:", 1)[1] if part == "last" else text
            rows.append((shown.replace("\n\n", "\n"), CATEGORIES[(i + shift) % 3]))
        path = folder / f"{side}_human_values_roberta.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)
        if zipped:
            with zipfile.ZipFile(folder / f"valueimprint_{side}.zip", "w") as archive:
                archive.write(path, path.name)
            path.unlink()


def sides(pairs: Pairs) -> dict[str, list[str]]:
    return {"chosen": [c for c, _ in pairs], "rejected": [r for _, r in pairs]}


def test_turns() -> None:
    assert turns(dialogue("Hi", "Bye: Human: no")) == [
        ("Human", "Hi"),
        ("Assistant", "Yes?"),
        ("Human", "Go on."),
        ("Assistant", "Bye: Human: no"),
    ]
    assert turns("no dialogue") == []


def test_pairs_alone_are_oriented_by_content_and_repeated_ones_are_one_item(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, PAIRS)
    write_pairs(root, [(dialogue("Help", "Yes"), dialogue("Help", "No"))], "helpful-base/train")
    data = datasets.load("hh-rlhf", data_dir=root)
    assert (data.task, len(data), data.frame["item"].nunique()) == ("preference", 42, 41)
    assert 10 < data.labels.sum() < 32  # the chosen text is not always the first
    first, again = data.frame.iloc[0], data.frame.iloc[40]
    assert first["item"] == again["item"]
    assert first["text_a"] == again["text_a"]
    assert {first["label"], again["label"]} == {0, 1}
    assert data.frame["values"].tolist() == [["harmless"]] * 41 + [["helpful"]]


def test_a_dialogue_without_an_assistant_is_counted_and_many_are_an_error(tmp_path: Path) -> None:
    lone = [("\n\nHuman: Hello?", dialogue("a", "b")), (dialogue("c", "d"), "")]
    data = datasets.load("hh-rlhf", data_dir=write_pairs(tmp_path, PAIRS + lone))
    assert data.dropped == {"dialogue without an assistant turn": 2}
    with pytest.raises(InputError, match=r"4 of 45 pairs in .* a dialogue without an assistant"):
        datasets.load("hh-rlhf", data_dir=write_pairs(tmp_path, PAIRS + lone + lone))


@pytest.mark.parametrize("part", ["whole", "last"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_pair_has_the_categories_of_both_texts(tmp_path: Path, part: str, zipped: bool) -> None:
    write_pairs(tmp_path, PAIRS)
    write_categories(tmp_path, sides(PAIRS[:40]), zipped, part)
    data = datasets.load("valueimprint", data_dir=tmp_path)
    expected = [sorted({CATEGORIES[i % 3], CATEGORIES[(i + 1) % 3]}) for i in range(40)]
    assert data.frame["values"].tolist()[:40] == expected
    chosen = datasets.load("valueimprint-chosen", data_dir=tmp_path)
    assert chosen.frame["values"].tolist()[:40] == [[CATEGORIES[i % 3]] for i in range(40)]


def test_what_matches_nothing_and_what_was_judged_both_ways_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pairs(tmp_path, PAIRS)
    write_categories(tmp_path, sides(PAIRS[:40]))
    with caplog.at_level(logging.WARNING, logger="mcstl"):
        data = datasets.load("valueimprint", data_dir=tmp_path)
    # The pair that is there the other way round is in neither table of its side.
    assert "1 of 41 pairs match no text of ValueImprint" in caplog.text
    assert data.frame["values"].iloc[40] == []
    assert "valueimprint has 1 pairs judged both ways where the source has 74" in caplog.text
    write_categories(tmp_path, sides(PAIRS[:30]))
    with pytest.raises(InputError, match=r"11 of 41 pairs in .* match no text in"):
        datasets.load("valueimprint", data_dir=tmp_path)


def test_valueimprint_says_what_else_it_needs(tmp_path: Path) -> None:
    (tmp_path / "valueimprint").mkdir()
    with pytest.raises(InputError, match=r"lacks \*chosen\*, \*rejected\*\. Type: mcstl data get"):
        datasets.load("valueimprint", data_dir=tmp_path)
    write_categories(tmp_path, sides(PAIRS))
    with pytest.raises(InputError, match=r"Type: mcstl data get hh-rlhf"):
        datasets.load("valueimprint", data_dir=tmp_path)
    write_pairs(tmp_path, PAIRS)
    path = tmp_path / "valueimprint" / "chosen_human_values_roberta.csv"
    path.write_text(path.read_text().replace("Prediction", "Label", 1))
    with pytest.raises(InputError, match=r"column 'Prediction' is not in"):
        datasets.load("valueimprint", data_dir=tmp_path)
    path.unlink()
    path.with_suffix(".zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match=r"chosen.*\.zip cannot be read"):
        datasets.load("valueimprint", data_dir=tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_truncated_file_is_said_to_be(tmp_path: Path, share: float) -> None:
    path = write_pairs(tmp_path, PAIRS) / "hh-rlhf" / "harmless-base" / "test.jsonl.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"cannot be read as jsonl: .* is it whole\?"):
        datasets.load("hh-rlhf", data_dir=tmp_path)


def test_other_keys_are_told(tmp_path: Path) -> None:
    path = tmp_path / "hh-rlhf" / "harmless-base" / "test.jsonl.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(b'{"transcript": "x", "rating": 1}\n'))
    with pytest.raises(
        InputError, match=r"column 'chosen' is not in .*; found: transcript, rating"
    ):
        datasets.load("hh-rlhf", data_dir=tmp_path)


def test_real_pairs(data_dir: Path) -> None:
    data = datasets.load("hh-rlhf", data_dir=data_dir)
    assert (len(data), data.frame["item"].nunique(), data.dropped) == (2312, 2312, {})
    assert data.labels.mean() == pytest.approx(0.5, abs=0.04)
    assert data.frame["text_a"].str.startswith("Human: ").all()


def test_real_pairs_with_categories_of_the_same_texts(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "hh-rlhf").symlink_to(data_dir / "hh-rlhf")
    with gzip.open(data_dir / "hh-rlhf" / "harmless-base" / "test.jsonl.gz") as lines:
        pairs = [(each["chosen"], each["rejected"]) for each in map(json.loads, lines)]
    write_categories(tmp_path, sides(pairs))
    data = datasets.load("valueimprint", data_dir=tmp_path)
    assert (data.frame["values"].map(len) == 2).all()
