"""The individual rating prediction module of Fleisig et al. (2023), the paper's A.12.

A transformer reads who speaks and what about: "[t_j] [SEP] x_i", the annotator's descriptors, the
model's separator and the text. It is trained further with the task's head by cross-entropy.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mcstl._support.arrays import FloatArray
from mcstl._support.progress import Progress, silent
from mcstl.encoding import finetuning
from mcstl.encoding.finetuning import Classifier, Reader, ReaderConfig, Side
from mcstl.models.examples import Examples


def profile(groups: Sequence[str]) -> str:
    """Return the descriptors t_j of somebody in these groups, in words.

    >>> profile(["gender=Woman", "race=Asian & age=25-29"])
    'gender: Woman, race: Asian, age: 25-29'
    >>> profile([])
    'nothing known'
    """
    told = ", ".join(groups).replace(" & ", ", ").replace("=", ": ")
    return told or "nothing known"


def fit(
    train: Examples,
    validation: Examples,
    texts: Sequence[str],
    names: Sequence[str],
    *,
    model: str,
    config: ReaderConfig,
    epochs: int,
    n_classes: int,
    preference: bool,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> Callable[[Examples], FloatArray]:
    """Train IRPM on rows whose positions are those of `texts` and whose groups have `names`.

    The descriptors are the names of a row's groups, so it is told what every other method is told.
    Training stops at the epoch with the lowest validation NLL. In preference each text is read
    after the descriptors, and class 1 has the difference of the two scores.

    Raises InputError for a model that cannot be had or trained, and as `finetuning.fit` does.
    """

    def inputs(rows: Examples) -> list[tuple[Side, ...]]:
        people = [profile([names[k] for k in sorted(row.indices)]) for row in rows.S]
        pairs = zip(people, rows.positions, strict=True)
        return [tuple((who, texts[at]) for at in positions) for who, positions in pairs]

    def counted(rows: Examples) -> finetuning.LabelCounts:
        return finetuning.count_labels(inputs(rows), rows.y, n_classes)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = Classifier(Reader(model, config), n_classes, preference=preference)
        finetuning.fit(
            classifier,
            counted(train),
            counted(validation),
            config,
            finetuning.FitOptions(epochs, seed=seed, checkpoint=checkpoint),
            progress,
        )

    def predict(rows: Examples) -> FloatArray:
        asked = inputs(rows)
        place = {each: i for i, each in enumerate(dict.fromkeys(asked))}
        return classifier.predict_proba(list(place), progress)[[place[each] for each in asked]]

    return predict
