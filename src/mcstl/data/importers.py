"""Importers: exports of annotation tools and TRL's data as tables for `Annotations.from_frame`.

Each tool's own export is read: Label Studio (JSON and JSON_MIN), Argilla (records as JSON or a
Dataset, flat or nested), potato (`python -m potato.export`, JSON Lines), TRL's preference data
(standard and conversational, prompt explicit or implicit).

>>> rows = [{"prompt": "Sky?", "chosen": " Blue.", "rejected": " Green."}]
>>> trl_preferences(rows).to_dict("records")
[{'chosen': 'Sky? Blue.', 'rejected': 'Sky? Green.'}]
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mcstl._support.errors import InputError, brief, did_you_mean, listed, need_names
from mcstl.data.tables import read_table

#: The field of a text, or the two fields of a pair.
TextFields = str | tuple[str, str]


class _Answered(NamedTuple):
    """One person's answers to one item."""

    item: str
    fields: Mapping[str, Any]
    annotator: str | None
    answers: Mapping[str, Any]


def label_studio(
    path: str | Path,
    *,
    label: str,
    text: TextFields = "text",
    rationale: str | None = None,
    values: str | None = None,
) -> pd.DataFrame:
    """Read Label Studio's JSON or JSON_MIN export.

    A pairwise choice of the left text becomes "a", of the right one "b".

    Args:
        path: The export.
        label: The control (``from_name``) whose answer is the label.
        text: The field of the task that holds the text, or the two fields of a pair.
        rationale: The control (``from_name``) whose answer is the rationale.
        values: The control (``from_name``) whose answer is the values.

    Returns:
        A row per annotation that has a label and was not cancelled.

    Raises:
        InputError: It is another file, or a name is not in it.
    """
    tasks = _json(path)
    full = any("annotations" in task for task in tasks)
    answered = (_label_studio_full if full else _label_studio_min)(tasks)
    return _table(Path(path).name, answered, text, label, rationale, values)


def argilla(
    records: str | Path | Iterable[Mapping[str, Any]],
    *,
    label: str,
    text: TextFields = "text",
    rationale: str | None = None,
    values: str | None = None,
) -> pd.DataFrame:
    """Read Argilla's records.

    A ranking of the two fields of a pair becomes "a" or "b".

    Args:
        records: What `records.to_json` wrote, or `.to_list` or `.to_datasets` returned.
        label: The question whose answer is the label.
        text: The field of the record that holds the text, or the two fields of a pair.
        rationale: The question whose answer is the rationale.
        values: The question whose answer is the values.

    Returns:
        A row per person and record that has a label; responses that were not submitted are left
        out where the export says so.

    Raises:
        InputError: As in `label_studio`.
    """
    is_file = isinstance(records, str | Path)
    source = Path(records).name if is_file else "the records"  # type: ignore[arg-type]
    rows: Iterable[Mapping[str, Any]] = _json(records) if is_file else records  # type: ignore
    return _table(source, list(_argilla(rows, text)), text, label, rationale, values)


def potato(
    path: str | Path,
    items: str | Path | Iterable[Mapping[str, Any]],
    *,
    label: str,
    text: TextFields = "text",
    item_key: str = "id",
    rationale: str | None = None,
    values: str | None = None,
) -> pd.DataFrame:
    """Read potato's JSON Lines export and the items that were shown.

    Of an annotation scheme that holds several answers all are kept, as a list.

    Args:
        path: The export.
        items: Potato's data file, or its records.
        label: The annotation scheme whose answer is the label.
        text: The field of the items that holds the text, or the two fields of a pair.
        item_key: The field of the items that names them.
        rationale: The annotation scheme whose answer is the rationale.
        values: The annotation scheme whose answer is the values.

    Returns:
        A row per person and item that has a label.

    Raises:
        InputError: As in `label_studio`; also for an item that is not among `items`.
    """
    rows = _records(items)
    shown = {str(row.get(item_key)): row for row in rows}
    answered = []
    for record in read_table(path).to_dict("records"):
        item = str(record.get("instance_id"))
        if item not in shown:
            raise InputError(
                f"item {brief(item)!r} of {Path(path).name} is not among the items; found under "
                f"{item_key!r}: {listed(shown, 5)}. Give potato's data file and item_key"
            )
        labels = record.get("labels")
        schemes = labels if isinstance(labels, dict) else {}
        answers = {str(name): _potato_answer(given) for name, given in schemes.items()}
        answered.append(_Answered(item, shown[item], str(record.get("user_id")), answers))
    return _table(Path(path).name, answered, text, label, rationale, values)


def trl_preferences(dataset: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Read TRL's preference data: standard or conversational, prompt explicit or implicit.

    Args:
        dataset: Rows with ``chosen``, ``rejected`` and perhaps ``prompt``, and any other columns.

    Returns:
        A row per pair, with ``chosen`` and ``rejected`` as `conversation_text` writes them, and
        the other columns as they are.

    Raises:
        InputError: A row lacks a text.
    """
    rows = []
    for number, row in enumerate(dataset):
        missing = [name for name in ("chosen", "rejected") if not row.get(name)]
        if missing:
            raise InputError(
                f"row {number} has no {listed(missing)}; found: {listed(row)}. TRL's preference "
                "data has chosen and rejected, and may have a prompt"
            )
        prompt = row.get("prompt")
        texts = {name: conversation_text(prompt, row[name]) for name in ("chosen", "rejected")}
        rows.append(texts | {k: v for k, v in row.items() if k not in ("prompt", *texts)})
    return pd.DataFrame(rows, dtype=object)


def conversation_text(prompt: object, completion: object = "") -> str:
    """Write a prompt and its completion as one text, the same in training and as a reward.

    Args:
        prompt: A text, or a list of messages.
        completion: Like the prompt, or empty.

    Returns:
        Texts joined as they are, or messages as a paragraph each, ``role: content``; parts of a
        message that are no text are left out.

    Raises:
        InputError: Prompt and completion are anything else.

    >>> print(conversation_text([{"role": "user", "content": "Sky?"}],
    ...                         [{"role": "assistant", "content": "Blue."}]))
    user: Sky?
    <BLANKLINE>
    assistant: Blue.
    """
    parts = [part for part in (prompt, completion) if part]
    if all(isinstance(part, str) for part in parts):
        return "".join(map(str, parts))
    if not all(isinstance(part, list | tuple) for part in parts):
        raise InputError(
            "a prompt and its completion are both texts or both lists of messages; got "
            f"{listed(type(part).__name__ for part in parts)}"
        )
    messages: list[Any] = [message for part in parts for message in part]  # type: ignore
    return "\n\n".join(f"{message.get('role')}: {_content(message)}" for message in messages)


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(str(part["text"]) for part in content if part.get("type") == "text")


def _records(source: str | Path | Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if not isinstance(source, str | Path):
        return list(source)
    if Path(source).suffix == ".json":
        return list(_json(source))
    return [
        {str(key): value for key, value in row.items()}
        for row in read_table(source).to_dict("records")
    ]


def _json(path: str | Path) -> list[dict[str, Any]]:
    """Read a JSON list of objects, or JSON Lines."""
    path = Path(path)
    if path.suffix == ".jsonl":
        return [{str(k): v for k, v in row.items()} for row in read_table(path).to_dict("records")]
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = did_you_mean(path.name, [each.name for each in path.parent.glob("*")])
        raise InputError(f"there is no file {path}.{near}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({brief(error, 80)}); is it whole?") from error
    if not isinstance(records, list) or not all(isinstance(row, dict) for row in records):
        raise InputError(f"{path} is no list of records; export it as JSON")
    return records


def _label_studio_full(tasks: Iterable[Mapping[str, Any]]) -> Iterator[_Answered]:
    for task in tasks:
        for annotation in task.get("annotations") or []:
            if annotation.get("was_cancelled"):
                continue
            answers: dict[str, Any] = {}
            for result in annotation.get("result") or []:
                answer = _label_studio_value(result.get("value") or {})
                name = str(result.get("from_name"))
                answers[name] = answer if name not in answers else [answers[name], answer]
            yield _Answered(
                str(task.get("id")),
                task.get("data") or {},
                _person(annotation.get("completed_by")),
                answers,
            )


def _label_studio_min(tasks: Iterable[Mapping[str, Any]]) -> Iterator[_Answered]:
    for task in tasks:
        answers = {name: _label_studio_min_value(value) for name, value in task.items()}
        yield _Answered(str(task.get("id")), task, _person(task.get("annotator")), answers)


def _label_studio_value(value: Mapping[str, Any]) -> Any:
    """Return the answer in one result, whatever control gave it."""
    if "selected" in value:
        return {"left": "a", "right": "b"}.get(value["selected"], value["selected"])
    for control in ("choices", "text", "taxonomy", "rating", "number", "datetime"):
        if control in value:
            answer = value[control]
            if control == "taxonomy":
                answer = [path[-1] for path in answer]
            return answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
    return None


def _label_studio_min_value(value: Any) -> Any:
    """Return an answer of JSON_MIN: bare, an object with several, or a list of objects."""
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        answers = [_label_studio_value(each) for each in value]
        return answers[0] if len(answers) == 1 else answers
    return _label_studio_value(value) if isinstance(value, dict) else value


def _person(completed_by: Any) -> str | None:
    if isinstance(completed_by, Mapping):
        completed_by = completed_by.get("id") or completed_by.get("email")
    return None if completed_by is None else str(completed_by)


def _argilla(records: Iterable[Mapping[str, Any]], text: TextFields) -> Iterator[_Answered]:
    for record in records:
        nested = isinstance(record.get("fields"), Mapping)
        fields = record["fields"] if nested else record
        responses: dict[str, dict[str, Any]] = {}  # per person
        for question, user, status, value in _argilla_responses(record, nested):
            if status in (None, "submitted"):
                answer = _ranked(value, text) if isinstance(value, list) else value
                responses.setdefault(user, {})[question] = answer
        for user, answers in responses.items():
            yield _Answered(str(record.get("id")), fields, user, answers)


def _argilla_responses(
    record: Mapping[str, Any], nested: bool
) -> Iterator[tuple[str, str, str | None, Any]]:
    if nested:
        for question, answers in (record.get("responses") or {}).items():
            for each in answers:
                yield question, str(each["user_id"]), each.get("status"), each["value"]
        return
    for name, answers in record.items():
        if name.endswith(".responses") and answers:
            users = record.get(f"{name}.users") or [None] * len(answers)
            statuses = record.get(f"{name}.status") or [None] * len(answers)
            for value, user, status in zip(answers, users, statuses, strict=True):
                yield name.removesuffix(".responses"), str(user), status, value


def _ranked(value: list[Any], text: TextFields) -> Any:
    """Write a ranking of the two fields, best first, as "a" or "b"; leave any other list."""
    if isinstance(text, tuple) and sorted(map(str, value)) == sorted(text):
        return "a" if value[0] == text[0] else "b"
    return value


def _potato_answer(given: Any) -> Any:
    """Return the value of a radio button, a slider or a text, or a list of those ticked."""
    if not isinstance(given, Mapping):
        return given
    values = [
        name if value in (True, "true") else value
        for name, value in given.items()
        if value not in (None, "", False, "false")
    ]
    return values[0] if len(values) == 1 else values or None


def _table(
    source: str,
    answered: Iterable[_Answered],
    text: TextFields,
    label: str,
    rationale: str | None,
    values: str | None,
) -> pd.DataFrame:
    """Make a table with a row per person and item that has a label."""
    answered = list(answered)
    texts = {"text": text} if isinstance(text, str) else {"text_a": text[0], "text_b": text[1]}
    fields = dict.fromkeys(name for each in answered for name in each.fields)
    need_names(texts.values(), fields, source, what="field")
    questions_by_column = {"label": label, "rationale": rationale, "values": values}
    wanted = {ours: theirs for ours, theirs in questions_by_column.items() if theirs is not None}
    questions = dict.fromkeys(name for each in answered for name in each.answers)
    need_names(wanted.values(), questions, source, what="answer")
    rows = []
    for each in answered:
        if each.answers.get(label) is None:
            continue
        row = {"item": each.item, **{ours: each.fields.get(t) for ours, t in texts.items()}}
        row |= {ours: each.answers.get(theirs) for ours, theirs in wanted.items()}
        rows.append(row | {"annotator": each.annotator})
    return pd.DataFrame(rows, dtype=object)
