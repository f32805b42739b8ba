"""Training against a plain PyTorch loop: python benchmarks/training.py --data-dir DATA.

The loop is what one would write by hand: a Dataset of annotations, a DataLoader, the same network
and loss, Adam, a running average of the weights and early stopping. Both train on one thread until
they stop by themselves. Printed are processor seconds, which a busy machine falsifies less than
the clock, and the validation NLL that each reached. Without --data-dir only the simulation is run:
the shape of DICES, 1,000 items of 70 ratings by raters in 12 overlapping groups.
"""

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.special import expit
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from mcstl import equations
from mcstl.encoding.encoders import load_encoder
from mcstl.models import training
from mcstl.models.examples import Examples
from mcstl.models.networks import Network
from mcstl.models.training import TrainingConfig
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study

STUDIES: dict[str, dict[str, Any]] = {
    "valueeval23": {
        "groups": {"by": "taxonomy", "min_size": 20},
        "training": {"learning_rate": 0.001},
    },
    "ukpconvarg1": {
        "task": "preference",
        "groups": {"by": "rationale", "k": 5},
        "training": {"batch_size": 2048, "hidden": 128},
    },
}


class Task(NamedTuple):
    """What both train on."""

    train: Examples
    validation: Examples
    config: TrainingConfig
    n_classes: int
    preference: bool
    annotations_per_item: float


def dices(seed: int = 0, items: int = 1000, ratings: int = 70) -> Task:
    """Simulate the shape of DICES: gender, race, age and locale make 12 groups, four a rater."""
    random = np.random.default_rng(seed)
    sizes = (2, 5, 3, 2)
    n, raters = items * ratings, 300
    starts = np.cumsum([0, *sizes[:-1]])
    groups = starts + np.column_stack([random.integers(size, size=raters) for size in sizes])
    rater = random.integers(raters, size=n)
    item = np.repeat(np.arange(items), ratings)
    vectors = random.normal(size=(items, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    S = csr_matrix((np.ones(4 * n, np.float32), groups[rater].ravel(), np.arange(n + 1) * 4))
    text = 20 * vectors @ random.normal(size=384) / np.sqrt(384)
    score = text[item] + S @ random.normal(0, 0.5, 12)
    y = (random.random(n) < expit(score - 0.5)).astype(np.int64)
    rows = Examples(vectors, item[:, None], S, y, np.ones(n, np.float32))
    order = random.permutation(n)
    train, validation = rows.take(order[n // 10 :]), rows.take(order[: n // 10])
    config = TrainingConfig(batch_size=2048)  # as studies of this size have
    return Task(train, validation, config, 2, False, len(train) / items)


def real(name: str, data_dir: str, seed: int = 0) -> Task:
    """Prepare a data set as its study does."""
    plan = Study.model_validate({"data": {"dataset": name}, "seeds": [seed], **STUDIES[name]})
    prepared = prepare(plan, plan.load(data_dir), load_encoder(), seed)
    return Task(
        prepared.part("train"),
        prepared.part("validation"),
        plan.training,
        len(prepared.annotations.classes),
        prepared.annotations.task == "preference",
        prepared.problem.annotations_per_item or 1.0,
    )


class Annotations(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """One annotation at a time: its texts' vectors, its groups and its label."""

    def __init__(self, rows: Examples) -> None:
        self.vectors = torch.from_numpy(rows.vectors)
        self.positions = torch.from_numpy(rows.positions)
        self.S = torch.from_numpy(rows.S.toarray().astype(np.float32))
        self.y = torch.from_numpy(rows.y)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.vectors[self.positions[row]], self.S[row], self.y[row]


class Batched(Annotations):
    """The same, a batch at a time: what a DataLoader calls where a Dataset has it."""

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the annotations of a batch."""
        batch = torch.tensor(rows)
        return self.vectors[self.positions[batch]], self.S[batch], self.y[batch]


def loop(task: Task, seed: int, batched: bool = False) -> float:
    """Train by hand and return the validation NLL."""
    torch.manual_seed(seed)
    config, T = task.config, task.n_classes - 1
    network = Network(
        task.train.vectors.shape[1],
        task.train.S.shape[1],
        T,
        preference=task.preference,
        hidden=config.hidden,
        dropout=config.dropout,
    )
    if not task.preference:
        network.start_biases(task.train.class_weights(task.n_classes))
    kind = Batched if batched else Annotations
    collate: Callable[..., object] | None = (lambda batch: batch) if batched else None
    rows, held_out = kind(task.train), kind(task.validation)
    loader = DataLoader(rows, batch_size=config.batch_size, shuffle=True, collate_fn=collate)
    validation = DataLoader(held_out, batch_size=4096, collate_fn=collate)
    everyone = torch.ones(len(rows))
    targets = equations.group_targets(rows.S, everyone, rows.y, task.n_classes)
    lambda_1 = equations.lambda_1(T, task.annotations_per_item)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    averaged: Network = average.module  # type: ignore[assignment]
    best, best_epoch, epoch = math.inf, 0, 0
    while epoch < config.epochs and epoch - best_epoch < config.patience:
        epoch += 1
        network.train()
        for e, S, y in loader:
            logits = network._respond(network.project(e), network.effects(S))
            loss = equations.cross_entropy(equations.levels(y, T), logits).sum()
            if not task.preference:
                p = torch.sigmoid(logits)
                loss = loss + lambda_1 * equations.kl_term(
                    S, torch.ones(len(y)), p, targets, config.kl, config.sharpness
                )
            loss = loss / len(y) + config.lambda_2 * equations.l2(network.v) / len(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            average.update_parameters(network)
        average.eval()
        total = 0.0
        with torch.inference_mode():
            for e, S, y in validation:
                p = equations.class_probabilities(
                    averaged._respond(averaged.project(e), averaged.effects(S))
                )
                total -= float(p[torch.arange(len(y)), y].log().sum())
        if total / len(held_out) < best:
            best, best_epoch = total / len(held_out), epoch
            kept = copy.deepcopy(averaged.state_dict())
    network.load_state_dict(kept)
    return best


def ours(task: Task, seed: int) -> float:
    """Train by `mcstl.models.training.fit` and return the validation NLL."""
    return training.fit(
        task.train,
        task.validation,
        training.Problem(task.n_classes, task.preference, task.annotations_per_item),
        task.config,
        seed=seed,
    ).validation_nll


def main() -> None:
    """Print one Markdown row per data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="folder of the real data sets")
    parser.add_argument("--only", nargs="+", default=["dices", *STUDIES])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--batched", action="store_true", help="a loop that fetches whole batches")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    # The first one imports torch's compiler for over a second, which neither shall pay.
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    print("| data | rows | loop s | mcstl s | ratio | loop NLL | mcstl NLL |")
    print("|" + " --- |" * 7)
    for name in chosen.only:
        if name != "dices" and not chosen.data_dir:
            continue
        spent: dict[str, list[float]] = {"loop": [], "mcstl": []}
        reached: dict[str, list[float]] = {"loop": [], "mcstl": []}
        for seed in range(chosen.seeds):
            task = dices(seed) if name == "dices" else real(name, chosen.data_dir, seed)
            works: dict[str, Callable[[], float]] = {
                "mcstl": lambda: ours(task, seed),  # noqa: B023
                "loop": lambda: loop(task, seed, chosen.batched),  # noqa: B023
            }
            for what, work in works.items():
                start = time.process_time()
                reached[what].append(work())
                spent[what].append(time.process_time() - start)
        ratio = statistics.median(a / b for a, b in zip(*spent.values(), strict=True))
        seconds = " | ".join(f"{statistics.median(s):.1f}" for s in spent.values())
        nll = " | ".join(f"{statistics.mean(values):.4f}" for values in reached.values())
        print(f"| {name} | {len(task.train):,} | {seconds} | {ratio:.1f} | {nll} |", flush=True)


if __name__ == "__main__":
    main()
