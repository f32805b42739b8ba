"""What each part of the method does: python studies/ablation.py OUT [--data-dir DATA] [STUDY ...].

Every variation differs from the study's own mc-stl in what its name says and in nothing else, is
trained on the same rows from the same seeds and stopped on the same validation rows. Three seeds,
annotation and item split. A folder that is there already is not run again; the tables go to
standard output (docs/ablation.md reads them).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import mcstl
from mcstl import evaluation
from mcstl._support.text_tables import markdown_table
from mcstl.studies.results import Results
from mcstl.studies.study_file import Study

HERE = Path(__file__).parent
STUDIES = ("valueeval23", "popquorn", "ukpconvarg1")
SPLITS = ("annotation", "item")
SEEDS = 3
#: A step sees all training rows, so an epoch is one step and needs a higher rate and more epochs.
_FULL = {"batch_size": 10**6, "learning_rate": 0.01, "epochs": 400, "patience": 40}
#: What L_pl has too: it has no KL term (section 2.4).
PARTS: dict[str, dict[str, Any]] = {
    "lambda_2 = 0": {"lambda_2": 0},
    "lambda_2 = 100": {"lambda_2": 100},
}
KL_PARTS: dict[str, dict[str, Any]] = {
    "no KL": {"kl": "none"},
    "lambda_1 per item": {"lambda_1": "per-item"},
    "KL, lambda_1 = 10": {"lambda_1": 10},
    "KL, lambda_1 = 100": {"lambda_1": 100},
    "mean KL": {"kl": "mean"},
    "mean KL, lambda_1 = 1": {"kl": "mean", "lambda_1": 1},
    "mean KL, lambda_1 = 10": {"kl": "mean", "lambda_1": 10},
    **{f"KL, lambda_1 = 10, l = {s}": {"lambda_1": 10, "sharpness": s} for s in (10, 100, 1000)},
}
#: An epoch costs as much as one of many steps, so these are run on one split.
FULL_PARTS: dict[str, dict[str, Any]] = {
    "full batch, no KL": {**_FULL, "kl": "none"},
    "full batch, KL, lambda_1 = 10": {**_FULL, "lambda_1": 10},
    "full batch, mean KL, lambda_1 = 10": {**_FULL, "kl": "mean", "lambda_1": 10},
}


def varied(name: str, split: str) -> Study:
    """Return a study with every variation of mc-stl as a method."""
    study = Study.read(HERE / f"{name}.yaml", split=split)
    full = FULL_PARTS if split == "annotation" else {}
    parts = PARTS if study.task == "preference" else KL_PARTS | full | PARTS
    methods = [
        {"name": "mc-stl", "label": label, "training": part} for label, part in parts.items()
    ]
    fields = study.model_dump() | {
        "name": f"{name}, parts of the method",
        "methods": ["mc-stl", {"name": "none", "label": "no group embedding"}, *methods],
        "seeds": SEEDS,
    }
    return Study(**fields)


def markdown(results: Results) -> str:
    """Return a study's table: per variation the metrics, and the paired change of two of them."""
    found = results.results
    runs = found["runs"]
    table = evaluation.results_table(found["summary"])
    rows = []
    for method, *texts in table.texts:
        changes = ["", ""]
        if method != "mc-stl":
            overlap = evaluation.split_overlap(found["data"])
            paired = evaluation.paired(runs, method, "mc-stl", overlap)
            changes = [_change(paired[metric]) for metric in ("nll", "one_minus_emd")]
        rows.append([method, *texts, *changes])
    data = found["data"]
    header = ["variation", *table.header[1:], "change of NLL", "of 1-EMD"]
    return (
        f"**{data['source']}**, {data['split']['by']} split, {data['split']['train']:,} "
        f"training and {data['split']['test']:,} test annotations\n\n"
        f"{markdown_table(header, rows)}"
    )


def _change(paired: dict[str, Any]) -> str:
    if paired["low"] is None:
        return ""
    return f"{paired['mean']:+.3f} [{paired['low']:+.3f}, {paired['high']:+.3f}]"


def _show(what: str, done: int, total: int) -> None:
    if what == "methods x seeds":
        print(f"{done} of {total} runs", file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("studies", nargs="*", default=STUDIES)
    parser.add_argument("--data-dir", type=Path)
    asked = parser.parse_args()
    for split in SPLITS:
        for name in asked.studies:
            folder = asked.out / f"{name}-{split}"
            study = varied(name, split)
            found = mcstl.run(study, out=folder, data_dir=asked.data_dir, progress=_show)
            print(markdown(found), end="\n\n", flush=True)
