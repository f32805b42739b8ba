"""The outputs of one study -> one self-contained page that a non-programmer reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcstl import evaluation as audit
from mcstl._support.files import write_text
from mcstl.evaluation import metrics
from mcstl.reporting import plots
from mcstl.reporting.page import Picture, environment, picture, slug
from mcstl.reporting.reading import Output, read_output
from mcstl.studies import model_card as card

_SPLITS = {
    "annotation": "annotation: a text may have other annotations in training, so this says how "
    "well further labels of known texts are predicted, not how well new texts are",
    "item": "item: no text under test was seen in training",
    "annotator": "annotator: no person under test was seen in training",
}
#: Methods whose calibration is drawn: the first, and the next to compare it with.
_MOST_GRIDS = 2
_MOST_PAIRS = 3
_MOST_ITEMS = 3
_LONGEST_TEXT = 600
#: A group is called off below this chance.
_ALARM = 0.05
#: Titles of other people's measures.
_OTHERS = {
    "manhattan": ("Shares, Manhattan", "lowest is best"),
    "wasserstein": ("Shares, Wasserstein", "lowest is best"),
    "cross_entropy": ("Shares, cross-entropy", "lowest is best"),
    "accuracy": ("Right labels", "of all annotations"),
    "accuracy_users": ("Right per person", "mean over people"),
    "accuracy_texts": ("Right per text", "mean over texts"),
    "accuracy_traits": ("Right per group", "mean over groups"),
    "distance_texts": ("Distance", "mean over texts, 0 to 1"),
    "false_positive_gap": ("False positives, gap", "largest minus smallest group"),
    "false_negative_gap": ("False negatives, gap", "largest minus smallest group"),
}
#: Predictions for two groups closer than this are the same but for rounding.
_LEAST_GAP = 1e-6


def render(out_dir: Path | str) -> Path:
    """Write ``report.html`` and ``figures/`` from the other files in `out_dir`; return its path.

    It reads results.json, predictions.parquet, items.parquet, trace.parquet and study.yaml
    (DESIGN: Contracts) and nothing else, so it can be run again at any time.

    Predictions that cannot be right are told on the page and left out of its figures; the rest of
    the page is what results.json says. Outputs of versions that made no audit have no audit.

    Raises InputError for a file that is missing, unreadable, or of another form.
    """
    folder = Path(out_dir)
    output = read_output(folder)
    results, data = output.results, output.results["data"]
    runs, summary = results["runs"], results["summary"]
    methods, names = list(summary), audit.group_names(results)
    table = metrics.table(summary, runs)
    drawn = [method for method in methods if (output.predictions["method"] == method).any()]
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            name=results["study"]["name"],
            data=data,
            unit="pairs of texts" if data["task"] == "preference" else "texts",
            methods=methods,
            seeds=len({run["seed"] for run in runs}),
            n_groups=len(names),
            split=_SPLITS[data["split"]["by"]],
            notices=[*output.problems, *card.notices(results)],
            table=table,
            marked=any(cell.mark for _, cells in table.rows for cell in cells),
            over=summary[methods[0]][table.columns[0].metric]["interval"],
            differences=_differences(results, table.columns),
            score=table.columns[0],
            comparison=_comparison(output, folder),
            calibration=[(m, _calibration(output, folder, m)) for m in drawn[:_MOST_GRIDS]],
            audit=_audit(results),
            controls=results.get("controls", []),
            others=_others(results),
            groups=_group_rows(results, methods[0], names),
            disagreement=_disagreement(output, drawn, names),
            tradeoff=_tradeoff(output, folder),
            seconds={m: np.mean([r["seconds"] for r in runs if r["method"] == m]) for m in methods},
            study=output.study,
        )
    )
    path = folder / "report.html"
    write_text(path, page)
    return path


def _comparison(output: Output, folder: Path) -> Picture | None:
    if len(output.results["summary"]) == 1:
        return None
    data = plots.comparison_data(output.results["summary"], output.results["runs"])
    return picture(
        folder / "figures" / "comparison",
        plots.plot_comparison(data),
        plots.plot_comparison(data, columns=1),
        "The results table as dots with 95% intervals, one panel per measure.",
    )


def _calibration(output: Output, folder: Path, method: str) -> Picture:
    results = output.results
    names, summary = audit.group_names(results), results["summary"]
    data = plots.calibration_data(output.predictions, names, results["data"]["classes"], method)
    slope, bias = (
        metrics.rounded(summary[method][key]["mean"], 2) for key in ("slope_mean", "bias_mean")
    )
    is_first = method == next(iter(summary))
    return picture(
        folder / "figures" / ("calibration" if is_first else f"calibration-{slug(method)}"),
        plots.plot_calibration(data),
        plots.plot_calibration(data, columns=2),
        f"Calibration of {method}, a panel per group ({len(names)}): mean slope {slope}, "
        f"mean bias {bias}.",
    )


def _tradeoff(output: Output, folder: Path) -> Picture | None:
    data = plots.tradeoff_data(output.trace)
    if data.empty:
        return None
    methods = list(output.results["summary"])
    return picture(
        folder / "figures" / "tradeoff",
        plots.plot_tradeoff(data, methods),
        plots.plot_tradeoff(data, methods, columns=1),
        "Calibration error and 1-EMD on the test annotations after each epoch, per method.",
    )


def _group_rows(
    results: Mapping[str, Any], method: str, names: Sequence[str]
) -> list[dict[str, Any]]:
    nothing = {"size": None, "annotators": None, "description": "", "warning": ""}
    told = {group["name"]: group for group in results["groups"]}
    found = results.get("audit", {}).get("methods", {}).get(method, {}).get("groups", [])
    intervals = {row["group"]: row for row in found}
    measured = {row["group"]: row for row in metrics.summarise_groups(results["runs"], method)}
    return [
        {"name": name}
        | nothing
        | told.get(name, {})
        | {"measured": measured.get(name, {}), "intervals": intervals.get(name, {})}
        for name in names
    ]


def _differences(
    results: Mapping[str, Any], columns: Sequence[metrics.Column]
) -> dict[str, Any] | None:
    """Every method's difference from the baseline, or None where it was not computed."""
    found = results.get("differences")
    if not found or not found["methods"]:
        return None
    rows = [
        (method, [of_metric[column.metric] for column in columns])
        for method, of_metric in found["methods"].items()
    ]
    return {"baseline": found["baseline"], "rows": rows}


def _audit(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """The test of multicalibration: of each method, and of each group for the first method.

    A group is told by the threshold at which it is furthest off, in units of its noise.
    """
    found = results.get("audit")
    if not found:
        return None
    classes = results["data"]["classes"]
    methods, by_group = list[dict[str, Any]](), list[dict[str, Any]]()
    for method, of_method in found["methods"].items():
        tested = of_method["multicalibration"]
        cells = [cell for cell in tested["cells"] if cell["in_sigmas"] is not None]
        if not cells:
            continue
        groups: dict[str | None, dict[str, Any]] = {}
        for cell in cells:
            worst = groups.get(cell["group"])
            if worst is None or cell["in_sigmas"] > worst["in_sigmas"]:
                groups[cell["group"]] = cell | {"level": classes[cell["threshold"]]}
        off = [cell for cell in groups.values() if cell["p_adjusted"] < _ALARM]
        worst = max(groups.values(), key=lambda cell: float(cell["in_sigmas"]))
        methods.append(
            {"method": method, "error": tested["error"], "p": tested["p_value"]}
            | {"off": len(off), "groups": len(groups), "worst": worst["group"]}
            | {"ece": groups[None]["ece"], "smooth_ece": groups[None]["smooth_ece"]}
        )
        by_group = by_group or list(groups.values())
    return (
        {"methods": methods, "groups": by_group, "draws": found["resamples"]} if methods else None
    )


def _others(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Other people's measures, a row per method; the columns that the study's task has."""
    found = results.get("audit")
    if not found:
        return None
    flat = {}
    for method, of_method in found["methods"].items():
        flat[method] = of_method["soft_labels"] | of_method["people"]
        for name, rates in of_method.get("error_rates", {}).items():
            gaps = [gap for gap in rates["gap"] if gap is not None]
            flat[method][f"{name}_gap"] = max(gaps, default=None)
    columns = [name for name in _OTHERS if any(name in values for values in flat.values())]
    rows = [(method, [values.get(name) for name in columns]) for method, values in flat.items()]
    return {"columns": [_OTHERS[name] for name in columns], "rows": rows}


def _disagreement(
    output: Output, methods: Sequence[str], names: Sequence[str]
) -> dict[str, Any] | None:
    """Which groups the first method that tells groups apart sets furthest apart, and on what.

    A group's view of an item is the mean over its test annotations, as an expected class index of
    the pair as items.parquet shows it; a pair counts where one test part has both groups' views.
    """
    top_class = len(output.results["data"]["classes"]) - 1
    texts = output.items.set_index("item")
    for method in methods:
        rows = plots.method_rows(output.predictions, method)
        members = audit.membership(rows["groups"], names)
        codes, items = pd.factorize(rows["item"])
        flipped = rows["flipped"].to_numpy(dtype=bool)
        p = rows[[f"p_{c}" for c in range(top_class + 1)]].to_numpy(dtype=float)
        expected = p @ np.arange(top_class + 1)
        expected = np.where(flipped, top_class - expected, expected)
        means = np.stack(
            [
                metrics.group_means(expected[part], codes[part], members[part], len(items))[0]
                for part in (rows["seed"].to_numpy() == seed for seed in rows["seed"].unique())
            ]
        )
        pairs = metrics.pair_gaps(means)[:_MOST_PAIRS]
        if pairs and pairs[0].mean > _LEAST_GAP:
            break
    else:
        return None
    labels = rows["label"].to_numpy(dtype=float)
    labels = np.where(flipped, top_class - labels, labels)
    # An annotation is in the test part of several seeds, but was given once.
    once = ~rows["row"].duplicated().to_numpy()
    given, counts = metrics.group_means(labels[once], codes[once], members[once], len(items))
    shown = []
    for pair in pairs:
        examples = []
        for i in np.argsort(-np.nan_to_num(pair.by_item, nan=-1.0), kind="stable")[:_MOST_ITEMS]:
            both = ~np.isnan(means[:, i, pair.a] + means[:, i, pair.b])
            sides = [
                {"group": names[k], "predicted": means[both, i, k].mean()}
                | {"given": given[i, k], "n": int(counts[i, k])}
                for k in (pair.a, pair.b)
            ]
            cells = [str(cell) for cell in texts.loc[items[i]]]
            examples.append({"texts": [_shortened(cell) for cell in cells], "sides": sides})
        n_items = int((~np.isnan(pair.by_item)).sum())
        shown.append(
            {"a": names[pair.a], "b": names[pair.b], "gap": pair.mean, "n_items": n_items}
            | {"examples": examples}
        )
    return {"method": method, "pairs": shown}


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
