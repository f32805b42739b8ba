"""The card of a model that nobody has measured: README.md of a model directory, in Markdown.

What a card is made of is here as well, for the one that a study writes with its figures.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mcstl._support.text_tables import markdown_table
from mcstl.groups.small_groups import is_of_few, not_shown, shown_people

_PAPER = (
    "MC-STL (Parappan and Henao, *Labels have Human Values: Value Calibration of Subjective Tasks*)"
)
_LIMITS = (
    "A group is a set of annotations, not a people: what the model says of a group is how its "
    "annotators labelled these texts, not what everybody who could be counted in it thinks.",
    "Do not use it to guess who wrote or labelled a text, nor to speak for a group that was not "
    "asked.",
    "Small groups are uncertain: read their intervals and warnings before their numbers.",
    "Calibration was measured on texts like those of the data; on other texts, languages or times "
    "measure again (`mcstl evaluate`).",
)


def of_model(
    task: str,
    classes: Sequence[str],
    groups: Iterable[Mapping[str, Any]],
    encoder: str,
    text_parts: Sequence[str] = (),
) -> str:
    """Write the card of a model that no study has measured.

    Args:
        task: The model's task.
        classes: The names of its classes.
        groups: Its groups, each with ``name``, ``size``, ``annotators`` and ``warning``.
        encoder: The name of its encoder.
        text_parts: The names of the parts of a text, none for whole texts.

    Returns:
        The card in Markdown.
    """
    groups = list(groups)
    shown = [str(group["name"]) for group in groups if not is_of_few(group["annotators"])]
    parts = [
        metadata(encoder, []),
        "# An mcstl model",
        prediction(task, classes, len(groups)),
        use(task, shown, text_parts),
        "## Results\n\nIt has not been measured: `mcstl evaluate MODEL new.csv` does it, and "
        "`mcstl run` trains a model together with baselines, intervals and a test of calibration.",
        table_of_groups(groups),
        limits(),
    ]
    return joined(parts)


def joined(parts: Iterable[str]) -> str:
    """Join sections, leaving out empty ones.

    Args:
        parts: The sections in Markdown.

    Returns:
        One text.
    """
    return "\n\n".join(part for part in parts if part) + "\n"


def metadata(encoder: str, evaluations: list[Any]) -> str:
    """Write the YAML head that the Hub reads, by huggingface_hub's own writer.

    Args:
        encoder: The name of the encoder.
        evaluations: huggingface_hub's `EvalResult`s.

    Returns:
        The head, between its lines of dashes.
    """
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


def prediction(task: str, classes: Sequence[str], n_groups: int) -> str:
    """Say what a model predicts, and by which method.

    Args:
        task: The model's task.
        classes: The names of its classes.
        n_groups: How many groups it has.

    Returns:
        Two sentences in Markdown.
    """
    about = f"each of {n_groups} groups" if n_groups else "the annotators as a whole"
    if task == "preference":
        question = f"which of two texts {about} would prefer"
    else:
        question = f"how {about} would label a text ({plain(' < '.join(classes))})"
    return f"It predicts {question}, as probabilities that shall mean what they say. By {_PAPER}."


def use(task: str, names: Sequence[str], text_parts: Sequence[str] = ()) -> str:
    """Show how a model is used.

    Args:
        task: The model's task.
        names: The names of its groups.
        text_parts: The names of the parts of a text, none for whole texts.

    Returns:
        The section in Markdown.
    """
    first, second = '"It rains."', '"It pours."'
    if text_parts:
        first = second = json.dumps([f"the {name}" for name in text_parts], ensure_ascii=False)
    text = f"({first}, {second})" if task == "preference" else first
    with_group = f"\nmodel.predict_proba([{text}], perspectives=[[{names[0]!r}]])" if names else ""
    return (
        "## Use\n\n```python\nfrom mcstl import Model\n\n"
        'model = Model.from_pretrained("NAME-OR-FOLDER")  # this repository or directory\n'
        f"model.predict_proba([{text}])  # the population's view{with_group}\n```"
    )


def table_of_groups(
    groups: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Sequence[str]] | None = None,
    left_out: str = "",
) -> str:
    """Tabulate a model's groups: how large they are and what to beware of.

    Args:
        groups: The groups, each with ``name``, ``size``, ``annotators`` and ``warning``.
        figures: Further columns by their titles, a cell for each group.
        left_out: What to say of groups that were too small to be learnt.

    Returns:
        The section in Markdown, "" where there are no groups. Groups of few people have no line.
    """
    if not groups:
        return ""
    figures = figures or {}
    head = ["group", "annotations", "people", *figures, "warning"]
    rows = [
        [
            plain(group["name"]),
            f"{group['size']:,}",
            shown_people(group["annotators"]),
            *cells,
            plain(group["warning"]),
        ]
        for group, *cells in zip(groups, *figures.values(), strict=True)
        if not is_of_few(group["annotators"])
    ]
    notes = [
        "Sizes are those of the training part; groups may overlap.",
        not_shown(len(groups) - len(rows)),
        plain(left_out),
    ]
    table = markdown_table(head, rows) if rows else ""
    return f"## Groups\n\n{joined([table, ' '.join(filter(None, notes))])}".strip()


def limits() -> str:
    """Say what a model must not be used for.

    Returns:
        The section in Markdown.
    """
    return f"## Limits\n\n{bullets(_LIMITS)}"


def bullets(sentences: Sequence[str]) -> str:
    """Write sentences as a list in Markdown.

    Args:
        sentences: Plain sentences.

    Returns:
        The list.
    """
    return "\n".join(f"- {plain(sentence)}" for sentence in sentences)


def plain(text: object) -> str:
    r"""Escape a text so that Markdown and HTML show it as it is, on one line.

    Args:
        text: The text, or what becomes one.

    Returns:
        The escaped text.

    Example:
        >>> plain("<b>a|b</b> *c*")
        '&lt;b&gt;a\\|b&lt;/b&gt; \\*c\\*'
    """
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", line)
