"""A study of a sharded table, in time and memory: python benchmarks/sharded.py.

Made-up annotations in Parquet files of half a million rows: two hundred annotations a text, fifty a
person, people of two attributes, three ordered classes. The study reads the folder as it would
read a single table, encodes the texts, trains mc-stl and multilevel with one seed, predicts the
test rows and measures them with all intervals and tests; then Ray Data predicts some shards by the
model that the study left. Each of the two runs in a process of its own. A phase's memory is the
peak of its process until its end.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from phases import Phases

_ROWS_PER_SHARD = 500_000
_PER_TEXT, _PER_PERSON = 200, 50
_ATTRIBUTES = {
    "age": ("18-29", "30-44", "45-59", "60+"),
    "gender": ("woman", "man"),
}
_SENTENCE = (
    "people often say that old towns need more trees near every school but some new streets have "
    "no room for them and cars should stop where children play after long days of hard rain"
)


def write_shards(folder: Path, n: int) -> None:
    """Write n made-up annotations as Parquet files."""
    random, words = np.random.default_rng(0), np.array(_SENTENCE.split())
    n_texts, n_people = n // _PER_TEXT, n // _PER_PERSON
    draws = random.integers(len(words), size=(n_texts, 12))
    texts = np.array([f"{' '.join(words[places])} {i}" for i, places in enumerate(draws)], object)
    appeal = random.normal(size=len(words))[draws].mean(axis=1) * 3
    text_level, person_level = random.normal(0, 0.5, n_texts), random.normal(0, 1, n_people)
    answers = {
        name: random.integers(len(values), size=n_people) for name, values in _ATTRIBUTES.items()
    }
    leniency = sum(
        random.normal(0, 0.5, len(_ATTRIBUTES[name]))[codes] for name, codes in answers.items()
    )
    for number, start in enumerate(range(0, n, _ROWS_PER_SHARD)):
        size = min(_ROWS_PER_SHARD, n - start)
        text, person = random.integers(n_texts, size=size), random.integers(n_people, size=size)
        score = appeal[text] + text_level[text] + (person_level + leniency)[person]
        label = (random.logistic(size=size)[:, None] + score[:, None] > [-1.0, 1.0]).sum(axis=1)
        columns = {"text": texts[text], "annotator": [f"p{i}" for i in person]}
        for name, values in _ATTRIBUTES.items():
            columns[name] = np.array(values, dtype=object)[answers[name]][person]
        shard = pd.DataFrame({**columns, "label": label})
        shard.to_parquet(folder / f"part-{number:04d}.parquet", index=False)


def study(folder: Path, methods: list[str]) -> None:
    """Run the study of the shards, and print its phases."""
    phases = Phases(on_end=lambda name: print(phases.row(name), flush=True))
    phases.begin("importing")
    from mcstl.studies.run import run
    from mcstl.studies.study_file import Study

    plan = Study(
        data={"file": str(folder / "shards")},
        task="ordinal",
        groups={"by": "attributes", "attributes": list(_ATTRIBUTES)},
        split={"by": "annotation", "test": 0.05, "validation": 0.02},
        methods=methods,
        seeds=1,
    )
    phases.begin("reading, checking and grouping")
    run(plan, out=folder / "out", jobs=1, progress=phases.follow)
    phases.begin("end")
    results = json.loads((folder / "out" / "results.json").read_text())
    print("\n| method | NLL | AUC | slope |\n| --- | --- | --- | --- |")
    for each in results["runs"]:
        values = each["metrics"]
        print(f"| {each['method']} | {values['nll']:.4f} | {values['auc']:.4f} ", end="")
        print(f"| {values['slope_mean']:.3f} |", flush=True)


def predictions(folder: Path, n_shards: int) -> None:
    """Predict some shards by the study's model, spread by Ray Data."""
    from mcstl.serving.shards import predict_shards

    some = folder / "some"
    some.mkdir()
    for path in sorted((folder / "shards").glob("*.parquet"))[:n_shards]:
        shutil.copy(path, some)
    start = time.perf_counter()
    n = predict_shards(folder / "out" / "model", some, folder / "predicted", workers=2)
    seconds = time.perf_counter() - start
    print(f"\nRay Data, two workers: {n:,} rows predicted in {seconds:,.0f} s.", flush=True)


def in_a_process(work: Callable[..., None], *arguments: object) -> None:
    """Call a function in a process of its own, whose peak of memory is its own."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def main() -> None:
    """Write the shards, run the study, predict by Ray."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--annotations", type=int, default=10_000_000)
    parser.add_argument("--methods", nargs="+", default=["mc-stl", "multilevel"])
    parser.add_argument("--predict", type=int, default=0, help="shards that Ray predicts")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shards").mkdir()
        write_shards(folder / "shards", chosen.annotations)
        os.environ["MCSTL_CACHE"] = str(folder / "cache")
        print(f"{chosen.annotations:,} annotations\n")
        print("| phase | seconds | of processor | peak GiB |\n|" + " --- |" * 4, flush=True)
        in_a_process(study, folder, chosen.methods)
        if chosen.predict:
            in_a_process(predictions, folder, chosen.predict)


if __name__ == "__main__":
    main()
