"""Anthropic HH-RLHF: which of two dialogues is better, with ValueImprint's categories (§3.1).

Sources: Bai et al., "Training a Helpful and Harmless Assistant with RLHF" (2022), MIT; Obi et al.,
"Value Imprint" (NeurIPS 2024), CC BY 4.0. Content warning: dialogues about crime, violence, drugs
and sex, some abusive.

`hh-rlhf` is the pairs alone; it reads whichever of the source's eight files of pairs are there (the
red-team attempts are no pairs). Its groups are what raters were asked to prefer, by the folder of a
file: the harmless answer or the helpful one. A text is the whole dialogue, as the paper reads it,
its turns separated as in the source. A pair in which a dialogue has no turn of the assistant is
left out and counted. `Annotations` orients pairs by a hash and makes repeated ones one item.

`valueimprint` adds the groups: ValueImprint's RoBERTa gave each text one of seven categories, and a
pair is in the categories of **both** its texts. The alternative, `valueimprint-chosen`, takes the
category of the chosen text only. It is not the default because it gives the label away: where the
two texts differ in category, the group says which one was chosen. Texts are matched whole, or by
the assistant's last turn if that matches more, whatever their blanks; a pair of which no text
matches stays and is in no group. How many there are is logged, and pairs that were judged both
ways are counted: few, so that hardly any row is a minority's (the paper counts 74).
"""

import logging
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pandas as pd

from mcstl._support.errors import InputError, brief, need_names
from mcstl.data.labels import Labels, Task
from mcstl.data.tables import read_table
from mcstl.datasets.source import Source, check_joined, read_columns

_FOLDER = "hh-rlhf"
_SUBSETS = ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled")
_SIDES = ("chosen", "rejected")
_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_WARNING = "Dialogues about crime, violence, drugs and sex, some abusive"
#: In `from_frame` 1 means that text_a is the chosen one.
_TASKS: dict[Task, Labels] = {"preference": {"b": [0], "a": [1]}}
_log = logging.getLogger("mcstl")


def turns(dialogue: str) -> list[tuple[str, str]]:
    r"""Take a dialogue of the source apart.

    Args:
        dialogue: Turns that begin with "Human:" or "Assistant:", with blank lines between.

    Returns:
        The speaker and the text of each turn, in order.

    >>> turns("\n\nHuman: Hi\n\nAssistant: Hello!\n\nHow are you?")
    [('Human', 'Hi'), ('Assistant', 'Hello!\n\nHow are you?')]
    """
    parts = _TURN.split(dialogue)[1:]
    return [(who, text.strip()) for who, text in zip(parts[::2], parts[1::2], strict=True)]


def _pairs(folder: Path) -> pd.DataFrame:
    paths = [folder / name / f"{part}.jsonl.gz" for name in _SUBSETS for part in ("train", "test")]
    parts = []
    for path in filter(Path.is_file, paths):
        table = read_table(path)
        need_names(_SIDES, table.columns, str(path), hint="Is it the source's own file?")
        preferred = path.parent.name.split("-")[0]
        values = pd.Series([[preferred]] * len(table), dtype=object)
        part = path.name.removesuffix(".jsonl.gz")
        parts.append(table[list(_SIDES)].assign(values=values, split=part))
    pairs = pd.concat(parts, ignore_index=True)
    whole = pd.Series(True, index=pairs.index)
    for side in _SIDES:
        whole &= pairs[side].map(
            lambda text: isinstance(text, str) and any(who == "Assistant" for who, _ in turns(text))
        )
    lost = int((~whole).sum())
    check_joined(lost, len(pairs), f"pairs in {folder} have a dialogue without an assistant turn")
    pairs = pairs[whole].reset_index(drop=True)
    for side in _SIDES:
        pairs[side] = pairs[side].str.strip()
    if lost:
        pairs.attrs["dropped"] = {"dialogue without an assistant turn": lost}
    pairs.attrs["counts"] = {"pairs judged both ways": _contrasting(pairs)}
    return pairs


def _contrasting(pairs: pd.DataFrame) -> int:
    """Count the unordered pairs of which either text was chosen once."""
    shown = set(zip(pairs["chosen"], pairs["rejected"], strict=True))
    return sum(a < b and (b, a) in shown for a, b in shown)


def _read(folder: Path, task: Task) -> pd.DataFrame:
    return _pairs(folder)


def _read_with_values(folder: Path, task: Task, *, sides: tuple[str, ...]) -> pd.DataFrame:
    dialogues = folder.parent / _FOLDER
    if not any(dialogues.glob("h*/*.jsonl.gz")):
        raise InputError(
            f"{dialogues} lacks the pairs of these categories. Type: mcstl data get hh-rlhf."
        )
    pairs = _pairs(dialogues)
    categories = {side: _categories(folder, side, pairs[side]) for side in _SIDES}
    values = [
        sorted(set().union(*both)) for both in zip(*(categories[s] for s in sides), strict=True)
    ]
    unmatched = sum(not each for each in values)
    check_joined(unmatched, len(pairs), f"pairs in {dialogues} match no text in {folder}")
    if unmatched:
        _log.warning(
            "valueimprint: %s of %s pairs match no text of ValueImprint; they are in no group",
            f"{unmatched:,}",
            f"{len(pairs):,}",
        )
    return pairs.assign(values=pd.Series(values, dtype=object))


def _categories(folder: Path, side: str, texts: pd.Series) -> list[set[str]]:
    """Return the categories of each text: several where a text was classified in several ways."""
    table = _predictions(folder, side)
    by_text: dict[str, set[str]] = {}
    for text, category in zip(table["Text"], table["Prediction"], strict=True):
        if isinstance(text, str) and isinstance(category, str):
            by_text.setdefault(_plain(text), set()).add(category.strip())
    ways: Iterable[Callable[[str], str]] = (_plain, lambda text: _plain(turns(text)[-1][1]))
    matches = [[by_text.get(way(text), set()) for text in texts] for way in ways]
    return max(matches, key=lambda match: sum(map(bool, match)))


def _plain(text: str) -> str:
    return " ".join(text.split())


def _predictions(folder: Path, side: str) -> pd.DataFrame:
    """Read ValueImprint's table of one side, as .csv or as the source's .zip around it."""
    columns = ("Text", "Prediction")
    paths = [*sorted(folder.glob(f"*{side}*.csv")), *sorted(folder.glob(f"*{side}*.zip"))]
    if not paths:
        raise InputError(f"{folder} has no .csv or .zip of the {side} texts.")
    if paths[0].suffix == ".csv":
        return read_columns(paths[0], columns)
    try:
        table = pd.read_csv(paths[0], compression="zip", dtype=str, keep_default_na=False)
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError) as error:
        raise InputError(f"{paths[0]} cannot be read: {brief(error, 100)}; is it whole?") from error
    need_names(columns, table.columns, str(paths[0]), hint="Is it the source's own file?")
    return table


def _imprint(name: str, title: str, sides: tuple[str, ...]) -> Source:
    return Source(
        name=name,
        title=title,
        licence="CC BY 4.0; the dialogues MIT",
        homepage="https://github.com/hv-rsrch/valueimprint",
        files=tuple(f"*{side}*" for side in _SIDES),
        counts={"pairs judged both ways": 74},
        about={"annotations": 169000},
        tasks=_TASKS,
        groups={"by": "taxonomy", "taxonomy": "ValueImprint", "source": "column"},
        read=partial(_read_with_values, sides=sides),
        warning=_WARNING,
        folder="valueimprint",
    )


SOURCES = (
    Source(
        name="hh-rlhf",
        title="Anthropic HH-RLHF: the more harmless or helpful of two dialogues",
        licence="MIT",
        homepage="https://github.com/anthropics/hh-rlhf",
        files=("h*/*.jsonl.gz",),
        counts={},
        about={"annotations": 169000},
        tasks=_TASKS,
        groups={"by": "taxonomy", "source": "column"},
        read=_read,
        warning=_WARNING,
    ),
    _imprint(
        "valueimprint",
        "HH-RLHF with the value categories of both texts of a pair",
        _SIDES,
    ),
    _imprint(
        "valueimprint-chosen",
        "HH-RLHF with the value category of the chosen text, which gives the label away",
        ("chosen",),
    ),
)
