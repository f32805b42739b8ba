"""How the network is fitted: the configuration, the rows and the loop."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from mcstl import equations
from mcstl._support import files
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.equations import KLForm
from mcstl.models import fast
from mcstl.models.descent import Descent
from mcstl.models.distributed import Processes
from mcstl.models.examples import Cells, Examples, Steps
from mcstl.models.model import predict_rows
from mcstl.models.networks import Dropout, Form, Layer, Network
from mcstl.models.people import PeopleNetwork

#: Called after each epoch with its number and the network as it stands.
OnEpoch = Callable[[int, Network], None]
_CHECKPOINT_EVERY_SECONDS = 20.0
_AVERAGE_DECAY = 0.99  # per step: an average over about the last hundred


class TrainingConfig(BaseModel):
    """The `training` part of a study: what the paper leaves open, and its two lambdas."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: Annotated[int, Field(ge=1)] = 256
    layer: Layer = "normed"
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
        form: Form = {
            "preference": preference,
            "hidden": config.hidden,
            "dropout": config.dropout,
            "layer": config.layer,
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
                Cells.of(train, n_classes, device),
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
    cells: Cells,
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
    # What is validated and kept is a running average of the weights: better and steadier (LOG.md).
    descent = Descent(network, config.learning_rate, _AVERAGE_DECAY)
    average = descent.average
    add_gradient = _gradient(cells, network, config, n_classes, annotations_per_item, processes)
    steps = Steps(cells, config.batch_size)
    best, best_epoch, epoch = math.inf, 0, 0
    best_state = _copied(average)
    saved: dict[str, Any] = {}
    if checkpoint and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=cells.w.device)
    if "descent" in saved:  # one of an older version is begun anew
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        descent.load_state_dict(saved["descent"])
        best_state, best, best_epoch = saved["best_state"], saved["best"], saved["best_epoch"]
        epoch = saved["epoch"]
    saved_at = time.monotonic()
    while epoch < config.epochs and epoch - best_epoch < config.patience:
        epoch += 1
        # Order and dropout depend on seed and epoch alone, so a resumed run goes the same way.
        torch.manual_seed(seed * 1_000_003 + epoch)
        network.train()
        for step in steps.epoch():
            add_gradient(step)
            descent.step(processes.summed)
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
            best_state = _copied(average)
        if on_epoch:
            on_epoch(epoch, average)
        progress("training", epoch, config.epochs)
        ended = epoch >= config.epochs or epoch - best_epoch >= config.patience
        due = time.monotonic() - saved_at > _CHECKPOINT_EVERY_SECONDS or (keep and ended)
        if checkpoint and not processes.rank and due:
            saved_at = time.monotonic()
            with files.replacing(checkpoint) as temporary, files.writing(checkpoint):
                torch.save(
                    {
                        "network": network.state_dict(),
                        "average": average.state_dict(),
                        "descent": descent.state_dict(),
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
    # A copy has its parameters apart, as files want them.
    return Fitted(copy.deepcopy(network).cpu(), epoch, best_epoch, best)


def _copied(network: Network) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _gradient(
    cells: Cells,
    network: Network,
    config: TrainingConfig,
    n_classes: int,
    annotations_per_item: float | None,
    processes: Processes,
) -> Callable[[Tensor], None]:
    """Return what adds the gradient of a step's cells: of the printed sum's share, per unit weight.

    Of several processes each adds what its cells do.
    """
    total = float(cells.w.sum())
    # §2.4 has no KL term.
    targets, lambda_1 = None, 0.0
    if config.kl != "none" and not network.preference and len(network.v) > 0:
        # Rows with the same groups and label count alike here: their sum is one row.
        pattern, label = there = cells.labels.nonzero().T
        targets = equations.group_targets(
            cells.patterns[pattern], cells.labels[*there].to(cells.w.dtype), label, n_classes
        )
        if config.lambda_1 == "paper":
            m = annotations_per_item or total / len(cells.positions.unique(dim=0))
            lambda_1 = equations.lambda_1(n_classes - 1, m)
        else:
            lambda_1 = config.lambda_1
    dropouts = [module for module in network.modules() if isinstance(module, Dropout)]
    # The penalties belong to the whole training set; a step pays its share of them.
    share = 1 / (total * processes.count)

    def add_gradient(step: Tensor) -> None:
        S = cells.patterns.index_select(0, cells.pattern.index_select(0, step))
        w = cells.w.index_select(0, step)
        part = processes.part(len(step))
        for dropout in dropouts:
            dropout.among = len(step), part
        z = None
        if isinstance(network, PeopleNetwork):
            noise = torch.randn(len(step), network.habits.shape[1], device=w.device)
            z = network.traits_of(cells.who[step[part]], S[part], noise[part])
        vectors, positions = cells.vectors, cells.positions.index_select(0, step[part])
        if w.device.type == "cpu":  # on a GPU it would wait for the number of texts
            vectors, positions = _texts_of(vectors, positions)
        logits = network.logits_at(vectors, positions, S[part], z)
        slope = fast.slope(
            processes.whole(logits.detach(), len(step)),
            cells.levels.index_select(0, step),
            S,
            w,
            lambda_1,
            targets,
            config.kl,
            config.sharpness,
        ).div_(w.sum())
        learnt, slopes = [logits], [slope[part]]
        if isinstance(network, PeopleNetwork):
            learnt.append(network.price())
            slopes.append(slope.new_tensor(share))
        torch.autograd.backward(learnt, slopes)
        assert network.v.grad is not None  # noqa: S101 (for the type checker)
        network.v.grad.add_(network.v.detach(), alpha=2 * config.lambda_2 * share)  # of `l2`

    return add_gradient


def _texts_of(vectors: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the vectors of the texts at `positions` and the positions (n, 1 or 2) among these.

    Cells of one text come in bunches; one in two bunches is there twice.
    """
    if positions.shape[1] == 1:
        texts, places = positions[:, 0].unique_consecutive(return_inverse=True)
    elif positions.numel() < len(vectors):
        texts, places = positions.unique(return_inverse=True)
    else:
        return vectors, positions
    return vectors.index_select(0, texts), places.view_as(positions)
