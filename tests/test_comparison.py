"""Studies side by side: what the page says is what each study found, and differences are paired."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from made_up import GROUPS, make_output
from mcstl._support.errors import InputError
from mcstl.evaluation import compare_studies, same_test_rows, tables
from mcstl.reporting import compare
from pages import Page

FEW = GROUPS[:3]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One study with two methods, and its two halves, whose methods have one name."""
    root = tmp_path_factory.mktemp("both")
    whole = make_output(
        root / "whole", groups=FEW, methods=["mc-stl", "none"], n_items=40, with_audit=True
    )
    for half, method in (("theirs", "none"), ("ours", "mc-stl")):
        shutil.copytree(whole, root / half)
        results = outcome(whole)[0]
        results["runs"] = [r | {"method": "m"} for r in results["runs"] if r["method"] == method]
        results["summary"] = {"m": results["summary"][method]}
        (root / half / "results.json").write_text(json.dumps(results))
        rows = pd.read_parquet(whole / "predictions.parquet")
        rows = rows[rows["method"] == method].assign(method="m")
        rows.to_parquet(root / half / "predictions.parquet")
    return root


def outcome(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    results = json.loads((folder / "results.json").read_text())
    return results, pd.read_parquet(folder / "predictions.parquet")


def test_differences_across_studies_are_those_within_one(both: Path) -> None:
    whole = outcome(both / "whole")[0]
    found = compare_studies(outcome(both / "theirs"), outcome(both / "ours"))["m"]
    expected = whole["differences"]["methods"]["mc-stl"]
    assert set(found) == set(expected)
    for metric, value in expected.items():
        assert found[metric] == pytest.approx(value), metric


def test_the_page_holds_each_study_and_their_differences(both: Path, tmp_path: Path) -> None:
    page = Page(compare([both / "theirs", both / "ours"], tmp_path / "compared.html"))
    studies, table, differences = page.tables
    assert [row[0] for row in studies[1:]] == ["theirs", "ours"]
    summary = {half: outcome(both / half)[0]["summary"]["m"] for half in ("theirs", "ours")}
    for row in table[1:]:
        assert row[1] == "m"
        nll = summary[row[0]]["nll"]
        assert row[3].startswith(tables.rounded(nll["mean"]))
        assert row[3].endswith(f"{nll['low']:.3f} to {nll['high']:.3f}")
    gap = compare_studies(outcome(both / "theirs"), outcome(both / "ours"))["m"]["nll"]
    assert differences[1][2].startswith(tables.rounded(gap["mean"]).replace("-", "−"))
    assert "ours minus theirs" in page.text
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})


def test_studies_of_other_rows_are_not_subtracted(both: Path, tmp_path: Path) -> None:
    make_output(tmp_path / "a", groups=FEW, n_items=40, seeds=[5], with_audit=True)
    make_output(tmp_path / "b", groups=FEW, n_items=40, task="preference", with_audit=True)
    assert not same_test_rows(outcome(both / "ours"), outcome(tmp_path / "a"))
    page = Page(compare([both / "ours", tmp_path / "a", tmp_path / "b"], tmp_path / "c.html"))
    assert page.text.count("not tested on the same rows") == 2
    assert len(page.tables) == 3  # AUC and accuracy do not share a table


def test_studies_are_named_apart_and_given_once(both: Path, tmp_path: Path) -> None:
    shutil.copytree(both / "ours", tmp_path / "ours")
    page = Page(compare([both / "ours", tmp_path / "ours"], tmp_path / "c.html"))
    names = [row[0] for row in page.tables[0][1:]]
    assert len(set(names)) == 2
    assert all(name.endswith("/ours") for name in names)
    with pytest.raises(InputError, match="given twice"):
        compare([both / "ours", both / ".." / both.name / "ours"], tmp_path / "c.html")
    with pytest.raises(InputError, match=r"no results\.json"):
        compare([both / "ours", tmp_path], tmp_path / "c.html")
