"""In a notebook: what objects show of themselves, and the tutorial, cell after cell."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mcstl
from mcstl._support.errors import InputError
from mcstl.datasets import simulated

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"
FEW: dict[str, Any] = {"groups": {"by": "taxonomy", "min_size": 20}, "training": {"epochs": 2}}


def shown(cell: str, names: dict[str, Any]) -> Any:
    """Run a cell, and return what a notebook would show: its last line, if that is a value."""
    *first, last = cell.split("\n")
    try:
        compile(last, "the notebook", "eval")
        exec("\n".join(first), names)
    except SyntaxError:
        exec(cell, names)
        return None
    return eval(last, names)


def test_the_notebook_runs_from_its_first_cell_to_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    names: dict[str, Any] = {}
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    results = [shown(cell, names) for cell in cells]
    assert all(result is not None for result in results)
    tables = [result._repr_html_() for result in results if hasattr(result, "_repr_html_")]
    assert len(tables) >= 5
    assert list(results[-1]) == list(names["model"].predict(names["texts"]))


def test_what_a_model_is_fits_on_a_line_and_in_a_small_table(cache: Path) -> None:
    data = mcstl.datasets.load("simulated", annotations=400)
    model = mcstl.fit(data, **FEW)
    assert repr(model).startswith("<Model task: ordinal, classes: oppose < unsure < support, gro")
    assert repr(data).startswith("<Annotations source: simulated, annotations: 400 of 40 items")
    for each in (model, data):
        assert len(repr(each)) < 400
        assert "<table>" in each._repr_html_()
    assert "tensor" not in repr(model)


def test_a_name_with_angle_brackets_is_shown_as_text() -> None:
    table = pd.DataFrame({"text": ["a", "b"], "label": ["<b>", "x"], "item": ["1", "2"]})
    data = mcstl.Annotations.from_frame(table, labels={"<b>": ["<b>"], "x": ["x"]})
    assert "&lt;b&gt; 50%" in data._repr_html_()


def test_predict_gives_the_likeliest_label(cache: Path) -> None:
    model = mcstl.fit(mcstl.datasets.load("simulated", annotations=400), **FEW)
    texts = ["Let us sing.", "Let us not."]
    assert model.predict(texts).shape == (2,)
    assert {*model.predict(texts)} <= {*model.classes}
    views = model.predict(texts, [["Security"], ["Tradition"], ["Security", "Tradition"]])
    assert views.shape == (2, 3)
    p = model.predict_proba(texts, [["Tradition"]])
    assert [model.classes[k] for k in p.argmax(-1)[:, 0]] == views[:, 1].tolist()


def test_a_data_frame_or_a_file_can_be_fitted_and_measured(cache: Path, tmp_path: Path) -> None:
    table = simulated.table("binary", 400)
    table.to_json(tmp_path / "town.jsonl", orient="records", lines=True)
    of_frame = mcstl.fit(table, **FEW)
    of_file = mcstl.fit(tmp_path / "town.jsonl", **FEW)
    texts = table["text"].head(3).tolist()
    assert (of_frame.predict_proba(texts) == of_file.predict_proba(texts)).all()
    assert of_frame.classes == ("oppose", "support")
    assert 0 < mcstl.evaluate(of_frame, table)["metrics"]["auc"] < 1
    with pytest.raises(InputError, match=r"got list\. A Dataset is read by"):
        mcstl.fit([table])  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["none", "majority"])
def test_any_method_that_leaves_a_model_can_be_fitted(method: str, cache: Path) -> None:
    data = mcstl.datasets.load("simulated", annotations=400)
    assert len(mcstl.fit(data, method=method, **FEW).predict(["A text."])) == 1


def test_a_method_without_a_model_is_refused_with_those_that_have_one() -> None:
    data = mcstl.datasets.load("simulated", annotations=400)
    with pytest.raises(InputError, match="gbm leaves no model; those that do: mc-stl, "):
        mcstl.fit(data, method="gbm")
    with pytest.raises(InputError, match="Did you mean 'none'"):
        mcstl.fit(data, method="nonee")
