"""Encoder and groups trained together: python studies/end_to_end.py STUDY [--data-dir DATA].

A study's mc-stl is fitted as ever, on the vectors of the frozen encoder. From there the encoder and
the network are trained on together by the cross-entropy, on batches of whole texts, and the epoch
with the lowest validation NLL is kept, the start among them (0). One Markdown row per seed and
state, then the paired differences with their 95% intervals (docs/beyond.md).
"""

import argparse
import copy
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from mcstl import equations, evaluation
from mcstl.encoding.encoders import load_encoder
from mcstl.encoding.finetuning import Reader, ReaderConfig
from mcstl.evaluation import metrics
from mcstl.methods.base import MethodConfig, Prepared
from mcstl.methods.fitting import fit_method
from mcstl.models import training
from mcstl.models.examples import Batch, Examples, WeightedExamples
from mcstl.models.networks import BaseNetwork
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study

METRICS = ("auc", "accuracy", "nll", "one_minus_emd")
#: Texts of a batch; those that are compared with each other come together, as many as they are.
TEXTS = 32


def batches(
    examples: WeightedExamples, lengths: npt.NDArray[np.int64], random: np.random.Generator
) -> list[Tensor]:
    """Return the examples of some texts, and of the next, in random order: each text is read once.

    Texts of a batch are of roughly like length, so that little is computed for padding.
    """
    positions = examples.positions.numpy()
    n = len(examples.vectors)
    ones = np.ones(len(positions))
    compared = csr_matrix((ones, (positions[:, 0], positions[:, -1])), shape=(n, n))
    _, part_of_text = connected_components(compared, directed=False)
    sizes, longest = np.bincount(part_of_text), np.zeros(n)
    np.maximum.at(longest, part_of_text, lengths)
    part = part_of_text[positions[:, 0]]
    used = np.unique(part)
    used = used[np.argsort(longest[used] * random.uniform(0.7, 1.4, len(used)))]
    ends = np.cumsum(sizes[used])
    number = (ends - sizes[used]) // TEXTS
    return [
        torch.from_numpy(np.flatnonzero(np.isin(part, used[number == each])))
        for each in random.permutation(np.unique(number))
    ]


def read(reader: Reader, tokens: list[dict[str, list[int]]]) -> Tensor:
    """Return unit vectors of texts, as the paper's encoder has them."""
    return torch.nn.functional.normalize(reader(tokens))


@torch.inference_mode()
def read_all(reader: Reader, tokens: list[dict[str, list[int]]]) -> npt.NDArray[np.float32]:
    """Return the unit vectors of all texts, those of like length together."""
    reader.eval()
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]["input_ids"]))
    found = np.empty((len(tokens), reader.dimension), dtype=np.float32)
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
        found[part] = read(reader, [tokens[i] for i in part]).numpy()
    return found


def trained_on(
    network: BaseNetwork,
    prepared: Prepared,
    name: str,
    seed: int,
    epochs: int,
    rates: tuple[float, float],
) -> tuple[BaseNetwork, npt.NDArray[np.float32], list[float]]:
    """Train encoder and network on; return the best of both (as vectors), and the NLLs."""
    torch.manual_seed(seed)
    reader = Reader(name, ReaderConfig(pooling="mean", max_tokens=256))
    texts, _ = prepared.annotations.distinct_texts()
    tokens = reader.tokens([(text,) for text in texts])
    lengths = np.array([len(each["input_ids"]) for each in tokens])
    validation = prepared.part("validation")
    n_classes = len(prepared.annotations.classes)
    examples = WeightedExamples.from_examples(
        prepared.part("train"), n_classes, torch.device("cpu")
    )
    network = copy.deepcopy(network)
    both = zip((reader, network), rates, strict=True)
    groups = [{"params": [*module.parameters()], "lr": rate} for module, rate in both]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    random = np.random.default_rng(seed)

    def validated() -> tuple[float, dict[str, Tensor], npt.NDArray[np.float32]]:
        network.eval()
        vectors = read_all(reader, tokens)
        nll = training.validation_nll(network, replace(validation, vectors=vectors))
        return nll, copy.deepcopy(network.state_dict()), vectors

    best = validated()
    nlls = [best[0]]
    for _ in range(epochs):
        reader.train()
        network.train()
        for step in batches(examples, lengths, random):
            used, at = examples.positions[step].unique(return_inverse=True)
            S = examples.patterns[examples.pattern[step]]
            logits = network.logits(Batch(read(reader, [tokens[i] for i in used]), at, S))
            w = examples.w[step]
            loss = (w * equations.cross_entropy(examples.levels[step], logits)).sum() / w.sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
            optimizer.step()
        found = validated()
        nlls.append(found[0])
        best = min(best, found, key=lambda each: each[0])
        print(f"  epoch {len(nlls) - 1}: validation NLL {nlls[-1]:.4f} ({nlls[0]:.4f})", flush=True)
    network.load_state_dict(best[1])
    return network.eval(), best[2], nlls


def tested(network: BaseNetwork, rows: Examples, prepared: Prepared) -> dict[str, float]:
    """Return the metrics of the test rows."""
    test = prepared.parts.test
    p = training.predict(network, rows)
    found = metrics.evaluate(
        p,
        rows.y,
        rows.S.toarray() > 0,
        prepared.minority[test],
        prepared.annotations.task,
        prepared.scheme.names,
    )["metrics"]
    return {name: found[name] for name in METRICS if found.get(name) is not None}


def main() -> None:
    """Run a study's seeds one after the other and print what each gave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("--split")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--encoder-rate", type=float, default=1e-5)
    parser.add_argument("--network-rate", type=float, default=1e-5)
    chosen = parser.parse_args()
    study = Study.read(chosen.study, split=chosen.split)
    annotations = study.load(chosen.data_dir)
    encoder = load_encoder(study.encoder_name)
    runs = []
    for seed in range(chosen.seeds):
        prepared = prepare(study, annotations, encoder, seed)
        test = prepared.part("test")
        started = time.process_time()
        _, frozen, _ = fit_method(prepared, study.settings_of(MethodConfig(name="mc-stl"), seed))
        assert frozen is not None  # noqa: S101 (for the type checker)
        between = time.process_time()
        rates = chosen.encoder_rate, chosen.network_rate
        network, vectors, nlls = trained_on(
            frozen, prepared, study.encoder_name, seed, chosen.epochs, rates
        )
        ended = time.process_time()
        of_states = {
            "frozen": (tested(frozen, test, prepared), nlls[0], between - started),
            "end to end": (
                tested(network, replace(test, vectors=vectors), prepared),
                min(nlls),
                ended - between,
            ),
        }
        for state, (found, nll, seconds) in of_states.items():
            head = {"method": state, "seed": seed}
            runs.append(head | {"metrics": found})
            shown = " | ".join(f"{name} {value:.4f}" for name, value in found.items())
            print(
                f"| {seed} | {state} | validation NLL {nll:.4f} | {shown} | {seconds:.0f} s |",
                flush=True,
            )
    overlap = len(prepared.parts.test) / len(prepared.parts.train)
    for name, gap in evaluation.paired(runs, "end to end", "frozen", overlap).items():
        if gap["low"] is not None:
            print(f"{name} {gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]")


if __name__ == "__main__":
    main()
