"""Plots: the numbers behind each figure, and that any study can be drawn."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from drawn import dots, panels, shapes
from made_up import GROUPS, make_output
from mcstl import evaluation
from mcstl._support.errors import InputError
from mcstl.evaluation import metrics
from mcstl.evaluation.tables import results_table
from mcstl.reporting import calibration_plots, plots

CLASSES = ("benign", "mild", "offensive")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(tmp_path_factory.mktemp("made_up"))


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def predictions(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "predictions.parquet")


def texts_of(figure: Any) -> list[str]:
    root = ET.fromstring(plots.to_svg(figure))
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


# --- calibration --------------------------------------------------------------------------------


def test_lines_recomputed_from_predictions_are_those_of_the_results(
    results: dict[str, Any], predictions: pd.DataFrame
) -> None:
    data = calibration_plots.calibration_data(predictions, GROUPS, CLASSES, "none")
    runs = [run for run in results["runs"] if run["method"] == "none"]
    assert data.n_seeds == len(runs) == 3
    for k, name in enumerate(GROUPS):
        for t in (0, 1):
            found = data.lines[(data.lines["group"] == name) & (data.lines["threshold"] == t)]
            lines = [run["groups"][k]["thresholds"][t] for run in runs]
            assert found["slope"].item() == pytest.approx(np.mean([x["slope"] for x in lines]))
            assert found["bias"].item() == pytest.approx(np.mean([x["bias"] for x in lines]))
            expected = np.mean([run["groups"][k]["n"] for run in runs])
            assert found["n"].item() == pytest.approx(expected)


def test_points_of_one_seed_are_its_calibration_curve(predictions: pd.DataFrame) -> None:
    rows = predictions[(predictions["method"] == "mc-stl") & (predictions["seed"] == 1)]
    data = calibration_plots.calibration_data(rows, GROUPS, CLASSES, "mc-stl")
    inside = rows["groups"].map(lambda names: GROUPS[1] in names)
    p = rows.loc[inside, ["p_1", "p_2"]].sum(axis=1)
    curve = metrics.calibration_curve(p, rows.loc[inside, "label"] > 0)
    points = data.points[(data.points["group"] == GROUPS[1]) & (data.points["threshold"] == 0)]
    np.testing.assert_array_equal(points["bin"], curve.bin)
    np.testing.assert_allclose(points["predicted"], curve.predicted)
    np.testing.assert_allclose(points["observed"], curve.observed)
    y = rows.loc[inside, "label"].to_numpy() > 0
    codes = [pd.factorize(rows.loc[inside, name])[0] for name in ("item", "annotator")]
    band = evaluation.reliability([(p.to_numpy(), y, *codes)])
    np.testing.assert_allclose(points["low"], band.low)
    np.testing.assert_allclose(points["high"], band.high)


def test_calibration_data_does_not_depend_on_the_order_of_rows(predictions: pd.DataFrame) -> None:
    shuffled = predictions.sample(frac=1, random_state=0)
    a = calibration_plots.calibration_data(predictions, GROUPS, CLASSES, "mc-stl")
    b = calibration_plots.calibration_data(shuffled, GROUPS, CLASSES, "mc-stl")
    pd.testing.assert_frame_equal(a.points, b.points)
    pd.testing.assert_frame_equal(a.lines, b.lines)


def test_a_seed_without_a_group_does_not_count_for_it(predictions: pd.DataFrame) -> None:
    without = predictions.copy()
    without["groups"] = [
        [name for name in names if seed or name != GROUPS[0]]
        for names, seed in zip(without["groups"], without["seed"], strict=True)
    ]
    data = calibration_plots.calibration_data(without, GROUPS, CLASSES, "mc-stl")
    later = calibration_plots.calibration_data(
        predictions.query("seed > 0"), GROUPS, CLASSES, "mc-stl"
    )
    first = data.lines[data.lines["group"] == GROUPS[0]].reset_index(drop=True)
    expected = later.lines[later.lines["group"] == GROUPS[0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, expected)


def test_a_method_without_predictions_is_an_error(predictions: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"no predictions of method 'mcstl'.* 'mc-stl'"):
        calibration_plots.calibration_data(predictions, GROUPS, CLASSES, "mcstl")


def test_calibration_names_every_group_and_prints_its_slope(predictions: pd.DataFrame) -> None:
    data = calibration_plots.calibration_data(predictions, GROUPS, CLASSES, "mc-stl")
    figure = calibration_plots.plot_calibration(data)
    assert len(panels(figure)) == 2 * len(GROUPS)
    texts = texts_of(figure)
    assert set(GROUPS) <= set(texts)
    assert {"above benign", "above mild", "predicted probability"} <= set(texts)
    printed = sorted(text.split(",")[0] for text in texts if text.startswith("slope"))
    assert printed == sorted(f"slope {slope:.2f}" for slope in data.lines["slope"])


@pytest.mark.parametrize("n_groups", [1, 2, 7, 23])
def test_any_number_of_groups_is_drawn_within_the_figure(tmp_path: Path, n_groups: int) -> None:
    groups = [f"group {k}" for k in range(n_groups)]
    make_output(tmp_path, task="binary", groups=groups, methods=["mc-stl"], seeds=[0], n_items=20)
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    data = calibration_plots.calibration_data(predictions, groups, ("no", "yes"), "mc-stl")
    for columns in (2, 5):
        figure = calibration_plots.plot_calibration(data, columns=columns)
        width, height = figure.get_size_inches()
        boxes = panels(figure)
        assert len(boxes) == n_groups
        for i, box in enumerate(boxes):
            assert box.width == pytest.approx(box.height)
            assert 0 < box.x0 < box.x1 < width
            assert 0 < box.y0 < box.y1 < height
            assert not any(box.overlaps(other) for other in boxes[i + 1 :])
        # Every text can be read: inside the figure, on no panel and on no other text.
        canvas: Any = FigureCanvasAgg(figure)
        texts = figure.axes[0].texts
        extents = [text.get_window_extent(canvas.get_renderer()) for text in texts]
        places = [Bbox(extent.get_points() / figure.dpi) for extent in extents]
        for i, place in enumerate(places):
            assert 0 <= place.x0 < place.x1 <= width
            assert 0 <= place.y0 < place.y1 <= height
            assert not any(place.overlaps(other) for other in [*places[i + 1 :], *boxes])


def test_dots_bands_and_lines_are_where_the_data_are(predictions: pd.DataFrame) -> None:
    data = calibration_plots.calibration_data(predictions, GROUPS, CLASSES, "mc-stl")
    # Lines that leave their panels, above and below, a level one, and none.
    steep = data.lines.assign(slope=[6.0, -3.0, 0.0, np.nan] * 3, bias=[-2.0, 1.5, 0.4, 0.1] * 3)
    data = data._replace(lines=steep, points=data.points.sample(frac=1, random_state=0))
    figure = calibration_plots.plot_calibration(data, columns=2)
    frames = panels(figure)
    assert len(frames) == len(steep)
    assert len(shapes(figure, "fits")) == steep["slope"].notna().sum()
    drawn, bands = iter(shapes(figure, "fits")), iter(shapes(figure, "bands"))
    ranges, places = iter(shapes(figure, "ranges")), iter(np.concatenate(dots(figure)))
    points = data.points.sort_values("bin").groupby(["group", "threshold"])
    keys = list(zip(steep["group"], steep["threshold"], strict=True))
    by_name = sorted(keys)

    def shares(inches: Any, key: tuple[str, int]) -> Any:
        frame = frames[keys.index(key)]
        return (inches - frame.min) / frame.width * 1.06 - 0.03

    for text in figure.axes[0].texts:
        if text.get_text() in GROUPS:
            x, y = text.get_position()
            highest = frames[keys.index((text.get_text(), 0))]
            assert highest.x0 < x < highest.x1
            assert highest.y1 < y < highest.y1 + 0.3
    for key in by_name:
        at = points.get_group(key)
        low, high = at[["predicted", "low"]].to_numpy(), at[["predicted", "high"]].to_numpy()
        for x, y in at[["predicted", "observed"]].to_numpy():
            np.testing.assert_allclose(shares(next(places), key), (x, y), atol=1e-9)
        for ends in np.stack([low, high], axis=1):
            np.testing.assert_allclose(shares(next(ranges), key), ends, atol=1e-9)
        outline = shares(next(bands), key)[: 2 * len(at)]
        np.testing.assert_allclose(outline, np.concatenate([low, high[::-1]]), atol=1e-9)
    for key, slope, bias in zip(keys, steep["slope"], steep["bias"], strict=True):
        if np.isnan(slope):
            continue
        x, y = shares(next(drawn), key).T
        np.testing.assert_allclose(y, slope * x + bias, atol=1e-9)
        predicted = points.get_group(key)["predicted"]
        assert predicted.min() - 1e-9 <= x[0] < x[1] <= predicted.max() + 1e-9
        limits = np.array([-0.03, 1.03])
        whole = slope * np.array([predicted.min(), predicted.max()]) + bias
        np.testing.assert_allclose(y, np.clip(whole, *limits), atol=1e-9)


def test_groups_of_whom_there_is_no_row_are_drawn_empty(predictions: pd.DataFrame) -> None:
    nobody = predictions.assign(groups=pd.Series([[]] * len(predictions), dtype=object))
    data = calibration_plots.calibration_data(nobody, ["a", "b"], CLASSES, "mc-stl")
    assert data.points.empty
    for figure in (
        calibration_plots.plot_calibration(data),
        calibration_plots.plot_calibration_small([("Nobody", data)]),
    ):
        assert sum(text.startswith("no line") for text in texts_of(figure)) == 4
        assert not len(np.concatenate(dots(figure)))


def test_a_group_without_rows_and_a_constant_prediction_are_drawn_without_a_line() -> None:
    rows = pd.DataFrame(
        {
            "method": "m",
            "seed": 0,
            "row": range(3),
            "item": ["i", "j", "k"],
            "annotator": None,
            "label": [0, 1, 1],
            "groups": [["a"]] * 3,
            "p_0": 0.5,
            "p_1": 0.5,
        }
    )
    data = calibration_plots.calibration_data(rows, ["a", "nobody"], ("no", "yes"), "m")
    assert data.lines["slope"].isna().all()
    assert data.lines["n"].tolist() == [3, 0]
    texts = texts_of(calibration_plots.plot_calibration(data))
    assert sum(text.startswith("no line") for text in texts) == 2


def test_names_are_texts_whatever_they_hold() -> None:
    names = ["income=$20k to $50k", "価値", "<b> & 'c'", "x" * 200, r"\frac{"]
    rows = pd.DataFrame(
        {
            "method": "m",
            "seed": 0,
            "row": range(8),
            "item": range(8),
            "annotator": None,
            "label": [0, 1] * 4,
            "groups": [names] * 8,
            "p_0": np.linspace(0, 1, 8),
            "p_1": np.linspace(1, 0, 8),
        }
    )
    texts = texts_of(
        calibration_plots.plot_calibration(
            calibration_plots.calibration_data(rows, names, "ab", "m")
        )
    )
    assert {names[0], names[1], names[2], names[4]} <= set(texts)


# --- comparison and trade-off -------------------------------------------------------------------


def test_comparison_is_the_summary(results: dict[str, Any]) -> None:
    data = plots.comparison_data(results_table(results["summary"]))
    for row in data.itertuples():
        found = results["summary"][row.method][row.metric]
        assert (row.mean, row.low, row.high) == (found["mean"], found["low"], found["high"])
    assert list(data["metric"].unique()) == [
        "auc",
        "nll",
        "group_auc_mean",
        "slope_mean",
        "bias_mean",
        "one_minus_emd",
    ]
    texts = texts_of(plots.plot_comparison(data))
    assert {"mc-stl", "none", "majority", "gbm", "AUC", "Bias"} <= set(texts)


def test_no_two_methods_look_alike() -> None:
    methods = [f"m{i}" for i in range(25)]
    data = pd.DataFrame({"metric": "auc", "title": "AUC", "method": methods, "mean": 0.5})
    axes = plots.plot_comparison(data.assign(low=0.4, high=0.6)).axes[0]
    looks = {(line.get_color(), line.get_marker()) for line in axes.lines}
    assert len(looks) == len(methods)
    assert len({line.get_color() for line in axes.lines[:10]}) == 10


def test_what_nobody_measured_has_no_panel() -> None:
    epochs = {"method": "a", "seed": 0, "part": "test", "epoch": [0, 1], "slope_mean": 0.9}
    trace = pd.DataFrame(epochs).assign(bias_mean=0.1, one_minus_emd=np.nan)
    for columns in (1, 2):
        figure = plots.plot_tradeoff(plots.tradeoff_data(trace), ["a"], columns=columns)
        assert len(figure.axes) == 1
    assert plots.tradeoff_data(trace.assign(slope_mean=np.nan)).empty


def test_comparison_of_one_seed_has_no_intervals(results: dict[str, Any]) -> None:
    runs = [run for run in results["runs"] if run["seed"] == 0]
    data = plots.comparison_data(results_table(evaluation.summarise(runs)))
    assert data[["low", "high"]].isna().all(axis=None)
    assert len(plots.plot_comparison(data, columns=1).axes) == 6


def test_methods_have_their_own_marker_and_colour_for_grey_print(results: dict[str, Any]) -> None:
    data = plots.comparison_data(results_table(results["summary"]))
    lines = plots.plot_comparison(data).axes[0].lines
    assert len({line.get_marker() for line in lines}) == 4
    assert len({line.get_color() for line in lines}) == 4


def test_tradeoff_by_hand() -> None:
    trace = pd.DataFrame(
        {
            "method": "m",
            "seed": 0,
            "epoch": [2, 1, 1],
            "part": ["test", "test", "validation"],
            "slope_mean": [0.9, 1.3, 1.0],
            "bias_mean": [0.05, -0.2, 0.0],
            "one_minus_emd": [0.5, 0.4, 0.3],
        }
    )
    data = plots.tradeoff_data(trace)
    assert data["epoch"].tolist() == [1, 2]
    np.testing.assert_allclose(data["calibration_error"], [0.5, 0.15])
    assert data["one_minus_emd"].tolist() == [0.4, 0.5]


def test_a_mean_over_seeds_stops_with_the_first_seed(folder: Path) -> None:
    data = plots.tradeoff_data(pd.read_parquet(folder / "trace.parquet"))
    last = data.groupby("seed")["epoch"].max()
    figure = plots.plot_tradeoff(data, ["mc-stl", "none", "majority", "gbm"])
    means = [line for line in figure.axes[0].lines if line.get_linewidth() > 1]
    assert [np.asarray(line.get_xdata()).max() for line in means] == [last.min()] * 3
    assert last.min() < last.max()


# --- files --------------------------------------------------------------------------------------


def draw_comparison(folder: Path) -> Any:
    summary = json.loads((folder / "results.json").read_text())["summary"]
    return plots.plot_comparison(plots.comparison_data(results_table(summary)))


def draw_calibration(folder: Path) -> Any:
    predictions = pd.read_parquet(folder / "predictions.parquet")
    data = calibration_plots.calibration_data(predictions, GROUPS, CLASSES, "mc-stl")
    return calibration_plots.plot_calibration(data)


each_drawing = pytest.mark.parametrize("draw", [draw_comparison, draw_calibration])


@each_drawing
def test_saving_writes_both_kinds_and_the_same_bytes_again(
    folder: Path, tmp_path: Path, draw: Callable[[Path], Any]
) -> None:
    for name in ("first", "second"):
        plots.save(draw(folder), tmp_path / "figures" / name)
    found = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert sorted(found) == ["first.png", "first.svg", "second.png", "second.svg"]
    assert found["first.svg"] == found["second.svg"]
    assert found["first.png"] == found["second.png"]


@each_drawing
def test_svg_follows_the_page_and_asks_for_nothing(
    folder: Path, draw: Callable[[Path], Any]
) -> None:
    svg = plots.to_svg(draw(folder))
    assert plots.INK not in svg.replace(f"svg{{color:{plots.INK}}}", "")
    assert "prefers-color-scheme:dark" in svg
    assert "fill: currentColor" in svg
    assert not re.search(r'(href|src)="(?!#)', svg)
    assert "<script" not in svg


def test_the_users_matplotlib_settings_stay_as_they_were(results: dict[str, Any]) -> None:
    before = dict(mpl.rcParams)
    data = plots.comparison_data(results_table(results["summary"]))
    plots.to_svg(plots.plot_comparison(data))
    assert dict(mpl.rcParams) == before


def test_pyplot_is_never_imported() -> None:
    code = "import sys, mcstl.reporting.plots; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
