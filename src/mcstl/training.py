"""How the network is fitted: the configuration, the rows and the loop."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mcstl import equations, files
from mcstl.distributed import Processes
from mcstl.equations import KLForm
from mcstl.errors import InputError
from mcstl.kinds import distinct
from mcstl.model import FloatArray, predict_rows
from mcstl.networks import Dropout, Network
from mcstl.people import PeopleNetwork
from mcstl.progress import Progress, silent

#: Called after each epoch with its number and the network as it stands.
OnEpoch = Callable[[int, Network], None]
_CHECKPOINT_EVERY_SECONDS = 20.0
_WITHIN_PEOPLE = 0.1  # a few people's answers may change from one annotation to the next
_AVERAGE_DECAY = 0.99  # per step: an average over about the last hundred
#: Equal annotations become one row up to this weight: a step shall see many rows, not a few heavy.
_MOST_PER_ROW = 4
#: Annotations of one text that go through a step together, so that its projection serves them all.
_BUNCH = 8


class TrainingConfig(BaseModel):
    """The `training` part of a study: what the paper leaves open, and its two lambdas."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: Annotated[int, Field(ge=1)] = 256
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    learning_rate: Annotated[float, Field(gt=0)] = 0.003
    batch_size: Annotated[int, Field(ge=1)] = 512
    epochs: Annotated[int, Field(ge=1)] = 200
    patience: Annotated[int, Field(ge=1)] = 10
    lambda_1: Literal["paper"] | Annotated[float, Field(ge=0)] = "paper"
    lambda_2: Annotated[float, Field(ge=0)] = 0.0001
    kl: KLForm = "paper"
    sharpness: Annotated[float, Field(gt=0)] = 10_000


@dataclass(frozen=True)
class Examples:
    """Rows to train or predict on; rows with the same texts, groups and label can be one.

    `vectors` (m, d) float32 are the distinct texts, `positions` (n, 1 or 2) the rows' texts among
    them, `S` (n, K) the membership, `y` (n,) class indices, `w` (n,) weights. `who` (n,) are codes
    of the annotators that training knows and -1 elsewhere, for a network that learns people.
    """

    vectors: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int64]
    S: csr_matrix
    y: npt.NDArray[np.int64]
    w: npt.NDArray[np.float32]
    who: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """Return the rows given by position or mask; the texts are shared, not copied."""
        return replace(
            self,
            positions=self.positions[rows],
            S=self.S[rows],
            y=self.y[rows],
            w=self.w[rows],
            who=None if self.who is None else self.who[rows],
        )

    @cached_property
    def ties(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The first of the rows with the same texts, groups and person, and (n,) each row's place.

        Such rows are predicted once, so that their predictions are equal to the last bit.
        """
        who = [] if self.who is None else [self.who]
        return distinct(*self.positions.T, distinct_rows(self.S)[1], *who)

    def collapsed(self) -> Self:
        """Return the rows with equal ones, labels too, made one of their summed weight.

        The printed loss is the same sum. A row heavier than `_MOST_PER_ROW` is cut into equal
        shares.
        """
        inverse = self.ties[1]
        cell, row = distinct(inverse, self.y)
        w = np.bincount(row, weights=self.w, minlength=len(cell))
        shares = np.maximum(1, np.ceil(w / _MOST_PER_ROW)).astype(np.int64)
        each = np.repeat((w / shares).astype(np.float32), shares)
        return replace(self.take(np.repeat(cell, shares)), w=each)

    def memberships_of_people(self) -> tuple[FloatArray, FloatArray]:
        """Return the mean membership of each of the people known, (A, K), and which groups are so.

        A group is people's, 1 in the second (K,), if not over a tenth of its variance is within
        people: annotators' attributes, not the reasons that they give.
        """
        assert self.who is not None  # noqa: S101 (for the type checker)
        rows = np.flatnonzero(self.who >= 0)
        who, S = self.who[rows], self.S[rows].toarray().astype(float)
        counts = np.bincount(who, minlength=int(self.who.max(initial=-1)) + 1)
        typical = np.zeros((len(counts), S.shape[1]))
        np.add.at(typical, who, S)
        typical /= np.maximum(counts, 1)[:, None]
        within = ((S - typical[who]) ** 2).sum(axis=0)
        total = ((S - S.mean(axis=0)) ** 2).sum(axis=0) if len(S) else within
        return typical, (within <= _WITHIN_PEOPLE * total).astype(float)

    def without_groups(self) -> Self:
        """Return the same rows in no group: the empty set of §3.3."""
        return replace(self, S=csr_matrix((len(self), 0), dtype=np.float32))


@dataclass(frozen=True)
class Fitted:
    """A trained network and how its training went."""

    network: Network
    epochs: int
    best_epoch: int
    validation_nll: float


def fit(
    train: Examples,
    validation: Examples,
    config: TrainingConfig,
    *,
    n_classes: int,
    network: Callable[..., Network] = Network,
    preference: bool = False,
    annotations_per_item: float | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    keep: bool = False,
    on_epoch: OnEpoch | None = None,
    progress: Progress = silent,
) -> Fitted:
    """Minimise Eq. 2, Eq. 4 or L_pl by Adam, stopping on the validation rows' NLL.

    `annotations_per_item` is m in the paper's lambda_1. The result is the epoch with the lowest
    validation NLL. With a `checkpoint` file the training goes on where it was stopped and ends as
    if it had not been; the file is removed at the end, unless it is to `keep`, so that the same
    call again has the result at once. Deterministic for a seed on one machine.
    Under ``accelerate launch`` the processes share each step (docs/scaling.md); all return the
    result, and the first alone writes the checkpoint and reports progress.

    Raises InputError if there are no rows, or if the loss stops being a finite number.
    """
    if not len(train) or not len(validation):
        raise InputError(
            f"there are {len(train)} rows to train on and {len(validation)} to validate on, and "
            "both are needed; give more annotations or other shares in split"
        )
    processes = Processes.started()
    device = processes.device
    if processes.rank:
        progress = silent
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        sizes = train.vectors.shape[1], train.S.shape[1], n_classes - 1
        form: dict[str, Any] = {
            "preference": preference,
            "hidden": config.hidden,
            "dropout": config.dropout,
        }
        if train.who is None:
            fitted = network(*sizes, **form)
        else:
            typical, personal = map(torch.from_numpy, train.memberships_of_people())
            fitted = PeopleNetwork(
                *sizes, typical=typical.float(), personal=personal.float(), **form
            )
        _start_biases(fitted, train, n_classes)
        fitted.to(device)
        with _one_thread():
            return _loop(
                _Rows.of(train.collapsed(), device),
                validation,
                fitted,
                config,
                n_classes,
                annotations_per_item,
                seed,
                checkpoint,
                keep,
                on_epoch,
                progress,
                processes,
            )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: on steps this small a second one gains little on an idle machine.

    On a busy one the two wait for each other, and training took five times as long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def predict(network: Network, rows: Examples, draws: int | None = None) -> FloatArray:
    """Return the class probabilities of `rows` under their own groups: (n, L), float64.

    `draws` are how many a `PeopleNetwork` takes, by default all it has.
    """
    first, inverse = rows.ties
    vectors, positions = torch.from_numpy(rows.vectors), torch.from_numpy(rows.positions[first])
    who = None if rows.who is None else torch.from_numpy(rows.who[first])
    return predict_rows(network, vectors, positions, rows.S[first], who, draws=draws)[inverse]


def validation_nll(network: Network, rows: Examples) -> float:
    """Return the mean negative log-likelihood of `rows` in nats, under their own groups."""
    # After every epoch: a quarter of the draws tell epochs apart as well.
    p = predict(network, rows, draws=8)
    own = p[np.arange(len(rows)), rows.y]
    return float(-(rows.w @ np.log(np.maximum(own, 1e-12))) / rows.w.sum())


@dataclass(frozen=True)
class _Rows:
    """Examples as tensors; the distinct memberships are kept once, since many rows share them."""

    vectors: Tensor
    positions: Tensor
    patterns: Tensor
    pattern: Tensor
    y: Tensor
    w: Tensor
    who: Tensor

    @classmethod
    def of(cls, rows: Examples, device: torch.device) -> Self:
        patterns, pattern = distinct_rows(rows.S)
        tensors = (
            torch.from_numpy(rows.vectors),
            torch.from_numpy(rows.positions),
            torch.from_numpy(patterns.toarray()),
            torch.from_numpy(pattern),
            torch.from_numpy(rows.y),
            torch.from_numpy(rows.w),
            torch.from_numpy(np.zeros(0, dtype=np.int64) if rows.who is None else rows.who),
        )
        return cls(*(tensor.to(device) for tensor in tensors))


def distinct_rows(S: csr_matrix) -> tuple[csr_matrix, npt.NDArray[np.int64]]:
    """Return the distinct rows (P, K) of a membership and each row's position (n,) among them."""
    S = csr_matrix(S, dtype=np.float32)
    # A row is known by two sums of 64-bit numbers drawn for its groups: two different rows of a
    # billion have equal sums with a probability of about 1e-21.
    numbers = np.random.default_rng(0).integers(2**63, size=(2, S.shape[1]), dtype=np.uint64)
    values = S.data.view(np.uint32).astype(np.uint64)
    sums = np.zeros((2, len(values) + 1), dtype=np.uint64)
    np.cumsum(numbers[:, S.indices] * values, axis=1, out=sums[:, 1:])
    first, kind = distinct(*(sums[:, S.indptr[1:]] - sums[:, S.indptr[:-1]]))
    return S[first], kind


def _start_biases(network: Network, train: Examples, n_classes: int) -> None:
    """Start the biases at the label rates, so that the first epochs learn texts and groups."""
    if network.preference:
        return
    counts = np.bincount(train.y, weights=train.w, minlength=n_classes) + 1.0
    above = np.cumsum(counts[::-1])[::-1][1:] / counts.sum()  # (T,) P(y > t)
    b = np.log(above / (1 - above))
    gaps = -np.diff(b)
    with torch.no_grad():
        network.b_first.fill_(float(b[0]))
        network.b_gaps.copy_(torch.from_numpy(np.log(np.expm1(np.maximum(gaps, 1e-3)))))


def _loop(
    rows: _Rows,
    validation: Examples,
    network: Network,
    config: TrainingConfig,
    n_classes: int,
    annotations_per_item: float | None,
    seed: int,
    checkpoint: Path | None,
    keep: bool,
    on_epoch: OnEpoch | None,
    progress: Progress,
    processes: Processes,
) -> Fitted:
    weights = list(network.parameters())
    optimizer = torch.optim.Adam(weights, lr=config.learning_rate, fused=True)
    # What is validated and kept is a running average of the weights: better and steadier (LOG.md).
    average = copy.deepcopy(network)
    averages, move_towards = list(average.parameters()), get_ema_multi_avg_fn(_AVERAGE_DECAY)
    loss_of = _loss(rows, network, config, n_classes, annotations_per_item, processes)
    best, best_epoch, epoch = math.inf, 0, 0
    best_state = copy.deepcopy(average.state_dict())
    if checkpoint and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=rows.y.device)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        best_state, best, best_epoch = saved["best_state"], saved["best"], saved["best_epoch"]
        epoch = saved["epoch"]
    saved_at = time.monotonic()
    while epoch < config.epochs and epoch - best_epoch < config.patience:
        epoch += 1
        # Order and dropout depend on seed and epoch alone, so a resumed run goes the same way.
        torch.manual_seed(seed * 1_000_003 + epoch)
        network.train()
        for step, batch in enumerate(_batches(rows, config.batch_size)):
            loss = loss_of(batch)
            optimizer.zero_grad()
            loss.backward()
            processes.sum_gradients(weights)
            optimizer.step()
            if epoch == 1 and step == 0:
                average.load_state_dict(network.state_dict())
            else:
                move_towards(averages, weights, 0)
        for each in (network, average):
            if isinstance(each, PeopleNetwork):
                each.learn_groups()
        nll = processes.agreed(validation_nll(average, validation))
        if not math.isfinite(nll):
            raise InputError(
                f"training diverged in epoch {epoch} (validation NLL {nll}); "
                "lower training.learning_rate"
            )
        if nll < best:
            best, best_epoch = nll, epoch
            best_state = copy.deepcopy(average.state_dict())
        if on_epoch:
            on_epoch(epoch, average)
        progress("training", epoch, config.epochs)
        ended = epoch >= config.epochs or epoch - best_epoch >= config.patience
        due = time.monotonic() - saved_at > _CHECKPOINT_EVERY_SECONDS or (keep and ended)
        if checkpoint and not processes.rank and due:
            saved_at = time.monotonic()
            with files.replacing(checkpoint) as temporary:
                torch.save(
                    {
                        "network": network.state_dict(),
                        "average": average.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "best_state": best_state,
                        "best": best,
                        "best_epoch": best_epoch,
                        "epoch": epoch,
                    },
                    temporary,
                )
    progress("training", config.epochs, config.epochs)
    network.load_state_dict(best_state)
    network.eval()
    if checkpoint and not processes.rank and not keep:
        checkpoint.unlink(missing_ok=True)
    return Fitted(network.cpu(), epoch, best_epoch, best)


def _batches(rows: _Rows, batch_size: int) -> Iterator[Tensor]:
    """Yield the row numbers of each step of an epoch, `batch_size` annotations a step, shuffled.

    A step has a few annotations each of many texts rather than any rows at all: what is shuffled
    are bunches of rows that share a text. Pairs, which share their texts with other pairs, are not
    bunched.
    """
    n, w = len(rows.y), rows.w.double().cpu()
    order = torch.randperm(n)
    if rows.positions.shape[1] == 1:
        text = rows.positions[:, 0].cpu()[order]
        text, by_text = text.sort(stable=True)
        order = order[by_text]
        before = w[order].cumsum(0) - w[order]
        first = torch.searchsorted(text, text)  # where each text's rows begin
        within = ((before - before[first]) / _BUNCH).long()
        new = torch.ones(n, dtype=torch.bool)
        new[1:] = (text.diff() != 0) | (within.diff() != 0)
        bunch = new.cumsum(0) - 1
        order = order[torch.randperm(int(new.sum()))[bunch].argsort(stable=True)]
    before = w[order].cumsum(0) - w[order]
    steps = math.ceil(float(w.sum()) / batch_size)
    step = (before * (steps / w.sum())).long().clamp(max=steps - 1)
    sizes = [size for size in step.bincount(minlength=steps).tolist() if size]
    yield from order.to(rows.y.device).split(sizes)


def _loss(
    rows: _Rows,
    network: Network,
    config: TrainingConfig,
    n_classes: int,
    annotations_per_item: float | None,
    processes: Processes,
) -> Callable[[Tensor], Tensor]:
    """Return the loss of a batch of row numbers: the printed sum's share, per unit of weight.

    Of several processes each returns what its rows add to it.
    """
    total = rows.w.sum()
    levels = equations.levels(rows.y, n_classes - 1)
    # §2.4 has no KL term.
    with_kl = config.kl != "none" and not network.preference and len(network.v) > 0
    if with_kl:
        # Rows with the same groups and label count alike here: their sum is one row.
        counts = (rows.pattern * n_classes + rows.y).bincount(rows.w.double())
        there = counts.nonzero().squeeze(1)
        patterns = rows.patterns[there // n_classes]
        targets = equations.group_targets(
            patterns, counts[there].to(rows.w.dtype), there % n_classes, n_classes
        )
        if config.lambda_1 == "paper":
            m = annotations_per_item or float(total / len(rows.positions.unique(dim=0)))
            lambda_1 = equations.lambda_1(n_classes - 1, m)
        else:
            lambda_1 = config.lambda_1

    dropouts = [module for module in network.modules() if isinstance(module, Dropout)]

    def loss(batch: Tensor) -> Tensor:
        S, w = rows.patterns[rows.pattern[batch]], rows.w[batch]
        part = processes.part(len(batch))
        for dropout in dropouts:
            dropout.among = len(batch), part
        z = None
        if isinstance(network, PeopleNetwork):
            noise = torch.randn(len(batch), network.means.shape[1], device=w.device)
            z = network.traits_of(rows.who[batch[part]], S[part], noise[part])
        vectors, places = rows.vectors, rows.positions[batch[part]]
        if w.device.type == "cpu":  # on a GPU it would wait for the number of texts
            texts, places = places.unique(return_inverse=True)
            vectors = vectors[texts]
        logits = network.logits_at(vectors, places, S[part], z)
        value = w[part] @ equations.cross_entropy(levels[batch[part]], logits)
        if with_kl:
            p = processes.whole(torch.sigmoid(logits), len(batch))
            value = value + lambda_1 * equations.kl_term(
                S, w, p, targets, config.kl, config.sharpness
            )
        # These belong to the whole training set; a batch pays its share of them.
        whole = config.lambda_2 * equations.l2(network.v)
        if isinstance(network, PeopleNetwork):
            whole = whole + network.price()
        value = value + w.sum() / total / processes.count * whole
        return value / w.sum()

    return loss
