"""What every network can do, and the two that are trained: the paper's, and a head per group.

All fulfil `BaseNetwork`, so that training, prediction and saving never ask which one it is.
`mcstl.models.multilevel` knows people and texts, `mcstl.models.stack` puts networks together.
"""

import abc
import copy
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypedDict, Unpack, get_args

import numpy as np
import torch
from torch import Tensor, nn

from mcstl import equations
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, brief, listed
from mcstl.models.examples import Batch, Examples

#: What the hidden layer does: ``normed`` is layer norm and ReLU, ``smooth`` is GELU.
Layer = Literal["normed", "smooth"]
#: Replacements of some of a network's tensors by others.
Replacements = Iterable[tuple[Tensor, Tensor]]
#: Numbers that a core's cache holds: a grid in larger blocks takes six times as long.
_NUMBERS_IN_CACHE = 2**19


class Form(TypedDict, total=False):
    """The keyword arguments that every trained network takes, with `Network`'s defaults.

    Attributes:
        preference: Whether two texts are compared.
        hidden: The number of hidden units.
        dropout: The share of hidden units dropped in training.
        layer: What the hidden layer does.
    """

    preference: bool
    hidden: int
    dropout: float
    layer: Layer


class Dropout(nn.Module):
    """Dropout with one random byte per unit, so that the rate is a multiple of 1/256.

    nn.Dropout draws eight times as much: on a CPU it took longer than the rest of the layer.

    Args:
        rate: The share of units dropped in training, below 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropped = min(round(256 * rate), 255)

    def forward(self, x: Tensor) -> Tensor:
        """Drop units and scale the rest up, in training only.

        Args:
            x: The units, of any shape.

        Returns:
            The units of the same shape.
        """
        if not self.training or not self.dropped:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        drawn = words.random_(-(2**63), None).view(torch.uint8)[: x.numel()].view(x.shape)
        mask = drawn.to(x.dtype).ge_(self.dropped)
        return x * mask.mul_(256 / (256 - self.dropped))


#: What is said where a network without draws is asked how sure it is.
NOT_SURE = (
    "only models of the methods multilevel and best know how sure they are; fit one of them, or "
    "ask for no intervals"
)


class Effects(NamedTuple):
    """What the groups of P rows or perspectives add, whatever the text is.

    Attributes:
        shift: What is added to the text's projection, (P, units).
        head: The biases, (T,) or (P, T); in preference the temperatures, (P,).
    """

    shift: Tensor
    head: Tensor


class BaseNetwork(nn.Module, abc.ABC):
    """What every network can do, trained or put together, with annotators or without.

    Attributes:
        kind: The name by which config.json says which class it is (`mcstl.models.network_kinds`).
        preference: Whether two texts are compared; then logits are those of the first one.
        dimension: The length of a text's vector, d.
        hidden: The number of units in the hidden layer.
    """

    kind: ClassVar[str]
    preference: bool
    dimension: int
    hidden: int

    @property
    @abc.abstractmethod
    def n_groups(self) -> int:
        """The number of value groups, K."""

    @property
    def n_annotators(self) -> int:
        """How many annotators the network knows; 0 for a network without people."""
        return 0

    @property
    def n_texts(self) -> int:
        """How many texts the network knows by themselves; 0 for one that knows their vectors."""
        return 0

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the network's entry in config.json.

        Returns:
            Its ``kind`` and what `mcstl.models.network_kinds.build` needs beside the sizes.
        """

    @abc.abstractmethod
    def probabilities(self, batch: Batch) -> Tensor:
        """Predict rows, each under its own groups, its annotator and its text where it knows them.

        Args:
            batch: n rows.

        Returns:
            The class probabilities, (n, L), float64.
        """

    @abc.abstractmethod
    def grid_probabilities(
        self, e: Tensor, S: Tensor, annotators: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """Predict every text under every perspective.

        Args:
            e: The vectors of the texts, (n, 1 or 2, d).
            S: The membership of each perspective, (P, K).
            annotators: The code of each perspective's annotator, -1 for somebody unknown, (P,).
            known: The code of each text among those that training knew, -1 for a new one,
                (n, 1 or 2); without it all are new.

        Returns:
            The class probabilities, (n, P, L).
        """

    @abc.abstractmethod
    def rewards(self, e: Tensor, S: Tensor) -> Tensor:
        """Compute r = o(e + V) / t of single texts (§2.4), for a network of preferences.

        Args:
            e: The vectors of the texts, (n, d).
            S: The membership of each perspective, (P, K); its annotator is an average one.

        Returns:
            The rewards in logits, (n, P).
        """

    @abc.abstractmethod
    def group_tensors(self, groups: Tensor) -> Replacements:
        """Return each tensor that has a part per group, with its part for some groups.

        Args:
            groups: Positions of the groups to keep, (k,).

        Returns:
            Pairs of a tensor of this network and what replaces it.
        """

    def select_groups(self, groups: Tensor) -> Self:
        """Copy the network with some of its groups only; the copy shares all other tensors.

        Groups that no prediction is about then cannot move it, not even by its rounding.

        Args:
            groups: Positions of the groups to keep, (k,).

        Returns:
            The copy, which is for prediction.
        """
        return self._copy_with(self.group_tensors(groups))

    def without_annotators(self) -> Self:
        """Leave out what was learnt of single annotators, which is personal data.

        Returns:
            A network that may be shared; this one where it knows no annotators.
        """
        return self

    @property
    def n_draws(self) -> int:
        """How many draws `grid_draws` makes; 0 for a network that does not know how sure it is."""
        return 0

    def sources(self) -> dict[str, float]:
        """Measure what makes answers differ.

        Returns:
            By source (the text, people, ...) the standard deviation of the score that it makes, in
            log odds; nothing for a network that does not know.
        """
        return {}

    def grid_draws(
        self, e: Tensor, S: Tensor, annotators: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """Predict a grid by each draw of what the network is not sure of, given the training rows.

        Args:
            e: As in `grid_probabilities`, and so are the others.
            S: The membership of each perspective, (P, K).
            annotators: The code of each perspective's annotator, (P,).
            known: The code of each text, (n, 1 or 2).

        Returns:
            The class probabilities by what is most likely, then by each of D draws,
            (1 + D, n, P, L).

        Raises:
            InputError: If the network does not know how sure it is.
        """
        raise InputError(NOT_SURE)

    def _copy_with(self, replacements: Replacements) -> Self:
        # deepcopy takes the copy of whatever the memo has from there.
        memo = {id(tensor): tensor for tensor in (*self.parameters(), *self.buffers())}
        for old, new in replacements:
            is_parameter = isinstance(old, nn.Parameter)
            memo[id(old)] = nn.Parameter(new, requires_grad=False) if is_parameter else new
        return copy.deepcopy(self, memo)


class Network(BaseNetwork):
    """MC-STL's network (§2.2, Fig. 2): o(e + V) with ordered biases, or with temperatures (§2.4).

    `o` is one hidden layer and a linear output without bias. The paper leaves the layer open (how
    it was chosen: docs/choices.md). In preference the bias cancels, and each group has a
    temperature instead.

    Args:
        dimension: The length of a text's vector, d.
        n_groups: The number of value groups, K.
        n_thresholds: The number of levels, T = L - 1.
        preference: Whether two texts are compared.
        hidden: The number of hidden units.
        dropout: The share of hidden units dropped in training.
        layer: ``normed`` is normalised (layer norm) before its ReLU, ``smooth`` has GELU alone.
    """

    kind = "mc-stl"

    def __init__(
        self,
        dimension: int,
        n_groups: int,
        n_thresholds: int,
        *,
        preference: bool = False,
        hidden: int = 256,
        dropout: float = 0.5,
        layer: Layer = "normed",
    ) -> None:
        super().__init__()
        self.dimension, self.hidden = dimension, hidden
        self.preference, self.layer = preference, layer
        v = torch.empty(n_groups, dimension)
        if not v.is_meta:  # where weights are loaded; drawing there would import torch's compiler
            # Small: a start far from zero drowns the text, and costs AUC (LOG.md).
            v = 0.01 * torch.randn(n_groups, dimension)
        self.v = nn.Parameter(v)
        self.first = nn.Linear(dimension, hidden)
        active = [nn.LayerNorm(hidden), nn.ReLU(inplace=True)] if layer == "normed" else [nn.GELU()]
        self.rest = nn.Sequential(*active, Dropout(dropout), nn.Linear(hidden, 1, bias=False))
        if preference:
            self.log_t = nn.Parameter(torch.zeros(n_groups))
        else:
            self.b_first = nn.Parameter(torch.zeros(1))
            self.b_gaps = nn.Parameter(torch.zeros(n_thresholds - 1))

    @classmethod
    def for_training(cls, train: Examples, n_classes: int, **form: Unpack[Form]) -> Self:
        """Make a network for training rows, its biases at the label rates.

        Args:
            train: The training rows, whose sizes the network takes.
            n_classes: The number of classes, L.
            **form: What `Network` takes by name.

        Returns:
            The network with random weights. The biases start where the labels are, so that the
            first epochs learn texts and groups.
        """
        sizes = train.vectors.shape[1], train.S.shape[1], n_classes - 1
        network = cls(*sizes, **form)
        if not network.preference:
            network.start_biases(train.class_weights(n_classes))
        return network

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], sizes: tuple[int, int, int], preference: bool
    ) -> Self:
        """Make a network, with random weights, of the form that `config` returned.

        Args:
            config: The network's entry in config.json.
            sizes: The dimension d, the number of groups K and of thresholds T.
            preference: Whether two texts are compared.

        Returns:
            The network; its weights are to be loaded.

        Raises:
            ValueError: If the layer is none of `Layer`.
        """
        layer = config["layer"]
        if layer not in get_args(Layer):
            raise ValueError(f"its layer is {brief(layer)}; expected {listed(get_args(Layer))}")
        return cls(*sizes, preference=preference, hidden=config["hidden"], layer=layer)

    @property
    def n_groups(self) -> int:
        """The number of value groups, K."""
        return len(self.v)

    def config(self) -> dict[str, Any]:
        """Describe the network for config.json.

        Returns:
            Its kind, hidden units and layer.
        """
        return {"kind": self.kind, "hidden": self.hidden, "layer": self.layer}

    def start_biases(self, class_weights: FloatArray) -> None:
        """Set the biases so that a text without signal is predicted at the label rates.

        Args:
            class_weights: The weight of the training rows of each class, (L,). One more row per
                class keeps a class without rows off zero.
        """
        counts = np.asarray(class_weights) + 1.0
        above = np.cumsum(counts[::-1])[::-1][1:] / counts.sum()  # (T,) P(y > t)
        b = np.log(above / (1 - above))
        gaps = np.maximum(-np.diff(b), 1e-3)
        with torch.no_grad():
            self.b_first.fill_(float(b[0]))
            self.b_gaps.copy_(torch.from_numpy(np.log(np.expm1(gaps))))

    def group_tensors(self, groups: Tensor) -> Replacements:
        """Return the groups' embeddings, and temperatures, with those of some groups.

        Args:
            groups: Positions of the groups to keep, (k,).

        Returns:
            Pairs of a tensor of this network and what replaces it.
        """
        yield self.v, self.v.detach()[groups]
        if self.preference:
            yield self.log_t, self.log_t.detach()[groups]

    def project(self, e: Tensor) -> Tensor:
        """Compute W e + c, what the text alone gives the first layer.

        Args:
            e: Vectors of texts, (..., d).

        Returns:
            The first layer's input from the text, (..., hidden).
        """
        return self.first(e)  # type: ignore[no-any-return]

    def effects(self, S: Tensor) -> Effects:
        """Return what groups add: W V to the first layer (Eq. 1), and b_t, or t (§2.4).

        Args:
            S: Membership, (P, K).

        Returns:
            The effects of P rows or perspectives.
        """
        # S (v W') is the same as (S v) W' and cheaper, since there are fewer groups than rows.
        shift = equations.value_representation(S, self.v @ self.first.weight.T)
        return Effects(shift, self._head(S))

    def score(self, projected: Tensor, shift: Tensor) -> Tensor:
        """Return o(e + V) from its two parts.

        The first layer is linear, so W (e + V) + c is taken as (W e + c) + W V: a text meets any
        number of perspectives at the cost of one product.

        Args:
            projected: W e + c, (..., hidden).
            shift: W V, of a shape that broadcasts with `projected`.

        Returns:
            The scores, (...).
        """
        return self.rest(projected + shift).squeeze(-1)  # type: ignore[no-any-return]

    def probabilities(self, batch: Batch) -> Tensor:
        """See `BaseNetwork.probabilities`."""
        return equations.class_probabilities(self.logits(batch).double())

    def grid_probabilities(
        self, e: Tensor, S: Tensor, annotators: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """See `BaseNetwork.grid_probabilities`."""
        return equations.class_probabilities(self.grid_logits(e, S))

    def logits(self, batch: Batch) -> Tensor:
        """Compute the level logits of rows, for training.

        Args:
            batch: n rows, whose annotators are ignored.

        Returns:
            The logits of P(y > t), or of P(A preferred): (n, T).
        """
        return self._respond(self._project_rows(batch), self.effects(batch.S))

    def grid_logits(self, e: Tensor, S: Tensor) -> Tensor:
        """Compute the level logits of every text under every perspective.

        Args:
            e: The vectors of the texts, (n, 1 or 2, d).
            S: The membership of each perspective, (P, K).

        Returns:
            The logits of P(y > t), or of P(A preferred): (n, P, T).
        """
        return self._respond_grid(self.project(e), self.effects(S))

    def rewards(self, e: Tensor, S: Tensor) -> Tensor:
        """See `BaseNetwork.rewards`."""
        shift, t = self.effects(S)
        return self.score(self.project(e)[:, None], shift) / t

    def penalty(self, lambda_2: float) -> Tensor:
        """Return what is added to the loss of the whole training set beside the likelihood and KL.

        Args:
            lambda_2: The weight of the embeddings' square (Eq. 2).

        Returns:
            A scalar in nats.
        """
        return lambda_2 * equations.l2(self.v)

    def _head(self, S: Tensor) -> Tensor:
        if self.preference:
            return equations.temperature(S, self.log_t)
        if not len(self.b_gaps):  # the only one; a tenth of a step would go into its order
            return self.b_first
        return equations.ordered_biases(self.b_first, self.b_gaps)

    def _project_rows(self, batch: Batch) -> Tensor:
        """Return the projected texts of rows, (n, 1 or 2, hidden), projecting as few as can be."""
        if len(batch.vectors) > batch.positions.numel():
            return self.project(batch.vectors[batch.positions])
        projected = self.project(batch.vectors).index_select(0, batch.positions.flatten())
        return projected.view(*batch.positions.shape, -1)

    def _respond_grid(self, projected: Tensor, effects: Effects) -> Tensor:
        """Return logits (n, P, T) of projected texts (n, sides, hidden) in blocks that are fast."""
        n_texts = len(projected)
        if projected.device.type == "cpu":
            n_texts = _NUMBERS_IN_CACHE // max(1, effects.shift.numel() * projected.shape[1])
        blocks = projected[:, None].split(max(1, n_texts))
        return torch.cat([self._respond(block, effects) for block in blocks])

    def _respond(self, projected: Tensor, effects: Effects) -> Tensor:
        """Return logits, (n, T) for rows' texts (n, sides, hidden), (n, P, T) for a grid's."""
        scores = self.score(projected, effects.shift.unsqueeze(-2))
        if self.preference:
            return equations.preference_logits(scores[..., 0], scores[..., 1], effects.head)
        return equations.level_logits(scores[..., 0], effects.head)


class HeadsNetwork(Network):
    """A separate head per group on a shared trunk, as in multi-task learning from annotators.

    Davani et al. (2022, §4) give every annotator a head; here every value group has one, its own
    weights and offset. A row in several groups has the mean of their heads, a row in none the
    shared one; `v` (K, hidden + 1) is how far each head is from that.

    Args:
        dimension: The length of a text's vector, d.
        n_groups: The number of value groups, K.
        n_thresholds: The number of levels, T = L - 1.
        **form: What `Network` takes by name.
    """

    kind = "heads"

    def __init__(
        self, dimension: int, n_groups: int, n_thresholds: int, **form: Unpack[Form]
    ) -> None:
        super().__init__(dimension, n_groups, n_thresholds, **form)
        self.v = nn.Parameter(torch.zeros(n_groups, self.hidden + 1))

    def effects(self, S: Tensor) -> Effects:
        """Return how far the heads of P memberships are from the shared one, (P, hidden + 1).

        Args:
            S: Membership, (P, K).

        Returns:
            The effects of P rows or perspectives.
        """
        mean = equations.value_representation(S, self.v) / S.sum(-1, keepdim=True).clamp(min=1)
        return Effects(mean, self._head(S))

    def score(self, projected: Tensor, shift: Tensor) -> Tensor:
        """Apply the heads to the trunk's units.

        Args:
            projected: What the text gives the first layer, (..., hidden).
            shift: How far the heads are from the shared one, broadcasting to (..., hidden + 1).

        Returns:
            The scores, (...).
        """
        units = self.rest[:-1](projected)
        offset = (units * shift[..., :-1]).sum(-1) + shift[..., -1]
        return self.rest[-1](units).squeeze(-1) + offset  # type: ignore[no-any-return]
