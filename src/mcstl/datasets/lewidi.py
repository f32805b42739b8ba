"""Learning With Disagreements (LeWiDi): eight data sets in one harmonised JSON, a source for each.

Source: Leonardelli et al., SemEval-2023 Task 11 (second edition) and LeWiDi-2025 (third edition);
each data set has its own authors and licence. The first edition (2021) is in another format.
Content warning: tweets and dialogues that are hateful, sexist or obscene.

Data sets share a format, not a task, so each is registered by itself: `lewidi-mp` (MultiPICo,
irony), `lewidi-paraphrase` (-5 to 5), `lewidi-csc` (sarcasm, 1 to 6), `lewidi-varierrnli` of 2025;
`lewidi-hs-brexit`, `lewidi-armis`, `lewidi-convabuse` and `lewidi-md-agreement` of 2023. Whichever
of train, dev and test are there are read and put together, and the column ``split`` says which of
them a row is from (``split: {column: split}``); an item is called ``dev-2``, because ids start anew
in each file.

What the files do, and what is made of it:

- ``annotations`` is an object by annotator (2025) or a list as text in the order of ``annotators``
  (2023). Where both tell how many there are, they must agree; soft labels are not needed.
- Several labels of one annotator, ``entailment,neutral`` (VariErrNLI), are an annotation each, and
  as ``task: multilabel`` one annotation of as many questions as there are labels.
- Explanations are in the order of ``annotators``, which repeats who gave several labels: they are
  the rationales. Where they do not match the labels they are left out, and counted.
- Texts are an object of parts, or such an object as JSON inside a text (ConvAbuse): texts in parts
  (`mcstl.data.parts`).
- Metadata may have commas before closing brackets, which is no JSON, and call an annotator ``0``
  whom annotations call ``Ann0``. ``DATA_EXPIRED``, ``CONSENT_REVOKED`` and
  refusals are missing answers. Ages are cut into bands.
  Annotators without metadata are in no group; more than 5% of annotations by them are an error.
- HS-Brexit and ArMIS tell an annotator's group inside each item; ConvAbuse tells nothing of its
  eight annotators, who are groups of their own; MD-Agreement tells the domain of the text.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from mcstl._support.errors import InputError, brief
from mcstl.data.labels import Labels, Task
from mcstl.data.parts import join_parts
from mcstl.datasets.source import Source, banded, check_joined, read_json, without

_PARTS = ("train", "dev", "test")
_AGES = ([30, 45, 60], ("18-29", "30-44", "45-59", "60+"))
_ATTRIBUTES = {
    "Gender": "gender",
    "Age": "age",
    "Nationality": "nationality",
    "Education": "education",
    "Ethnicity simplified": "ethnicity",
    "Country of birth": "country of birth",
    "Country of residence": "country of residence",
    "Student status": "student status",
    "Employment status": "employment status",
}
_REFUSED = ("DATA_EXPIRED", "CONSENT_REVOKED", "Prefer not to say", "nan")
#: The layout of each source, by its name.
_LAYOUTS: dict[str, "_Layout"] = {}
_UNMATCHED = "explanations that do not match the labels"
_log = logging.getLogger("mcstl")
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class _Layout:
    """One data set of the collection: its folder and stem, and what it tells of annotators."""

    folder: str
    stem: str
    attributes: tuple[str, ...]
    has_metadata: bool = False
    has_rationales: bool = False


def with_unlabelled(source: Source, folder: Path, task: Task) -> pd.DataFrame:
    """Read a data set with the entries whose labels are kept back.

    Args:
        source: One of `SOURCES`.
        folder: The folder of the collection.
        task: The task form.

    Returns:
        The table as the source reads it, and a row without a label for each annotator, or
        explanation, of an entry without annotations.

    Raises:
        InputError: As the source raises.
    """
    return _table(folder, task, _LAYOUTS[source.name])


def _read(folder: Path, task: Task, *, layout: _Layout) -> pd.DataFrame:
    frame = _table(folder, task, layout)
    labelled = frame[frame["label"].notna()].reset_index(drop=True)
    if labelled.empty:
        raise InputError(f"{folder / layout.folder} holds no annotations.")
    labelled.attrs = frame.attrs
    return labelled


def _table(folder: Path, task: Task, layout: _Layout) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    unmatched = 0
    for part in _PARTS:
        # A part without labels is called clear where both are given out.
        stems = (f"{layout.stem}_{part}", f"{layout.stem}_{part}_clear")
        paths = [folder / layout.folder / f"{stem}.json" for stem in stems]
        path = next((each for each in paths if each.is_file()), None)
        if path is None:
            continue
        for key, entry in read_json(path).items():
            try:
                text, labels = _text(entry["text"]), _labels(entry, part)
                reasons = _explanations(entry, labels) if layout.has_rationales else []
                unmatched += len(labels) * (reasons is None)
                descriptions = [
                    _described(entry, layout, k, who) for k, (who, _) in enumerate(labels)
                ]
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise InputError(
                    f"{path}: entry {brief(key)!r} is not as the source's ({_why(error)})."
                ) from error
            for k, (who, label) in enumerate(labels):
                row = {"item": f"{part}-{key}", "text": text, "label": label, "annotator": who}
                row["split"] = part
                if layout.has_rationales:
                    row["rationale"] = reasons[k] if reasons else ""
                rows.append(row | descriptions[k])
    frame = pd.DataFrame(_with_labels_together(rows) if task == "multilabel" else rows)
    if frame.empty:
        raise InputError(f"{folder / layout.folder} holds no annotations.")
    if unmatched:
        frame.attrs["counts"] = {_UNMATCHED: unmatched}
        _log.warning("%s: %s annotations have %s", layout.stem, f"{unmatched:,}", _UNMATCHED)
    if layout.has_metadata:
        path = folder / layout.folder / f"{layout.stem}_annotators_meta.json"
        return _with_people(frame, path, layout)
    return frame


def _with_labels_together(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make one row of all labels that somebody gave to an item, with all explanations."""
    by_answer: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_answer.setdefault((row["item"], row["annotator"]), []).append(row)
    return [
        {
            **first,
            "label": None if first["label"] is None else [row["label"] for row in (first, *others)],
            "rationale": "\n".join(filter(None, (row["rationale"] for row in (first, *others)))),
        }
        for first, *others in by_answer.values()
    ]


def _why(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else brief(error, 100)


def _text(text: object) -> str:
    """Return a text or the parts of one, which may be JSON inside a text."""
    if isinstance(text, str) and text.lstrip().startswith("{"):
        try:
            text = json.loads(text)
        except json.JSONDecodeError:
            return str(text).strip()
    if isinstance(text, dict):
        return join_parts([str(part or "").strip() for part in text.values()]) or ""
    if not isinstance(text, str):
        raise TypeError("the text is neither text nor an object of texts")
    return text.strip()


def _labels(entry: Entry, part: str) -> list[tuple[str, str | None]]:
    """Return (annotator, label) for every label, in the order of the source.

    In the test part labels may be kept back.
    """
    given = entry.get("annotations") if part == "test" else entry["annotations"]
    pairs: list[tuple[str, str | None]]
    if not given and part == "test":
        pairs = [(who.strip(), None) for who in str(entry["annotators"]).split(",")]
    elif isinstance(given, dict):
        pairs = [
            (who, label.strip()) for who, cell in given.items() for label in str(cell).split(",")
        ]
    else:
        people, labels = (str(cell).split(",") for cell in (entry["annotators"], given))
        if len(people) != len(labels):
            raise ValueError(f"{len(labels)} annotations by {len(people)} annotators")
        pairs = [(who.strip(), label.strip()) for who, label in zip(people, labels, strict=True)]
    stated = entry.get("number of annotations")
    if stated is not None and int(stated) != len(pairs):
        raise ValueError(f"{len(pairs)} annotations where {stated} are stated")
    return pairs


def _explanations(entry: Entry, labels: Sequence[tuple[str, str | None]]) -> list[str] | None:
    """Return an explanation per label, or None where they cannot be told apart."""
    given = (entry.get("other_info") or {}).get("explanations")
    people = [who.strip() for who in str(entry.get("annotators")).split(",")]
    if not isinstance(given, list) or not len(given) == len(people) == len(labels):
        return None
    if people != [who for who, _ in labels]:
        return None
    return [str(reason or "").strip() for reason in given]


def _described(entry: Entry, layout: _Layout, k: int, who: str) -> dict[str, str | None]:
    """Return how an entry itself describes its k-th annotator, or its text."""
    if layout.has_metadata:
        return {}
    info = entry.get("other_info") or {}
    match layout.attributes:
        case ("group",):
            groups = info.get("annotators group")
            name = str(groups).split(",")[k].strip() if groups else who
            return {"group": info.get(name)}
        case ("domain",):
            return {"domain": info.get("domain")}
        case _:
            return {"rater": who}


def _with_people(frame: pd.DataFrame, path: Path, layout: _Layout) -> pd.DataFrame:
    """Add what the metadata say about the annotators."""
    by_id = {f"Ann{str(key).removeprefix('Ann')}": value for key, value in read_json(path).items()}
    if bad := [key for key, value in by_id.items() if not isinstance(value, dict)]:
        raise InputError(f"{path}: annotator {bad[0]} is not as the source's.")
    ids = frame["annotator"].map(lambda who: f"Ann{who.removeprefix('Ann')}")
    strangers = int((~ids.isin(list(by_id))).sum())
    check_joined(strangers, len(frame), f"annotations are by annotators that {path} lacks")
    if strangers:
        _log.warning(
            "%s: %s annotations are by annotators without metadata; they are in no group",
            layout.stem,
            f"{strangers:,}",
        )
    for theirs, ours in _ATTRIBUTES.items():
        if ours in layout.attributes:
            answers = pd.Series([by_id.get(who, {}).get(theirs) for who in ids], dtype=object)
            frame[ours] = banded(answers, *_AGES) if ours == "age" else without(answers, *_REFUSED)
    return frame


def _source(
    name: str,
    what: str,
    layout: _Layout,
    tasks: Mapping[Task, Labels],
    groups: Mapping[str, object],
    items: int,
    licence: str,
    choices: str = "",
) -> Source:
    needed = [f"{layout.folder}/{layout.stem}_[dt]*.json"]
    if layout.has_metadata:
        needed.append(f"{layout.folder}/{layout.stem}_annotators_meta.json")
    _LAYOUTS[f"lewidi-{name}"] = layout
    return Source(
        name=f"lewidi-{name}",
        title=f"LeWiDi {what}",
        licence=licence,
        homepage="https://github.com/Le-Wi-Di/le-wi-di.github.io",
        files=tuple(needed),
        counts={"items": items},
        tasks=tasks,
        groups=groups,
        choices=choices,
        read=partial(_read, layout=layout),
        attributes=layout.attributes,
        warning="Tweets, posts and dialogues that may be hateful, sexist or obscene",
        folder="lewidi",
    )


_SEE = "see the data set's authors"
_PERSON = ("gender", "age")
_STUDENT = (*_PERSON, "nationality", "education")


def _attributes(*names: str) -> dict[str, object]:
    return {"by": "attributes", "attributes": list(names)}


SOURCES = (
    _source(
        "mp",
        "2025 MultiPICo: is a reply ironic, in nine languages",
        _Layout("MP", "MP", tuple(_ATTRIBUTES[k] for k in _ATTRIBUTES if k != "Education"), True),
        {"binary": {"not ironic": [0], "ironic": [1]}},
        _attributes("gender", "age", "ethnicity"),
        18778,
        "CC BY 4.0",
        "{by: attributes, attributes: [nationality, country of residence, student status]}",
    ),
    _source(
        "paraphrase",
        "2025 Paraphrase: how much two questions are the same, with explanations",
        _Layout("Paraphrase", "Paraphrase", _STUDENT, True, True),
        {
            "ordinal": {str(degree): [degree] for degree in range(-5, 6)},
            "binary": {"different": [*range(-5, 0)], "the same": [*range(1, 6)]},
        },
        {"by": "rationale", "k": 3},
        500,
        _SEE,
        "{by: attributes, attributes: [gender, nationality]} (four annotators)",
    ),
    _source(
        "csc",
        "2025 CSC: how sarcastic an answer is",
        _Layout("CSC", "CSC", _PERSON, True),
        {
            "ordinal": {str(degree): [degree] for degree in range(1, 7)},
            "binary": {"not sarcastic": [1, 2, 3], "sarcastic": [4, 5, 6]},
        },
        _attributes(*_PERSON),
        7036,
        _SEE,
    ),
    _source(
        "varierrnli",
        "2025 VariErrNLI: does a statement follow from a text, with explanations",
        _Layout("VariErrNLI", "VariErrNLI", _STUDENT, True, True),
        {
            "ordinal": {name: [name] for name in ("contradiction", "neutral", "entailment")},
            "multilabel": {name: [name] for name in ("contradiction", "neutral", "entailment")},
        },
        {"by": "rationale", "k": 3},
        488,
        _SEE,
        "{by: attributes, attributes: [gender, nationality]} (four annotators)",
    ),
    _source(
        "hs-brexit",
        "2023 HS-Brexit: is a tweet hate speech, by target and control group",
        _Layout("HS-Brexit_dataset", "HS-Brexit", ("group",)),
        {"binary": {"no hate": [0], "hate": [1]}},
        _attributes("group"),
        1120,
        _SEE,
    ),
    _source(
        "armis",
        "2023 ArMIS: is an Arabic tweet sexist, by three annotators of known views",
        _Layout("ArMIS_dataset", "ArMIS", ("group",)),
        {"binary": {"not sexist": [0], "sexist": [1]}},
        _attributes("group"),
        943,
        _SEE,
    ),
    _source(
        "convabuse",
        "2023 ConvAbuse: how abusive a user is to a chatbot, by eight annotators",
        _Layout("ConvAbuse_dataset", "ConvAbuse", ("rater",)),
        {
            "binary": {"not abusive": [1, 0], "abusive": [-1, -2, -3]},
            "ordinal": {
                "not abusive": [1],
                "ambiguous": [0],
                "mildly abusive": [-1],
                "strongly abusive": [-2],
                "very strongly abusive": [-3],
            },
        },
        _attributes("rater"),
        4050,
        _SEE,
    ),
    _source(
        "md-agreement",
        "2023 MD-Agreement: is a tweet offensive, in three domains",
        _Layout("MD-Agreement_dataset", "MD-Agreement", ("domain",)),
        {"binary": {"not offensive": [0], "offensive": [1]}},
        _attributes("domain"),
        10753,
        _SEE,
    ),
)
