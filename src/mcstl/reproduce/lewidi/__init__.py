"""Learning With Disagreements, by the organisers' measures: what is entered, chosen and scored.

`editions.yaml` has the data sets, the studies that are entered and what others reached;
`predicting` fits and chooses, `scores` measures, `submission` writes the organisers' files.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcstl._support import files
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress
from mcstl._support.text_tables import markdown_table
from mcstl.reproduce.lewidi.editions import Edition, Target, editions
from mcstl.reproduce.lewidi.predicting import (
    choose,
    cross_predicted,
    load_target,
    predicted,
)
from mcstl.reproduce.lewidi.scores import Scores, baselines, interval, scores
from mcstl.reproduce.lewidi.submission import write_submission

__all__ = ["Entered", "editions", "enter"]


class Entered(NamedTuple):
    """A data set that was entered.

    Attributes:
        name: The data set.
        text: Its table and notes, or what is missing.
        files: The files that were written.
        has_run: Whether its data are there.
    """

    name: str
    text: str
    files: tuple[Path, ...]
    has_run: bool


def enter(
    edition: Edition,
    dataset: str | None,
    out: Path,
    data_dir: str | Path | None,
    progress: Progress,
) -> Iterator[Entered]:
    """Enter data sets of an edition: choose, score, and write the submission files.

    What was scored before in the same folder is not scored again.

    Args:
        edition: The edition.
        dataset: One of its data sets, None for all.
        out: The folder for results.
        data_dir: The folder with the data sets.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Yields:
        Each data set as soon as it is done.

    Raises:
        InputError: There is no such data set.
    """
    for name in edition.chosen(dataset):
        target, folder = edition.datasets[name], out / name
        found = folder / "scores.json"
        try:
            if found.exists():
                content = json.loads(found.read_text(encoding="utf-8"))
            else:
                content = _score(name, target, folder, data_dir, progress)
                files.write_text(found, json.dumps(content, indent=1))
        except InputError as error:
            yield Entered(name, f"{edition.title}: {name} was not run. {error}", (), False)
            continue
        text = _text(edition, name, content)
        files.write_text(folder / "scores.md", f"{text}\n")
        written = [folder / "scores.md", *(folder / each for each in content["files"])]
        yield Entered(name, text, tuple(written), True)


def _score(
    name: str, target: Target, folder: Path, data_dir: str | Path | None, progress: Progress
) -> dict[str, Any]:
    """Choose, predict and measure, for each of what models read."""
    data, is_labelled = load_target(target, data_dir)
    part = data.frame["split"].to_numpy()
    train, dev, test = (np.flatnonzero(part == x) for x in ("train", "dev", "test"))
    dev_data = data.take(dev)
    needs_no_text = baselines(data.take(train if len(train) else dev), dev_data, target)
    content: dict[str, Any] = {
        "notes": [],
        "files": [],
        "parts": {"train": len(train), "dev": len(dev), "test": len(test)},
        "dev": {name: _figures(each) for name, each in needs_no_text.items()},
    }
    if len(test) and is_labelled:
        both = data.take(np.concatenate([train, dev]))
        of_test = baselines(both, data.take(test), target)
        content["test"] = {name: _figures(each) for name, each in of_test.items()}
    for title, candidates in target.entries.items():
        chosen, note = choose(target, candidates, data, train if len(train) else dev, progress)
        if len(train):
            p = predicted(target, chosen, data, (train, dev), progress)
        else:
            p = cross_predicted(target, chosen, data, dev, progress)
        ours = scores(p, dev_data, target)
        where = folder / title.replace(" ", "-")
        written = write_submission(where, name, "dev", p, dev_data, target)
        content["dev"][f"mcstl, {title}"] = _figures(ours)
        content["notes"] += [f"{title}: {note}", _ahead(title, ours, needs_no_text, target)]
        if len(test):
            rows = np.concatenate([train, dev])
            p_test = predicted(target, chosen, data, (rows, test), progress)
            written += write_submission(where, name, "test", p_test, data.take(test), target)
            if is_labelled:
                ours_on_test = scores(p_test, data.take(test), target)
                content["test"][f"mcstl, {title}"] = _figures(ours_on_test)
        content["files"] += [str(each.relative_to(folder)) for each in written]
    return content


def _figures(of: Scores) -> list[list[float]]:
    return [list(interval(of.first)), list(interval(of.second))]


def _ahead(title: str, ours: Scores, others: Mapping[str, Scores], target: Target) -> str:
    """Say how far a system is ahead of what needs no text, item by item."""
    words = []
    higher_is_better = target.soft == "cross_entropy"  # of the second measure
    for name, of in others.items():
        if name == "random label":
            continue
        second = of.second - ours.second
        gaps = (interval(of.first - ours.first), interval(-second if higher_is_better else second))
        both = " and ".join(f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in gaps)
        words.append(f"of {name} by {both}")
    return f"{title}: on dev ahead {', '.join(words)}."


def _text(edition: Edition, name: str, content: Mapping[str, Any]) -> str:
    """Write the table of a data set."""
    target, parts = edition.datasets[name], content["parts"]
    trained = "train" if parts["train"] else "five folds of dev"
    rows = []
    for part, on in (("dev", trained), ("test", "train and dev")):
        for system, figures in content.get(part, {}).items():
            shown = [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in figures]
            rows.append((system, part, on, *shown))
    for system, where, *figures in target.published:
        shown = ["-" if each is None else f"{each:.3f}" for each in figures]
        rows.append((f"{system} ({where})", "test, published", "", *shown))
    header = ("system", "part", "trained on", *edition.measures)
    notes = list(content["notes"])
    if not target.published:
        notes.append("No published figures are kept here: see the sources.")
    if not parts["test"]:
        notes.append(f"The test part of {name} is not here: nothing is submitted, dev is scored.")
    elif "test" not in content:
        notes.append(f"The test part of {name} has no labels: it is submitted, dev is scored.")
    sources = f"Published figures: {'; '.join(edition.sources)}."
    table = markdown_table(header, rows, padded=True)
    return "\n\n".join([f"{edition.title}: {name}", table, *notes, sources])
