"""What encoding parts of texts apart brings: python benchmarks/parts.py DATA_DIR [NAME ...].

Trained on the train part of LeWiDi data sets, measured on their dev part by the measures of the
2025 edition, lower is better: A, the mean distance of an item's label shares (Wasserstein, in
classes), and B, the mean distance of each annotator's label from the median of what is predicted
for their groups, in shares of the scale. Labels are all classes of the source.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from mcstl import Study
from mcstl._support.arrays import FloatArray
from mcstl.data.splits import Split, split
from mcstl.encoding.encoders import load_encoder
from mcstl.evaluation.soft_labels import soft_label_scores
from mcstl.methods.fitting import fit_method
from mcstl.studies.preparation import prepare

#: The attributes that tell the annotators of each data set apart.
GROUPS = {"paraphrase": ["gender", "nationality", "age"], "varierrnli": ["gender", "nationality"]}


def official(study: Study, data_dir: Path, seed: int) -> tuple[Study, Split]:
    """Take the dev part to measure, and 10% of the items of train to validate."""
    data = study.load(data_dir)
    train = np.flatnonzero(data.frame["split"] == "train")
    inner = split(data.take(train), "item", test=0, validation=0.1, seed=seed)
    dev = np.flatnonzero(data.frame["split"] == "dev")
    return study, Split(train[inner.train], train[inner.validation], dev)


def measures(p: FloatArray, study: Study, data_dir: Path, parts: Split) -> tuple[float, float]:
    """Compute A and B of the dev part."""
    data = study.load(data_dir).take(parts.test)
    items = data.frame["item"].to_numpy()
    soft = soft_label_scores(p, data.labels, items)
    median = (np.cumsum(p, axis=1) >= 0.5).argmax(axis=1)
    return soft["wasserstein"], float(np.abs(median - data.labels).mean()) / p.shape[1]


def main() -> None:
    """Print a line per data set, reading and method."""
    data_dir, names = Path(sys.argv[1]), sys.argv[2:] or ["paraphrase"]
    torch.set_num_threads(1)
    encoder = load_encoder()
    for name in names:
        for reading in ("joined", "apart", None):
            groups = {"by": "attributes", "attributes": GROUPS[name], "min_size": 20}
            study, parts = official(
                Study(
                    data={"dataset": f"lewidi-{name}"},
                    groups=groups,
                    parts=reading,
                    methods=["mc-stl", "logistic"] if reading else ["mc-stl"],
                ),
                data_dir,
                0,
            )
            started = time.perf_counter()
            prepared = prepare(study, study.load(data_dir), encoder, 0, parts=parts)
            seconds = time.perf_counter() - started
            read = "apart" if prepared.encoder.parts > 1 else "joined"
            for method in study.methods:
                p = fit_method(prepared, study.settings_of(method, 0)).p
                a, b = measures(p, study, data_dir, parts)
                print(
                    f"{name}  {reading or f'chosen: {read}':14}  {method.title:8}  A {a:.3f}  "
                    f"B {b:.3f}  (prepared in {seconds:.1f} s)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
