"""Do groups tell how somebody new differs? python studies/new_people.py STUDY [--data-dir DATA].

`none` is fitted with each of several annotator splits. What a test person's labels have above its
predictions, on the mean, is what knowing their groups could explain: of new people, groups can be
no better calibrated than that lets them. Printed are the share of its variance that a ridge
regression on the groups predicts of people left out (below 0: less than nothing), and how often
groups dealt out to people at random differ as much (docs/people.md).
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict

from mcstl._support.arrays import FloatArray
from mcstl.encoding.encoders import load_encoder
from mcstl.methods.base import MethodConfig
from mcstl.methods.fitting import fit_method
from mcstl.models.people import memberships_of_annotators
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study

PENALTIES = (1.0, 10.0, 100.0, 1000.0)


def differences(S: FloatArray, y: FloatArray) -> FloatArray:
    """Return (K,) how far groups' members are from all others, in units of what chance gives."""
    n = S.sum(0)
    gap = y @ S / n - y @ (1 - S) / (len(y) - n)
    found: FloatArray = gap / np.sqrt(y.var() * (1 / n + 1 / (len(y) - n)))
    return found


def main() -> None:
    """Print what the groups explain of new people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--permutations", type=int, default=2000)
    chosen = parser.parse_args()
    study = Study.read(chosen.study, split="annotator")
    annotations, encoder = study.load(chosen.data_dir), load_encoder(study.encoder_name)
    codes, people = pd.factorize(annotations.frame["annotator"], sort=True)
    above: list[list[float]] = [[] for _ in people]
    splits = [prepare(study, annotations, encoder, seed) for seed in range(chosen.seeds)]
    typical, _ = memberships_of_annotators(replace(splits[0].examples, annotators=codes))
    S, names = typical.round(), np.array(splits[0].scheme.names)
    for seed, prepared in enumerate(splits):
        p, *_ = fit_method(prepared, study.settings_of(MethodConfig(name="none"), seed))
        test = prepared.parts.test
        residual = annotations.labels[test] - p @ np.arange(p.shape[1])
        for a in np.unique(codes[test][codes[test] >= 0]):
            above[a].append(float(residual[codes[test] == a].mean()))
    tested = np.array([len(each) > 0 for each in above])
    S, y = S[tested], np.array([np.mean(each) for each in above if each])
    groups = (S.sum(0) > 1) & (S.sum(0) < len(S) - 1)
    S, names = S[:, groups], names[groups]
    print(f"{len(y)} of {len(people)} people tested in {chosen.seeds} splits, {S.shape[1]} groups")
    print(f"sd over people of what they are above the prediction: {y.std():.2f} classes")
    for penalty in PENALTIES:
        folds = (KFold(10, shuffle=True, random_state=state) for state in range(10))
        predicted = [cross_val_predict(Ridge(alpha=penalty), S, y, cv=each) for each in folds]
        share = r2_score(y, np.mean(predicted, axis=0))
        print(f"ridge regression on the groups, penalty {penalty:g}: {share:+.3f} of the variance")
    random = np.random.default_rng(0)
    seen = differences(S, y)
    dealt = np.array([differences(S, random.permutation(y)) for _ in range(chosen.permutations)])
    of_all = np.mean((dealt**2).mean(1) >= (seen**2).mean())
    most = int(np.abs(seen).argmax())
    of_most = np.mean(np.abs(dealt).max(1) >= np.abs(seen[most]))
    print(f"groups dealt out at random differ as much in {of_all:.0%} of {len(dealt)} draws, and")
    print(f"the one that differs most ({names[most]}, {seen[most]:+.1f} sd) in {of_most:.0%}")


if __name__ == "__main__":
    main()
