"""The protocol: what a run depends on, what it does not, and how a stopped one goes on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import mcstl
from mcstl import methods
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations, majority_rows
from mcstl.data.labels import Task
from mcstl.data.splits import MissingClassError, split
from mcstl.datasets import simulated
from mcstl.encoding import encoders
from mcstl.encoding.encoders import load_encoder
from mcstl.methods.base import MethodConfig, Prepared
from mcstl.methods.fitting import fit_method
from mcstl.methods.network import NetworkMethod
from mcstl.models.model import Model
from mcstl.models.multilevel import MultilevelNetwork
from mcstl.models.training import predict
from mcstl.studies import preparation, results
from mcstl.studies.build_model import build_model
from mcstl.studies.describe import describe
from mcstl.studies.model_card import notices
from mcstl.studies.preparation import make_examples, prepare
from mcstl.studies.study_file import Study
from tiny import METHODS, Finished, write_study

STUDIES = Path(__file__).parents[1] / "studies"
TASKS: tuple[Task, ...] = ("ordinal", "binary", "preference")
RATIONALES = ("Safety comes first for me.", "I value freedom and my own way of doing things.")


def tiny(**changes: Any) -> Study:
    fields = {
        "data": {"dataset": "simulated", "annotations": 400},
        "groups": {"by": "taxonomy", "min_size": 20},
        "training": {"epochs": 3, "hidden": 16},
        "seeds": 1,
    }
    return Study(**fields | changes)


def without_time(results: dict[str, Any]) -> dict[str, Any]:
    """What two runs of one study must agree on."""
    runs = [{key: run[key] for key in run if key != "seconds"} for run in results["runs"]]
    return {**results, "runs": runs}


def probabilities(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    return rows[[name for name in rows if str(name).startswith("p_")]].to_numpy(dtype=float)


# Every method on every task form


@pytest.mark.parametrize("task", TASKS)
def test_every_method_runs_on_every_task_form(
    task: Task, finished: Callable[[Task], Finished]
) -> None:
    results = finished(task).results.results
    assert list(results["summary"]) == METHODS
    score = "accuracy" if task == "preference" else "auc"
    for run in results["runs"]:
        for name in (score, "nll", "brier", "one_minus_emd", f"group_{score}_mean"):
            assert run["metrics"][name] is not None


@pytest.mark.parametrize("task", TASKS)
def test_only_none_and_majority_pass_over_the_groups(
    task: Task, finished: Callable[[Task], Finished]
) -> None:
    """§3.3: the empty set and Maj(Y) see the text alone, so one item gets one prediction."""
    rows = finished(task).results.predictions
    for method in METHODS:
        part = rows[rows["method"] == method]
        p, turned = probabilities(part), part["flipped"].to_numpy()
        p = np.where(turned[:, None], p[:, ::-1], p)
        by_item = pd.DataFrame(p).groupby([part["seed"].to_numpy(), part["item"].to_numpy()])
        apart = (by_item.max() - by_item.min()).to_numpy().max()
        if method in ("none", "majority"):
            assert apart < 1e-6, method
        elif (method, task) != ("logistic", "preference"):  # its groups cancel over both orders
            assert apart > 1e-4, method


def test_a_method_with_other_training_is_another_run() -> None:
    study = tiny(methods=["none", {"name": "none", "label": "longer", "training": {"epochs": 5}}])
    assert study.training_of(study.methods[1]).epochs == 5
    assert study.training_of(study.methods[1]).hidden == 16


# What a run depends on


@pytest.mark.parametrize("task", TASKS)
def test_two_runs_give_the_same_files(
    task: Task, finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    one = finished(task)
    again = mcstl.run(Study.read(write_study(tmp_path, task)), out=tmp_path / "out")
    for name in ("predictions.parquet", "items.parquet", "trace.parquet", "study.yaml"):
        assert (tmp_path / "out" / name).read_bytes() == (one.folder / name).read_bytes(), name
    assert without_time(again.results) == without_time(one.results.results)


@pytest.mark.parametrize("task", TASKS)
def test_the_resolved_study_can_be_run_again(
    task: Task, finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    one = finished(task)
    again = mcstl.run(Study.read(one.folder / "study.yaml"), out=tmp_path / "elsewhere" / "out")
    for name in ("data", "groups", "runs", "summary"):
        assert without_time(again.results)[name] == without_time(one.results.results)[name]


def test_a_study_can_be_run_without_a_folder(
    finished: Callable[[Task], Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = finished("binary")
    monkeypatch.chdir(tmp_path)
    found, kept = mcstl.run(one.study), one.results.predictions
    expected = kept.assign(groups=kept["groups"].map(list))
    pd.testing.assert_frame_equal(found.predictions, expected, check_dtype=False, check_exact=True)
    assert found.results["runs"][0]["metrics"] == one.results.results["runs"][0]["metrics"]
    assert found.model is not None
    assert found.model.group_names == one.results.model.group_names  # type: ignore[union-attr]
    assert not list(tmp_path.iterdir())


def test_a_folder_behind_a_link_finds_the_data_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_study(
        tmp_path / "home", "binary", methods=["none"], training={"epochs": 1, "hidden": 8}
    )
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "home" / "runs").symlink_to(tmp_path / "far" / "away")
    monkeypatch.chdir(tmp_path / "home")
    mcstl.run(Study.read(study.name), out="runs/out")
    assert len(Study.read("runs/out/study.yaml").load()) == 384


def test_seeds_decide_the_split_and_the_start(finished: Callable[[Task], Finished]) -> None:
    rows = finished("ordinal").results.predictions
    first, second = (rows[(rows["method"] == "none") & (rows["seed"] == s)] for s in (0, 1))
    assert set(first["row"]) != set(second["row"])
    shared = first.merge(second, on="row")
    assert len(shared)
    assert (shared["p_0_x"] != shared["p_0_y"]).all()


def test_more_seeds_leave_the_first_ones_as_they_were(
    finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    one = finished("ordinal")
    study = write_study(tmp_path, "ordinal", seeds=[1], methods=["mc-stl"])
    alone = mcstl.run(Study.read(study)).predictions
    rows = one.results.predictions
    rows = rows[(rows["method"] == "mc-stl") & (rows["seed"] == 1)].reset_index(drop=True)
    np.testing.assert_array_equal(probabilities(alone), probabilities(rows))


def test_clusters_keep_their_names_over_seeds(cache: Path) -> None:
    study = tiny(groups={"by": "rationale", "k": 3}, methods=["logistic"], seeds=3)
    found = mcstl.run(study)
    names = {group["name"] for group in found.results["groups"]}
    assert len(names) == 3
    for run in found.results["runs"]:
        assert [group["group"] for group in run["groups"]] == sorted(names)


# Schemes are fitted on training rows only


def changed(data: Annotations, rows: npt.NDArray[np.int64]) -> Annotations:
    """The same data with other labels, attributes, values and rationales in some rows."""
    frame = data.frame.copy()
    frame.loc[rows, "label"] = (frame.loc[rows, "label"] + 1) % len(data.classes)
    frame.loc[rows, "rationale"] = RATIONALES[0]
    frame.loc[rows, "values"] = pd.Series([["Unheard of"]] * len(rows), index=rows)
    for name in data.attributes:
        frame.loc[rows, name] = "elsewhere"
    return replace(data, frame=frame)


def state_of(prepared: Prepared) -> tuple[str, dict[str, Any]]:
    state, arrays = prepared.scheme.state()
    return json.dumps(state), {name: array.tolist() for name, array in arrays.items()}


@pytest.mark.parametrize(
    "groups",
    [
        {"by": "attributes", "min_size": 20},
        {"by": "attributes", "crossed": True, "min_size": 5},
        {"by": "taxonomy", "min_size": 20},
        {"by": "rationale", "k": 3},
        {"intersect": [{"by": "taxonomy", "min_size": 5}, {"by": "attributes", "min_size": 5}]},
    ],
    ids=["attributes", "crossed", "taxonomy", "rationale", "intersect"],
)
def test_schemes_never_see_test_or_validation_rows(groups: dict[str, Any], cache: Path) -> None:
    # By item: the split of annotations is stratified by the labels that change here.
    study = tiny(groups=groups, split={"by": "item"})
    data, encoder = study.load(), load_encoder()
    prepared = prepare(study, data, encoder, seed=0)
    unseen = np.concatenate([prepared.parts.validation, prepared.parts.test])
    other = prepare(study, changed(data, unseen), encoder, seed=0)
    assert [list(part) for part in other.parts] == [list(part) for part in prepared.parts]
    assert state_of(other) == state_of(prepared)
    # The comparison would show it, had they been seen.
    seen = prepare(study, changed(data, prepared.parts.train[:100]), encoder, seed=0)
    assert state_of(seen) != state_of(prepared)


def test_what_is_learnt_never_depends_on_test_rows(cache: Path) -> None:
    study = tiny(split={"by": "item"})
    data, encoder = study.load(), load_encoder()
    prepared = prepare(study, data, encoder, seed=0)
    frame = data.frame.copy()
    test = prepared.parts.test
    frame.loc[test, "label"] = (frame.loc[test, "label"] + 1) % 3
    altered = replace(data, frame=frame)
    other = prepare(study, altered, encoder, seed=0)
    for name in METHODS:
        settings = study.settings_of(MethodConfig(name=name), 0)
        first, *_ = fit_method(prepared, settings)
        second, *_ = fit_method(other, settings)
        np.testing.assert_array_equal(first, second, err_msg=name)


def test_majority_learns_from_majority_labels_alone(cache: Path) -> None:
    """Maj(Y) keeps an item's most frequent labels: what the others said makes no difference."""
    study = tiny(methods=["none", "majority"])
    data, encoder = study.load(), load_encoder()
    prepared = prepare(study, data, encoder, seed=0)
    train = prepared.parts.train
    known = data.take(train)
    votes = np.zeros((known.frame["item"].nunique(), 3), dtype=int)
    items = pd.factorize(known.frame["item"])[0]
    np.add.at(votes, (items, known.labels), 1)
    few = votes.max(axis=1) - np.median(votes, axis=1) > 1  # one vote more changes no majority
    minority = ~majority_rows(known) & few[items]
    assert minority.sum() > 20
    frame = data.frame.copy()
    rows = train[minority]
    top = votes.argmax(axis=1)[items[minority]]
    frame.loc[rows, "label"] = 3 - top - frame.loc[rows, "label"].to_numpy()  # the third label
    altered = replace(data, frame=frame)
    other = replace(
        prepared, annotations=altered, examples=make_examples(altered, prepared.examples.S, encoder)
    )
    for name, same in (("majority", True), ("none", False)):
        settings = study.settings_of(MethodConfig(name=name), 0)
        first, *_ = fit_method(prepared, settings)
        second, *_ = fit_method(other, settings)
        assert np.array_equal(first, second) == same, name


@pytest.mark.parametrize("name", ["majority", "dawid-skene"])
def test_one_label_per_item_is_stopped_by_labels_as_they_are(name: str, cache: Path) -> None:
    """Where an item is on both sides, its one label would be validated until it is known by heart.

    So the network comes nearer to what people say than one that learnt its rows by heart.
    """
    study = tiny(methods=[name], training={"epochs": 200, "patience": 200})
    prepared = prepare(study, study.load(), load_encoder(), seed=0)
    method = methods.find(name)
    assert isinstance(method, NetworkMethod)
    _, validation = method.training_examples(prepared, seed=0)
    assert np.array_equal(validation.y, prepared.annotations.labels[prepared.parts.validation])
    p, network, _ = fit_method(prepared, study.settings_of(MethodConfig(name=name), 0))
    assert network is not None
    truth = prepared.annotations.labels[prepared.parts.test]
    assert -np.log(p[np.arange(len(p)), truth]).mean() < 1.5  # 1.1; by heart 2.3 and more


def test_annotations_per_item_are_the_papers_m_in_the_whole_data_set(cache: Path) -> None:
    prepared = prepare(tiny(), tiny().load(), load_encoder(), seed=0)
    frame, problem = prepared.annotations.frame, prepared.problem
    counts = frame["item"].value_counts()
    assert problem.annotations_per_item == pytest.approx(counts.mean())
    assert problem.annotations_of_text is not None
    texts = prepared.annotations.distinct_texts()[0]
    of_text = dict(zip(texts, problem.annotations_of_text, strict=True))
    for item, text in zip(frame["item"], frame["text"], strict=True):
        assert of_text[text] == counts[item]
    assert len(prepared.part("test")) == len(prepared.parts.test)


# A run that was stopped

# The second method is long enough to be caught at work.
LONG = {
    "training": {"epochs": 8, "hidden": 16},
    "methods": ["mc-stl", {"name": "none", "training": {"epochs": 50, "patience": 50}}],
    "seeds": 2,
}
CHILD = """
import sys
import mcstl
from mcstl.models import training
training._CHECKPOINT_EVERY_SECONDS = 0.0
mcstl.run(mcstl.Study.read(sys.argv[1]), out=sys.argv[2])
"""


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(cache: Path, tmp_path: Path) -> None:
    file = write_study(tmp_path, "ordinal", **LONG)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    undisturbed = mcstl.run(Study.read(file), out=whole)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(file), str(stopped)])
    try:
        # In the midst of the second method.
        while not list(stopped.glob(".work/none-*-0.checkpoint*")) and child.poll() is None:
            time.sleep(0.01)
        assert child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    assert not (stopped / "results.json").exists()
    with pytest.raises(InputError, match="holds no finished study"):
        results.read(stopped)
    with pytest.raises(InputError, match="already holds another study"):
        mcstl.run(Study.read(write_study(tmp_path, "ordinal", **LONG | {"seeds": 3})), out=stopped)
    said: list[tuple[str, int]] = []
    resumed = mcstl.run(
        Study.read(whole / "study.yaml"),
        out=stopped,
        progress=lambda what, done, _: said.append((what, done)),
    )
    trained = [done for what, done in said if what == "training mc-stl"]
    assert trained.count(1) == 1  # the second seed's: the first was kept
    of_none = [done for what, done in said if what == "training none"]
    assert of_none[0] > 1  # from the checkpoint, not anew
    assert without_time(resumed.results) == without_time(undisturbed.results)
    for name in ("predictions.parquet", "items.parquet", "trace.parquet", "study.yaml"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes(), name
    assert {path.name for path in stopped.iterdir()} == {path.name for path in whole.iterdir()}


@pytest.mark.parametrize("moment", ["tables", "model", "results"])
def test_a_run_stopped_while_it_writes_its_outputs_is_finished_later(
    moment: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny(methods=["none", "logistic"])
    whole = mcstl.run(study, out=tmp_path / "whole")

    class Stopped(BaseException):
        pass

    def stop(*_: object, **__: object) -> None:
        raise Stopped

    rename, dumps = Path.rename, json.dumps

    def rename_or_stop(path: Path, target: Path) -> Path:
        if target == tmp_path / "out" / "model":
            raise Stopped
        return rename(path, target)

    def dumps_or_stop(value: Any, **options: Any) -> str:
        if isinstance(value, dict) and "summary" in value:
            raise Stopped
        return dumps(value, **options)

    with monkeypatch.context() as patch:
        match moment:
            case "tables":
                patch.setattr(Annotations, "items", stop)
            case "model":
                patch.setattr(Path, "rename", rename_or_stop)
            case "results":
                patch.setattr(json, "dumps", dumps_or_stop)
        with pytest.raises(Stopped):
            mcstl.run(study, out=tmp_path / "out")
    assert not (tmp_path / "out" / "results.json").exists()
    found = mcstl.run(study, out=tmp_path / "out")
    assert without_time(found.results) == without_time(whole.results)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        p.name for p in (tmp_path / "whole").iterdir()
    }
    pd.testing.assert_frame_equal(found.predictions, whole.predictions, check_exact=True)


def test_seeds_at_once_give_what_seeds_in_turn_give(cache: Path, tmp_path: Path) -> None:
    study = tiny(groups={"by": "rationale", "k": 2}, methods=METHODS, seeds=2)
    in_turn, at_once = (mcstl.run(study, out=tmp_path / str(jobs), jobs=jobs) for jobs in (1, 2))
    assert without_time(at_once.results) == without_time(in_turn.results)
    assert at_once.predictions.equals(in_turn.predictions)
    assert at_once.model is not None
    trace = [pd.read_parquet(tmp_path / jobs / "trace.parquet") for jobs in "12"]
    assert trace[0].equals(trace[1])


def test_what_stops_one_of_several_seeds_is_told(cache: Path, tmp_path: Path) -> None:
    study = tiny(training={"learning_rate": 1e30}, seeds=2)
    with pytest.raises(InputError, match="diverged"):
        mcstl.run(study, out=tmp_path / "out", jobs=2)
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_study_that_diverges_says_so(cache: Path, tmp_path: Path) -> None:
    study = tiny(training={"epochs": 3, "hidden": 16, "learning_rate": 1e30}, methods=["mc-stl"])
    with pytest.raises(InputError, match=r"diverged.*lower training\.learning_rate"):
        mcstl.run(study, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# What `mcstl check` says


def test_describe_says_what_a_run_would_do(finished: Callable[[Task], Finished]) -> None:
    one = finished("binary")
    lines = list(describe(one.study))
    said = "\n".join(f"{name}: {text}" for name, text in lines)
    data, results = one.data, one.results.results
    assert f"data: town.csv: {len(data)} annotations, {results['data']['items']} items" in said
    assert f"{sum(data.dropped.values())} dropped: label missing or outside `labels`" in said
    assert f"annotators: {results['data']['annotators']}; " in said
    assert "task: binary; against " in said
    parts = results["data"]["split"]
    sizes = f"{parts['train']} train, {parts['validation']} validation, {parts['test']} test"
    assert f"split: by item: {sizes} (seed 3)" in said
    for group in results["groups"]:
        assert f": {group['name']}: {group['size']}" in said
    for name, why in results["data"]["groups_left_out"].items():
        assert f"left out: 1 group: {name} ({why})" in said
    assert "methods: mc-stl, none, majority, gbm, logistic; seeds 3" in said


def test_describe_does_not_encode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "make_examples", None)
    monkeypatch.setattr(encoders, "load_encoder", None)
    lines = dict(describe(tiny(groups={"by": "rationale", "k": 4})))
    assert "formed when the study runs" in lines["groups"]
    assert lines["groups"].startswith("{by: rationale, k: 4, ")


def test_describe_says_what_a_newcomer_would_ask(tmp_path: Path, cache: Path) -> None:
    pairs = pd.DataFrame(
        {
            "item": [*map(str, range(20))] * 2,
            "text_a": [f"the answer {i % 18}" for i in range(20)] * 2,
            "text_b": "another answer",
            "label": [0, 1] * 20,
            "annotator": ["x"] * 20 + ["y"] * 20,
            "rationale": ["", " ", "it is short", "it is long"] * 10,
            "side": ["left"] * 20 + ["right"] * 20,
        }
    )
    pairs.loc[40] = pairs.loc[5]
    pairs.to_csv(tmp_path / "pairs.csv", index=False)

    def said(groups: Any) -> str:
        study = Study(
            data={"file": str(tmp_path / "pairs.csv")}, groups=groups, split={"by": "annotation"}
        )
        return "\n".join(f"{name}: {text}" for name, text in describe(study))

    text = said({"by": "rationale", "k": 2})
    assert "2 further names of items whose pair of texts has a name already" in text
    assert "1 row repeats another row exactly" in text
    assert "0 (the second text is preferred) " in text
    assert "1 (the first text is preferred) " in text
    assert "21 of 41 reasons are empty: those annotations are in no group of reasons" in text
    text = said({"by": "attributes", "attributes": ["side"], "min_size": 1})
    assert "groups: 2\n" in text
    assert text.count("fewer than 5 people") == 1
    assert "Their sizes are not shown" in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"groups": {"by": "taxonomy", "min_size": 1000}}, "no group is left"),
        ({"groups": {"by": "attributes", "attributes": ["regoin"]}}, "Did you mean 'region'?"),
        ({"split": {"test": 0.99, "validation": 0.99}}, "no rows left for"),
        ({"data": {"dataset": "popquorn"}}, "--data-dir"),
    ],
)
def test_describe_finds_what_a_run_would_trip_over(
    changes: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MCSTL_DATA", raising=False)
    with pytest.raises(InputError) as caught:
        list(describe(tiny(**changes)))
    assert expected in str(caught.value)


def test_describe_misses_no_column_that_groups_need(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": [f"Bench {i}" for i in range(40)], "label": [0, 1] * 20})
    table.to_csv(tmp_path / "town.csv", index=False)
    groups: list[dict[str, Any]] = [
        {"by": "rationale"},
        {"by": "taxonomy"},
        {"by": "attributes"},
        {"combine": [{"by": "rationale"}]},
    ]
    for each in groups:
        study = tiny(data={"file": str(tmp_path / "town.csv")}, groups=each)
        with pytest.raises(InputError, match="need"):
            list(describe(study))


# The project's own studies, and real data


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_projects_studies_can_be_read(path: Path) -> None:
    study = Study.read(path)
    assert len(study.seeds) == {"popquorn-best": 10, "valueeval23-best": 20}.get(path.stem, 5)
    assert {"mc-stl", "none"} <= {method.title for method in study.methods}


def test_describe_on_real_data(data_dir: Path) -> None:
    lines = dict(describe(Study.read(STUDIES / "popquorn.yaml"), data_dir))
    assert lines["data"] == "popquorn: 13,036 annotations, 1,500 items"
    assert lines["split"].endswith(", 2,607 test (seed 0)")


# Annotators as random effects


@pytest.fixture(scope="module")
def habits(cache: Path) -> tuple[Study, simulated.Simulation, Prepared]:
    """A simulation in which personal habits matter more than groups."""
    study = tiny(training={"epochs": 60, "hidden": 64}, task="binary", methods=["multilevel"])
    simulation = simulated.simulate("binary", annotations=4000, annotators=100, annotator_sd=2.0)
    return study, simulation, prepare(study, simulation.annotations, load_encoder(), seed=0)


def nll_of(p: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> float:
    return float(-np.log(p[np.arange(len(y)), y]).mean())


def test_known_people_are_predicted_better_and_unknown_ones_as_the_population(
    habits: tuple[Study, simulated.Simulation, Prepared],
) -> None:
    study, simulation, prepared = habits
    known, network, _ = fit_method(prepared, study.settings_of(study.methods[0], 0))
    plain, *_ = fit_method(prepared, study.settings_of(MethodConfig(name="mc-stl"), 0))
    assert network is not None
    y, truth = prepared.part("test").y, simulation.truth[prepared.parts.test]
    assert nll_of(known, y) < nll_of(plain, y) - 0.1
    unknown = predict(network, prepared.part("test"))
    # Of somebody new no model can know more than the truth does, which has the habit integrated.
    error = {
        name: np.sqrt(np.mean((p - truth) ** 2))
        for name, p in {"multilevel": unknown, "plain": plain, "rates": truth.mean(axis=0)}.items()
    }
    assert error["multilevel"] < 0.8 * error["rates"]
    assert error["multilevel"] < 1.1 * error["plain"]


def test_nobody_known_leaves_with_a_model(
    habits: tuple[Study, simulated.Simulation, Prepared], tmp_path: Path
) -> None:
    study, _, prepared = habits
    settings = study.settings_of(study.methods[0], 0)
    _, network, _ = fit_method(prepared, settings)
    assert network is not None
    model = build_model(network, prepared, settings, load_encoder(), {})
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    assert isinstance(network, MultilevelNetwork)
    assert isinstance(again.network, MultilevelNetwork)
    assert network.n_annotators > 0
    assert again.network.n_annotators == 0
    texts = ["The town should build a park.", "Let us close the museum."]
    for perspectives in (None, [["Security"], ["Tradition", "Benevolence"]]):
        assert (
            again.predict_proba(texts, perspectives) == model.predict_proba(texts, perspectives)
        ).all()


@pytest.mark.parametrize("method", ["annotators", "dawid-skene"])
def test_methods_that_learn_annotators_need_them(method: str) -> None:
    data = simulated.simulate(annotations=400).annotations
    nobody = Annotations.from_frame(
        data.frame.drop(columns="annotator").assign(label=data.labels), task="ordinal"
    )
    study = tiny(methods=[method])
    with pytest.raises(InputError, match=f"'annotator' is not in.*The method {method} needs it"):
        methods.find(method).examples(prepare(study, nobody, load_encoder(), seed=0), 0)


# What a user would try instead


ALTERNATIVES: list[Any] = [
    *("mc-stl", "best", "none", "dawid-skene", "annotators", "heads", "shuffled", "groups-only"),
    {"name": "none", "recalibrate": "platt"},
    {"name": "mc-stl", "recalibrate": "isotonic", "label": "mended"},
]


@pytest.mark.parametrize("task", ["ordinal", "preference"])
def test_alternatives_are_methods_of_a_study(task: Task, tmp_path: Path) -> None:
    file = write_study(tmp_path, task, methods=ALTERNATIVES, seeds=1)
    results = mcstl.run(Study.read(file), out=tmp_path / "out")
    of_method = dict(list(results.predictions.groupby("method")))
    assert set(of_method) == {*ALTERNATIVES[:8], "none + platt", "mended"}
    p = {method: rows.filter(like="p_").to_numpy() for method, rows in of_method.items()}
    for method, of_rows in p.items():
        np.testing.assert_allclose(of_rows.sum(axis=1), 1, atol=1e-6)
        others = [np.abs(of_rows - each).max() for name, each in p.items() if name != method]
        assert min(others) > 1e-6, f"{method!r} is another method again"
    # A recalibrated method is the same whether or not its plain form ran before it.
    alone = write_study(tmp_path / "alone", task, methods=ALTERNATIVES[-1:], seeds=1)
    again = mcstl.run(Study.read(alone)).predictions
    np.testing.assert_allclose(again.filter(like="p_"), p["mended"])
    assert isinstance(results.model, Model)
    assert results.model.facts["method"] == "best"


def test_a_seed_without_a_class_in_training_is_left_out_and_named(
    cache: Path, tmp_path: Path
) -> None:
    table = pd.DataFrame({"text": [f"A bench, {i // 2}" for i in range(60)]})
    table["label"] = ["c", "c", *"ab" * 29]  # both rows of c are of one text
    table.to_csv(tmp_path / "rare.csv", index=False)
    study = Study(
        data={"file": str(tmp_path / "rare.csv")},
        labels={"a": ["a"], "b": ["b"], "c": ["c"]},
        groups="none",
        split={"by": "item"},
        methods=["majority"],
        seeds=8,
        training={"epochs": 1, "learning_rate": 0.01, "dropout": 0, "batch_size": 64},
    )
    data = study.load()
    rare = data.labels == 2
    usable = []
    for seed in range(8):
        with contextlib.suppress(MissingClassError):
            assert rare[split(data, "item", seed=seed).train].any()
            usable.append(seed)
    assert 0 < len(usable) < 8
    results = mcstl.run(study).results
    assert [run["seed"] for run in results["runs"]] == usable
    left_out = results["data"]["seeds_left_out"]
    assert [int(seed) for seed in left_out] == [seed for seed in range(8) if seed not in usable]
    assert "no training annotation has the label c" in next(iter(left_out.values()))
    assert any("is left out: no training" in sentence for sentence in notices(results))
    assert sum(word == "seeds" for word, _ in describe(study)) == len(left_out)


def test_seeds_without_groups_may_have_different_numbers_of_test_rows(
    cache: Path, tmp_path: Path
) -> None:
    table = pd.DataFrame({"text": [f"A bench, {int((2 * i) ** 0.5)}" for i in range(90)]})
    table["label"] = [i % 2 for i in range(90)]
    table.to_csv(tmp_path / "uneven.csv", index=False)
    study = Study(
        data={"file": str(tmp_path / "uneven.csv")},
        groups="none",
        split={"by": "item"},
        methods=["logistic"],
        seeds=6,
    )
    found = mcstl.run(study)
    assert len({*found.predictions.groupby("seed").size()}) > 1
    assert found.results["summary"]["logistic"]["group_auc_mean"]["mean"] is None
