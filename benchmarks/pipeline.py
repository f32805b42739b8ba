"""A study against what one would do by hand: python benchmarks/pipeline.py --data-dir DATA.

By hand: sentence-transformers' encode of the distinct texts, scikit-learn's logistic regression or
histogram gradient boosting on [embedding, groups], and mcgrad on the groups of the validation rows
where it is installed. The study is one method alone, mc-stl or best, from the raw files to its
predictions, with an empty cache. All have the rows and groups of the study's first seed; by hand
these are given, so that only encoding, fitting and predicting count there. Quality is that of the
test rows.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mcstl._support.arrays import FloatArray
from mcstl.data.annotations import minority_weights
from mcstl.encoding import encoders
from mcstl.encoding.encoders import load_encoder
from mcstl.evaluation import metrics
from mcstl.methods.base import MethodConfig, Prepared
from mcstl.methods.fitting import fit_method
from mcstl.methods.recalibration import recalibrate
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study

STUDIES = Path(__file__).parents[1] / "studies"


def by_hand(prepared: Prepared, model: Any) -> FloatArray:
    """Encode the texts, fit a classifier of scikit-learn, and recalibrate it by MCGrad."""
    from sentence_transformers import SentenceTransformer

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


def by_hand_models() -> dict[str, Any]:
    """Make the classifiers that a user would try."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    return {
        "logistic regression": LogisticRegression(max_iter=1000),
        "gradient boosting": HistGradientBoostingClassifier(early_stopping=True, random_state=0),
    }


def ours(plan: Study, method: str, data_dir: str, cache: str) -> tuple[FloatArray, Prepared]:
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


def main() -> None:
    """Print one Markdown row per data set and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", required=True, help="folder of the real data sets")
    parser.add_argument("--only", nargs="+", default=["popquorn", "valueeval23"])
    chosen = parser.parse_args()
    print("| data | way | wall s | processor s | AUC | NLL | group AUC |\n|" + " --- |" * 7)
    for name in chosen.only:
        plan = Study.read(STUDIES / f"{name}.yaml")
        plan = plan.model_copy(update={"seeds": plan.seeds[:1]})
        found: list[tuple[str, FloatArray, list[float]]] = []
        for method in ("mc-stl", "best"):
            with tempfile.TemporaryDirectory() as cache:
                work = partial(ours, plan, method, chosen.data_dir, cache)
                (p, prepared), *spent = timed(work)
            found.append((f"mcstl, {method}", p, spent))
        for title, model in by_hand_models().items():
            p, *spent = timed(partial(by_hand, prepared, model))
            found.append((f"by hand, {title}", p, spent))
        data, test = prepared.annotations, prepared.parts.test
        inside, minority = prepared.examples.S[test].toarray() > 0, minority_weights(data)[test]
        for way, p, (wall, processor) in found:
            values = metrics.evaluate(
                p, data.labels[test], inside, minority, data.task, prepared.scheme.names
            )["metrics"]
            print(
                f"| {name} | {way} | {wall:.1f} | {processor:.1f} | {values['auc']:.3f} | "
                f"{values['nll']:.3f} | {values['group_auc_mean']:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
