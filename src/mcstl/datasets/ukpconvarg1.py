"""UKPConvArg1: which of two arguments is more convincing, and why.

Source: Habernal and Gurevych, "Which argument is more convincing?" (ACL 2016), the full XML
archive, or its files in the folder of its name; CC BY 4.0. Content warning: debates about religion,
abortion, sexuality and violence.

Preference (§2.4): text_a and text_b are the source's first and second argument, and ``equal``
votes are left out. As three ordered classes, a2 < equal < a1, the item is one text that shows both
arguments. 448 pairs repeat the texts of another pair, half of them the other way round; in
preference `Annotations` makes them one item, as ordered classes only those shown the same way are
one. 15 pairs consist of the same text twice. Rationales are the workers' own words and name the
sides ("A1"); groups.rationale makes them neutral.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import pandas as pd

from mcstl._support.errors import InputError
from mcstl.data.labels import Task
from mcstl.datasets.source import Source

_FOLDER = "UKPConvArg1-full-XML"
_ARCHIVE = f"{_FOLDER}.tar.gz"
_XML = f"{_FOLDER}/*.xml"
_COLUMNS = ("item", "text_a", "text_b", "label", "annotator", "rationale")


def _read(folder: Path, task: Task) -> pd.DataFrame:
    path = folder / _ARCHIVE
    if not path.exists():
        paths = sorted(folder.glob(_XML))
        return _frame([vote for each in paths for vote in _file_votes(each)], task)
    votes: list[tuple[str, ...]] = []
    where = path.name
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".xml"):
                    where = member.name
                    content = archive.extractfile(member)
                    assert content is not None  # noqa: S101 (a regular file always has content)
                    votes.extend(_votes(content))
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); is it whole?") from error
    except (ElementTree.ParseError, _MissingError) as error:
        raise InputError(f"{path}: {where} is not as the source's: {error}.") from error
    if not votes:
        raise InputError(f"{path} holds no votes; is it the source's full XML archive?")
    return _frame(votes, task)


def _file_votes(path: Path) -> list[tuple[str, ...]]:
    try:
        with path.open("rb") as content:
            return list(_votes(content))
    except (ElementTree.ParseError, _MissingError, OSError) as error:
        raise InputError(f"{path} is not as the source's: {error}; is it whole?") from error


def _frame(votes: list[tuple[str, ...]], task: Task) -> pd.DataFrame:
    frame = pd.DataFrame(votes, columns=list(_COLUMNS))
    if task == "ordinal":
        first, second = frame.pop("text_a"), frame.pop("text_b")
        frame["text"] = "First argument: " + first + "\n\nSecond argument: " + second
        frame["item"] = frame.groupby("text", sort=False)["item"].transform("first")
    return frame


def _votes(xml: IO[bytes]) -> Iterator[tuple[str, ...]]:
    """Yield a row of `_COLUMNS` per vote, one pair in memory at a time."""
    for _, element in ElementTree.iterparse(xml):  # noqa: S314 (expat itself stops entity bombs)
        if element.tag != "annotatedArgumentPair":
            continue
        pair = tuple(_text(element, name) for name in ("id", "arg1/text", "arg2/text"))
        for vote in element.iterfind("mTurkAssignments/mTurkAssignment"):
            reason = vote.findtext("reason") or ""
            yield (*pair, _text(vote, "value"), _text(vote, "turkID"), reason)
        element.clear()


class _MissingError(ValueError):
    """A pair or vote lacks an element."""


def _text(element: ElementTree.Element, name: str) -> str:
    text = element.findtext(name)
    if not text:
        raise _MissingError(f"a {element.tag} has no {name}")
    return text


SOURCES = (
    Source(
        name="ukpconvarg1",
        title="UKPConvArg1: the more convincing of two arguments, with reasons",
        licence="CC BY 4.0",
        homepage="https://github.com/UKPLab/acl2016-convincing-arguments",
        files=(f"{_FOLDER}*",),
        counts={"annotations": 84445, "annotators": 3815},
        tasks={
            "preference": {"a2": ["a2"], "a1": ["a1"]},
            "ordinal": {"a2": ["a2"], "equal": ["equal"], "a1": ["a1"]},
        },
        groups={"by": "rationale", "k": 5, "side_neutral": True},
        read=_read,
        warning="Debates about religion, abortion, sexuality and violence, some in harsh words",
    ),
)
