"""The outputs of one study -> one self-contained page that a non-programmer reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcstl._support.errors import listed
from mcstl._support.files import write_text
from mcstl.data.questions import folder_names
from mcstl.evaluation import decisions
from mcstl.evaluation.disagreement import DisagreeingGroups, disagreeing_groups
from mcstl.evaluation.summaries import group_names, summarise_groups
from mcstl.evaluation.tables import (
    ALARM_LEVEL,
    ResultsTable,
    calibration_tests,
    differences_table,
    results_table,
    rounded,
    sampled_words,
    spread_table,
)
from mcstl.evaluation.verdict import ANSWERS
from mcstl.groups.small_groups import left_out_words, not_shown
from mcstl.reporting import calibration_plots, plots
from mcstl.reporting.page import Picture, environment, headed, picture, slug
from mcstl.studies import model_card as card
from mcstl.studies.output import Output, read_output
from mcstl.studies.results import NEW_TABLE, QUESTIONS

_SPLITS = {
    "annotation": "annotation: a text may have other annotations in training, so this says how "
    "well further labels of known texts are predicted, not how well new texts are",
    "item": "item: no text under test was seen in training",
    "annotator": "annotator: no person under test was seen in training",
    "official": "official: training, validation and test are the source's own parts",
    NEW_TABLE: "nothing: all annotations of the table are judged. Whether their texts or people "
    "were seen in training is not known",
}
#: Methods whose calibration is drawn: the first, and the next to compare it with.
_MAX_CALIBRATION_FIGURES = 2
_MAX_TEXT_LENGTH = 600
#: Titles and notes of the measures that others use.
_MEASURES_OF_OTHERS = {
    "manhattan": ("Shares, Manhattan", "lowest is best"),
    "wasserstein": ("Shares, Wasserstein", "lowest is best"),
    "cross_entropy": ("Shares, cross-entropy", "lowest is best"),
    "manhattan_sets": ("Sets of labels, Manhattan", "each label a question"),
    "error_sets": ("Sets of labels, wrong", "each label a question"),
    "accuracy": ("Right labels", "of all annotations"),
    "accuracy_users": ("Right per person", "mean over people"),
    "accuracy_texts": ("Right per text", "mean over texts"),
    "accuracy_traits": ("Right per group", "mean over groups"),
    "distance_texts": ("Distance of the median", "mean over texts, in scales"),
    "false_positive_gap": ("False positives, gap", "largest minus smallest group"),
    "false_negative_gap": ("False negatives, gap", "largest minus smallest group"),
}


def render(out_dir: Path | str) -> Path:
    """Write ``report.html`` and ``figures/`` from the other files that a study wrote.

    It reads results.json, predictions.parquet, items.parquet, trace.parquet and study.yaml and
    nothing else, so it can be run again at any time. Predictions that cannot be right are named on
    the page and left out of its figures; the rest of the page is what results.json says. Outputs of
    versions that made no audit have no audit. Of a multilabel study the reports of its questions
    are written, too.

    Args:
        out_dir: The folder that the study wrote.

    Returns:
        The path of the page.

    Raises:
        InputError: If a file is missing, unreadable, or of another form.
    """
    folder = Path(out_dir)
    output = read_output(folder)
    results, data = output.results, output.results["data"]
    questions = list(zip(data.get("questions", ()), _question_pages(folder, data), strict=True))
    runs, summary = results["runs"], results["summary"]
    methods, names = list(summary), group_names(results)
    table = results_table(summary)
    drawn = [method for method in methods if (output.predictions["method"] == method).any()]
    differences = results.get("differences") or {}
    unit = "pairs of texts" if data["task"] == "preference" else "texts"
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            name=results["study"]["name"],
            data=data,
            unit=unit,
            questions=questions,
            methods=methods,
            seeds=len({run["seed"] for run in runs}),
            n_groups=len(names),
            left_out=left_out_words(data["groups_left_out"]),
            not_shown=not_shown(len(data["groups_not_shown"])),
            split=_SPLITS[data["split"]["by"]],
            notices=[*output.problems, *card.notices(results)],
            verdict=results.get("verdict"),
            answers=ANSWERS,
            use=_use(output),
            table=table,
            marked=any(cell.mark for _, cells in table.rows for cell in cells),
            sampled=sampled_words(summary[methods[0]][table.columns[0].metric]["interval"], unit),
            spreads=spread_table(summary),
            baseline=differences.get("baseline"),
            differences=differences_table(differences.get("methods", {}), table.columns),
            score=table.columns[0],
            comparison=_comparison(table, folder),
            calibration=[
                (method, _calibration(output, folder, method))
                for method in drawn[:_MAX_CALIBRATION_FIGURES]
            ],
            calibration_tests=calibration_tests(results),
            n_draws=results.get("audit", {}).get("resamples"),
            alarm_level=ALARM_LEVEL,
            wanted_error=decisions.WANTED_ERROR,
            least_to_choose=decisions.least_to_choose(),
            leak_checks=results.get("controls", []),
            measures_of_others=_measures_of_others(results),
            groups=_groups(results, methods[0], names),
            disagreement=None if questions else _disagreement(output, drawn, names),
            tradeoff=_tradeoff(output, folder),
            seconds={m: np.mean([r["seconds"] for r in runs if r["method"] == m]) for m in methods},
            study=output.study,
        )
    )
    path = folder / "report.html"
    write_text(path, headed(page))
    return path


def _question_pages(folder: Path, data: Mapping[str, Any]) -> list[str]:
    """Write the report of each question; their paths from the folder."""
    names = folder_names(data.get("questions", ()))
    pages = [render(folder / QUESTIONS / name) for name in names]
    return [page.relative_to(folder).as_posix() for page in pages]


def _use(output: Output) -> dict[str, Any] | None:
    """What was found of the model that the study leaves, with the texts to leave to people."""
    found = output.results.get("use")
    if not found:
        return None
    texts = output.items.set_index("item")
    shown = [
        [_shortened(str(text)) for text in texts.loc[item]]
        for item in found["left_to_people"]["items"]
        if item in texts.index
    ]
    off = [
        row
        for row in found["views"]
        if row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
    ]
    groups = output.results["study"].get("groups")
    of_people = isinstance(groups, dict) and groups.get("by") == "attributes"
    differ = _what_differs(found.get("sources") or {}, of_people)
    return {**found, "texts": shown, "n_views_off": len(off), "differ": differ}


def _what_differs(sources: Mapping[str, float], of_people: bool) -> str:
    """Say what makes answers differ, the most first; people are compared with groups of people."""
    if not sources:
        return ""
    ranked = sorted(sources.items(), key=lambda source: -source[1])
    names = [f"{name} ({rounded(sd, 1)})" for name, sd in ranked]
    sentences = [f"Most first: {listed(names)}."]
    if of_people and {"people", "groups"} <= sources.keys():
        people, groups = sources["people"], sources["groups"]
        more, less = ("People", "groups") if people > groups else ("Groups", "people")
        times = max(people, groups) / max(min(people, groups), 0.01)
        by = f"{rounded(times, 1)} times as much as" if times >= 1.2 else "about as much as"
        sentences.append(f"{more} differ {by} {less} do.")
    return " ".join(sentences)


def _comparison(table: ResultsTable, folder: Path) -> Picture | None:
    if len(table.rows) == 1:
        return None
    data = plots.comparison_data(table)
    return picture(
        folder / "figures" / "comparison",
        plots.plot_comparison(data),
        plots.plot_comparison(data, columns=1),
        "The results table as dots with 95% intervals, one panel per measure.",
    )


def _calibration(output: Output, folder: Path, method: str) -> Picture:
    results = output.results
    names, summary = group_names(results), results["summary"]
    data = calibration_plots.calibration_data(
        output.predictions, names, results["data"]["classes"], method
    )
    slope, bias = (rounded(summary[method][key]["mean"], 2) for key in ("slope_mean", "bias_mean"))
    is_first = method == next(iter(summary))
    return picture(
        folder / "figures" / ("calibration" if is_first else f"calibration-{slug(method)}"),
        calibration_plots.plot_calibration(data),
        calibration_plots.plot_calibration(data, columns=2),
        f"Calibration of {method}, a panel per group ({len(names)}): mean slope {slope}, "
        f"mean bias {bias}."
        if names
        else f"Calibration of {method} over all annotations.",
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


def _groups(results: Mapping[str, Any], method: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Per group its size and description, and what is measured of one method, with intervals."""
    unknown = {"size": None, "annotators": None, "description": "", "warning": ""}
    described = {group["name"]: group for group in results["groups"]}
    audit = results.get("audit", {}).get("methods", {}).get(method, {})
    intervals = {row["group"]: row for row in audit.get("groups", [])}
    measured = {row["group"]: row for row in summarise_groups(results["runs"], method)}
    return [
        {"name": name}
        | unknown
        | described.get(name, {})
        | {"measured": measured.get(name, {}), "intervals": intervals.get(name, {})}
        for name in names
    ]


def _measures_of_others(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """The measures that others use, a row per method; the columns that the study's task has."""
    audit = results.get("audit")
    if not audit:
        return None
    values = {}
    for method, entry in audit["methods"].items():
        values[method] = entry["soft_labels"] | entry["people"]
        for name, rates in entry.get("error_rates", {}).items():
            gaps = [gap for gap in rates["gap"] if gap is not None]
            values[method][f"{name}_gap"] = max(gaps, default=None)
    columns = [
        name for name in _MEASURES_OF_OTHERS if any(name in each for each in values.values())
    ]
    rows = [(method, [each.get(name) for name in columns]) for method, each in values.items()]
    return {"columns": [_MEASURES_OF_OTHERS[name] for name in columns], "rows": rows}


def _disagreement(
    output: Output, methods: Sequence[str], names: Sequence[str]
) -> dict[str, Any] | None:
    """Which groups the first method that tells groups apart sets furthest apart, with the texts."""
    n_classes = len(output.results["data"]["classes"])
    texts = output.items.set_index("item")

    def shown(pair: DisagreeingGroups) -> dict[str, Any]:
        examples = [
            {"texts": [_shortened(str(text)) for text in texts.loc[item]], "views": views}
            for item, views in pair.items
        ]
        return pair._asdict() | {"examples": examples}

    for method in methods:
        if pairs := disagreeing_groups(output.predictions, method, names, n_classes):
            return {"method": method, "pairs": [shown(pair) for pair in pairs]}
    return None


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_TEXT_LENGTH else f"{text[:_MAX_TEXT_LENGTH]}…"
