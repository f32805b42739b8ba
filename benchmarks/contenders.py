"""The multilevel model beside gpboost's: python benchmarks/contenders.py DATA_DIR (needs gpboost).

gpboost (Sigrist, 2022; `pip install gpboost`) fits generalised linear mixed models by Laplace's
approximation, with two classes, so that popquorn is read as offensive at all or not. It is given
the first 64 principal components of the texts and the groups as fixed effects, a level per person
and per text, and for each person a slope on each of 8 components. Printed are, per split and of
one seed, NLL and AUC on the test rows and seconds of the processor.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from mcstl import Study
from mcstl._support.arrays import FloatArray, IntArray
from mcstl.encoding.encoders import load_encoder
from mcstl.evaluation import metrics
from mcstl.methods import find
from mcstl.methods.base import Prepared
from mcstl.methods.fitting import fit_method
from mcstl.models.multilevel import principal_components
from mcstl.studies.preparation import prepare

COMPONENTS, SLOPES = 64, 8


def study_of(split: str) -> Study:
    """Return the study of popquorn with two classes."""
    file = Path(__file__).parents[1] / "studies" / "popquorn-binary.yaml"
    changes = {"split": {"by": split}, "methods": ["multilevel", "none"], "seeds": [0]}
    return Study(**{**Study.read(file).model_dump(), **changes})


def by_gpboost(prepared: Prepared, train: IntArray, test: IntArray) -> FloatArray:
    """Return P(offensive) of the test rows, (n,)."""
    import gpboost

    examples = find("multilevel").examples(prepared, 0)
    center, components = principal_components(examples.take(train))
    z = ((examples.vectors - center) @ components)[examples.positions[:, 0]]
    fixed = np.column_stack([np.ones(len(z)), z[:, :COMPONENTS], examples.S.toarray()])
    assert examples.annotators is not None
    units = np.column_stack([examples.annotators, examples.positions[:, 0]]).astype(str)
    model = gpboost.GPModel(
        group_data=units[train],
        group_rand_coef_data=z[train, :SLOPES],
        ind_effect_group_rand_coef=[1] * SLOPES,
        likelihood="bernoulli_logit",
    )
    model.fit(y=examples.y[train].astype(float), X=fixed[train], params={"maxit": 200})
    answer = model.predict(
        group_data_pred=units[test],
        X_pred=fixed[test],
        group_rand_coef_data_pred=z[test, :SLOPES],
        predict_response=True,
    )
    return np.asarray(answer["mu"])


def main() -> None:
    """Print a Markdown row per split and model."""
    data_dir = Path(sys.argv[1])
    torch.set_num_threads(1)
    encoder = load_encoder()
    print("| split | model | NLL | AUC | seconds |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for split in ("annotation", "item", "annotator"):
        study = study_of(split)
        prepared = prepare(study, study.load(data_dir), encoder, 0)
        parts, labels = prepared.parts, prepared.annotations.labels
        answers, seconds = {}, {}
        for method in study.methods:
            began = time.process_time()
            answers[method.name] = fit_method(prepared, study.settings_of(method, 0)).p
            seconds[method.name] = time.process_time() - began
        began = time.process_time()
        train = np.concatenate([parts.train, parts.validation])
        above = by_gpboost(prepared, train, parts.test)
        answers["gpboost"] = np.column_stack([1 - above, above])
        seconds["gpboost"] = time.process_time() - began
        for name, p in answers.items():
            y = labels[parts.test]
            nll, auc = metrics.nll(p, y), metrics.macro_auc(p, y)
            print(f"| {split} | {name} | {nll:.4f} | {auc:.4f} | {seconds[name]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
