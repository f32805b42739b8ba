"""Encoders side by side on one table: what each buys, and what it costs per text."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mcstl._support.errors import InputError, listed
from mcstl._support.progress import Progress, silent
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.encoding.ngrams import NGRAMS, NgramEncoder
from mcstl.encoding.side_by_side import first_embedding
from mcstl.evaluation.metrics import score_of
from mcstl.studies.study_file import Study
from mcstl.studies.tuning import judged, trained_methods, without_test

#: How many texts are encoded to see how long one takes.
_TEXTS_TIMED = 64


class EncoderTrial(NamedTuple):
    """What one method reaches with one encoder, on validation rows.

    Attributes:
        encoder: The encoder as it was named.
        method: The method.
        score: The name of the score: auc or accuracy.
        scores: Its value for each seed.
        nll: The validation NLL of each seed.
        gain: How much lower the NLL is than with the first encoder, for each seed.
        seconds_per_text: How long a text takes to encode here, on the mean.
        dimension: The length of a text's vector.
    """

    encoder: str
    method: str
    score: str
    scores: list[float]
    nll: list[float]
    gain: list[float]
    seconds_per_text: float
    dimension: int


def compare_encoders(
    study: Study,
    encoders: Sequence[str],
    *,
    seeds: int = 3,
    data_dir: str | Path | None = None,
    progress: Progress = silent,
) -> list[EncoderTrial]:
    """Fit the trained methods of a study with several encoders, and judge them on validation rows.

    The test rows are left alone, so that a choice made here does not flatter a later run.

    Args:
        study: The study; its own encoder is not used.
        encoders: Names of encoders or their folders, as in a study; the first is what the others
            are compared with.
        seeds: How many of the study's seeds are used, the first ones.
        data_dir: The folder of the registered data sets, by default that of MCSTL_DATA.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        A trial for each encoder and method, in their order.

    Raises:
        InputError: If an encoder cannot be had or is named twice, or no method is trained.
    """
    if len(encoders) < 2 or len({*encoders}) < len(encoders):
        raise InputError(f"encoders: name two or more different ones; got {listed(encoders)}")
    methods = trained_methods(study)
    # All are there before work begins.
    loaded = {name: load_encoder(first_embedding([name])) for name in encoders}
    annotations = study.load(data_dir)
    texts = annotations.distinct_texts()[0]
    chosen = study.seeds[:seeds]
    score = score_of(annotations.task)
    first: dict[str, list[float]] = {}
    trials = []
    for n, (name, encoder) in enumerate(loaded.items()):
        timed = NgramEncoder.fit(name, texts) if name in NGRAMS else encoder
        seconds = _seconds_per_text(timed, texts[:_TEXTS_TIMED])
        alone = (name,) if name in NGRAMS else name
        of_encoder = study.model_copy(update={"encoder": alone})
        values: dict[str, list[tuple[float, float]]] = {method.title: [] for method in methods}
        for k, seed in enumerate(chosen):
            progress("encoders x seeds", n * len(chosen) + k, len(encoders) * len(chosen))
            prepared = without_test(of_encoder, annotations, encoder, seed, progress)
            for method in methods:
                measured = judged(method, of_encoder, seed, prepared)
                values[method.title].append((measured[score], measured["nll"]))
        for title, pairs in values.items():
            nll = [each for _, each in pairs]
            gain = [a - b for a, b in zip(first.setdefault(title, nll), nll, strict=True)]
            scores = [each for each, _ in pairs]
            trials.append(
                EncoderTrial(name, title, score, scores, nll, gain, seconds, timed.dimension)
            )
    progress("encoders x seeds", len(encoders) * len(chosen), len(encoders) * len(chosen))
    return trials


def encoder_table(trials: Sequence[EncoderTrial]) -> tuple[list[str], list[list[str]]]:
    """Write the trials as a table, the cost of each encoder beside its gain.

    Args:
        trials: The trials of `compare_encoders`.

    Returns:
        The headings, and the rows as texts.
    """
    title = "AUC" if trials[0].score == "auc" else "Accuracy"
    header = ["encoder", "method", title, "NLL", "gain in NLL", "ms per text", "dimension"]
    rows = [
        [
            each.encoder,
            each.method,
            f"{np.mean(each.scores):.3f}",
            f"{np.mean(each.nll):.3f}",
            _range(each.gain) if each.encoder != trials[0].encoder else "-",
            f"{1000 * each.seconds_per_text:.1f}",
            str(each.dimension),
        ]
        for each in trials
    ]
    return header, rows


def _range(values: Sequence[float]) -> str:
    """The mean, and the least and most of any seed."""
    return f"{np.mean(values):+.3f} ({min(values):+.3f} to {max(values):+.3f})"


def _seconds_per_text(encoder: Encoder, texts: Sequence[str]) -> float:
    """Time how long the encoder takes for a text, once its weights are loaded."""
    encoder.encode_uncached(texts[:1])
    start = time.perf_counter()
    encoder.encode_uncached(texts)
    return (time.perf_counter() - start) / len(texts)
