"""LeWiDi entered: measures by hand, baselines, submission files, what is missing."""

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mcstl import datasets
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError
from mcstl.cli import app
from mcstl.evaluation.soft_labels import soft_label_scores
from mcstl.reproduce.lewidi import Entered, editions, enter
from mcstl.reproduce.lewidi.editions import Edition, Target
from mcstl.reproduce.lewidi.predicting import fold_of_rows, load_target, predicted
from mcstl.reproduce.lewidi.scores import baselines, scores, truth
from mcstl.reproduce.lewidi.submission import write_submission
from test_lewidi import entry, write

PEOPLE = ("Ann1", "Ann2")
SCALE = Target(dataset="lewidi-csc", task="ordinal", soft="wasserstein", entries={"texts": ({},)})
QUESTIONS = Target(
    dataset="lewidi-varierrnli",
    task="multilabel",
    soft="manhattan",
    entries={
        "texts": ({"parts": "joined"},),
        "with explanations": ({"parts": "joined", "read_rationales": True},),
    },
)
YES_NO = Target(
    dataset="lewidi-armis", task="binary", soft="cross_entropy", entries={"texts": ({},)}
)


def csc(root: Path, *, labelled_test: bool | None = False, n: int = 24) -> Path:
    """Sarcasm that the wording tells; a test part without labels, with them, or none."""
    draw = np.random.default_rng(0)

    def entries(first: int, count: int, labelled: bool) -> dict[str, Any]:
        made = {}
        for k in range(first, first + count):
            sarcastic = k % 2
            response = f"Sure, right, {k}." if sarcastic else f"Yes, thank you, {k}."
            text = {"context": "Steve asks.", "response": response}
            given = {who: str(int(draw.integers(1, 4)) + 3 * sarcastic) for who in PEOPLE}
            made[str(k)] = entry(text, given, ",".join(PEOPLE), 2)
            if not labelled:
                del made[str(k)]["annotations"], made[str(k)]["soft_label"]
        return made

    write(root, "CSC/CSC_train.json", entries(0, n, True))
    write(root, "CSC/CSC_dev.json", entries(100, 6, True))
    if labelled_test is not None:
        name = "CSC_test" if labelled_test else "CSC_test_clear"
        write(root, f"CSC/{name}.json", entries(200, 4, labelled_test))
    people = {who: {"Gender": "Female", "Age": "30"} for who in PEOPLE}
    return write(root, "CSC/CSC_annotators_meta.json", people and json.dumps(people))


def nli(root: Path) -> Path:
    def entries(first: int, count: int, labelled: bool) -> dict[str, Any]:
        made = {}
        for k in range(first, first + count):
            names = ("contradiction", "neutral", "entailment")
            labels = {
                "Ann1": f"{names[k % 3]},{names[(k + 1) % 3]}",
                "Ann2": names[k % 3],
            }
            reasons = [f"reason {k % 3}", f"reason {(k + 1) % 3}", f"reason {k % 3}"]
            text = {"context": f"It rains {k}.", "statement": "It is wet."}
            made[str(k)] = entry(text, labels, "Ann1,Ann1,Ann2", 3, explanations=reasons)
            if not labelled:
                del made[str(k)]["annotations"], made[str(k)]["soft_label"]
        return made

    write(root, "VariErrNLI/VariErrNLI_train.json", entries(0, 12, True))
    write(root, "VariErrNLI/VariErrNLI_dev.json", entries(100, 3, True))
    write(root, "VariErrNLI/VariErrNLI_test.json", entries(200, 2, False))
    people = {who: {"Gender": "Female", "Age": "30"} for who in PEOPLE}
    return write(root, "VariErrNLI/VariErrNLI_annotators_meta.json", json.dumps(people))


def edition(target: Target, name: str) -> Edition:
    return Edition(title="LeWiDi", measures=("A", "B"), sources=("here",), datasets={name: target})


def entered(target: Target, name: str, root: Path, out: Path) -> Entered:
    (only,) = enter(edition(target, name), None, out, root, lambda *_: None)
    return only


def lines(path: Path) -> list[list[Any]]:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [[key, ast.literal_eval(value)] for key, value in rows]


def test_a_test_part_without_labels_is_submitted_and_not_learnt(
    cache: Path, tmp_path: Path
) -> None:
    data = datasets.load("lewidi-csc", data_dir=csc(tmp_path))
    assert set(data.frame["split"]) == {"train", "dev"}  # who runs a study never sees the others
    one = entered(SCALE, "CSC", tmp_path, tmp_path / "out")
    assert one.has_run
    assert "has no labels: it is submitted" in one.text
    soft = lines(tmp_path / "out" / "CSC" / "texts" / "CSC_test_soft.tsv")
    assert [key for key, _ in soft] == ["200", "201", "202", "203"]
    for _, shares in soft:
        assert len(shares) == 6
        assert abs(sum(shares) - 1) < 1e-9
    single = lines(tmp_path / "out" / "CSC" / "texts" / "CSC_test_pe.tsv")
    labels = np.array([given for _, given in single])
    assert labels.shape == (4, 2)
    assert labels[[0, 2]].max() <= 3 < labels[[1, 3]].min()  # learnt from the wording
    again = entered(SCALE, "CSC", tmp_path / "nowhere", tmp_path / "out")  # from what is kept
    assert again.text == one.text


def test_labels_of_the_test_part_are_scored_and_never_learnt(cache: Path, tmp_path: Path) -> None:
    csc(tmp_path, labelled_test=True)
    data, is_labelled = load_target(SCALE, tmp_path)
    assert is_labelled
    part = data.frame["split"].to_numpy()
    rows = np.flatnonzero(part != "test"), np.flatnonzero(part == "test")
    p = predicted(SCALE, {}, data, rows, lambda *_: None)
    hidden, is_labelled = load_target(SCALE, csc(tmp_path / "hidden"))
    assert not is_labelled
    np.testing.assert_allclose(predicted(SCALE, {}, hidden, rows, lambda *_: None), p, atol=1e-9)
    one = entered(SCALE, "CSC", tmp_path, tmp_path / "out")
    assert "| test " in one.text


def test_questions_are_submitted_by_alphabet(cache: Path, tmp_path: Path) -> None:
    one = entered(QUESTIONS, "VariErrNLI", nli(tmp_path), tmp_path / "out")
    folder = tmp_path / "out" / "VariErrNLI"
    assert {path.parent.name for path in one.files[1:]} == {"texts", "with-explanations"}
    for _, shares in lines(folder / "texts" / "VariErrNLI_test_soft.tsv"):
        assert np.array(shares).shape == (3, 2)
        np.testing.assert_allclose(np.array(shares).sum(axis=1), 1)
    for _, given in lines(folder / "texts" / "VariErrNLI_test_pe.tsv"):
        assert np.array(given).shape == (3, 2)  # questions, annotators
    data, _ = load_target(QUESTIONS, tmp_path)
    perfect = truth(data)
    write_submission(tmp_path / "true", "V", "dev", perfect, data, QUESTIONS)
    first = lines(tmp_path / "true" / "V_dev_pe.tsv")[0][1]
    assert first == [[1, 1], [0, 0], [1, 0]]  # contradiction, entailment, neutral
    assert scores(perfect, data, QUESTIONS).first.max() == 0


def test_measures_by_hand(tmp_path: Path) -> None:
    data, _ = load_target(SCALE, csc(tmp_path, labelled_test=None))
    data = data.take(np.arange(2))  # one item of two annotators
    p = np.tile([0.5, 0.5, 0, 0, 0, 0], (2, 1))
    of = scores(p, data, SCALE)
    np.testing.assert_allclose(of.first, soft_label_scores(p, data.labels, [0, 0])["wasserstein"])
    np.testing.assert_allclose(of.second, np.abs(0 - data.labels).mean() / 6)
    tied = entry("x", "0,1", "Ann1,Ann2", 2)
    write(tmp_path, "ArMIS_dataset/ArMIS_train.json", {"1": tied})
    write(tmp_path, "ArMIS_dataset/ArMIS_dev.json", {"1": tied})
    tweets, _ = load_target(YES_NO, tmp_path)
    of = scores(np.tile([0.25, 0.75], (4, 1)), tweets, YES_NO)
    np.testing.assert_allclose(of.first, -np.log([0.25, 0.75]).mean())
    np.testing.assert_allclose(of.second, 0.5)  # whoever wins a tie


def of_baseline(folder: str, data_dir: Path) -> dict[str, FloatArray]:
    name = f"lewidi-{folder.lower()}"
    target = next(
        each for ed in editions().values() for each in ed.datasets.values() if each.dataset == name
    )
    data, _ = load_target(target, data_dir)
    dev = data.take(data.frame["split"].to_numpy() == "dev")
    return {name: of.second for name, of in baselines(dev, dev, target).items()}


@pytest.mark.parametrize(
    ("folder", "frequent", "random"), [("Paraphrase", 0.362, 0.367), ("VariErrNLI", 0.345, 0.497)]
)
def test_baselines_are_near_those_published(
    folder: str, frequent: float, random: float, data_dir: Path
) -> None:
    """On the dev part here, on the test part there."""
    found = of_baseline(folder, data_dir)
    assert abs(found["most frequent label"].mean() - frequent) < 0.05
    assert abs(found["random label"].mean() - random) < 0.03


def test_items_are_dealt_whole(tmp_path: Path) -> None:
    data, _ = load_target(SCALE, csc(tmp_path))
    folds = fold_of_rows(data, np.arange(len(data)))
    per_item = data.frame.assign(fold=folds).groupby("item")["fold"].nunique()
    assert per_item.max() == 1
    assert set(folds) == set(range(5))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    runner = CliRunner()
    words = ["--data-dir", str(tmp_path), "--out", str(tmp_path / "out")]
    asked = runner.invoke(app, ["reproduce", "lewidi2023", *words, "--dataset", "HS-Brexit"])
    assert asked.exit_code != 0
    assert "HS-Brexit was not run" in asked.output
    with pytest.raises(InputError, match=r"choose from .*Did you mean 'Paraphrase'"):
        list(enter(editions()["lewidi2025"], "paraphrase", tmp_path, tmp_path, lambda *_: None))
    wrong = runner.invoke(app, ["reproduce", "table1", *words, "--dataset", "CSC"])
    assert "--dataset names a data set of" in str(wrong.exception or wrong.output)
    none = runner.invoke(app, ["reproduce", "lewidi2024", *words])
    assert "lewidi2025" in str(none.exception or none.output)
