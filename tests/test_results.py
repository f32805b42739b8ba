"""What a study leaves: every file of the contract, recomputed from the table that went in."""

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance
from sklearn.metrics import roc_auc_score

import mcstl
from mcstl import evaluation
from mcstl import reporting as report
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError
from mcstl._support.files import read_yaml, write_yaml
from mcstl.data.labels import Task
from mcstl.data.splits import split
from mcstl.evaluation import metrics
from mcstl.models.model import Model
from mcstl.studies import results as outputs
from mcstl.studies.output import read_output
from mcstl.studies.resolved import fingerprint
from mcstl.studies.study_file import Study
from mcstl.studies.work import Work, working
from tiny import COLUMNS, METHODS, Finished

TASKS: tuple[Task, ...] = ("ordinal", "binary", "preference")
#: Raw labels in the classes' order, -1 for what no class has.
RAW: dict[Task, dict[str, int]] = {
    "ordinal": {"oppose": 0, "unsure": 1, "support": 2},
    "binary": {"oppose": 0, "strongly oppose": 0, "support": 1, "not understood": -1},
    "preference": {"b": 0, "a": 1},
}
ID_COLUMNS = ["method", "seed", "split", "row", "item", "annotator", "label"]
FLAGS = ["groups", "minority", "minority_weight", "flipped"]


@pytest.fixture(params=TASKS)
def one(request: pytest.FixtureRequest, finished: Callable[[Task], Finished]) -> Finished:
    found: Finished = finished(request.param)
    return found


def predictions(one: Finished) -> pd.DataFrame:
    return pd.read_parquet(one.folder / "predictions.parquet")


def results(one: Finished) -> dict[str, Any]:
    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = (one.folder / "results.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text, parse_constant=refused)
    return found


def column(one: Finished, name: str) -> pd.Series:
    """A column of ours in the table as it was read."""
    is_town = one.study.data.file is not None
    found: pd.Series = one.table[COLUMNS[name] if is_town else name]
    return found


def probabilities(rows: pd.DataFrame) -> FloatArray:
    return rows[[name for name in rows if str(name).startswith("p_")]].to_numpy(dtype=float)


def runs_of(one: Finished) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Each run of results.json with its rows of predictions.parquet."""
    by_run = dict(list(predictions(one).groupby(["method", "seed"], sort=False)))
    return [(run, by_run[run["method"], run["seed"]]) for run in results(one)["runs"]]


# The files


def test_a_finished_folder_holds_the_files_of_the_contract_and_no_others(one: Finished) -> None:
    assert {path.name for path in one.folder.iterdir()} == {
        "results.json",
        "predictions.parquet",
        "items.parquet",
        "trace.parquet",
        "study.yaml",
        "model",
    }


def test_predictions_have_the_columns_of_the_contract(one: Finished) -> None:
    rows = predictions(one)
    n_classes = len(one.data.classes)
    assert list(rows) == [*ID_COLUMNS, *FLAGS, *(f"p_{c}" for c in range(n_classes))]
    for name, kind in {
        "seed": "i",
        "row": "i",
        "label": "i",
        "minority": "b",
        "flipped": "b",
    }.items():
        assert rows[name].dtype.kind == kind
    p = probabilities(rows)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert (p >= 0).all()


def test_every_method_and_seed_predicts_exactly_the_test_rows(one: Finished) -> None:
    rows = predictions(one)
    shares = one.study.split
    assert set(rows["split"]) == {shares.by}
    runs = [(method, seed) for method in METHODS for seed in one.study.seeds]
    assert set(rows[["method", "seed"]].itertuples(index=False, name=None)) == set(runs)
    for method, seed in runs:
        test = split(
            one.data, shares.by, test=shares.test, validation=shares.validation, seed=seed
        ).test
        places = rows.loc[(rows["method"] == method) & (rows["seed"] == seed), "row"]
        assert places.tolist() == one.data.frame["row"].to_numpy()[test].tolist()


def test_rows_are_those_of_the_table_as_read(one: Finished) -> None:
    rows = predictions(one)
    of_row = column(one, "label").map(RAW[one.data.task])
    assert rows["label"].tolist() == of_row[rows["row"]].tolist()
    assert rows["item"].tolist() == column(one, "item")[rows["row"]].tolist()
    if one.data.task == "binary":
        assert int((of_row < 0).sum()) == sum(one.data.dropped.values()) == 16
        assert rows["row"].max() >= len(one.data)  # counted before anything was dropped


def test_annotator_codes_tell_people_apart_and_do_not_name_them(one: Finished) -> None:
    rows = predictions(one)
    people = column(one, "annotator")[rows["row"]].reset_index(drop=True)
    codes = rows["annotator"]
    assert (codes.isna() == people.isna()).all()
    assert codes.isna().any() == (one.data.task == "binary")
    known = pd.DataFrame({"code": codes, "person": people}).dropna()
    assert known["code"].nunique() == known["person"].nunique() == len(known.drop_duplicates())
    names = set(column(one, "annotator").dropna())
    assert not any(name in code or code in name for name in names for code in set(known["code"]))
    in_order = list(dict.fromkeys(column(one, "annotator").dropna()))
    by_person = dict(zip(known["person"], known["code"], strict=True))
    assert any(by_person[p] != f"a{i}" for i, p in enumerate(in_order) if p in by_person)


def expected_groups(one: Finished) -> list[list[str]]:
    """The groups of each row of the table, from its own cells."""
    if one.data.task == "binary":
        cells = [COLUMNS["values"], "gender", "age"]
        found = []
        for values, gender, age in one.table[cells].itertuples(index=False):
            named = [f"gender={gender}"] + ([f"age={age}"] if isinstance(age, str) else [])
            found.append(named + sorted(values.split("|")))
        return found
    return [sorted(values) for values in one.table["values"]]


def test_groups_are_those_of_the_annotation(one: Finished) -> None:
    names = [group["name"] for group in results(one)["groups"]]
    rows = predictions(one)
    if one.data.task == "preference":
        scheme = one.results.model.scheme  # type: ignore[union-attr]
        assert scheme is not None
        of_row = [
            [scheme.names[k] for k in row.indices]
            for row in scheme.assign(one.data, one.results.model.encoder)  # type: ignore[union-attr]
        ]
        assert {len(each) for each in of_row} == {1}
    else:
        of_row = [[name for name in each if name in names] for each in expected_groups(one)]
    assert [list(each) for each in rows["groups"]] == [of_row[row] for row in rows["row"]]
    if one.data.task == "binary":
        assert "gender=Non-binary" in results(one)["data"]["groups_left_out"]
        assert all(size["size"] >= 20 for size in results(one)["groups"])
        assert any(len(each) > 2 for each in rows["groups"])  # they overlap


def test_minority_and_flipped_follow_from_the_whole_table(one: Finished) -> None:
    """A.6: the majority is over all annotations of the item; in preference, of the pair."""
    label = column(one, "label").map(RAW[one.data.task])
    used = one.table[label >= 0].assign(label=label[label >= 0])
    items = column(one, "item")[used.index]
    turned = pd.Series(False, index=used.index)
    if one.data.task == "preference":
        first = used.groupby(items)["text_a"].transform("first")
        turned = used["text_a"] != first
        assert turned.any()
    unturned = used["label"].where(~turned, 1 - used["label"])
    votes = {item: Counter(part) for item, part in unturned.groupby(items)}
    minority = []
    for item, vote in zip(items, unturned, strict=True):
        most = max(votes[item].values())
        t = sum(count == most for count in votes[item].values())
        minority.append(1 - 1 / t if votes[item][vote] == most else 1)
    expected = pd.DataFrame({"minority": minority, "flipped": turned}, index=used.index)
    rows = predictions(one)
    assert rows["minority_weight"].tolist() == expected["minority"][rows["row"]].tolist()
    assert rows["minority"].tolist() == (rows["minority_weight"] > 0).tolist()
    assert rows["flipped"].tolist() == expected["flipped"][rows["row"]].tolist()
    assert 0 < rows["minority"].mean() < 1


def test_items_has_every_item_once_with_its_text(one: Finished) -> None:
    items = pd.read_parquet(one.folder / "items.parquet")
    texts = ["text_a", "text_b"] if one.data.task == "preference" else ["text"]
    assert list(items) == ["item", *texts]
    assert items["item"].is_unique
    used = one.table[column(one, "label").map(RAW[one.data.task]) >= 0]
    firsts = pd.DataFrame({"item": column(one, "item")[used.index]})
    for name in texts:
        firsts[name] = column(one, name)[used.index] if name == "text" else used[name]
    firsts = firsts.drop_duplicates("item").reset_index(drop=True)
    assert items.to_numpy().tolist() == firsts.to_numpy().tolist()


def test_trace_follows_the_first_seed_of_every_method_with_epochs(one: Finished) -> None:
    trace = pd.read_parquet(one.folder / "trace.parquet")
    score = "accuracy" if one.data.task == "preference" else "auc"
    assert set(trace) == {"nll", score, *outputs.TRACE_COLUMNS}
    found = dict(list(trace.groupby(["method", "part"])))
    parts = ("validation", "test")
    neural = [m for m in METHODS if m in ("mc-stl", "none", "majority")]
    assert set(found) == {(method, part) for method in neural for part in parts}
    for part in found.values():
        assert part["epoch"].tolist() == [1, 2, 3]
        assert set(part["seed"]) == {one.study.seeds[0]}


def test_the_model_is_that_of_the_first_seed_and_neural_method(one: Finished) -> None:
    model = Model.load(one.folder / "model")
    assert (model.facts["method"], model.facts["seed"]) == ("mc-stl", one.study.seeds[0])
    rows = predictions(one).query("method == 'mc-stl' and seed == @one.study.seeds[0]")
    p, _ = model.predict_annotations(one.data)
    of_row = dict(zip(one.data.frame["row"], p, strict=True))
    expected = np.array([of_row[row] for row in rows["row"]])
    np.testing.assert_allclose(probabilities(rows), expected, atol=1e-6)


def test_the_resolved_study_says_everything_and_what_it_was_made_with(one: Finished) -> None:
    there = read_yaml(one.folder / "study.yaml")
    assert there == results(one)["study"]
    again = Study.read(one.folder / "study.yaml")
    assert again.training == one.study.training
    assert again.seeds == one.study.seeds
    assert again.methods == one.study.methods
    assert again.split == one.study.split
    assert again.groups == one.study.groups_for(one.data)
    assert again.task == one.data.task
    made_with = there["made_with"]
    assert made_with["mcstl"] == mcstl.__version__
    assert made_with["data"] == fingerprint(one.data) == results(one)["data"]["fingerprint"]
    assert {"python", "numpy", "torch", "encoder"} <= set(made_with)


# results.json, recomputed from predictions.parquet by other code


def nothing_or(value: float) -> float | None:
    return None if math.isnan(value) else value


def score_of(rows: pd.DataFrame, task: Task) -> float:
    p, y = probabilities(rows), rows["label"].to_numpy()
    if task == "preference":
        right = np.where(p[:, 1] == 0.5, 0.5, (p[:, 1] > 0.5) == (y == 1))
        return float(right.mean())
    classes = [1] if p.shape[1] == 2 else range(p.shape[1])
    aucs = [roc_auc_score(y == c, p[:, c]) for c in classes if 0 < (y == c).mean() < 1]
    return float(np.mean(aucs)) if aucs else math.nan


def values_of(rows: pd.DataFrame, task: Task) -> dict[str, Any]:
    p, y = probabilities(rows), rows["label"].to_numpy()
    places = np.arange(p.shape[1])
    one_hot = np.eye(p.shape[1])[y]
    weights = rows["minority_weight"].to_numpy()
    minority = np.flatnonzero(weights)
    far = [
        wasserstein_distance(places, places, p[i], one_hot[i]) / (p.shape[1] - 1) for i in minority
    ]
    return {
        "accuracy" if task == "preference" else "auc": nothing_or(score_of(rows, task)),
        "nll": float(-np.log(np.maximum(p[np.arange(len(p)), y], 1e-7)).mean()),
        "brier": float(((p - one_hot) ** 2).sum(axis=1).mean()),
        "one_minus_emd": 1 - float(np.average(far, weights=weights[minority])) if far else None,
        "n_minority": len(minority),
    }


def close(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for key, value in expected.items():
        assert found[key] == (value if value is None else pytest.approx(value, abs=1e-9)), key


def test_every_metric_can_be_recomputed_from_the_predictions(one: Finished) -> None:
    task = one.data.task
    score = "accuracy" if task == "preference" else "auc"
    for run, rows in runs_of(one):
        keys = {"method", "seed", "split", "metrics", "groups", "seconds"}
        assert set(run) == keys | {"recipe", "groups_not_shown"}
        close(run["metrics"], values_of(rows, task))
        p = probabilities(rows)
        lines = []
        for group in run["groups"]:
            inside = np.array([group["group"] in list(each) for each in rows["groups"]])
            assert group["n"] == inside.sum()
            close(group, values_of(rows[inside], task))
            for threshold in group["thresholds"]:
                t = threshold["threshold"]
                above, given = p[inside, t + 1 :].sum(axis=1), rows["label"][inside] > t
                slope, bias = metrics.calibration_line(above, given)
                close(threshold, {"slope": nothing_or(slope), "bias": nothing_or(bias)})
                lines.append((threshold["slope"], threshold["bias"]))
            assert len(group["thresholds"]) == p.shape[1] - 1
        scores = [group[score] for group in run["groups"] if group[score] is not None]
        slopes = [slope for slope, _ in lines if slope is not None]
        biases = [bias for _, bias in lines if bias is not None]
        for name, values in ((f"group_{score}", scores), ("slope", slopes), ("bias", biases)):
            expected = {f"{name}_mean": float(np.mean(values)), f"{name}_sd": float(np.std(values))}
            close(run["metrics"], expected)
        assert run["metrics"]["lines_without_slope"] == len(lines) - len(slopes)
        assert run["metrics"][f"groups_without_{score}"] == len(run["groups"]) - len(scores)


def test_the_summary_is_over_seeds_and_its_intervals_over_items_and_people(one: Finished) -> None:
    found = results(one)
    keys = [
        "schema",
        "study",
        "data",
        "groups",
        "runs",
        "summary",
        "differences",
        "audit",
        "controls",
        "use",
        "verdict",
    ]
    assert list(found) == keys
    assert list(found["summary"]) == METHODS
    of_seeds = evaluation.summarise(found["runs"], evaluation.split_overlap(found["data"]))
    for method, metrics_ in found["summary"].items():
        runs = [run["metrics"] for run in found["runs"] if run["method"] == method]
        spreads = {name for name in metrics_ if name.endswith("_spread")}
        assert set(metrics_) - spreads == set(runs[0])
        assert len(spreads) == 3
        for name, summary in metrics_.items():
            if name in spreads:
                assert summary["low"] <= summary["mean"] <= summary["high"]
                continue
            values = [run[name] for run in runs if run[name] is not None]
            close(summary, {"mean": np.mean(values) if values else None})
            if len(values) < 2:
                assert summary["sd"] is None
            else:
                close(summary, {"sd": np.std(values, ddof=1)})
            is_count = name.startswith(("n_", "groups_without", "lines_without"))
            if is_count or name.endswith("_sd"):
                assert summary == of_seeds[method][name]
            else:
                assert summary["interval"] == "items and annotators"
                if summary["low"] is not None:
                    assert summary["low"] <= summary["mean"] <= summary["high"]


def test_intervals_hold_those_of_items_alone_and_of_seeds_alone(one: Finished) -> None:
    rows = predictions(one).query("method == 'none'")
    chosen = rows[[f"p_{c}" for c in range(len(one.data.classes))]].to_numpy()
    losses = -np.log(np.maximum(chosen[np.arange(len(rows)), rows["label"]], 1e-7))
    n_seeds = rows["seed"].nunique()
    of_seed = rows["seed"].map(rows["seed"].value_counts()).to_numpy() * n_seeds
    centred = losses - pd.Series(losses).groupby(rows["seed"].to_numpy()).transform("mean")
    by_item = pd.Series(centred.to_numpy() / of_seed).groupby(rows["item"].to_numpy()).sum()
    found = results(one)["summary"]["none"]["nll"]
    assert found["high"] - found["mean"] >= 1.96 * np.sqrt((by_item**2).sum())
    below = min(found["mean"], found["high"] - found["mean"])  # a loss is never negative
    assert found["mean"] - found["low"] == pytest.approx(below)


def test_differences_are_from_the_method_without_groups(one: Finished) -> None:
    found = results(one)
    assert found["differences"]["baseline"] == "none"
    assert list(found["differences"]["methods"]) == [m for m in METHODS if m != "none"]
    for method, of_metric in found["differences"]["methods"].items():
        for name, gap in of_metric.items():
            a, b = found["summary"][method][name]["mean"], found["summary"]["none"][name]["mean"]
            close(gap, {"mean": a - b if a is not None and b is not None else None})


def test_the_audit_has_every_method_group_and_threshold(one: Finished) -> None:
    found = results(one)
    names = evaluation.group_names(found)
    assert list(found["audit"]["methods"]) == METHODS
    rows = evaluation.predictions_by_method(
        predictions(one), names, len(one.data.classes), one.data.task
    )
    for method, of_method in found["audit"]["methods"].items():
        cells = of_method["multicalibration"]["cells"]
        thresholds = range(len(one.data.classes) - 1)
        assert [(c["group"], c["threshold"]) for c in cells] == [
            (group, t) for group in [None, *names] for t in thresholds
        ]
        errors = [
            evaluation.ecce(metrics.exceedance(run.p)[:, 0], run.labels > 0) for run in rows[method]
        ]
        close(cells[0], {"ecce": np.mean(errors)})
        assert [group["group"] for group in of_method["groups"]] == names
        people = of_method["people"]
        close(
            people,
            {"accuracy": np.mean([(r.p.argmax(1) == r.labels).mean() for r in rows[method]])},
        )
        assert ("error_rates" in of_method) == (one.data.task != "preference")
        assert ("wasserstein" in of_method["soft_labels"]) == (one.data.task == "ordinal")


def test_results_describe_the_data_and_the_groups(one: Finished) -> None:
    found = results(one)
    data = found["data"]
    assert data["n"] == len(one.data)
    assert data["items"] == one.data.frame["item"].nunique()
    assert data["annotators"] == one.data.frame["annotator"].nunique()
    assert data["classes"] == list(one.data.classes)
    assert data["agreement"] == evaluation.annotation_agreement(one.data)
    assert data["task"] == one.data.task
    assert data["dropped"] == one.data.dropped
    assert data["split"]["by"] == one.study.split.by
    shares = one.study.split
    first = split(
        one.data,
        shares.by,
        test=shares.test,
        validation=shares.validation,
        seed=one.study.seeds[0],
    )
    for name, rows in first._asdict().items():
        assert data["split"][name] == len(rows)
    train = set(one.data.frame["row"].to_numpy()[first.train])
    if one.data.task != "preference":
        inside = [each for row, each in enumerate(expected_groups(one)) if row in train]
        sizes = Counter(name for each in inside for name in each)
        assert {g["name"]: g["size"] for g in found["groups"]}.items() <= sizes.items()
    for group in found["groups"]:
        assert set(group) == {"name", "size", "annotators", "description", "warning"}


def test_what_is_read_again_is_what_was_returned(one: Finished) -> None:
    again = outputs.read(one.folder)
    assert again.results == one.results.results
    pd.testing.assert_frame_equal(again.predictions, one.results.predictions)
    assert again.model is not None
    table = again.table().splitlines()
    assert [line.split()[0] for line in table] == ["method", *METHODS]


# The folder


def tiny(**changes: Any) -> Study:
    fields = {
        "data": {"dataset": "simulated", "annotations": 200},
        "groups": {"by": "taxonomy", "min_size": 10},
        "training": {"epochs": 1, "hidden": 8},
        "methods": ["none"],
        "seeds": 1,
    }
    return Study(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seeds": 2}, "seeds"),
        ({"methods": ["none", "logistic"]}, "methods"),
        ({"training": {"epochs": 2, "hidden": 8}}, "training"),
        ({"data": {"dataset": "simulated", "annotations": 210}}, "data, what is in the data"),
        ({"split": {"by": "item"}}, "split"),
        ({"task": "binary"}, "task, what is in the data"),
    ],
)
@pytest.mark.usefixtures("cache")
def test_a_folder_of_another_study_is_refused_and_left_alone(
    changes: dict[str, Any], told: str, held: Path
) -> None:
    before = {path: path.read_bytes() for path in held.rglob("*") if path.is_file()}
    with pytest.raises(InputError) as caught:
        mcstl.run(tiny(**changes), out=held)
    assert f"already holds another study (different: {told})" in str(caught.value)
    assert {path: path.read_bytes() for path in held.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("cache")
def test_a_folder_of_before_there_was_a_choice_has_the_default(held: Path, tmp_path: Path) -> None:
    older = tmp_path / "out"
    shutil.copytree(held, older)
    fields = read_yaml(older / "study.yaml")
    del fields["training"]["layer"]
    write_yaml(older / "study.yaml", fields)
    before = (older / "results.json").stat().st_mtime_ns
    smooth = {"epochs": 1, "hidden": 8, "layer": "smooth"}
    with pytest.raises(InputError, match=r"another study \(different: training\)"):
        mcstl.run(tiny(training=smooth), out=older)
    assert (older / "results.json").stat().st_mtime_ns == before
    mcstl.run(tiny(), out=older)


@pytest.fixture(scope="module")
def held(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the finished `tiny` study."""
    folder = tmp_path_factory.mktemp("held") / "out"
    mcstl.run(tiny(), out=folder)
    return folder


def test_a_file_that_changed_is_another_study(cache: Path, tmp_path: Path) -> None:
    table = pd.DataFrame({"text": [f"Bench {i}" for i in range(40)], "label": [0, 1] * 20})
    table["area"] = "North"
    table.to_csv(tmp_path / "town.csv", index=False)
    groups = {"by": "attributes", "min_size": 1}
    study = tiny(data={"file": str(tmp_path / "town.csv")}, groups=groups)
    mcstl.run(study, out=tmp_path / "out")
    table["label"] = 1 - table["label"]
    table.to_csv(tmp_path / "town.csv", index=False)
    with pytest.raises(InputError, match=r"\(different: what is in the data\)"):
        mcstl.run(study, out=tmp_path / "out")


def test_a_finished_study_returns_at_once_under_any_name(held: Path) -> None:
    def working(what: str, done: int, total: int) -> None:
        raise AssertionError(f"{what}: nothing was left to do")

    again = mcstl.run(tiny(name="another name"), out=held, progress=working)
    assert again.results == outputs.read(held).results


def test_a_folder_of_something_else_is_refused(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not empty and holds no study"):
        mcstl.run(tiny(), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(InputError, match="is a file"):
        mcstl.run(tiny(), out=tmp_path / "thesis.txt")
    with pytest.raises(InputError, match="cannot be written"):
        mcstl.run(tiny(), out=tmp_path / "thesis.txt" / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "study.yaml").write_text("made_with: by hand\n")
    with pytest.raises(InputError, match="already holds another study"):
        mcstl.run(tiny(), out=tmp_path / "other")


def test_a_folder_is_free_again_when_a_study_came_to_nothing(cache: Path, tmp_path: Path) -> None:
    too_large = {"by": "taxonomy", "min_size": 1000}
    with pytest.raises(InputError, match="no group is left"):
        mcstl.run(tiny(groups=too_large), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".hidden").write_text("not ours")
    with pytest.raises(InputError, match="no group is left"):
        mcstl.run(tiny(groups=too_large), out=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".hidden"]
    assert mcstl.run(tiny(), out=tmp_path / "out").results["runs"]


def test_one_process_at_a_time_works_in_a_folder(held: Path, tmp_path: Path) -> None:
    resolved = read_yaml(held / "study.yaml")
    with (
        working(tmp_path / "out", resolved),
        pytest.raises(InputError, match="another run is writing into"),
    ):
        mcstl.run(tiny(), out=tmp_path / "out")
    mcstl.run(tiny(), out=tmp_path / "out")
    assert not (tmp_path / "out" / ".work").exists()


def test_a_folder_without_results_is_no_finished_study(held: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(held, part)
    (part / "predictions.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(InputError, match=r"predictions\.parquet cannot be read as Parquet"):
        outputs.read(part)
    (part / "results.json").unlink()
    with pytest.raises(InputError, match="holds no finished study"):
        outputs.read(part)


def test_results_of_the_first_schema_are_read_and_others_refused(
    held: Path, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    shutil.copytree(held, older)
    content = json.loads((older / "results.json").read_text())
    assert content["schema"] == outputs.SCHEMA == 2
    (older / "results.json").write_text(json.dumps(content | {"schema": 1}))
    assert outputs.read(older).results == content | {"schema": 1}
    assert read_output(older).problems == []
    assert mcstl.run(tiny(), out=older).results["schema"] == 1  # it is finished
    for schema in (3, "1", None):
        (older / "results.json").write_text(json.dumps(content | {"schema": schema}))
        with pytest.raises(
            InputError, match=rf"has schema {schema!r}, and this version reads 1, 2"
        ):
            outputs.read(older)


def test_a_study_without_networks_has_no_model_and_an_empty_trace(
    cache: Path, tmp_path: Path
) -> None:
    found = mcstl.run(tiny(methods=["logistic"]), out=tmp_path / "out")
    assert found.model is None
    assert not (tmp_path / "out" / "model").exists()
    trace = pd.read_parquet(tmp_path / "out" / "trace.parquet")
    assert list(trace) == list(outputs.TRACE_COLUMNS)
    assert trace.empty


def test_metrics_that_do_not_exist_are_null_and_can_be_reported(
    cache: Path, tmp_path: Path
) -> None:
    """One text seen by one group gets one prediction: there is no line through one bin."""
    table = pd.DataFrame({"text": "A bench", "area": "North", "label": [0, 1] * 40})
    table.to_csv(tmp_path / "town.csv", index=False)
    study = tiny(
        data={"file": str(tmp_path / "town.csv")},
        groups={"by": "attributes", "min_size": 1},
        methods=["mc-stl", "none"],
    )
    found = mcstl.run(study, out=tmp_path / "out").results
    for run in found["runs"]:
        assert run["metrics"]["slope_mean"] is run["metrics"]["bias_sd"] is None
        assert run["metrics"]["one_minus_emd"] == pytest.approx(0.5)  # a tie
        assert run["metrics"]["auc"] == 0.5
    assert found["summary"]["none"]["slope_mean"]["mean"] is None
    trace = pd.read_parquet(tmp_path / "out" / "trace.parquet")
    assert trace["slope_mean"].isna().all()
    assert trace["slope_mean"].dtype == float
    assert report.render(tmp_path / "out").exists()


def test_methods_of_any_name_are_kept_apart(tmp_path: Path) -> None:
    work = Work(tmp_path)
    names = ["a/b", "a b", "a-b", "../a-b", "ä", "a" * 40]
    paths = {work.file(name, 0, "json") for name in names}
    assert len(paths) == len(names)
    assert {path.parent for path in paths if path} == {tmp_path}
    assert Work(None).file("a", 0, "json") is None
