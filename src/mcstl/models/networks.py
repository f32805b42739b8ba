"""The networks that own v, o, b and t: the paper's, a head per group, products, and their mean.

All fulfil `BaseNetwork`, so that training, prediction and saving never ask which one it is. The
network that knows annotators is in `mcstl.models.people`.
"""

import abc
import copy
import math
from collections.abc import Iterable, Mapping, Sequence
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
#: The width of `ProductNetwork` in units of how far texts are from their mean (root mean square).
_WIDTH = 0.55


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


class Effects(NamedTuple):
    """What the groups (and the annotator) of P rows or perspectives add, whatever the text is.

    Attributes:
        shift: What is added to the text's projection, or multiplied into it: (P, units).
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

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the network's entry in config.json.

        Returns:
            Its ``kind`` and what `mcstl.models.network_kinds.build` needs beside the sizes.
        """

    @abc.abstractmethod
    def logits(self, batch: Batch) -> Tensor:
        """Compute the level logits of rows, for training.

        Args:
            batch: n rows.

        Returns:
            The logits of P(y > t), or of P(A preferred): (n, T).
        """

    @abc.abstractmethod
    def grid_logits(self, e: Tensor, S: Tensor) -> Tensor:
        """Compute the level logits of every text under every perspective.

        Args:
            e: The vectors of the texts, (n, 1 or 2, d).
            S: The membership of each perspective, (P, K).

        Returns:
            The logits, (n, P, T).
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

    def probabilities(self, batch: Batch, draws: int | None = None) -> Tensor:
        """Predict rows, each under its own groups and annotator.

        Args:
            batch: n rows.
            draws: How many draws a network of people averages over, by default all it has; other
                networks need none.

        Returns:
            The class probabilities, (n, L), float64.
        """
        return equations.class_probabilities(self.logits(batch).double())

    def grid_probabilities(self, e: Tensor, S: Tensor, annotators: Tensor) -> Tensor:
        """Predict every text under every perspective.

        Args:
            e: The vectors of the texts, (n, 1 or 2, d).
            S: The membership of each perspective, (P, K).
            annotators: The code of each perspective's annotator, -1 for somebody unknown, (P,);
                a network without people ignores them.

        Returns:
            The class probabilities, (n, P, L).
        """
        return equations.class_probabilities(self.grid_logits(e, S))

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

    def posterior_sample(self, annotators: Tensor, generator: torch.Generator) -> Self:
        """Draw a network from the posterior over what groups share and annotators are like.

        Args:
            annotators: Codes of the annotators to draw, -1 for somebody unknown, (P,).
            generator: Where the random numbers come from.

        Returns:
            A network whose predictions are one draw of what this one knows.

        Raises:
            InputError: If the network is not one of people, and so does not know how sure it is.
        """
        raise InputError("only a model of the method mc-stl-people knows how sure it is")

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
        # Small: a start far from zero drowns the text, and costs AUC (LOG.md).
        self.v = nn.Parameter(0.01 * torch.randn(n_groups, dimension))
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
            train: The training rows, whose sizes (and people, and scale) the network takes.
            n_classes: The number of classes, L.
            **form: What `Network` takes by name.

        Returns:
            The network with random weights. The biases start where the labels are, so that the
            first epochs learn texts and groups.
        """
        sizes = train.vectors.shape[1], train.S.shape[1], n_classes - 1
        network = cls(*sizes, **cls._measured(train), **form)
        if not network.preference:
            network.start_biases(train.class_weights(n_classes))
        return network

    @classmethod
    def _measured(cls, train: Examples) -> dict[str, Any]:
        """Return the constructor's arguments that come from the training rows."""
        return {}

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
        extra = cls._configured(config, sizes)
        return cls(*sizes, preference=preference, hidden=config["hidden"], layer=layer, **extra)

    @classmethod
    def _configured(cls, config: Mapping[str, Any], sizes: tuple[int, int, int]) -> dict[str, Any]:
        """Return the constructor's other arguments."""
        return {}

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

    def logits(self, batch: Batch) -> Tensor:
        """Compute the level logits of rows.

        Args:
            batch: n rows, whose annotators are ignored.

        Returns:
            The logits of P(y > t), or of P(A preferred): (n, T).
        """
        return self._respond(self._project_rows(batch), self.effects(batch.S))

    def grid_logits(self, e: Tensor, S: Tensor) -> Tensor:
        """See `BaseNetwork.grid_logits`."""
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

    def after_epoch(self) -> None:
        """Update what is learnt once an epoch rather than by gradients: here nothing."""

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


class ProductNetwork(Network):
    """MC-STL with V multiplied into what the text says instead of added: (a + V) . u(e).

    The h units u(e) = cos(W e + c) start as random features of a Gaussian kernel of the texts
    (Rahimi and Recht, 2007), of so small a `width` that only much the same text is near, and are
    then trained. Each group has an embedding v_k (K, h), the weights by which it takes them, and V
    is their sum (Eq. 1): a group's stance on a text is a function of the text of its own, and
    groups add up. Where what a text says depends wholly on who is asked, this is what boosted
    trees see and o(e + V) does not (docs/beyond.md).

    Args:
        dimension: The length of a text's vector, d.
        n_groups: The number of value groups, K.
        n_thresholds: The number of levels, T = L - 1.
        width: The width of the kernel, in the units of the texts' vectors.
        **form: What `Network` takes by name; `layer` has no meaning here.
    """

    kind = "product"

    def __init__(
        self,
        dimension: int,
        n_groups: int,
        n_thresholds: int,
        *,
        width: float = 1.0,
        **form: Unpack[Form],
    ) -> None:
        super().__init__(dimension, n_groups, n_thresholds, **form)
        self.v = nn.Parameter(torch.zeros(n_groups, self.hidden))
        nn.init.normal_(self.first.weight, 0, 1 / width)
        nn.init.uniform_(self.first.bias, 0, 2 * math.pi)
        last = nn.Linear(self.hidden, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.rest = nn.Sequential(self.rest[-2], last)

    @classmethod
    def _measured(cls, train: Examples) -> dict[str, Any]:
        texts = train.vectors[np.unique(train.positions)]
        return {"width": _WIDTH * (float(np.sqrt(texts.var(axis=0).sum())) or 1.0)}

    def effects(self, S: Tensor) -> Effects:
        """Return V, the weights that the groups add to a: (P, hidden).

        Args:
            S: Membership, (P, K).

        Returns:
            The effects of P rows or perspectives.
        """
        return Effects(equations.value_representation(S, self.v), self._head(S))

    def score(self, projected: Tensor, shift: Tensor) -> Tensor:
        """Return (a + V) . u(e).

        Args:
            projected: W e + c, (..., hidden).
            shift: V, of a shape that broadcasts with `projected`.

        Returns:
            The scores, (...).
        """
        units: Tensor = self.rest[0](torch.cos(projected))
        a = self.rest.get_parameter("1.weight")[0]
        return (units * (a + shift)).sum(-1)


class MeanNetwork(BaseNetwork):
    """Trained networks that answer as one: the mean of their logits, in preference of rewards.

    The mean can be recalibrated: `slope` times it plus `offsets`, the same for all groups, so that
    rows, views and rewards are all recalibrated alike (`mcstl.models.calibration`).

    Args:
        members: The networks, all of the same sizes and task.

    Attributes:
        slope: What the mean is multiplied by, (1,).
        offsets: What is then added to the level logits, (T,); 0 in preference.

    Raises:
        ValueError: If there are no members.
    """

    kind = "mean"

    slope: Tensor
    offsets: Tensor

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__()
        if not members:
            raise ValueError("it has no members")
        self.members: Sequence[Network] = nn.ModuleList(members)  # type: ignore[assignment]
        self.preference, self.dimension = members[0].preference, members[0].dimension
        self.hidden = sum(member.hidden for member in members)
        n_thresholds = 1 if self.preference else len(members[0].b_gaps) + 1
        self.register_buffer("slope", torch.ones(1))
        self.register_buffer("offsets", torch.zeros(n_thresholds))

    @property
    def n_groups(self) -> int:
        """The number of value groups, K."""
        return self.members[0].n_groups

    def config(self) -> dict[str, Any]:
        """Describe the network for config.json.

        Returns:
            Its kind, and what `config` of each member returns.
        """
        return {"kind": self.kind, "members": [member.config() for member in self.members]}

    def group_tensors(self, groups: Tensor) -> Replacements:
        """Return the members' tensors of groups, with those of some groups.

        Args:
            groups: Positions of the groups to keep, (k,).

        Returns:
            Pairs of a tensor of a member and what replaces it.
        """
        for member in self.members:
            yield from member.group_tensors(groups)

    def logits(self, batch: Batch) -> Tensor:
        """Compute the mean of the members' logits of rows, recalibrated.

        Args:
            batch: n rows.

        Returns:
            The logits, (n, T).
        """
        return self._recalibrated([member.logits(batch) for member in self.members])

    def grid_logits(self, e: Tensor, S: Tensor) -> Tensor:
        """Compute the mean of the members' logits of texts under perspectives, recalibrated.

        Args:
            e: The vectors of the texts, (n, 1 or 2, d).
            S: The membership of each perspective, (P, K).

        Returns:
            The logits, (n, P, T).
        """
        return self._recalibrated([member.grid_logits(e, S) for member in self.members])

    def rewards(self, e: Tensor, S: Tensor) -> Tensor:
        """Compute the mean of the members' rewards r = o(e + V) / t (§2.4), recalibrated.

        Args:
            e: The vectors of the texts, (n, d).
            S: The membership of each perspective, (P, K).

        Returns:
            The rewards in logits, (n, P).
        """
        return self.slope * torch.stack([m.rewards(e, S) for m in self.members]).mean(0)

    def _recalibrated(self, logits: Sequence[Tensor]) -> Tensor:
        return self.slope * torch.stack(list(logits)).mean(0) + self.offsets
