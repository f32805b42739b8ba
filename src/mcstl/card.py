"""The model card: README.md of a model directory, for the Hub and for whoever finds the folder.

A study's card tells what its report tells, from results.json alone; a model that no study measured
has a card that says so.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mcstl import metrics
from mcstl.errors import listed
from mcstl.groups.base import FEW_PEOPLE

_PAPER = (
    "MC-STL (Parappan and Henao, *Labels have Human Values: Value Calibration of Subjective Tasks*)"
)
_ALARM = 0.05
_LIMITS = (
    "A group is a set of annotations, not a people: what the model says of a group is how its "
    "annotators labelled these texts, not what everybody who could be counted in it thinks.",
    "Do not use it to guess who wrote or labelled a text, nor to speak for a group that was not "
    "asked.",
    "Small groups are uncertain: read their intervals and warnings before their numbers.",
    "Calibration was measured on texts like those of the data; on other texts, languages or times "
    "measure again (`mcstl evaluate`).",
)
_SPLITS = {
    "annotation": "texts under test may have other annotations in training",
    "item": "no text under test was seen in training",
    "annotator": "no person under test was seen in training",
}


def of_model(
    task: str, classes: Sequence[str], groups: Iterable[Mapping[str, Any]], encoder: str
) -> str:
    """Return the card of a model that no study has measured, in Markdown.

    `groups` have ``name``, ``size``, ``annotators`` and ``warning``, as `Group` has.
    """
    groups = list(groups)
    parts = [
        _metadata(encoder, []),
        "# An mcstl model",
        _asked(task, classes, len(groups)),
        _use(task, [str(group["name"]) for group in groups]),
        "## Results\n\nIt has not been measured: `mcstl evaluate MODEL new.csv` does it, and "
        "`mcstl run` trains a model together with baselines, intervals and a test of calibration.",
        _groups(groups, "auc", {}, 0),
        _limits(),
    ]
    return _joined(parts)


def of_study(results: Mapping[str, Any]) -> str:
    """Return the card of the model that a study saved, in Markdown, from its results.json.

    The figures are the report's: means over seeds with 95% intervals, groups with their sizes and
    warnings, the test of multicalibration, the checks for leaks.
    """
    study, data, summary = results["study"], results["data"], results["summary"]
    table = metrics.table(summary, results["runs"])
    score, first = table.columns[0].metric, next(iter(summary))
    of_group = {row["group"]: row for row in metrics.summarise_groups(results["runs"], first)}
    asked = study["encoder"]
    # A mapping says how it is trained further; what its name says is where it came from.
    name, told = asked, asked
    if isinstance(asked, Mapping):
        name, told = asked["name"], ", ".join(f"{k} {v}" for k, v in asked.items() if v)
    facts = [
        ("data", f"{data['source']}, fingerprint {data['fingerprint']}"),
        ("encoder", f"{told}, fingerprint {study['made_with']['encoder']}"),
        ("made with", ", ".join(f"{k} {v}" for k, v in _versions(study["made_with"]))),
    ]
    left_out = len(data["groups_left_out"])
    parts = [
        _metadata(name, _evaluations(data, summary[first], table.columns)),
        f"# {_plain(study['name'] or data['source'])}",
        _asked(data["task"], data["classes"], len(results["groups"])),
        _measured(data, results["runs"], list(summary)),
        _bullets(notices(results)),
        _use(data["task"], [group["name"] for group in results["groups"]]),
        f"## Results\n\n{_rows(table)}\n\n{_how_to_read(data, summary, table)}",
        _differences(results, table.columns),
        _groups(results["groups"], score, of_group, left_out),
        _off(results),
        _leaks(results),
        _limits(),
        "## Made with\n\n" + "\n".join(f"- {name}: {_plain(fact)}" for name, fact in facts),
    ]
    return _joined(parts)


def people(count: int | None) -> str:
    """Return a count of people as a reader may see it: a small one may mean somebody in particular.

    >>> people(4), people(1200), people(None)
    ('fewer than 5', '1,200', '–')
    """
    if count is None:
        return "–"
    return f"fewer than {FEW_PEOPLE}" if count < FEW_PEOPLE else f"{count:,}"


def notices(results: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know before the numbers of a study, a sentence each."""
    data, runs = results["data"], results["runs"]
    found = [data["warning"]] if data["warning"] else []
    if warned := [group["name"] for group in results["groups"] if group["warning"]]:
        found.append(f"Read with care, see the table of groups: {listed(warned)}.")
    if len({run["seed"] for run in runs}) == 1:
        found.append("One seed only: differences between methods may be chance.")
    for key, what in (
        ("groups_without_auc", "have annotations of one class only, hence no AUC"),
        ("lines_without_slope", "got (nearly) one prediction for all, hence no slope"),
    ):
        most = {run["method"]: run["metrics"].get(key) or 0 for run in runs}
        for run in runs:
            most[run["method"]] = max(most[run["method"]], run["metrics"].get(key) or 0)
        if some := [f"{method} ({n})" for method, n in most.items() if n]:
            found.append(f"Some groups {what}, and their means leave them out: {listed(some)}.")
    if data["truncated_texts"]:
        found.append(
            f"{data['truncated_texts']:,} texts are longer than the encoder reads and were cut."
        )
    return found


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _metadata(encoder: str, evaluations: list[Any]) -> str:
    """The YAML head that the Hub reads, by huggingface_hub's own writer."""
    from huggingface_hub import ModelCardData

    hub_name = f"sentence-transformers/{encoder}" if encoder == "all-MiniLM-L6-v2" else encoder
    is_name = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", hub_name)
    data = ModelCardData(
        library_name="mcstl",
        pipeline_tag="text-classification",
        base_model=hub_name if is_name else None,
        tags=["mcstl", "calibration", "multicalibration", "perspectivism", "subjectivity"],
        model_name="mcstl" if evaluations else None,
        eval_results=evaluations or None,
    )
    return f"---\n{data.to_yaml().strip()}\n---"


def _evaluations(
    data: Mapping[str, Any], found: Mapping[str, Any], columns: Sequence[metrics.Column]
) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-classification",
            dataset_type=data["source"],
            dataset_name=data["source"],
            dataset_split=f"test part, split by {data['split']['by']}",
            metric_type=column.metric,
            metric_name=column.title,
            metric_value=round(found[column.metric]["mean"], 4),
        )
        for column in columns
        if found[column.metric]["mean"] is not None
    ]


def _asked(task: str, classes: Sequence[str], n_groups: int) -> str:
    about = f"each of {n_groups} groups" if n_groups else "the annotators as a whole"
    if task == "preference":
        question = f"which of two texts {about} would prefer"
    else:
        question = f"how {about} would label a text ({_plain(' < '.join(classes))})"
    return f"It predicts {question}, as probabilities that shall mean what they say. By {_PAPER}."


def _measured(data: Mapping[str, Any], runs: Sequence[Any], methods: Sequence[str]) -> str:
    seeds = len({run["seed"] for run in runs})
    by = f" by {data['annotators']:,} people" if data["annotators"] else ""
    units = "pairs of texts" if data["task"] == "preference" else "texts"
    return (
        f"Trained on {data['split']['train']:,} annotations{by} of {data['items']:,} {units} "
        f"({_plain(data['source'])}) and judged on {data['split']['test']:,} others, "
        f"{'once' if seeds == 1 else f'{seeds} times with different seeds'}, beside "
        f"{len(methods) - 1} other methods. Split by {data['split']['by']}: "
        f"{_SPLITS[data['split']['by']]}. The weights are those of the first seed."
    )


def _use(task: str, names: Sequence[str]) -> str:
    text = '("It rains.", "It pours.")' if task == "preference" else '"It rains."'
    asked = f"\nmodel.predict_proba([{text}], perspectives=[[{names[0]!r}]])" if names else ""
    return (
        "## Use\n\n```python\nfrom mcstl import Model\n\n"
        'model = Model.from_pretrained("NAME-OR-FOLDER")  # this repository or directory\n'
        f"model.predict_proba([{text}])  # the population's view{asked}\n```"
    )


def _rows(table: metrics.Table) -> str:
    head = ["method", *(f"{column.title} ({column.best})" for column in table.columns)]
    rows = []
    for method, cells in table.rows:
        shown = []
        for cell in cells:
            ends = "" if cell.low is None else f" [{_number(cell.low)}, {_number(cell.high)}]"
            shown.append(f"**{cell.text}**{ends}" if cell.mark == "best" else f"{cell.text}{ends}")
        rows.append([_plain(method), *shown])
    return _table(head, rows)


def _how_to_read(data: Mapping[str, Any], summary: Mapping[str, Any], table: metrics.Table) -> str:
    over = next(iter(summary.values()))[table.columns[0].metric]["interval"]
    units = "pairs" if data["task"] == "preference" else "texts"
    what = f"drawing whole {units}" if over == "items" else "the seeds"
    return (
        f"Mean ± sd [95% interval, over {what}]. The sd of Group, Slope and Bias is over groups "
        "(and thresholds), the others' over seeds. A calibrated model has slope 1 and bias 0 in "
        "every group; 1-EMD is over labels that differ from their item's majority. Bold: better "
        "than every other method by paired differences."
    )


def _differences(results: Mapping[str, Any], columns: Sequence[metrics.Column]) -> str:
    found = results.get("differences")
    if not found or not found["methods"]:
        return ""
    rows = [
        [
            _plain(method),
            *(
                f"{_number(of[c.metric]['mean'])} "
                f"[{_number(of[c.metric]['low'])}, {_number(of[c.metric]['high'])}]"
                for c in columns
            ),
        ]
        for method, of in found["methods"].items()
    ]
    head = ["method", *(column.title for column in columns)]
    return f"Differences from {_plain(found['baseline'])}, paired:\n\n{_table(head, rows)}"


def _groups(
    groups: Sequence[Mapping[str, Any]],
    score: str,
    measured: Mapping[str, Mapping[str, Any]],
    left_out: int,
) -> str:
    if not groups:
        return ""
    keys = (score, "slope", "bias") if measured else ()
    titles = {"auc": "AUC", "accuracy": "accuracy"}
    head = ["group", "annotations", "people", *(titles.get(key, key) for key in keys), "warning"]
    rows = [
        [
            _plain(group["name"]),
            f"{group['size']:,}",
            people(group["annotators"]),
            *(_number(measured.get(group["name"], {}).get(key)) for key in keys),
            _plain(group["warning"]),
        ]
        for group in groups
    ]
    said = "Sizes are those of the training part; groups may overlap."
    if left_out:
        said += f" Left out as too small: {left_out}."
    return f"## Groups\n\n{_table(head, rows)}\n\n{said}"


def _off(results: Mapping[str, Any]) -> str:
    found = results.get("audit")
    if not found:
        return ""
    rows = []
    for method, of_method in found["methods"].items():
        tested = of_method["multicalibration"]
        cells = [cell for cell in tested["cells"] if cell["in_sigmas"] is not None]
        off = {cell["group"] or "everyone" for cell in cells if cell["p_adjusted"] < _ALARM}
        groups = {cell["group"] for cell in cells}
        error, p = _number(tested["error"]), _number(tested["p_value"])
        counted = f"{len(off)} of {len(groups)}"
        rows.append([_plain(method), error, p, counted, _plain(listed(sorted(off)))])
    head = ["method", "error, in units of its noise", "chance of one as large", "off", "which"]
    return (
        f"## Is any group off?\n\n{_table(head, rows)}\n\nThe largest cumulative calibration error "
        "of any group and threshold; a group is called off below a chance of 0.05, all groups "
        "considered. Nothing seen is not calibrated: a small group can hide a large error."
    )


def _leaks(results: Mapping[str, Any]) -> str:
    checks = results.get("controls")
    if not checks:
        return ""
    rows = [
        [
            _plain(each["check"]),
            _number(each["value"]),
            each["unit"],
            "**fires**" if each["fires"] else "nothing seen",
        ]
        for each in checks
    ]
    said = _bullets([each["said"] for each in checks if each["fires"]])
    return _joined(
        ["## Could it be a leak?", _table(["check", "found", "of what", "verdict"], rows), said]
    ).strip()


def _limits() -> str:
    return f"## Limits\n\n{_bullets(_LIMITS)}"


def _versions(made_with: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(k, v) for k, v in made_with.items() if k not in ("encoder", "data")]


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {_plain(sentence)}" for sentence in sentences)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    return metrics.rounded(value)


def _plain(text: object) -> str:
    r"""Return a text that Markdown and HTML show as it is, on one line.

    >>> _plain("<b>a|b</b> *c*")
    '&lt;b&gt;a\\|b&lt;/b&gt; \\*c\\*'
    """
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", line)
