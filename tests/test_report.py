"""The report: one page that holds what the outputs say, loads nothing and escapes everything."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from made_up import GROUPS, make_output
from mcstl import evaluation
from mcstl._support.errors import InputError
from mcstl.data.labels import Task
from mcstl.evaluation import tables
from mcstl.reporting import render
from mcstl.studies.output import read_output
from pages import Page

FEW = GROUPS[:3]
EVIL = '<script>alert("x")</script><img src="http://evil.example/a.png"> & </details>'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(
        tmp_path_factory.mktemp("made_up"), groups=FEW, texts=[EVIL, "plain words"], n_items=40
    )


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(render(folder))


def loaded(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


# --- what it holds ------------------------------------------------------------------------------


def test_results_table_holds_the_summary(folder: Path, page: Page) -> None:
    results = loaded(folder)
    table = page.tables[0]
    assert [row[0] for row in table] == ["Method", "mc-stl", "none", "majority", "gbm"]
    for row in table[1:]:
        auc = results["summary"][row[0]]["auc"]
        assert row[1] == f"{auc['mean']:.3f}" + told(auc["low"], auc["high"])


def test_group_table_holds_sizes_values_and_warnings(folder: Path, page: Page) -> None:
    results = loaded(folder)
    rows = page.tables[1][1:]
    for row, group in zip(rows, results["groups"], strict=True):
        assert row[0].startswith(group["name"])
        assert row[1:3] == [f"{group['size']:,}", str(group["annotators"])]
        runs = [run for run in results["runs"] if run["method"] == "mc-stl"]
        aucs = [g["auc"] for run in runs for g in run["groups"] if g["group"] == group["name"]]
        assert row[4] == f"{np.mean(aucs):.3f}"
    assert "Care: made up" in rows[2][0]
    assert "Read with care, see the table of groups: age=18-29." in page.text


def test_asked_split_settings_and_versions_are_told(folder: Path, page: Page) -> None:
    assert "How would each of 3 groups label a text" in page.text
    assert "labels benign < mild < offensive" in page.text
    assert "Split by annotation: a text may have other annotations in training" in page.text
    assert "fingerprint 9d1f7c2a40b3e6f8" in page.text
    assert "3 rows (label missing or outside `labels`)" in page.text
    assert "2 texts are longer than the encoder reads and were cut." in page.text
    study = (folder / "study.yaml").read_text()
    assert " ".join(study.split()) in page.hidden


def test_every_figure_has_an_alternative_text_and_a_line_on_how_to_read_it(page: Page) -> None:
    pictures = page.named("img")
    assert len(pictures) == 4  # comparison, calibration of two methods, trade-off
    assert all(len(picture["alt"] or "") > 40 for picture in pictures)
    assert len(page.named("source")) == 4
    assert page.text.count("How to read") == 4  # the table of groups too, one grid for both


def test_figures_are_written_beside_the_page(folder: Path, page: Page) -> None:
    assert page.tags
    stems = ("calibration", "calibration-none", "comparison", "tradeoff")
    expected = {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    assert {path.name for path in (folder / "figures").iterdir()} == expected


# --- intervals and audit ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(
        tmp_path_factory.mktemp("audited"),
        groups=FEW,
        methods=["mc-stl", "none", "majority"],
        n_items=40,
        with_audit=True,
    )


@pytest.fixture(scope="module")
def audited_page(audited: Path) -> Page:
    return Page(render(audited))


def told(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}".replace("-", "−")


def test_tables_hold_the_intervals_over_items_and_people(audited: Path, audited_page: Page) -> None:
    results = loaded(audited)
    for row in audited_page.tables[0][1:]:
        nll = results["summary"][row[0]]["nll"]
        assert nll["interval"] == "items and annotators"
        assert row[2].endswith(told(nll["low"], nll["high"]))
    groups = results["audit"]["methods"]["mc-stl"]["groups"]
    for row, group in zip(audited_page.tables[3][1:], groups, strict=True):
        assert row[0].startswith(group["group"])
        assert row[4].endswith(told(*group["auc"]))
        assert row[5].endswith(told(*group["slope"]))
    assert "differences over texts and people" in audited_page.text
    assert "its line the 95% interval over texts and people" in audited_page.text


def test_spreads_over_groups_are_shown_with_and_without_noise(
    audited: Path, audited_page: Page
) -> None:
    summary = loaded(audited)["summary"]
    for row in audited_page.tables[2][1:]:
        of_slope = summary[row[0]]["slope_spread"]
        assert row[3] == f"{summary[row[0]]['slope_sd']['mean']:.3f}"
        ends = told(of_slope["low"], of_slope["high"])
        assert row[4] == f"{of_slope['mean']:.3f}" + ends


def test_marks_are_those_of_the_summary(audited: Path, audited_page: Page) -> None:
    summary = loaded(audited)["summary"]
    columns = [column.metric for column in tables.results_columns("auc")]
    marks = [summary[method][metric]["mark"] for method in summary for metric in columns]
    assert set(marks) == {"best", "tied", ""}
    assert len(audited_page.named("b")) >= marks.count("best") > 0
    html = (audited / "report.html").read_text()
    assert html.count('class="tied"') == marks.count("tied")


def test_differences_are_told_from_the_baseline(audited: Path, audited_page: Page) -> None:
    found = loaded(audited)["differences"]
    assert "Differences from none" in audited_page.text
    table = audited_page.tables[1]
    assert [row[0] for row in table[1:]] == ["mc-stl", "majority"]
    gap = found["methods"]["mc-stl"]["auc"]
    assert table[1][1] == f"{gap['mean']:.3f}" + told(gap["low"], gap["high"])


def test_the_audit_names_groups_that_are_off_and_what_could_be_seen(
    audited: Path, audited_page: Page
) -> None:
    tested = {
        method: found["multicalibration"]
        for method, found in loaded(audited)["audit"]["methods"].items()
    }
    methods, groups = audited_page.tables[4], audited_page.tables[5]
    for row in methods[1:]:
        assert row[1] == f"{tested[row[0]]['error']:.1f}"
        assert row[2] == f"{tested[row[0]]['p_value']:.3f}"
        off = {c["group"] for c in tested[row[0]]["cells"] if c["p_adjusted"] < 0.05}
        assert row[3] == f"{len(off)} of 4"
    assert tested["majority"]["p_value"] < 0.05
    assert [row[0] for row in groups[1:]] == ["everyone", *FEW]
    for row in groups[1:]:
        cells = [c for c in tested["mc-stl"]["cells"] if (c["group"] or "everyone") == row[0]]
        worst = max(cells, key=lambda cell: float(cell["in_sigmas"]))
        assert row[3] == f"{worst['ecce']:.3f}"
        assert row[7] == f"{worst['detectable']:.3f}"
        assert row[6] == ("off" if worst["p_adjusted"] < 0.05 else "nothing seen")
    assert "“Nothing seen” does not prove that nothing is wrong" in audited_page.text


def test_measures_of_others_are_those_of_the_results(audited: Path, audited_page: Page) -> None:
    found = loaded(audited)["audit"]["methods"]["none"]
    table = audited_page.tables[6]
    assert table[0][1].startswith("Shares, Manhattan")
    assert table[2][1] == f"{found['soft_labels']['manhattan']:.3f}"
    gap = max(found["error_rates"]["false_positive"]["gap"])
    assert f"{gap:.3f}" in table[2]
    assert "Krippendorff's alpha 0.31" in audited_page.text


def test_a_page_of_older_outputs_says_what_it_lacks(page: Page) -> None:
    assert "these outputs are of a version that did not make them" in page.text
    assert "Is any group off?" not in page.text
    assert "Measures that others use" not in page.text
    assert "Krippendorff" not in page.text


@pytest.mark.parametrize("task", ["binary", "preference"])
def test_an_audit_of_one_method_and_one_seed(tmp_path: Path, task: Task) -> None:
    make_output(
        tmp_path, task=task, groups=FEW, methods=["gbm"], seeds=[0], n_items=30, with_audit=True
    )
    page = Page(render(tmp_path))
    assert "Is any group off?" in page.text
    assert "Differences from" not in page.text
    assert ("False positives, gap" in page.text) == (task == "binary")


# --- self-contained and safe --------------------------------------------------------------------


def test_nothing_is_loaded_or_run(page: Page) -> None:
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "base"})
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "srcset", "href", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:image/svg+xml;base64,"), (tag, name)
    policy = next(m for m in page.named("meta") if m.get("http-equiv"))["content"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_figures_inside_load_nothing_either(page: Page) -> None:
    for picture in page.named("img"):
        svg = base64.b64decode((picture["src"] or "").split(",")[1]).decode()
        assert svg.startswith("<svg")
        assert not re.search(r'(href|src)="(?!#)', svg)
        assert "url(http" not in svg


def test_texts_are_escaped_and_shown_only_when_asked(page: Page) -> None:
    assert " ".join(EVIL.split()) in page.hidden
    assert "alert" not in page.text
    assert "plain words" not in page.text
    assert "some may be offensive" in page.hidden


def test_names_are_escaped(tmp_path: Path) -> None:
    evil = [EVIL, "</svg><script>alert(2)</script>", "$x^2$"]
    make_output(
        tmp_path,
        task="binary",
        groups=evil,
        methods=[EVIL, "none"],
        seeds=[0],
        n_items=20,
        name=EVIL,
    )
    page = Page(render(tmp_path))
    assert "script" not in {tag for tag, _ in page.tags}
    assert [row[0] for row in page.tables[0][1:]] == [EVIL, "none"]
    svg = base64.b64decode((page.named("img")[1]["src"] or "").split(",")[1]).decode()
    assert "<script" not in svg


# --- other studies ------------------------------------------------------------------------------


def test_preference_is_told_in_its_own_words(tmp_path: Path) -> None:
    make_output(tmp_path, task="preference", groups=FEW, methods=["mc-stl", "none"], seeds=[0, 1])
    page = Page(render(tmp_path))
    assert "Which of two texts would each of 3 groups prefer" in page.text
    assert page.tables[0][0][1].startswith("Accuracy")
    assert "(from 0, B is preferred, to 1, A is)" in page.text
    assert len(page.named("blockquote")) % 2 == 0


def test_one_method_one_seed_no_epochs_and_one_group(tmp_path: Path) -> None:
    make_output(
        tmp_path,
        task="binary",
        groups=["all"],
        methods=["gbm"],
        seeds=[3],
        n_items=20,
        with_trace=False,
    )
    page = Page(render(tmp_path))
    assert "One seed only" in page.text
    assert "±" not in page.tables[0][1][1]
    assert "While training" not in page.text
    assert "No two groups have enough of the same texts" in page.text
    assert len(page.named("img")) == 1


def test_a_group_that_only_some_seeds_have_is_in_the_table(tmp_path: Path) -> None:
    make_output(tmp_path, task="binary", groups=FEW, methods=["mc-stl"], seeds=[0, 1], n_items=20)
    results = loaded(tmp_path)
    results["groups"] = results["groups"][:2]
    results["runs"][1]["groups"] = results["runs"][1]["groups"][:2]
    (tmp_path / "results.json").write_text(json.dumps(results))
    page = Page(render(tmp_path))
    row = page.tables[1][3]
    assert row[:3] == [FEW[2], "–", "–"]
    assert row[4] == f"{results['runs'][0]['groups'][2]['auc']:.3f}"


def test_every_cell_names_its_column_for_narrow_screens(page: Page) -> None:
    cells = [attributes.get("data-heading") for name, attributes in page.tags if name == "td"]
    assert len(cells) > 40
    assert all(cells)
    assert "AUC" in cells


def test_values_that_do_not_exist_are_dashes_and_counted(tmp_path: Path) -> None:
    methods = ["mc-stl", "none"]
    make_output(tmp_path, task="binary", groups=FEW, methods=methods, seeds=[0], n_items=20)
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    predictions[["p_0", "p_1"]] = [0.2, 0.8]
    predictions.to_parquet(tmp_path / "predictions.parquet")
    results = loaded(tmp_path)
    for run in results["runs"]:
        run["metrics"] |= {"slope_mean": None, "slope_sd": None, "lines_without_slope": 3}
        for group in run["groups"]:
            group["thresholds"] = [{"threshold": 0, "slope": None, "bias": None, "n_bins": 1}]
    results["summary"] = evaluation.summarise(results["runs"])
    (tmp_path / "results.json").write_text(json.dumps(results))
    page = Page(render(tmp_path))
    assert not any(heading.startswith("Slope") for heading in page.tables[0][0])
    assert page.tables[1][1][5] == "–"
    assert "hence no slope, and their means leave them out: mc-stl (3), none (3)" in page.text


def test_the_pair_that_is_set_apart_is_found_with_its_item(tmp_path: Path) -> None:
    make_output(
        tmp_path,
        task="preference",
        groups=["x", "y", "z"],
        methods=["none", "mc-stl"],
        seeds=[0, 1],
        texts=[f"garden {i}" for i in range(40)],
        n_items=40,
        per_item=30,
    )
    rows = pd.read_parquet(tmp_path / "predictions.parquet")
    alone = rows["groups"].map(lambda names: names[0] if len(names) == 1 else "")
    # Shown the right way round: x always prefers A, y prefers B most on item 7, z is undecided.
    prefers_a = alone.map({"x": 0.9, "y": 0.3, "z": 0.5, "": 0.5})
    prefers_a = prefers_a.mask((alone == "y") & (rows["item"] == "item-7"), 0.01)
    turned = prefers_a.mask(rows["flipped"], 1 - prefers_a)
    rows["p_1"] = rows["p_1"].mask(rows["method"] == "mc-stl", turned)
    rows["p_0"] = 1 - rows["p_1"]
    rows["groups"] = rows["groups"].map(lambda names: names if len(names) == 1 else [])
    rows.to_parquet(tmp_path / "predictions.parquet")
    page = Page(render(tmp_path))
    assert "Pairs of groups that mc-stl sets furthest apart" in page.text  # none tells none apart
    assert re.search(r"x and y: 0\.6\d on \d+ pairs of texts", page.text)
    first = page.hidden[page.hidden.index("x and y") :]
    assert first.startswith("x and y A garden 7 B garden 7 x: predicted 0.90")
    assert "y: predicted 0.01" in first


def test_rendering_again_gives_the_same_page(tmp_path: Path) -> None:
    make_output(tmp_path, task="binary", groups=FEW, methods=["mc-stl"], seeds=[0], n_items=20)
    first = render(tmp_path).read_bytes()
    assert render(str(tmp_path)).read_bytes() == first


# --- what cannot be used ------------------------------------------------------------------------


def change_predictions(change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> Any:
    def apply(folder: Path) -> None:
        path = folder / "predictions.parquet"
        frame = pd.read_parquet(path)
        changed = change(frame)
        (frame if changed is None else changed).to_parquet(path)

    return apply


def set_cell(column: str, value: Any) -> Any:
    def change(frame: pd.DataFrame) -> None:
        frame[column] = [value if i == 4 else cell for i, cell in enumerate(frame[column])]

    return change_predictions(change)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "results.json").unlink(), r"there is no results.json in .*mcstl run"),
        (lambda f: (f / "study.yaml").unlink(), "there is no study.yaml"),
        (lambda f: (f / "results.json").write_text('{"schema": 1,'), "is not JSON .*is it whole"),
        (lambda f: (f / "results.json").write_text('{"schema": 9}'), "schema 9, .* reads 1, 2"),
        (lambda f: (f / "results.json").write_text("[]"), "schema None"),
        (lambda f: (f / "results.json").write_text('{"schema": 1}'), "has no study, data, groups"),
        (lambda f: (f / "items.parquet").write_bytes(b"PAR1"), "cannot be read as Parquet"),
        (
            change_predictions(lambda f: f.drop(columns="p_2")),
            "column 'p_2' is not in .*The classes are",
        ),
        (
            change_predictions(lambda f: f.drop(columns="groups")),
            "column 'groups' is not in .*; found",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_of_one_line(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    make_output(tmp_path, groups=FEW, methods=["mc-stl"], seeds=[0, 1], n_items=35)
    read_output(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        render(tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (set_cell("p_1", np.nan), r"1 of 280 rows .* no probability that is a number.* row \d+\."),
        (set_cell("p_0", np.inf), "1 of 280 rows .* no probability that is a number"),
        (set_cell("p_0", None), "1 of 280 rows .* no probability that is a number"),
        (set_cell("p_0", -0.2), "1 of 280 rows .* have a probability below 0 or above 1"),
        (set_cell("p_0", 0.999), "1 of 280 rows .* have probabilities that do not sum to 1"),
        (set_cell("groups", None), "1 of 280 rows .* have no groups"),
        (set_cell("groups", ["age=18-92"]), "1 of 280 .* a group that results.json does not have"),
        (set_cell("label", 3), "1 of 280 rows .* have a label that is none of 0, 1, 2"),
        (set_cell("item", "gone"), "1 of 280 rows .* have an item that is not in items.parquet"),
        (change_predictions(lambda f: f.drop(index=4)), "has 139 of 140 rows of method mc-stl"),
        (
            change_predictions(lambda f: f[(f["method"] != "mc-stl") | (f["seed"] != 0)]),
            "has 0 of 140 rows of method mc-stl",
        ),
    ],
)
def test_predictions_that_cannot_be_are_told_and_the_rest_is_shown(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    make_output(tmp_path, groups=FEW, methods=["mc-stl", "none"], seeds=[0], n_items=35)
    whole = Page(render(tmp_path))
    spoil(tmp_path)
    page = Page(render(tmp_path))
    assert re.search(message, page.text)
    assert "Left out of the figures made of predictions: mc-stl, seed 0." in page.text
    assert page.tables == whole.tables  # they come from results.json
    assert len(page.named("img")) == len(whole.named("img")) - 1


def test_predictions_of_which_none_can_be_used_leave_the_tables(tmp_path: Path) -> None:
    make_output(tmp_path, groups=FEW, methods=["mc-stl"], seeds=[0], n_items=35)
    change_predictions(lambda f: f.assign(p_0=np.nan))(tmp_path)
    page = Page(render(tmp_path))
    assert "No run's predictions can be used." in page.text
    assert len(page.tables) == 2
    assert "No two groups have enough of the same texts" in page.text
