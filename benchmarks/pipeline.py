"""A study against what one would do by hand: python benchmarks/pipeline.py --data-dir DATA.

By hand: sentence-transformers' encode of the distinct texts, scikit-learn's logistic regression on
[embedding, groups], and mcgrad on the groups of the validation rows where it is installed. The
study is mc-stl alone, from the raw files to its predictions, with an empty cache. Both have the
rows and groups of the study's first seed; by hand these are given, so that only encoding, fitting
and predicting count there. Quality is that of the test rows.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mcstl._support.arrays import FloatArray
from mcstl.data.annotations import minority_weights
from mcstl.encoding import encoders
from mcstl.encoding.encoders import load_encoder
from mcstl.evaluation import metrics
from mcstl.methods.base import Prepared
from mcstl.methods.fitting import fit_method
from mcstl.methods.recalibration import recalibrate
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study

STUDIES = Path(__file__).parents[1] / "studies"


def by_hand(prepared: Prepared) -> FloatArray:
    """Encode the texts, fit scikit-learn's logistic regression, and recalibrate it by MCGrad."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    data, (train, validation, test) = prepared.annotations, prepared.parts
    encoder = SentenceTransformer(str(encoders._paper_folder()), device="cpu")
    texts, positions = data.distinct_texts()
    e = encoder.encode(list(texts), show_progress_bar=False)[positions[:, 0]]
    S = prepared.examples.S.toarray()
    X = np.hstack([e, S])
    model = LogisticRegression(max_iter=1000).fit(X[train], data.labels[train])
    p: FloatArray = model.predict_proba(X[test])
    if find_spec("mcgrad"):
        known = model.predict_proba(X[validation])
        labels = data.labels[validation]
        p = recalibrate("mcgrad", known, labels, S[validation] > 0, p, S[test] > 0)
    return p


def ours(plan: Study, data_dir: str, cache: str) -> tuple[FloatArray, Prepared]:
    """Run the study's first seed from its files: load, split, group, encode, fit, predict."""
    data = plan.load(data_dir)
    prepared = prepare(plan, data, load_encoder(cache_dir=cache), plan.seeds[0])
    return fit_method(prepared, plan.settings_of(plan.methods[0], plan.seeds[0]))[0], prepared


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
        plan = plan.model_copy(update={"methods": plan.methods[:1], "seeds": plan.seeds[:1]})
        with tempfile.TemporaryDirectory() as cache:
            (p, prepared), *spent = timed(lambda: ours(plan, chosen.data_dir, cache))  # noqa: B023
        found = [("mcstl", p, spent)]
        p, *spent = timed(lambda: by_hand(prepared))  # noqa: B023
        found.append(("by hand", p, spent))
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
