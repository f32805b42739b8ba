"""Submission files in the organisers' formats."""

from pathlib import Path

import numpy as np
import pandas as pd

from mcstl._support import files
from mcstl._support.arrays import FloatArray
from mcstl.data.annotations import Annotations
from mcstl.reproduce.lewidi.editions import Target
from mcstl.reproduce.lewidi.scores import decided


def write_submission(
    folder: Path, name: str, part: str, p: FloatArray, data: Annotations, target: Target
) -> list[Path]:
    """Write what is predicted of a part.

    2025: ``NAME_PART_soft.tsv`` and ``NAME_PART_pe.tsv``, a line per item with its id and a list:
    the probability of each label from the lowest, as in the data's own soft labels, and the label
    of each annotator in the order of the file. Of questions both are a list per question, by
    alphabet, the former of no and yes. 2023: ``NAME_results.tsv``, a line per item in the order of
    the file: the label, and the probabilities of 0 and 1.

    Args:
        folder: The folder for the files.
        name: The data set, as the organisers name its files.
        part: The part, dev or test.
        p: The probabilities of its annotations, (n, L).
        data: The annotations.
        target: The data set.

    Returns:
        The files.
    """
    labels = decided(p, target)
    lowest = int(data.classes[0]) if target.soft == "wasserstein" else 0
    order = np.argsort(data.classes) if target.task == "multilabel" else np.arange(p.shape[1])
    soft, single, results = [], [], []
    items, names = pd.factorize(data.frame["item"])
    for code, item in enumerate(names):
        rows = np.flatnonzero(items == code)
        mean = p[rows].mean(axis=0)[order]
        key = str(item).removeprefix(f"{part}-")
        shares = [[1 - x, x] for x in mean.tolist()] if labels.ndim == 2 else mean.tolist()
        answers = labels[rows][:, order].T if labels.ndim == 2 else labels[rows] + lowest
        soft.append(f"{key}\t{shares}\n")
        single.append(f"{key}\t{answers.tolist()}\n")
        results.append("\t".join(map(str, [int(mean.argmax()), *mean.tolist()])) + "\n")
    contents = {f"{name}_{part}_soft.tsv": soft, f"{name}_{part}_pe.tsv": single}
    if target.soft == "cross_entropy":
        contents = {f"{name}_results.tsv": results} if part == "test" else {}
    for file, lines in contents.items():
        files.write_text(folder / file, "".join(lines))
    return [folder / file for file in contents]
