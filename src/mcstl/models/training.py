"""How a network is fitted: the configuration, the loss and the loop."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from torch import Tensor, nn
from torch.optim.adam import adam

from mcstl import equations
from mcstl._support import files
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.equations import GroupTargets, KLForm
from mcstl.models.examples import Examples, WeightedExamples
from mcstl.models.networks import BaseNetwork, Layer, Network
from mcstl.models.prediction import predict_rows

#: Called after each epoch with its number and the network as it stands.
OnEpoch = Callable[[int, BaseNetwork], None]
_CHECKPOINT_EVERY_SECONDS = 20.0
#: The running average of the weights keeps this much at each step: it is over about a hundred.
_AVERAGE_DECAY = 0.99
#: Of more steps than these an epoch is long: the NLL falls by next to nothing for hundreds of
#: epochs. Training then stops after so many steps without a gain, and a smaller gain is none.
_STEPS_OF_LONG_EPOCH = 200
_PATIENT_STEPS, _LEAST_GAIN = 2_000, 1e-4
#: The keys of `TrainingConfig` that `mcstl.models.recipes` chooses where they are not given.
CHOSEN = ("learning_rate", "dropout", "batch_size")
#: What is chosen for the data where it is not given: these, and the patience here.
_OPEN = (*CHOSEN, "patience")


class TrainingConfig(BaseModel):
    """The `training` part of a study: what the paper leaves open, and its two lambdas.

    `mcstl.models.recipes` chooses the learning rate and the dropout where they are not given.

    Attributes:
        hidden: The number of hidden units of o(.).
        layer: The hidden layer: ``normed`` (layer norm and ReLU) or ``smooth`` (GELU).
        dropout: The share of hidden units dropped in training.
        learning_rate: Adam's step size.
        batch_size: Annotations per step.
        epochs: The most epochs.
        patience: Training stops after this many epochs without a lower validation NLL. Where it is
            not given and an epoch has more than 200 steps (400,000 rows in batches of 2,048), as
            many epochs as have 2,000 steps are enough, and the NLL has to be lower by 0.0001.
        lambda_1: The weight of the KL term (A.2), ``paper`` for 1 / (7.4 T m) with m, the mean
            annotations per item of the data set, or ``per-item`` for each group's mean of
            1 / (7.4 T m_i).
        lambda_2: The weight of the embeddings' square (Eq. 2).
        kl: How the KL term takes Q_k from the predictions (`mcstl.equations.kl_term`).
        sharpness: The l of Eq. 3.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: Annotated[int, Field(ge=1)] = 256
    layer: Layer = "normed"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    learning_rate: Annotated[float, Field(gt=0)] = 0.003
    batch_size: Annotated[int, Field(ge=1)] = 512
    epochs: Annotated[int, Field(ge=1)] = 200
    patience: Annotated[int, Field(ge=1)] = 10
    lambda_1: Literal["paper", "per-item"] | Annotated[float, Field(ge=0)] = "paper"
    lambda_2: Annotated[float, Field(ge=0)] = 0.0001
    kl: KLForm = "paper"
    sharpness: Annotated[float, Field(gt=0)] = 10_000

    @model_serializer(mode="wrap")
    def _without_open(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A copy of a study leaves open what the study does.
        return {key: value for key, value in write(self).items() if not self.leaves_open(key)}

    def leaves_open(self, key: str) -> bool:
        """Say whether a value is chosen for the data, since it was not given.

        Args:
            key: The name of the value.

        Returns:
            Whether it is.
        """
        return key in _OPEN and key not in self.model_fields_set


@dataclass(frozen=True)
class Problem:
    """What is to be learnt.

    Attributes:
        n_classes: The number of classes, L.
        preference: Whether the label says which of two texts is preferred (§2.4).
        annotations_per_item: m of the paper's lambda_1; by default the training rows' weight per
            distinct text.
        annotations_of_text: Its m_i: how many annotations, by weight, the item of each distinct
            text has, (m,); by default how many of the training rows.
    """

    n_classes: int
    preference: bool = False
    annotations_per_item: float | None = None
    annotations_of_text: FloatArray | None = None


@dataclass(frozen=True)
class Session:
    """How a training is followed, and how it goes on after a stop.

    Attributes:
        checkpoint: A file from which training goes on where it was stopped; it is removed at the
            end.
        keep: Whether the checkpoint stays, so that the same call again has the result at once.
        on_epoch: Called after each epoch with its number and the averaged network.
        progress: Called with what is being done, how many epochs are finished and how many there
            may be.
    """

    checkpoint: Path | None = None
    keep: bool = False
    on_epoch: OnEpoch | None = None
    progress: Progress = silent

    def part(self, number: int, count: int) -> "Session":
        """Follow one of several trainings of a run, whose epochs are of no interest.

        Args:
            number: Which one, from 0.
            count: How many there are.

        Returns:
            A session with a checkpoint of its own, which stays until `forget`, and its share of
            the progress.
        """
        checkpoint = self.checkpoint
        if checkpoint is not None:
            checkpoint = checkpoint.with_name(f"{checkpoint.name}-{number}")

        def progress(what: str, done: int, total: int) -> None:
            self.progress(what, number * total + done, count * total)

        return Session(checkpoint=checkpoint, keep=True, progress=progress)

    def forget(self) -> None:
        """Remove the checkpoint."""
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)


@dataclass(frozen=True)
class Fitted:
    """A trained network and how its training went.

    Attributes:
        network: The network of the best epoch, on the CPU.
        epochs: How many epochs were trained.
        best_epoch: The epoch with the lowest validation NLL.
        validation_nll: That NLL, in nats.
        config: How it was trained.
    """

    network: Network
    epochs: int
    best_epoch: int
    validation_nll: float
    config: TrainingConfig


def fit(
    train: Examples,
    validation: Examples,
    problem: Problem,
    config: TrainingConfig,
    *,
    network: type[Network] = Network,
    seed: int = 0,
    session: Session = Session(),
) -> Fitted:
    """Minimise Eq. 2, Eq. 4 or L_pl by Adam, stopping on the validation rows' NLL.

    What is validated and returned is a running average of the weights: better and steadier than
    the weights themselves (LOG.md). The result is that of the epoch with the lowest validation
    NLL. A training that is stopped and goes on from its checkpoint ends as if it had not been.
    Deterministic for a seed on one machine.

    Args:
        train: The rows to learn from.
        validation: The rows to stop on.
        problem: What is to be learnt.
        config: The network's form and how it is trained.
        network: The class of the network.
        seed: Decides the initial weights, the order of rows and dropout.
        session: How the training is followed, and where it goes on.

    Returns:
        The network and how its training went.

    Raises:
        InputError: If there are no rows, or if the loss stops being a finite number.

    Example:
        >>> from scipy.sparse import csr_matrix
        >>> vectors = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
        >>> positions, S = np.arange(200)[:, None], csr_matrix((200, 0), dtype=np.float32)
        >>> y, w = (vectors[:, 0] > 0).astype(np.int64), np.ones(200, dtype=np.float32)
        >>> rows = Examples(vectors, positions, S, y, w)
        >>> train, validation = rows.take(np.arange(150)), rows.take(np.arange(150, 200))
        >>> fitted = fit(train, validation, Problem(n_classes=2), TrainingConfig(epochs=40))
        >>> fitted.validation_nll < 0.5
        True
    """
    if not len(train) or not len(validation):
        raise InputError(
            f"there are {len(train)} rows to train on and {len(validation)} to validate on, and "
            "both are needed; give more annotations or other shares in split"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _one_thread():
        torch.manual_seed(seed)
        initial = network.for_training(
            train,
            problem.n_classes,
            preference=problem.preference,
            hidden=config.hidden,
            dropout=config.dropout,
            layer=config.layer,
        )
        examples = WeightedExamples.from_examples(train, problem.n_classes, device)
        loss = Loss.of(examples, problem, config)
        state = _State(initial.to(device), config)
        _descend(state, loss, examples, validation, seed, session)
        return state.fitted()


def predict(network: BaseNetwork, examples: Examples) -> FloatArray:
    """Predict rows, each under its own groups.

    Args:
        network: The network.
        examples: The rows; those that are alike get the same answer to the last bit.

    Returns:
        The class probabilities, (n, L).
    """
    first, place = examples.distinct
    annotators = None if examples.annotators is None else examples.annotators[first]
    positions, S = examples.positions[first], examples.S[first]
    p = predict_rows(network, examples.vectors, positions, S, annotators, known=examples.known)
    return np.asarray(p[place])


def validation_nll(network: BaseNetwork, examples: Examples) -> float:
    """Compute the mean negative log-likelihood of rows, under their own groups.

    Args:
        network: The network.
        examples: The rows, with their labels and weights.

    Returns:
        The NLL per unit of weight, in nats.
    """
    p = predict(network, examples)
    p_of_label = p[np.arange(len(examples)), examples.y]
    return float(-(examples.w @ np.log(np.maximum(p_of_label, 1e-12))) / examples.w.sum())


@dataclass(frozen=True)
class Loss:
    """Eq. 2, Eq. 4 or L_pl (§2.4) of a batch, per unit of weight.

    Attributes:
        config: The form of the KL term and lambda_2.
        targets: What the KL term compares with, each group's alpha_k times lambda_1; None where
            there is no such term, as in preference.
        total: The weight of all training rows. The penalties belong to the whole training set, and
            a batch pays its share of them.
    """

    config: TrainingConfig
    targets: GroupTargets | None
    total: float

    @classmethod
    def of(cls, examples: WeightedExamples, problem: Problem, config: TrainingConfig) -> Self:
        """Compute what the loss takes from the whole training set.

        Args:
            examples: The training rows.
            problem: What is to be learnt.
            config: The form of the KL term and the lambdas.

        Returns:
            The loss.
        """
        total = float(examples.w.sum())
        if config.kl == "none" or problem.preference or not examples.patterns.shape[1]:
            return cls(config, None, total)
        # Rows with the same groups and label count alike here: their sum is one row.
        pattern, label = (places := examples.pattern_labels.nonzero().T)
        weights = examples.pattern_labels[*places].to(examples.w.dtype)
        targets = equations.group_targets(
            examples.patterns[pattern], weights, label, problem.n_classes
        )
        lambda_1 = _lambda_1(examples, problem, config, total)
        return cls(config, targets._replace(alpha=lambda_1 * targets.alpha), total)

    def __call__(self, network: Network, examples: WeightedExamples, numbers: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            network: The network.
            examples: The training rows.
            numbers: Positions of the batch's examples, (b,).

        Returns:
            A scalar in nats per annotation.
        """
        batch = examples.batch(numbers)
        w = examples.w.index_select(0, numbers)
        logits = network.logits(batch)
        loss = w @ equations.cross_entropy(examples.levels.index_select(0, numbers), logits)
        if self.targets is not None:
            p, form = torch.sigmoid(logits), self.config
            kl = equations.kl_term(batch.S, w, p, self.targets, form.kl, form.sharpness)
            loss = loss + kl
        return loss / w.sum() + network.penalty(self.config.lambda_2) / self.total


def _lambda_1(
    examples: WeightedExamples, problem: Problem, config: TrainingConfig, total: float
) -> Tensor | float:
    """The weight of the KL term, or that of each group's part of it, (K,)."""
    T = problem.n_classes - 1
    if config.lambda_1 == "paper":
        m = problem.annotations_per_item or total / len(examples.positions.unique(dim=0))
        return equations.lambda_1(T, m)
    if config.lambda_1 != "per-item":
        return config.lambda_1
    text = examples.positions[:, 0]
    if problem.annotations_of_text is None:
        m_i = text.bincount(weights=examples.w)
    else:
        m_i = torch.from_numpy(problem.annotations_of_text).to(examples.w)
    by_row = equations.lambda_1(T, 1) / m_i[text]
    # The rows of a membership are summed first: as there are fewer, they need less memory.
    n_patterns = len(examples.patterns)
    count = examples.pattern.bincount(weights=examples.w, minlength=n_patterns)
    weights = examples.pattern.bincount(weights=examples.w * by_row, minlength=n_patterns)
    S = examples.patterns
    return equations.group_means(S, count.to(S), (weights / count).to(S)[:, None])[:, 0]


class _State:
    """A network in training, its running average and its best epoch so far.

    The optimizer is Adam (Kingma and Ba, 2015, Algorithm 1) by the function behind
    torch.optim.Adam: the first use of that class imports torch's compiler, which takes longer than
    many a training.
    """

    def __init__(self, network: Network, config: TrainingConfig) -> None:
        self.network, self.average = network, copy.deepcopy(network)
        self.config = config
        self.parameters: list[Tensor] = list(network.parameters())
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]
        self.epoch = self.best_epoch = self.gain_epoch = 0
        self.best_nll = self.gain_nll = math.inf
        self.best_weights = _copied(self.average)
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters against their gradients, and the average towards them."""
        is_first = not self.steps[0]
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        adam(
            self.parameters,
            gradients,
            self.means,
            self.squares,
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.config.learning_rate,
            weight_decay=0,
            eps=1e-8,
            maximize=False,
        )
        for gradient in gradients:
            gradient.zero_()
        # The random start is not averaged.
        share = 1.0 if is_first else 1 - _AVERAGE_DECAY
        for average, parameter in zip(self.average.parameters(), self.parameters, strict=True):
            average.lerp_(parameter, share)

    def validated(self, nll: float, least_gain: float) -> None:
        """Note the average's NLL after an epoch. Raises InputError if it is no finite number."""
        if not math.isfinite(nll):
            raise InputError(
                f"training diverged in epoch {self.epoch} (validation NLL {nll}); "
                "lower training.learning_rate"
            )
        if nll < self.best_nll:
            self.best_nll, self.best_epoch = nll, self.epoch
            self.best_weights = _copied(self.average)
        if nll < self.gain_nll - least_gain:
            self.gain_nll, self.gain_epoch = nll, self.epoch

    def ended(self, config: TrainingConfig, patience: int) -> bool:
        """Say whether there are epochs enough, or too many since the last gain."""
        return self.epoch >= config.epochs or self.epoch - self.gain_epoch >= patience

    def save(self, checkpoint: Path) -> None:
        """Write all that training needs to go on."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "adam": [self.means, self.squares, self.steps],
            "best_weights": self.best_weights,
            "best": (self.best_nll, self.best_epoch, self.epoch),
            "gain": (self.gain_nll, self.gain_epoch),
        }
        with files.replacing(checkpoint) as temporary, files.writing(checkpoint):
            torch.save(state, temporary)

    def resume(self, checkpoint: Path) -> None:
        """Go on from what `save` wrote; the checkpoint of an older version is begun anew."""
        device = self.steps[0].device
        saved: dict[str, Any] = torch.load(checkpoint, weights_only=True, map_location=device)
        if "gain" not in saved:
            return
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.means, self.squares, self.steps = saved["adam"]
        self.best_weights = saved["best_weights"]
        self.best_nll, self.best_epoch, self.epoch = saved["best"]
        self.gain_nll, self.gain_epoch = saved["gain"]

    def fitted(self) -> Fitted:
        """Return the network of the best epoch."""
        self.network.load_state_dict(self.best_weights)
        network = copy.deepcopy(self.network).cpu().eval()
        for parameter in network.parameters():
            parameter.grad = None
        return Fitted(network, self.epoch, self.best_epoch, self.best_nll, self.config)


def _descend(
    state: _State,
    loss: Loss,
    examples: WeightedExamples,
    validation: Examples,
    seed: int,
    session: Session,
) -> None:
    """Train epoch by epoch until the validation NLL has stopped falling."""
    config, checkpoint = loss.config, session.checkpoint
    if checkpoint and checkpoint.exists():
        state.resume(checkpoint)
    saved_at = time.monotonic()
    patience, least_gain = _patience(config, -int(-loss.total // config.batch_size))
    while not state.ended(config, patience):
        state.epoch += 1
        # Order and dropout depend on seed and epoch alone, so a resumed run goes the same way.
        torch.manual_seed(seed * 1_000_003 + state.epoch)
        state.network.train()
        for numbers in examples.shuffled(config.batch_size):
            loss(state.network, examples, numbers).backward()
            state.step()
        state.validated(validation_nll(state.average, validation), least_gain)
        if session.on_epoch:
            session.on_epoch(state.epoch, state.average)
        session.progress("training", state.epoch, config.epochs)
        is_due = time.monotonic() - saved_at > _CHECKPOINT_EVERY_SECONDS
        if checkpoint and (is_due or (session.keep and state.ended(config, patience))):
            saved_at = time.monotonic()
            state.save(checkpoint)
    session.progress("training", config.epochs, config.epochs)
    if checkpoint and not session.keep:
        checkpoint.unlink(missing_ok=True)


def _patience(config: TrainingConfig, steps: int) -> tuple[int, float]:
    """Return after how many epochs of so many steps without a gain to stop, and the least gain."""
    if steps <= _STEPS_OF_LONG_EPOCH or not config.leaves_open("patience"):
        return config.patience, 0.0
    return min(config.patience, -(-_PATIENT_STEPS // steps)), _LEAST_GAIN


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


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
