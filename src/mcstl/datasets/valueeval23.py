"""Touché23-ValueEval: arguments with a stance and 20 human-annotated value categories.

Source: Mirzakhmedova et al., "The Touché23-ValueEval Dataset for Identifying Human Values behind
Arguments" (2023), DOI 10.5281/zenodo.6814563; CC BY 4.0. Content warning: the arguments are about
contested matters (capital punishment, abortion, discrimination), some in harsh words.

It has the structure of the paper's ValuePrism + Schwartz study (§3.1), with values given by
people: an argument's premise is the rationale of its stance towards a conclusion. There are no
annotators in the files. Nine of the 489 conclusions differ from another only by outer spaces or
letter case; they stay items of their own, as in the source.
"""

from pathlib import Path

import pandas as pd

from mcstl._support.errors import InputError
from mcstl.data.labels import Task
from mcstl.datasets.source import Source, check_joined, read_columns

_ID = "Argument ID"
_PARTS = ("training", "validation")


def _read(folder: Path, task: Task) -> pd.DataFrame:
    parts = [read_part(folder, part).assign(split=part) for part in _PARTS]
    whole = pd.concat(parts, ignore_index=True)
    joined = whole["_merge"] == "both"
    n_lost = int((~joined).sum())
    where = f"arguments in {folder} are in only one of the arguments and labels files"
    check_joined(n_lost, len(whole), where)
    whole = whole[joined]
    frame = pd.DataFrame(
        {
            "annotation_id": whole[_ID],
            "item": whole["Conclusion"],
            "text": whole["Conclusion"],
            "label": whole["Stance"],
            "rationale": whole["Premise"],
            "values": whole["values"],
            "split": whole["split"],
        }
    ).reset_index(drop=True)
    if n_lost:
        frame.attrs["dropped"] = {"argument in only one of the source's two files": n_lost}
    return frame


def read_part(folder: Path, part: str) -> pd.DataFrame:
    """Read one part's arguments with the names of their values.

    Args:
        folder: The data set's folder.
        part: "training" or "validation".

    Returns:
        A row per argument, with its list of ``values``; ``_merge`` is "both" where it is in both
        of the part's files.

    Raises:
        InputError: A file cannot be read, lacks a column, or holds more than zeros and ones.
    """
    # Neither file quotes its cells, and some conclusions start with a quotation mark.
    arguments = read_columns(
        folder / f"arguments-{part}.tsv", (_ID, "Conclusion", "Stance", "Premise"), quotes=False
    )
    path = folder / f"labels-{part}.tsv"
    labels = read_columns(path, (_ID,), quotes=False).set_index(_ID)
    strange = set(pd.unique(labels.to_numpy().ravel())) - {"0", "1"}
    if strange:
        raise InputError(
            f"{path} holds {strange.pop()!r} where every value is 0 or 1; is it whole?"
        )
    names = labels.columns.to_numpy()
    values = pd.Series([list(names[row]) for row in labels.to_numpy() == "1"], labels.index)
    return arguments.merge(values.rename("values"), on=_ID, how="outer", indicator=True)


SOURCES = (
    Source(
        name="valueeval23",
        title="Touché23-ValueEval: stance on a conclusion, 20 value categories",
        licence="CC BY 4.0",
        homepage="https://doi.org/10.5281/zenodo.6814563",
        files=tuple(f"{table}-{part}.tsv" for part in _PARTS for table in ("arguments", "labels")),
        counts={"annotations": 7289, "items": 489},
        tasks={
            "binary": {"against": ["against"], "in favor of": ["in favor of", "in favour of"]},
        },
        groups={"by": "taxonomy", "taxonomy": "schwartz", "source": "column"},
        read=_read,
        warning="Arguments about contested matters (capital punishment, abortion), some harsh",
    ),
)
