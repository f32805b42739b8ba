"""The paper again: what is printed, tables and figures of tiny studies, what is missing."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from drawn import dots, panels
from mcstl._support.errors import InputError
from mcstl.cli import app
from mcstl.evaluation.verdict import LABEL_LEAKS
from mcstl.groups.review.summaries import Summariser
from mcstl.labelling.llm import Client, Template
from mcstl.reporting import calibration_plots, plots
from mcstl.reporting.calibration_plots import CalibrationData
from mcstl.reproduce import StudyRuns, paper, reproduce, reproduce_one
from mcstl.reproduce.diagrams import DIAGRAMS
from mcstl.reproduce.paper import Paper
from mcstl.studies.study_file import Study
from model_server import serving
from tiny_transformers import tiny

TINY: dict[str, Any] = {
    "data": {"dataset": "simulated", "annotations": 400},
    "groups": {"by": "taxonomy", "min_size": 20},
    "training": {"epochs": 4, "hidden": 8},
}
SMALL = Paper.model_validate(
    {
        "studies": {
            "three": TINY,
            "pairs": {**TINY, "task": "preference", "methods": ["mc-stl", "none"]},
            "extra": {**TINY, "methods": ["logistic"]},
            "gone": {"data": {"dataset": "popquorn"}},
            "unknown": {**TINY, "methods": ["no-such-method"]},
        },
        "tables": {
            "table1": {
                "title": "A table",
                "blocks": [
                    {
                        "title": "Three classes",
                        "studies": ["three", "unknown"],
                        "like": ["pairs"],
                        "printed": {
                            "mc-stl": [0.70, 0.71, 0.02, 0.99, 0.04, 0.01, 0.03, 0.5],
                            "irpm": [0.60, 0.61, 0.03, 0.89, 0.05, -0.02, 0.04, 0.4],
                        },
                    },
                    {
                        "title": "Lacking",
                        "studies": ["gone"],
                        "like": ["gone"],
                        "printed": {"none": [0.5, 0.5, 0, 1, 0, 0, 0, 0.5]},
                    },
                ],
            }
        },
        "summaries": {
            "table4": {
                "title": "Groups",
                "study": "three",
                "like": "gone",
                "printed": ["A summary"],
            }
        },
        "figures": {
            "figure3": {
                "title": "Plots",
                "method": "mc-stl",
                "rows": [
                    {"title": "Three", "study": "three", "like": "three"},
                    {"title": "Pairs", "study": "pairs", "like": "gone", "groups": 2},
                    {"title": "Gone", "study": "gone", "like": "gone"},
                ],
            },
            "figure8": {
                "title": "Course",
                "method": "mc-stl",
                "over_epochs": True,
                "rows": [{"title": "Three", "study": "three", "like": "gone"}],
            },
        },
    }
)


@pytest.fixture(scope="module")
def studies(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyRuns:
    return StudyRuns(SMALL, tmp_path_factory.mktemp("again"), tmp_path_factory.mktemp("none"), 2)


def test_the_papers_figures_are_those_of_its_tables() -> None:
    """Two rows of each table, as printed."""
    tables = paper().tables
    found = {
        name: {block.title: block.printed for block in table.blocks}
        for name, table in tables.items()
    }
    assert found["table1"]["VP-Right (Ordinal)"]["majority"] == (
        0.68, 0.67, 0.01, 0.63, 0.07, 0.13, 0.11, 0.42,
    )  # fmt: skip
    assert found["table2"]["Anthropic HH-RLHF+VI (Preference)"]["mc-stl"][5] == -0.01
    assert found["table3"]["D3 (Binary)"]["none"][-1] == 0.31
    assert found["table7"]["DICES-990 (Ordinal)"]["irpm"][3] == 2.47
    assert found["table8"]["VP-Value (Ordinal)"]["majority"][-1] == 0.54
    assert found["table7"]["D3 (Binary)"]["mc-stl"] == found["table3"]["D3 (Binary)"]["mc-stl"]
    blocks = [block for table in tables.values() for block in table.blocks if block.studies]
    assert sum(len(block.printed) for block in blocks) == 34
    assert [len(paper().summaries[f"table{k}"].printed) for k in (4, 5, 6)] == [4, 5, 4]


def test_every_row_has_a_study_of_its_data_and_one_of_open_data() -> None:
    known, open_data = (
        paper().studies,
        {
            *("valueeval23", "popquorn", "ukpconvarg1", "livenli-single", "awa", "cade"),
        },
    )
    rows = [
        (keys, like)
        for table in paper().tables.values()
        for block in table.blocks
        for keys, like in [(block.studies, block.like)]
    ]
    rows += [((each.study,), (each.like,)) for each in paper().summaries.values()]
    rows += [
        ((row.study,), (row.like,)) for figure in paper().figures.values() for row in figure.rows
    ]
    for keys, like in rows:
        assert not {known[key]["data"]["dataset"] for key in keys} & open_data
        assert {known[key]["data"]["dataset"] for key in like} <= open_data
    used = {key for row in rows for keys in row for key in keys}
    assert used == set(known)
    for key, fields in known.items():  # all but what another part of mcstl has to bring
        plain = {
            name: value for name, value in fields.items() if name not in ("encoder", "methods")
        }
        assert Study(**plain).data.dataset == paper().studies[key]["data"]["dataset"], key
        named = "methods" in fields
        methods = [method.name for method in paper().study(key, 1).methods]
        assert named or methods == ["mc-stl", "none", "majority"], key


def cells(text: str, line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_table_has_ours_the_papers_and_the_difference_in_spreads(studies: StudyRuns) -> None:
    outcome = reproduce_one("table1", studies, like=False)
    assert outcome.files[0].read_text(encoding="utf-8") == outcome.text + "\n"
    lines = [cells(outcome.text, each) for each in outcome.text.splitlines() if each[:1] == "|"]
    columns = ["Overall", "Group", "Slope", "Bias", "1-EMD", "label leaks"]
    assert lines[0] == ["", "method", "", *columns]
    ours, theirs, apart = lines[2:5]
    assert ours[:3] == ["Three classes", "MC-STL", "ours"]
    assert theirs[2:] == ["paper", "0.70", "0.71 ± 0.02", "0.99 ± 0.04", "0.01 ± 0.03", "0.50", ""]
    of = studies.results("three").results["summary"]["mc-stl"]
    assert ours[3] == f"{of['auc']['mean']:.2f}"
    assert ours[4] == f"{of['group_auc_mean']['mean']:.2f} ± {of['group_auc_sd']['mean']:.2f}"
    for cell, key, printed in (
        (apart[3], "auc", 0.70),
        (apart[5], "slope_mean", 0.99),
        (apart[7], "one_minus_emd", 0.5),
    ):
        assert float(cell) == pytest.approx((of[key]["mean"] - printed) / of[key]["sd"], abs=0.051)
    # The verdict on leaks is beside the row, and what all checks say is below.
    checks = studies.results("three").results["controls"]
    worry = {each["check"] for each in checks if each["fires"]}
    telling = [name for name in LABEL_LEAKS if name in worry]
    assert re.findall("[a-z][a-z ]+(?= [0-9.]+)", ours[8]) == telling or ours[8] == "none seen"
    note = next(x for x in outcome.text.splitlines() if "Leak checks of three: " in x)
    assert all(f"{each['check']} {each['value']:.2f}" in note for each in checks)
    # A method that did not run still shows what the paper has, and why it is missing.
    assert lines[5][1:] == ["IRPM", "ours", *["-"] * 6]
    assert lines[6][3] == "0.60"
    assert "Three classes: unknown was not run. methods.0" in outcome.text
    assert "Lacking: gone was not run. " in outcome.text
    assert "Type: mcstl data get popquorn." in outcome.text


def test_open_data_is_named_in_the_row(studies: StudyRuns) -> None:
    text = reproduce_one("table1", studies, like=True).text
    lines = [cells(text, each) for each in text.splitlines() if each[:1] == "|"]
    assert lines[2][0] == "Three classes as pairs"
    accuracy = studies.results("pairs").results["summary"]["mc-stl"]["accuracy"]["mean"]
    assert lines[2][3] == f"{accuracy:.2f}"
    assert float(lines[2][7]) > 0  # pairs have a 1-EMD, ties or not
    assert "Other data than the paper's" in text


def test_one_seed_has_no_spread(cache: Path, tmp_path: Path) -> None:
    text = reproduce_one("table1", StudyRuns(SMALL, tmp_path, tmp_path, 1), like=True).text
    lines = [cells(text, each) for each in text.splitlines() if each[:1] == "|"]
    assert lines[4][2:] == ["apart", *["-"] * 5, ""]


def test_a_study_is_run_once(studies: StudyRuns) -> None:
    results = studies.results("three")
    folder = studies.folder("three")
    before = (folder / "results.json").stat().st_mtime_ns
    assert studies.results("three") is results
    again = StudyRuns(SMALL, studies.out, studies.data_dir, 2)
    assert again.results("three").results == results.results
    assert (folder / "results.json").stat().st_mtime_ns == before


def test_summaries_are_those_of_the_groups(studies: StudyRuns) -> None:
    text = reproduce_one("table4", studies, like=False).text
    groups = studies.results("three").results["groups"]
    for group in groups:
        assert f"{group['name']}: {group['description']}" in text
    assert "A summary" in text
    assert "gone was not run" in reproduce_one("table4", studies, like=True).text


def test_a_language_model_summarises_the_groups_where_one_is_named(studies: StudyRuns) -> None:
    groups = studies.results("three").results["groups"]
    with serving(lambda text, _: f"A theme of {text.count('- ')} reasons.") as server:
        client = Client("m", base_url=server.url)
        asking = replace(studies, summariser=Summariser(client, Template("summary")))
        text = reproduce_one("table4", asking, like=False).text
    assert server.requests == len(groups)
    for group in groups:
        assert f"{group['name']}: A theme of " in text
        assert group["description"] not in text
    # A server that is gone leaves the summaries that need none.
    client = Client("other", base_url=server.url, retries=0)
    asking = replace(studies, summariser=Summariser(client, Template("summary")))
    text = reproduce_one("table4", asking, like=False).text
    assert "These summaries are made without a language model: " in text
    assert groups[0]["description"] in text


def test_irpm_is_left_out_or_trained_with_the_transformer_that_is_named(
    cache: Path, tmp_path: Path
) -> None:
    printed = SMALL.model_dump()
    printed["studies"]["transformer"] = {**TINY, "methods": ["irpm"]}
    printed["tables"]["table1"]["blocks"] = [
        {
            "title": "Three classes",
            "studies": ["three", "transformer"],
            "like": ["three"],
            "printed": {"irpm": [0.60, 0.61, 0.03, 0.89, 0.05, -0.02, 0.04, 0.4]},
        }
    ]
    studies = StudyRuns(Paper.model_validate(printed), tmp_path / "a", tmp_path, 1, irpm="none")
    text = reproduce_one("table1", studies, like=False).text
    assert "transformer was not run. It trains a transformer" in text
    assert "| IRPM " in text
    roberta = tiny(tmp_path / "tiny-roberta")
    studies = StudyRuns(studies.paper, tmp_path / "b", tmp_path, 1, irpm=str(roberta))
    text = reproduce_one("table1", studies, like=False).text
    assert "| IRPM (tiny-roberta) | ours  | 0." in text
    assert "IRPM trains tiny-roberta here, and RoBERTa in the paper." in text
    # The whole paper leaves it out unless a transformer is named.
    name, *_ = reproduce("all", StudyRuns(studies.paper, tmp_path / "c", tmp_path, 1))
    assert "transformer was not run. It trains a transformer" in name.text


def test_figures_are_drawn_from_what_there_is(studies: StudyRuns) -> None:
    outcome = reproduce_one("figure3", studies, like=False)
    assert "Gone: gone was not run" in outcome.text
    assert [path.name for path in outcome.files] == ["figure3.png", "figure3.svg"]
    svg = outcome.files[1].read_text(encoding="utf-8")
    assert "Three" in svg
    assert "above oppose" in svg
    names = [group["name"] for group in studies.results("pairs").results["groups"]]
    assert svg.count(f">{names[0]}<") == 2  # in both rows
    assert svg.count(f">{names[5]}<") == 1
    course = reproduce_one("figure8", studies, like=False)
    assert "epoch 4" in course.files[1].read_text(encoding="utf-8")
    nothing = reproduce_one("figure8", studies, like=True)
    assert nothing.files == ()
    assert "gone was not run" in nothing.text


def test_small_panels_hold_every_dot_and_number() -> None:
    groups, bins = [f"a group with a long name {k}" for k in range(9)], np.arange(10)
    points = pd.concat(
        pd.DataFrame(
            {
                "group": group,
                "threshold": t,
                "bin": bins,
                "predicted": (bins + 0.5) / 10,
                "observed": (bins + 0.5 + t) / 12,
                "low": 0.0,
                "high": 1.0,
                "n": 50,
            }
        )
        for group in groups
        for t in (0, 1)
    )
    lines = pd.DataFrame(
        [
            (g, t, 0.8 + t / 10, math.nan if g == groups[0] else 0.1, 500)
            for g in groups
            for t in (0, 1)
        ],
        columns=["group", "threshold", "slope", "bias", "n"],
    )
    lines.loc[lines["group"] == groups[0], "slope"] = math.nan
    data = CalibrationData(points, lines, ("above low", "above middle"), 2)
    figure = calibration_plots.plot_calibration_small([("One", data), ("Two", data)])
    assert figure.get_figwidth() == 6.5
    boxes = panels(figure)
    assert len(boxes) == 18
    # Per data set and threshold each panel's ten dots, inside it.
    series = dots(figure)
    assert [len(each) for each in series] == [90] * 4
    for of_data_set, each in zip((boxes[:9], boxes[:9], boxes[9:], boxes[9:]), series, strict=True):
        for box, places in zip(of_data_set, np.split(each, 9), strict=True):
            assert all(box.contains(x, y) for x, y in places)
    # Numbers stand above their panel, and no two of them in one place.
    texts = [text for text in figure.axes[0].texts if re.match(r"no line|\d", text.get_text())]
    for k, box in enumerate(boxes):
        middle = (box.x0 + box.x1) / 2
        above = [
            text
            for text in texts
            if text.get_position()[0] == pytest.approx(middle)
            and box.y1 < text.get_position()[1] < box.y1 + 0.15
        ]
        expected = ["0.80, 0.10", "0.90, 0.10"] if k % 9 else ["no line", "no line"]
        assert [text.get_text() for text in above] == expected
        assert len({text.get_position() for text in above}) == 2
    # Nine groups are five and four, not seven and two.
    bottoms = [round(box.y0, 3) for box in boxes[:9]]
    assert [bottoms.count(y) for y in dict.fromkeys(bottoms)] == [5, 4]
    # The longest line fills the width.
    few = data._replace(
        points=points[points["group"].isin(groups[:3])],
        lines=lines[lines["group"].isin(groups[:3])],
    )
    of_three = panels(calibration_plots.plot_calibration_small([("Three", few)]))
    assert len(of_three) == 3
    assert max(box.x1 for box in of_three) > 0.95 * 6.5
    assert min(box.y0 for box in boxes) > 0
    assert max(box.x1 for box in boxes) < 6.5


def test_a_course_is_one_runs_epochs() -> None:
    data = pd.DataFrame(
        {
            "method": "mc-stl",
            "seed": [0, 0, 0, 1],
            "epoch": [1, 2, 3, 1],
            "one_minus_emd": [0.5, 0.4, math.nan, 0.9],
            "calibration_error": [0.3, 0.2, 0.1, 0.9],
        }
    )
    axes = plots.plot_epochs(data, "D3").axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[0.3, 0.5], [0.2, 0.4]])
    assert {text.get_text() for text in axes.texts} == {"epoch 1", "epoch 2"}


def test_without_data_everything_is_told_and_nothing_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MCSTL_DATA", raising=False)
    command = ["reproduce", "all", "--data-dir", str(tmp_path), "--out", str(tmp_path / "again")]
    done = CliRunner().invoke(app, [*command, "--quiet"])
    assert isinstance(done.exception, InputError)
    assert "none of the studies behind all could be run" in str(done.exception)
    for name in paper().names:
        kind, number = re.findall("[a-z]+|[0-9]", name)
        assert f"{kind.capitalize()} {number}: " in done.output
    for name in ("vp-duties", "vp-rights", "vp-values", "vp-schwartz", "dices-990", "d3code"):
        assert f"mcstl data get {name}" in done.output
    assert "0.76" in done.output


@pytest.mark.parametrize("name", ["figure1", "figure2"])
def test_the_diagrams_need_no_data(name: str, tmp_path: Path) -> None:
    """Their texts stay within the picture, and what they show is the library's."""
    outcome = reproduce_one(name, StudyRuns(SMALL, tmp_path, None, 1), like=False)
    svg = outcome.files[1].read_text(encoding="utf-8")
    title, draw = DIAGRAMS[name]
    assert outcome.text == f"Figure {name[-1]}: {title}"
    figure = draw()
    figure.draw_without_rendering()
    for text in figure.axes[0].texts:
        box = text.get_window_extent().transformed(figure.transFigure.inverted())
        assert 0 <= box.x0 <= box.x1 <= 1, text.get_text()
        assert 0 <= box.y0 <= box.y1 <= 1, text.get_text()
    for expected in {"figure1": ["Maj(Y)", "MC-STL"], "figure2": ["linear 384 → 256"]}[name]:
        assert expected in svg


def test_an_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    message = r"no 'tabel1' in the paper or of LeWiDi; .* Did you mean 'table1'"
    with pytest.raises(InputError, match=message):
        next(reproduce("tabel1", StudyRuns(paper(), tmp_path, None, 1)))
