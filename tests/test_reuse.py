"""A study takes over what a finished one has, and its results are those of running all of it."""

import importlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mcstl
from mcstl import InputError, Study
from mcstl.studies import results as outputs

PLATT = {"name": "none", "recalibrate": "platt"}
LONGER = {"name": "none", "training": {"epochs": 2}}


def study(**changes: Any) -> Study:
    fields: dict[str, Any] = {
        "data": {"dataset": "simulated", "annotations": 200},
        "groups": {"by": "taxonomy", "min_size": 10},
        "training": {"epochs": 1, "hidden": 8},
        "methods": ["mc-stl", "none", "majority"],
        "seeds": 2,
    }
    return Study(**fields | changes)


@pytest.fixture(scope="module")
def earlier(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier") / "out"
    mcstl.run(study(), out=folder)
    return folder


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_times(results: dict[str, Any]) -> dict[str, Any]:
    runs = [{key: run[key] for key in run if key != "seconds"} for run in results["runs"]]
    return results | {"runs": runs}


@pytest.mark.parametrize(
    ("changes", "fitted"),
    [
        ({"methods": ["mc-stl", "none", "majority", "groups-only"]}, 2),
        ({"methods": ["mc-stl", LONGER, "majority"]}, 2),
        ({"methods": ["mc-stl", PLATT]}, 2),
        ({"methods": ["mc-stl", "majority"], "seeds": 3}, 2),
        ({"methods": ["mc-stl"], "seeds": 1}, 0),
        # The run that leaves the model is another.
        ({"methods": ["none", "mc-stl", "majority"]}, 1),
        ({"model": "none"}, 1),
    ],
)
@pytest.mark.usefixtures("cache")
def test_results_are_those_of_running_everything(
    changes: dict[str, Any],
    fitted: int,
    tmp_path: Path,
    earlier: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anew = mcstl.run(study(**changes), out=tmp_path / "anew")
    before, fits = content(earlier), []
    module = importlib.import_module("mcstl.studies.run")
    run_method = module.run_method

    def noted(*args: Any) -> None:
        fits.append(args[2].title)
        run_method(*args)

    monkeypatch.setattr(module, "run_method", noted)
    reused = mcstl.run(study(**changes), out=tmp_path / "out", reuse=earlier)
    assert len(fits) == fitted
    assert without_times(reused.results) == without_times(anew.results)
    pd.testing.assert_frame_equal(reused.predictions, anew.predictions)
    trace, trace_anew = (outputs.read_trace(tmp_path / name) for name in ("out", "anew"))
    pd.testing.assert_frame_equal(trace, trace_anew)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in (tmp_path / "anew").iterdir()
    )
    assert content(earlier) == before


@pytest.mark.usefixtures("cache")
def test_each_question_of_several_takes_over_its_runs(tmp_path: Path) -> None:
    texts = [f"bench {number} in the {place}" for number in range(30) for place in ("park", "hall")]
    table = pd.DataFrame({"text": texts, "label": [("a", "b", "a,b")[i % 3] for i in range(60)]})
    table["who"] = ["w1", "w2"] * 30
    table.to_csv(tmp_path / "town.csv", index=False)
    fields = {
        "data": {"file": str(tmp_path / "town.csv"), "columns": {"annotator": "who"}},
        "task": "multilabel",
        "groups": "none",
    }
    mcstl.run(study(**fields, methods=["none"]), out=tmp_path / "one")
    both = study(**fields, methods=["none", "majority"])
    anew = mcstl.run(both, out=tmp_path / "anew")
    reused = mcstl.run(both, out=tmp_path / "out", reuse=tmp_path / "one")
    assert without_times(reused.results) == without_times(anew.results)
    times = [
        json.loads(path.read_text())["runs"][0]["seconds"]
        for folder in ("one", "out")
        for path in sorted((tmp_path / folder / "questions").glob("*/results.json"))
    ]
    assert times[:2] == times[2:]


@pytest.mark.parametrize(
    ("changes", "different"),
    [
        ({"split": {"by": "item"}}, "split"),
        ({"seeds": [1, 0]}, "the first seed"),
        ({"training": {"epochs": 2, "hidden": 8}}, "training"),
    ],
)
@pytest.mark.usefixtures("cache")
def test_runs_of_another_study_are_refused(
    changes: dict[str, Any], different: str, tmp_path: Path, earlier: Path
) -> None:
    with pytest.raises(InputError, match=rf"another study \(different: {different}"):
        mcstl.run(study(**changes), out=tmp_path / "out", reuse=earlier)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("cache")
def test_runs_of_another_version_are_refused(tmp_path: Path, earlier: Path) -> None:
    older = tmp_path / "older"
    results = json.loads((earlier / "results.json").read_text())
    results["study"]["made_with"]["mcstl"] = "0.1.0"
    older.mkdir()
    (older / "results.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match="the version of mcstl"):
        mcstl.run(study(), out=tmp_path / "out", reuse=older)


@pytest.mark.usefixtures("cache")
def test_the_way_to_reuse_is_told_where_it_can_be_gone(tmp_path: Path, earlier: Path) -> None:
    with pytest.raises(InputError, match=r"with --reuse .* to run only what is new"):
        mcstl.run(study(seeds=3), out=earlier)
    with pytest.raises(InputError, match="choose another --out, or remove it"):
        mcstl.run(study(split={"by": "item"}), out=earlier)
    with pytest.raises(InputError, match="holds no finished study"):
        mcstl.run(study(), out=tmp_path / "out", reuse=tmp_path)
