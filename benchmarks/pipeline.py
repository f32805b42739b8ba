"""A study against what one would do by hand: python benchmarks/pipeline.py --data-dir DATA.

By hand: sentence-transformers' encode of the distinct texts, scikit-learn's logistic regression or
histogram gradient boosting on [embedding, groups], and mcgrad on the groups of the validation rows
where it is installed. The study is one method alone, from the raw files to its predictions, with
an empty cache. All have the rows and groups of the study's first seed; by hand these are given, so
that only encoding, fitting and predicting count there. Each way has a process of its own, and what
it imports counts, but for mcstl and torch. Quality is that of the test rows.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mcstl._support.arrays import FloatArray
from mcstl.encoding import encoders
from mcstl.encoding.encoders import load_encoder
from mcstl.evaluation import metrics
from mcstl.methods.base import MethodConfig, Prepared
from mcstl.methods.fitting import fit_method
from mcstl.methods.recalibration import recalibrate
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study

STUDIES = Path(__file__).parents[1] / "studies"
METHODS = ("mc-stl", "best", "gbm")
BY_HAND = ("logistic regression", "gradient boosting")


def by_hand(prepared: Prepared, name: str) -> FloatArray:
    """Encode the texts, fit a classifier of scikit-learn, and recalibrate it by MCGrad."""
    from sentence_transformers import SentenceTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    models: dict[str, Any] = {
        "logistic regression": LogisticRegression(max_iter=1000),
        "gradient boosting": HistGradientBoostingClassifier(early_stopping=True, random_state=0),
    }
    model = models[name]
    data, (train, validation, test) = prepared.annotations, prepared.parts
    encoder = SentenceTransformer(str(encoders._paper_folder()), device="cpu")
    texts, positions = data.distinct_texts()
    e = encoder.encode(list(texts), show_progress_bar=False)[positions[:, 0]]
    S = prepared.examples.S.toarray()
    X = np.hstack([e, S])
    model.fit(X[train], data.labels[train])
    p: FloatArray = model.predict_proba(X[test])
    if find_spec("mcgrad"):
        known = model.predict_proba(X[validation])
        labels = data.labels[validation]
        p = recalibrate("mcgrad", known, labels, S[validation] > 0, p, S[test] > 0)
    return p


def ours(plan: Study, method: str, data_dir: str, cache: Path) -> tuple[FloatArray, Prepared]:
    """Run the study's first seed from its files: load, split, group, encode, fit, predict."""
    data = plan.load(data_dir)
    prepared = prepare(plan, data, load_encoder(cache_dir=cache), plan.seeds[0])
    settings = plan.settings_of(MethodConfig(name=method), plan.seeds[0])
    return fit_method(prepared, settings)[0], prepared


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what `work` returned, its wall time and its processor time."""
    clock, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - clock, time.process_time() - processor


def row(name: str, way: str, data_dir: str, caches: Path) -> str:
    """Measure one way, by its name; return a Markdown row."""
    plan = Study.read(STUDIES / f"{name}.yaml")
    if way in METHODS:
        work = partial(ours, plan, way, data_dir, caches / way)
        (p, prepared), wall, processor = timed(work)
    else:  # what is given to it comes from a cache that a study left
        encoder = load_encoder(cache_dir=caches / METHODS[0])
        prepared = prepare(plan, plan.load(data_dir), encoder, plan.seeds[0])
        p, wall, processor = timed(partial(by_hand, prepared, way))
    data, test = prepared.annotations, prepared.parts.test
    inside, minority = prepared.groups("test"), prepared.minority[test]
    names = prepared.scheme.names
    values = metrics.evaluate(p, data.labels[test], inside, minority, data.task, names)["metrics"]
    return (
        f"| {name} | {'mcstl' if way in METHODS else 'by hand'}, {way} | {wall:.1f} | "
        f"{processor:.1f} | {values['auc']:.3f} | {values['nll']:.3f} | "
        f"{values['group_auc_mean']:.3f} |"
    )


def main() -> None:
    """Print one Markdown row per data set and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", required=True, help="folder of the real data sets")
    parser.add_argument("--only", nargs="+", default=["popquorn", "valueeval23"])
    chosen = parser.parse_args()
    print("| data | way | wall s | processor s | AUC | NLL | group AUC |\n|" + " --- |" * 7)
    for name in chosen.only:
        with tempfile.TemporaryDirectory() as caches:
            for way in METHODS + BY_HAND:
                with ProcessPoolExecutor(1, get_context("spawn")) as process:
                    measured = process.submit(row, name, way, chosen.data_dir, Path(caches))
                    print(measured.result(), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
