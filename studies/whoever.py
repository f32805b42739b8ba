"""One model for whoever is asked: python studies/whoever.py DATA_DIR [--seeds 5] [--only NAME].

Default settings, the same for every split. Printed are, per data set, split and method, the means
over seeds of NLL, AUC (accuracy of pairs) and the mean slope of groups on the test rows, and how
much lower or higher than none's NLL is, with the 95% interval over seeds whose test parts overlap
(docs/uncertainty.md). All of it takes hours; --only popquorn half an hour of one core.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from mcstl import Study
from mcstl.encoding.encoders import load_encoder
from mcstl.evaluation import metrics
from mcstl.evaluation.summaries import t_interval
from mcstl.methods.fitting import fit_method
from mcstl.studies.preparation import prepare

METHODS = ["best", "multilevel", "mc-stl", "none"]
#: The studies of this folder by their data sets, and data sets whose usual groups are taken.
FILES = ("popquorn", "valueeval23", "ukpconvarg1")
DATASETS = ("popquorn", "valueeval23", "awa", "cade", "ukpconvarg1", "lewidi-mp")
#: How each data set may be split: those whose people are not known, not by annotator.
SPLITS = {name: ["annotation", "item", "annotator"] for name in DATASETS}
SPLITS["valueeval23"] = ["annotation", "item"]


def measured(name: str, split: str, seed: int, data_dir: Path) -> dict[str, dict[str, float]]:
    """Fit every method on one seed, and measure it on the test rows."""
    file = Path(__file__).with_name(f"{name}.yaml")
    fields = Study.read(file).model_dump() if name in FILES else {"data": {"dataset": name}}
    study = Study(**{**fields, "split": {"by": split}, "methods": METHODS, "seeds": [seed]})
    prepared = prepare(study, study.load(data_dir), load_encoder(study.encoder_name), seed)
    rows, data = prepared.parts.test, prepared.annotations
    scores = {}
    for method in study.methods:
        answer = fit_method(prepared, study.settings_of(method, seed))
        scores[method.name] = metrics.evaluate(
            answer.p,
            data.labels[rows],
            prepared.groups("test"),
            prepared.minority[rows],
            data.task,
            prepared.scheme.names,
        )["metrics"]
        scores[method.name]["overlap"] = len(rows) / len(prepared.parts.train)
    return scores


def main() -> None:
    """Print a Markdown row per data set, split and method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=DATASETS, help="one data set")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| data, split | method | NLL | less none's | AUC | slope |")
    print("|" + " --- |" * 6, flush=True)
    for name in [chosen.only] if chosen.only else DATASETS:
        for split in SPLITS[name]:
            runs = defaultdict(list)
            for seed in range(chosen.seeds):
                for method, scores in measured(name, split, seed, chosen.data_dir).items():
                    runs[method].append(scores)
            for method, each in runs.items():
                gaps = [a["nll"] - b["nll"] for a, b in zip(each, runs["none"], strict=True)]
                gap = t_interval(gaps, each[0]["overlap"])
                score = "accuracy" if "accuracy" in each[0] else "auc"
                nll, rank, slope = (
                    float(np.mean([m[key] for m in each])) for key in ("nll", score, "slope_mean")
                )
                interval = "" if gap["low"] is None else f" [{gap['low']:.3f}, {gap['high']:.3f}]"
                print(
                    f"| {name}, {split} | {method} | {nll:.3f} | {gap['mean']:.3f}{interval} | "
                    f"{rank:.3f} | {slope:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
