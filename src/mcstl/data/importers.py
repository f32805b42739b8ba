"""Importers: exports of annotation tools and TRL's data as tables for `Annotations.from_frame`.

Each tool's own export is read: Label Studio (JSON and JSON_MIN), Argilla (records as JSON or a
Dataset, flat or nested), potato (`python -m potato.export`, JSON Lines), TRL's preference data
(standard and conversational, prompt explicit or implicit). JSON, JSON Lines, Parquet and records
in memory give the same table. Nothing is made up: who or what is not named has no name, what nobody
answered is left out and counted in ``table.attrs["left_out"]``, and an answer of an unknown form is
an error.

>>> rows = [{"prompt": "Sky?", "chosen": " Blue.", "rejected": " Green."}]
>>> trl_preferences(rows).to_dict("records")
[{'chosen': 'Sky? Blue.', 'rejected': 'Sky? Green.'}]
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcstl._support.errors import InputError, brief, listed, need_names
from mcstl.data.annotations import need_rows
from mcstl.data.cells import identifier, need_whole_letters
from mcstl.data.conversations import conversation_text, is_empty
from mcstl.data.row_numbers import Source
from mcstl.data.tables import chunks

#: The field of a text, or the two fields of a pair.
TextFields = str | tuple[str, str]


@dataclass(frozen=True)
class _Answered:
    """One person's answers to one item."""

    item: str | None
    fields: Mapping[str, Any]
    annotator: str | None
    answers: Mapping[str, Any]


@dataclass
class _Answers:
    """All answers of an export, and what of it is none."""

    source: str
    given: list[_Answered] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


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
    tasks = _records(path)
    full = any(isinstance(task.get("data"), Mapping) for task in tasks)
    answers = _Answers(Path(path).name)
    (_label_studio_full if full else _label_studio_min)(tasks, answers)
    return _table(answers, text, label, rationale, values)


def argilla(
    records: str | Path | pd.DataFrame | Iterable[Mapping[str, Any]],
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
    answers = _Answers(Path(records).name if isinstance(records, str | Path) else "the records")
    _argilla(_records(records), text, answers)
    return _table(answers, text, label, rationale, values)


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
    shown = {}
    for row in _records(items):
        need_names([item_key], row, "the items", what="field", hint="Give item_key")
        shown[identifier(row[item_key])] = row
    answers = _Answers(Path(path).name)
    for record in _records(path):
        need_names(["instance_id"], record, answers.source, what="field")
        item = identifier(record["instance_id"])
        if item not in shown:
            raise InputError(
                f"item {brief(item)!r} of {answers.source} is not among the items; found under "
                f"{item_key!r}: {listed(shown, 5)}. Give potato's data file and item_key"
            )
        labels = record.get("labels")
        schemes = labels if isinstance(labels, dict) else {}
        given = {str(name): _potato_answer(scheme) for name, scheme in schemes.items()}
        answers.given.append(_Answered(item, shown[item], _name(record.get("user_id")), given))
    return _table(answers, text, label, rationale, values)


def trl_preferences(dataset: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """Read TRL's preference data: standard or conversational, prompt explicit or implicit.

    Args:
        dataset: Rows with ``chosen``, ``rejected`` and perhaps ``prompt``, and any other columns.

    Returns:
        A row per pair, with ``chosen`` and ``rejected`` as `conversation_text` writes them, and
        the other columns as they are.

    Raises:
        InputError: A row lacks a text, or its prompt and texts do not belong together; or this is
            a `DatasetDict`, of which one split has to be chosen.
    """
    need_rows(dataset)
    if isinstance(dataset, pd.DataFrame):
        dataset = [{str(k): v for k, v in row.items()} for row in dataset.to_dict("records")]
    rows = []
    for number, row in enumerate(dataset):
        missing = [name for name in ("chosen", "rejected") if is_empty(row.get(name))]
        if missing:
            raise InputError(
                f"row {number} has no {listed(missing)}; found: {listed(row)}. TRL's preference "
                "data has chosen and rejected, and may have a prompt"
            )
        try:
            texts = {
                name: conversation_text(row.get("prompt"), row[name])
                for name in ("chosen", "rejected")
            }
        except InputError as error:
            raise InputError(f"row {number}: {error}") from None
        rows.append(texts | {k: v for k, v in row.items() if k not in ("prompt", *texts)})
    return pd.DataFrame(rows, dtype=object)


def _records(
    source: str | Path | pd.DataFrame | Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Read records from a file or from memory, without the keys under which there is nothing.

    Data frames, Parquet and Datasets give every record the keys of all others.
    """
    records: Iterable[Mapping[Any, Any]]
    if not isinstance(source, str | Path):
        need_rows(source)
        records = source.to_dict("records") if isinstance(source, pd.DataFrame) else source
    else:
        records = [
            row
            for chunk in chunks(source)
            for row in (
                chunk.frame.to_dict("records") if chunk.arrow is None else chunk.arrow.to_pylist()
            )
        ]
    return [_without_nothing(record) for record in records]


def _without_nothing(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _without_nothing(each)
            for key, each in value.items()
            if each is not None and not (isinstance(each, float) and np.isnan(each))
        }
    return list(map(_without_nothing, value)) if isinstance(value, list | np.ndarray) else value


def _label_studio_full(tasks: Iterable[Mapping[str, Any]], answers: _Answers) -> None:
    for task in tasks:
        annotations = task.get("annotations") or []
        answers.left_out["items that nobody annotated"] += not annotations
        for annotation in annotations:
            if annotation.get("was_cancelled"):
                answers.left_out["annotations that were cancelled"] += 1
                continue
            given: dict[str, list[Any]] = {}
            for result in annotation.get("result") or []:
                name = str(result.get("from_name"))
                given.setdefault(name, []).extend(_label_studio_parts(result.get("value") or {}))
            answers.given.append(
                _Answered(
                    _name(task.get("id")),
                    task.get("data") or {},
                    _person(annotation.get("completed_by")),
                    {name: _alone(parts) for name, parts in given.items()},
                )
            )


def _label_studio_min(tasks: Iterable[Mapping[str, Any]], answers: _Answers) -> None:
    for task in tasks:
        given = {}
        for name, value in task.items():
            results = value if isinstance(value, list) else [value]
            given[name] = _alone(
                [
                    part
                    for result in results
                    for part in (
                        _label_studio_parts(result) if isinstance(result, Mapping) else [result]
                    )
                ]
            )
        person = _person(task.get("annotator"))
        answers.given.append(_Answered(_name(task.get("id")), task, person, given))


def _label_studio_parts(value: Mapping[str, Any]) -> list[Any]:
    """Return the answers in one result, whatever control gave it; a span's is its labels."""
    if "selected" in value:
        return [{"left": "a", "right": "b"}.get(value["selected"], value["selected"])]
    labels = [key for key in value if key.endswith("labels")]
    for control in (*labels, "choices", "taxonomy", "rating", "number", "datetime", "text"):
        if control in value:
            answer = value[control] if isinstance(value[control], list) else [value[control]]
            return [path[-1] for path in answer] if control == "taxonomy" else answer
    return [] if not value else [value]


def _alone(parts: list[Any]) -> Any:
    """Return the one answer, or all in a list; None where there is none."""
    distinct = [part for i, part in enumerate(parts) if part not in parts[:i]]
    return distinct[0] if len(distinct) == 1 else distinct or None


def _name(cell: Any) -> str | None:
    """Return the name of an item or a person, or None where there is none."""
    return None if cell is None or cell == "" else identifier(cell)


def _person(completed_by: Any) -> str | None:
    if isinstance(completed_by, Mapping):
        completed_by = next((completed_by[k] for k in ("id", "email") if k in completed_by), None)
    return _name(completed_by)


def _argilla(records: Iterable[Mapping[str, Any]], text: TextFields, answers: _Answers) -> None:
    for record in records:
        nested = isinstance(record.get("fields"), Mapping)
        fields = record["fields"] if nested else record
        by_person: dict[str | None, dict[str, Any]] = {}
        for question, user, status, value in _argilla_responses(record, nested):
            if status not in (None, "submitted"):
                answers.left_out["responses that were not submitted"] += 1
            else:
                by_person.setdefault(user, {})[question] = _argilla_answer(value, text)
        answers.left_out["items that nobody annotated"] += not by_person
        for user, given in by_person.items():
            answers.given.append(_Answered(_name(record.get("id")), fields, user, given))


def _argilla_responses(
    record: Mapping[str, Any], nested: bool
) -> Iterator[tuple[str, str | None, str | None, Any]]:
    if nested:
        responses = record.get("responses") or {}
        if isinstance(responses, list):  # as Argilla 1 writes them, by person
            for each in responses:
                user, status = _name(each.get("user_id")), each.get("status")
                for question, answer in (each.get("values") or {}).items():
                    yield question, user, status, answer.get("value")
            return
        for question, given in responses.items():
            for each in given:
                yield question, _name(each.get("user_id")), each.get("status"), each.get("value")
        return
    for name, given in record.items():
        if name.endswith(".responses") and given:
            users = record.get(f"{name}.users") or [None] * len(given)
            statuses = record.get(f"{name}.status") or [None] * len(given)
            for value, user, status in zip(given, users, statuses, strict=True):
                yield name.removesuffix(".responses"), _name(user), status, value


def _argilla_answer(value: Any, text: TextFields) -> Any:
    """Return an answer, a ranking of the two fields as "a" or "b", and spans as their labels."""
    if not isinstance(value, list):
        return value
    if all(isinstance(each, Mapping) and "rank" in each for each in value):
        ranks = [each["rank"] for each in value]
        if len(set(ranks)) < len(ranks):
            return None  # neither is preferred
        value = [each["value"] for each in sorted(value, key=lambda each: each["rank"])]
    if isinstance(text, tuple) and sorted(map(str, value)) == sorted(text):
        return "a" if value[0] == text[0] else "b"
    return [
        each["label"] if isinstance(each, Mapping) and "label" in each else each for each in value
    ]


def _potato_answer(given: Any) -> Any:
    """Return the value of a radio button, a slider or a text, or a list of those ticked."""
    if not isinstance(given, Mapping):
        return given
    # By identity: 1 and 0 are answers, True and False are ticks.
    return _alone(
        [
            name if value is True or value == "true" else value
            for name, value in given.items()
            if value is not None and value is not False and value not in ("", "false")
        ]
    )


def _table(
    answers: _Answers, text: TextFields, label: str, rationale: str | None, values: str | None
) -> pd.DataFrame:
    """Make a table with a row per person and item that has a label."""
    source, answered = answers.source, answers.given
    if not answered:
        counts = [f"{n:,} {what}" for what, n in answers.left_out.items() if n]
        raise InputError(f"{source} holds no annotation; found: {listed(counts) or 'nothing'}")
    texts = {"text": text} if isinstance(text, str) else {"text_a": text[0], "text_b": text[1]}
    fields = dict.fromkeys(name for each in answered for name in each.fields)
    need_names(texts.values(), fields, source, what="field")
    readers = {"label": _plain, "rationale": _prose, "values": _names}
    wanted = {
        ours: theirs
        for ours, theirs in (("label", label), ("rationale", rationale), ("values", values))
        if theirs is not None
    }
    questions = dict.fromkeys(name for each in answered for name in each.answers)
    need_names(wanted.values(), questions, source, what="answer")
    named = all(each.item is not None for each in answered)
    rows = []
    for each in answered:
        if each.answers.get(label) is None:
            answers.left_out[f"annotations without an answer to {label!r}"] += 1
            continue
        row: dict[str, Any] = {"item": each.item} if named else {}
        row |= {ours: each.fields.get(theirs) for ours, theirs in texts.items()}
        for ours, theirs in wanted.items():
            try:
                row[ours] = readers[ours](each.answers.get(theirs))
            except ValueError as error:
                raise InputError(
                    f"the answer to {theirs!r} about {brief(each.item or each.fields)!r} in "
                    f"{source} cannot be the {ours}: {error}"
                ) from None
        rows.append(row | {"annotator": each.annotator})
    if not rows:
        raise InputError(f"{source} holds no annotation with an answer to {label!r}")
    table = pd.DataFrame(rows, dtype=object)
    need_whole_letters(table, Source(f"the annotations of {source}"), np.arange(len(table)))
    table.attrs["left_out"] = {what: n for what, n in answers.left_out.items() if n}
    return table


def _plain(answer: Any) -> Any:
    """Return an answer that is a text, a number or a list of them."""
    for part in answer if isinstance(answer, list) else [answer]:
        if not isinstance(part, str | int | float | bool | None):
            raise ValueError(f"expected a text or a number; got {brief(part)}")
    return answer


def _prose(answer: Any) -> Any:
    """Return a reason as text, one line for each of several."""
    answer = _plain(answer)
    return "\n".join(map(str, answer)) if isinstance(answer, list) else answer


def _names(answer: Any) -> list[str] | None:
    """Return values as a list."""
    answer = _plain(answer)
    if answer is None:
        return None
    return [str(part) for part in (answer if isinstance(answer, list) else [answer])]
