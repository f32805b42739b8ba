"""The search over a grid: it chooses on validation rows, resumes, and writes what `run` takes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import mcstl
from mcstl._support.errors import InputError
from mcstl._support.files import read_yaml
from mcstl.cli import app
from mcstl.data.annotations import Annotations
from mcstl.data.splits import split
from mcstl.encoding.encoders import PAPER_ENCODER, load_encoder
from mcstl.studies import tuning
from mcstl.studies.encoder_choice import compare_encoders
from mcstl.studies.study_file import Study
from test_cli import Command, command, refused
from tiny import write_study
from tiny_transformers import tiny

__all__ = ["command"]  # a fixture

GRID: dict[str, list[Any]] = {"lambda_1": ["paper", 5], "hidden": [4, 8]}
FEW: dict[str, Any] = {
    "methods": ["mc-stl", "none", "logistic"],
    "seeds": 2,
    "training": {"epochs": 2},
}


@pytest.fixture
def study(cache: Path, tmp_path: Path) -> Path:
    return write_study(tmp_path, "binary", **FEW)


def test_every_method_with_a_recipe_gets_the_whole_grid_and_the_lowest_nll_wins(
    study: Path, tmp_path: Path
) -> None:
    steps: list[tuple[str, int, int]] = []
    found = tuning.tune(
        Study.read(study), out=tmp_path / "t", grid=GRID, seeds=1,
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert list(found.best) == ["mc-stl", "none"]
    for method, rows in found.trials.groupby("method"):
        points = {(str(row["lambda_1"]), row["hidden"]) for _, row in rows.iterrows()}
        assert points == {("paper", 4), ("paper", 8), ("5", 4), ("5", 8)}
        least = rows.sort_values("nll", kind="stable").iloc[0]
        assert found.best[str(method)] == {key: least[key] for key in GRID}
    assert steps[-1] == ("trials", 8, 8)
    assert len(pd.read_csv(tmp_path / "t" / "trials.csv")) == 8


def test_a_trial_is_judged_as_the_validation_rows_of_a_run_are(study: Path, tmp_path: Path) -> None:
    grid = {"hidden": [8]}
    found = tuning.tune(Study.read(study), out=tmp_path / "t", grid=grid, seeds=1)
    fields = {**Study.read(study).model_dump(), "training": {"epochs": 2, "hidden": 8}, "seeds": 1}
    mcstl.run(Study(**fields), out=tmp_path / "run")
    trace = pd.read_parquet(tmp_path / "run" / "trace.parquet")
    trace = trace[trace["part"] == "validation"]
    for method in ("mc-stl", "none"):
        best_epoch = trace.loc[trace["method"] == method, "nll"].min()
        (nll,) = found.trials.loc[found.trials["method"] == method, "nll"]
        assert nll == pytest.approx(best_epoch, abs=1e-6)  # vectors in other batches


def test_test_rows_are_not_there(study: Path, cache: Path) -> None:
    read = Study.read(study)
    data, shares = read.load(), read.split
    parts = split(data, shares.by, test=shares.test, validation=shares.validation, seed=3)
    prepared = tuning.without_test(read, data, load_encoder(), 3)
    rows = prepared.annotations.frame["row"]
    assert not {*rows} & {*data.frame["row"].iloc[parts.test]}
    for name in ("train", "validation"):
        mine, theirs = getattr(prepared.parts, name), getattr(parts, name)
        np.testing.assert_array_equal(rows.iloc[mine], data.frame["row"].iloc[theirs])


def test_what_the_test_rows_say_changes_nothing(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their labels turned round, every trial is the same to the last bit."""
    read = Study.read(study)
    one = tuning.tune(read, out=tmp_path / "one", grid=GRID, seeds=1)
    data, shares = read.load(), read.split
    parts = split(data, shares.by, test=shares.test, validation=shares.validation, seed=0)
    turned = data.take(np.arange(len(data)))
    turned.frame.loc[parts.test, "label"] = 1 - turned.frame.loc[parts.test, "label"]
    monkeypatch.setattr(Study, "load", lambda self, data_dir=None: turned)
    # A split is stratified by label: what is asked is what is seen of the rows, not which they are.
    monkeypatch.setattr(tuning, "split_rows", lambda *_: parts)
    two = tuning.tune(read, out=tmp_path / "two", grid=GRID, seeds=1)
    pd.testing.assert_frame_equal(one.trials, two.trials)


def test_a_stopped_search_goes_on(study: Path, tmp_path: Path) -> None:
    read, out = Study.read(study), tmp_path / "t"
    whole = tuning.tune(read, out=tmp_path / "whole", grid=GRID, seeds=1)

    def stop(what: str, done: int, total: int) -> None:
        if what == "trials" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuning.tune(read, out=out, grid=GRID, seeds=1, progress=stop)
    done: list[int] = []
    found = tuning.tune(
        read, out=out, grid=GRID, seeds=1,
        progress=lambda what, n, _: done.append(n) if what == "trials" else None,
    )  # fmt: skip
    assert done[0] == 4  # three were kept
    keys = ["method", "hidden"]
    pd.testing.assert_frame_equal(
        found.trials.assign(lambda_1=found.trials["lambda_1"].astype(str)).sort_values(
            [*keys, "lambda_1"], ignore_index=True
        ),
        whole.trials.assign(lambda_1=whole.trials["lambda_1"].astype(str)).sort_values(
            [*keys, "lambda_1"], ignore_index=True
        ),
        check_like=True,
    )
    with pytest.raises(InputError, match="another search"):
        tuning.tune(read, out=out, grid={"hidden": [4]}, seeds=1)


def test_the_command_writes_a_study_that_runs(study: Path, tmp_path: Path) -> None:
    before = study.read_bytes()
    asked = ["tune", str(study), "--grid", "lambda_1=paper,5", "--grid", "hidden=4", "--seeds", "1"]
    said = CliRunner().invoke(app, [*asked, "--quiet"], catch_exceptions=False)
    assert said.exit_code == 0
    assert study.read_bytes() == before
    tuned = tmp_path / "binary-tuned.yaml"
    assert read_yaml(tuned).keys() == read_yaml(study).keys()
    methods = read_yaml(tuned)["methods"]
    assert [method["name"] for method in methods] == FEW["methods"]
    assert methods[0]["training"]["hidden"] == 4
    assert "training" not in methods[2]
    assert (tmp_path / "binary-tuning" / "tradeoff.svg").exists()
    found = mcstl.run(Study(**{**Study.read(tuned).model_dump(), "seeds": 1}))
    assert list(found.results["summary"]) == FEW["methods"]
    again = CliRunner().invoke(app, asked)
    assert isinstance(again.exception, InputError)
    assert "is there already" in str(again.exception)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ("hiden=4", "unknown key 'hiden'"),
        ("hidden=0", "hidden: Input should be greater than or equal to 1"),
        ("hidden", "write it as in --grid lambda_1=0,paper,10"),
    ],
)
def test_a_wrong_grid_is_told_before_anything_is_done(
    grid: str, expected: str, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Annotations, "read", None)
    said = CliRunner().invoke(app, ["tune", str(study), "--grid", grid])
    assert isinstance(said.exception, InputError)
    assert expected in str(said.exception)


def test_a_study_without_recipes_is_told(tmp_path: Path) -> None:
    read = Study(data={"dataset": "simulated"}, methods=["gbm", "irpm"])
    with pytest.raises(InputError, match="none of the study's methods"):
        tuning.tune(read, out=tmp_path)


def test_a_recipe_that_diverges_is_left_out(study: Path, tmp_path: Path) -> None:
    grid = {"learning_rate": [0.003, 1e38]}
    found = tuning.tune(Study.read(study), out=tmp_path / "t", grid=grid, seeds=1)
    assert found.best["none"] == {"learning_rate": 0.003}


# Encoders side by side


def test_encoders_are_compared_on_one_table(
    study: Path,
    tmp_path: Path,
    command: Command,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # the folder's name is long
    other = tiny(tmp_path / "tiny")
    said = command("tune", study, "--encoders", PAPER_ENCODER, other, "--seeds", "1", "--quiet")
    assert said.code == 0, said.err
    assert "Validation rows, mean over 1 seed" in said.out
    assert re.search(rf"│ {PAPER_ENCODER} +│ mc-stl ", said.out)
    (line,) = [line for line in said.out.splitlines() if str(other) in line and "mc-stl" in line]
    assert re.search(r"[+-]0\.\d{3} \([+-]0\.\d{3} to [+-]0\.\d{3}\)", line)
    trials = compare_encoders(
        Study.read(study), [PAPER_ENCODER, str(other), "char-ngrams"], seeds=1
    )
    assert trials[0].gain == [0.0] * len(trials[0].nll)
    assert trials[-1].encoder == "char-ngrams"
    assert trials[-1].dimension <= 100 < trials[0].dimension
    assert all(trial.seconds_per_text > 0 for trial in trials)
    assert "leave out --grid" in refused(
        command("tune", study, "--encoders", "a", "b", "--grid", "dropout=0.5")
    )
    assert "two or more different" in refused(command("tune", study, "--encoders", PAPER_ENCODER))
