"""Macro-F1 of labellers on ValueEval: python benchmarks/labelling.py --data-dir DATA.

Learnt on the premises of training, measured on those of validation, as `mcstl label` reads tables
of them. With --fine-tune 3 the encoder is trained further for three epochs for each of the five
folds, which takes an hour on one core.
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from mcstl.datasets import valueeval23
from mcstl.encoding.encoders import load_encoder
from mcstl.labelling import labelled_tables, taxonomies
from mcstl.labelling.cases import cases_of_table


def part(data_dir: Path, name: str) -> pd.DataFrame:
    """Return the arguments of a part, each with its `values`."""
    table = valueeval23.read_part(data_dir / "valueeval23", name)
    table["values"] = table["values"].map("|".join)
    columns = {"Conclusion": "item", "Premise": "rationale", "values": "values"}
    return table[list(columns)].rename(columns=columns)


def main() -> None:
    """Print a line for each labeller."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--fine-tune", type=int, default=0, help="epochs")
    options = parser.parse_args()
    train, validation = (part(options.data_dir, name) for name in ("training", "validation"))
    cases = cases_of_table(validation, "rationale")
    gold = labelled_tables.values_of(validation, "validation")
    encoder = load_encoder()

    def report(labeller: str, labelled: labelled_tables.Labelled) -> None:
        print(
            f"{labeller}: {labelled_tables.f1_scores(labelled, gold)['f1'].mean():.3f}", flush=True
        )

    report(
        "embedding", labelled_tables.with_embedding(cases, taxonomies.load("valueeval"), encoder)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.csv"
        train.to_csv(path, index=False)
        for epochs in sorted({0, options.fine_tune}):
            learnt = labelled_tables.train_labeller(path, "rationale", encoder, fine_tune=epochs)
            name = f"trained, fine-tuned for {epochs} epochs" if epochs else "trained"
            report(name, labelled_tables.with_labeller(cases, learnt, encoder))
            print(f"  inside training, on folds not seen: {learnt.f1.mean():.3f}")


if __name__ == "__main__":
    main()
