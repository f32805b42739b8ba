"""The model card that a study writes: what its report tells, from results.json alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from mcstl._support.errors import listed
from mcstl._support.text_tables import markdown_table
from mcstl.data.annotations import repeats_message
from mcstl.encoding.side_by_side import first_embedding
from mcstl.evaluation.summaries import summarise_groups
from mcstl.evaluation.tables import (
    ALARM_LEVEL,
    Column,
    ResultsTable,
    calibration_tests,
    differences_table,
    results_table,
    rounded,
    sampled_words,
)
from mcstl.groups.small_groups import is_of_few, left_out_words, not_shown
from mcstl.models import card
from mcstl.models.texts import TextForm, columns_of
from mcstl.studies.results import NEW_TABLE

_SPLITS = {
    "annotation": "texts under test may have other annotations in training",
    "item": "no text under test was seen in training",
    "annotator": "no person under test was seen in training",
    "official": "the parts are the source's own",
}


def of_study(results: Mapping[str, Any]) -> str:
    """Write the card of the model that a study leaves.

    The figures are the report's: means over seeds with 95% intervals, groups with their sizes and
    warnings, the test of multicalibration, the checks for leaks.

    Args:
        results: The content of results.json.

    Returns:
        The card, in Markdown.
    """
    study, data, summary = results["study"], results["data"], results["summary"]
    table = results_table(summary)
    score, first = table.columns[0].metric, next(iter(summary))
    by_group = {row["group"]: row for row in summarise_groups(results["runs"], first)}
    encoder = study["encoder"]
    # A mapping says how it is trained further; what its name says is where it came from.
    encoder_name, encoder_facts = encoder, encoder
    if isinstance(encoder, Mapping):
        encoder_name = encoder["name"]
        encoder_facts = ", ".join(f"{k} {v}" for k, v in encoder.items() if v)
    elif isinstance(encoder, list):
        encoder_name, encoder_facts = first_embedding(encoder), " + ".join(encoder)
    titles = {score: {"auc": "AUC"}.get(score, score), "slope": "slope", "bias": "bias"}
    figures = {
        title: [rounded(by_group.get(group["name"], {}).get(key)) for group in results["groups"]]
        for key, title in titles.items()
    }
    recipes = study["made_with"].get("recipes", {})  # no such key before 0.2
    facts = [
        ("data", f"{data['source']}, fingerprint {data['fingerprint']}"),
        ("encoder", f"{encoder_facts}, fingerprint {study['made_with']['encoder']}"),
        ("made with", ", ".join(f"{k} {v}" for k, v in _versions(study["made_with"]))),
        *(
            (f"recipe of {method}, chosen on validation rows", _recipe(next(iter(each.values()))))
            for method, each in recipes.items()
        ),
    ]
    left_out = left_out_words(data["groups_left_out"])
    left_out = f"Left out as too small: {left_out}." if left_out else ""
    shown = [group["name"] for group in results["groups"] if not is_of_few(group["annotators"])]
    n_parts = data.get("text_parts", 1)  # results of before there were texts in parts
    columns = columns_of({"study": study})
    with_rationales = study.get("read_rationales", False)
    form = TextForm.of(data["task"], n_parts, False, columns, with_rationales)
    parts = [
        card.metadata(encoder_name, _evaluations(data, summary[first], table.columns)),
        f"# {card.plain(study['name'] or data['source'])}",
        card.prediction(data["task"], data["classes"], len(results["groups"])),
        _measured(data, results["runs"], list(summary)),
        _verdict(results),
        card.bullets(notices(results)),
        card.use(data["task"], shown, form.parts),
        f"## Results\n\n{_table(table)}\n\n{_how_to_read(data, summary, table)}",
        _differences(results, table.columns),
        card.table_of_groups(results["groups"], figures, left_out),
        _off(results),
        _leaks(results),
        card.limits(),
        "## Made with\n\n" + "\n".join(f"- {name}: {card.plain(fact)}" for name, fact in facts),
    ]
    return card.joined(parts)


def notices(results: Mapping[str, Any]) -> list[str]:
    """Say what a reader must know before the numbers of a study.

    Args:
        results: The content of results.json.

    Returns:
        A sentence for each thing.
    """
    data, runs = results["data"], results["runs"]
    sentences = [data["warning"]] if data["warning"] else []
    if repeats := repeats_message(data.get("repeated", 0)):
        sentences.append(f"{repeats}.")
    sentences += [
        f"Could it be a leak? {check['check'].capitalize()}: {check['said']}"
        for check in results.get("controls", [])
        if check["fires"]
    ]
    hidden = data.get("groups_not_shown", [])
    warned = [g["name"] for g in results["groups"] if g["warning"] and g["name"] not in hidden]
    if warned:
        sentences.append(f"Read with care, see the table of groups: {listed(warned)}.")
    if hidden:
        sentences.append(not_shown(len(hidden)))
    sentences += [
        f"Seed {seed} is left out: {why}." for seed, why in data.get("seeds_left_out", {}).items()
    ]
    sentences += [
        f"The question {name!r} is left out: {why}."
        for name, why in data.get("questions_left_out", {}).items()
    ]
    if len({run["seed"] for run in runs}) == 1 and data["split"]["by"] != NEW_TABLE:
        sentences.append("One seed only: differences between methods may be chance.")
    for key, what in (
        ("groups_without_auc", "have annotations of one class only, hence no AUC"),
        (
            "lines_without_slope",
            "got (nearly) one prediction, or have one label, hence no slope",
        ),
    ):
        most = {run["method"]: run["metrics"].get(key) or 0 for run in runs}
        for run in runs:
            most[run["method"]] = max(most[run["method"]], run["metrics"].get(key) or 0)
        if some := [f"{method} ({n})" for method, n in most.items() if n]:
            sentences.append(f"Some groups {what}, and their means leave them out: {listed(some)}.")
    if data.get("about_weights"):
        sentences.append(data["about_weights"])
    if data["truncated_texts"]:
        sentences.append(
            f"{data['truncated_texts']:,} texts are longer than the encoder reads and were cut."
        )
    return sentences


def _verdict(results: Mapping[str, Any]) -> str:
    """The verdict as a section, "" for outputs of versions that made none."""
    found = results.get("verdict")
    if not found:
        return ""
    sentences = [card.plain(sentence) for sentence in found["sentences"]]
    return f"## May it be used?\n\n{card.bullets(sentences)}"


def _evaluations(
    data: Mapping[str, Any], summary: Mapping[str, Any], columns: Sequence[Column]
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
            metric_value=round(summary[column.metric]["mean"], 4),
        )
        for column in columns
        if summary[column.metric]["mean"] is not None
    ]


def _measured(data: Mapping[str, Any], runs: Sequence[Any], methods: Sequence[str]) -> str:
    seeds = len({run["seed"] for run in runs})
    split, units = data["split"], "pairs of texts" if data["task"] == "preference" else "texts"
    # Outputs of versions before 0.2 did not count the texts and people of the training part.
    of = f" of {split['train_items']:,} {units}" if split.get("train_items") else ""
    by = f" by {split['train_annotators']:,} people" if split.get("train_annotators") else ""
    return (
        f"Trained on {split['train']:,} annotations{of}{by} "
        f"({card.plain(data['source'])}) and judged on {data['split']['test']:,} others, "
        f"{'once' if seeds == 1 else f'{seeds} times with different seeds'}, beside "
        f"{len(methods) - 1} other methods. Split by {data['split']['by']}: "
        f"{_SPLITS[data['split']['by']]}. The weights are those of the first seed."
    )


def _table(table: ResultsTable) -> str:
    header = ["method", *(f"{column.title} ({column.best})" for column in table.columns)]
    rows = [
        [
            card.plain(method),
            *(f"**{cell.text}**" if cell.mark == "best" else cell.text for cell in cells),
        ]
        for method, cells in table.rows
    ]
    return markdown_table(header, rows)


def _how_to_read(data: Mapping[str, Any], summary: Mapping[str, Any], table: ResultsTable) -> str:
    over = next(iter(summary.values()))[table.columns[0].metric]["interval"]
    what = sampled_words(over, "pairs" if data["task"] == "preference" else "texts") or "seeds"
    return (
        f"Mean over seeds [95% interval, over {what} and training]. Group, Slope and Bias are "
        "means over groups (and thresholds). A calibrated model has slope 1 and bias 0 in every "
        "group; 1-EMD is over labels that differ from their item's majority. Bold: better than "
        "every other method by their differences."
    )


def _differences(results: Mapping[str, Any], columns: Sequence[Column]) -> str:
    differences = results.get("differences")
    if not differences or not differences["methods"]:
        return ""
    table = differences_table(differences["methods"], columns)
    rows = [
        [
            card.plain(method),
            *(cell.text for cell in cells),
        ]
        for method, cells in table.rows
    ]
    baseline = card.plain(differences["baseline"])
    return f"Differences from {baseline}:\n\n{markdown_table(table.header, rows)}"


def _off(results: Mapping[str, Any]) -> str:
    tests = calibration_tests(results)
    if not tests:
        return ""
    rows = [
        [
            card.plain(test.method),
            rounded(test.error),
            rounded(test.p_value),
            f"{len(test.off)} of {len(test.worst)}",
            card.plain(listed(sorted(group or "everyone" for group in test.off))),
        ]
        for test in tests
    ]
    header = ["method", "error, in units of its noise", "chance of one as large", "off", "which"]
    return (
        f"## Is any group off?\n\n{markdown_table(header, rows)}\n\nThe largest cumulative "
        f"calibration error of any group and threshold; a group is called off below a chance of "
        f"{ALARM_LEVEL}, all groups considered. Nothing seen is not calibrated: a small group can "
        "hide a large error."
    )


def _leaks(results: Mapping[str, Any]) -> str:
    checks = results.get("controls")
    if not checks:
        return ""
    rows = [
        [
            card.plain(each["check"]),
            rounded(each["value"]),
            each["unit"],
            "**fires**" if each["fires"] else "nothing seen",
        ]
        for each in checks
    ]
    explanations = card.bullets([each["said"] for each in checks if each["fires"]])
    return card.joined(
        [
            "## Could it be a leak?",
            markdown_table(["check", "found", "of what", "verdict"], rows),
            explanations,
        ]
    ).strip()


def _versions(made_with: Mapping[str, str]) -> list[tuple[str, str]]:
    others = ("encoder", "data", "parts", "recipes")
    return [(k, v) for k, v in made_with.items() if k not in others]


def _recipe(recipe: Mapping[str, Any]) -> str:
    """The recipe of a network, or of several by their form, with what is chosen beside them."""
    networks = {form: each for form, each in recipe.items() if isinstance(each, Mapping)}
    plain = ", ".join(
        f"{key.replace('_', ' ')} {value}" for key, value in recipe.items() if key not in networks
    )
    parts = [f"{form}: {_recipe(each)}" for form, each in networks.items()]
    return "; ".join([*parts, *filter(None, [plain])])
