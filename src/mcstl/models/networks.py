"""The networks that own v, o, b and t: the paper's, one with a head per group, one of products."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypedDict, Unpack, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mcstl import equations
from mcstl._support.errors import brief, listed
from mcstl.models import fast

Layer = Literal["normed", "smooth"]


class Form(TypedDict, total=False):
    """What a network takes by name, with `Network`'s defaults."""

    preference: bool
    hidden: int
    dropout: float
    layer: Layer


class Dropout(nn.Module):
    """Dropout by masks from a pool, with the rate in steps of 1/256.

    The pool is drawn when training starts, for the loop in each epoch, and each step takes as many
    rows of it in a row, from anywhere. To draw every unit of every step took a tenth of the time.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropped = min(round(256 * rate), 255)
        self.factor = 256 / (256 - self.dropped)
        #: Of how many rows the next ones are which, where processes share a step; None: of all.
        self.among: tuple[int, slice] | None = None
        self._pool: Tensor | None = None

    def train(self, mode: bool = True) -> Self:
        """Set whether units are dropped, from now on by other masks than before."""
        self._pool = self.among = None
        return super().train(mode)

    def kept(self, shape: Sequence[int], like: Tensor) -> Tensor | None:
        """Return 0 or 1 for each unit of `shape` (n, ...), typed `like` them; None keeps all.

        What is kept is to be multiplied by `factor`.
        """
        if not self.training or not self.dropped:
            return None
        n, part = self.among or (shape[0], slice(None))
        if self._pool is None or len(self._pool) < n:
            shape = (2 * n, *shape[1:])
            count = math.prod(shape)
            drawn = torch.empty(-(-count // 8), dtype=torch.int64, device=like.device)
            drawn.random_(-(2**63), None)
            kept = drawn.view(torch.uint8)[:count].view(shape) >= self.dropped
            self._pool = kept.to(like.dtype)
        start = int(torch.randint(len(self._pool) - n + 1, ()))
        return self._pool[start : start + n][part]

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (n, ...) with units dropped and the rest scaled up, in training."""
        kept = self.kept(x.shape, x)
        return x if kept is None else x * (self.factor * kept)


class Network(nn.Module):
    """MC-STL's network (§2.2, Fig. 2): o(e + V) with ordered biases, or with temperatures.

    `o` is one hidden layer of `hidden` units and a linear output without bias. A ``normed`` layer
    is normalised (layer norm) before its ReLU, a ``smooth`` one has GELU alone. The paper leaves
    all of that open (how it was chosen: docs/choices.md). In preference the bias cancels, and each
    group has a temperature instead.
    """

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
        self.preference, self.layer = preference, layer
        #: Whether the gradients of `scores_at` are those of `fast`; else they are autograd's.
        self.by_hand = layer == "normed"
        # Small: a start far from zero drowns the text, and costs AUC (LOG.md).
        self.v = nn.Parameter(0.01 * torch.randn(n_groups, dimension))
        self.first = nn.Linear(dimension, hidden)
        active = [nn.LayerNorm(hidden), nn.ReLU()] if layer == "normed" else [nn.GELU()]
        self.rest = nn.Sequential(*active, Dropout(dropout), nn.Linear(hidden, 1, bias=False))
        if preference:
            self.log_t = nn.Parameter(torch.zeros(n_groups))
        else:
            self.b_first = nn.Parameter(torch.zeros(1))
            self.b_gaps = nn.Parameter(torch.zeros(n_thresholds - 1))

    def narrowed(self, used: npt.NDArray[np.integer[Any]]) -> Self:
        """Return this network with some of its groups only; it shares all else.

        What is not asked for then cannot move a prediction, not even by its rounding.
        """
        narrow = copy.copy(self)
        narrow._parameters = dict(self._parameters)
        narrow.v = nn.Parameter(self.v[used], requires_grad=False)
        if self.preference:
            narrow.log_t = nn.Parameter(self.log_t[used], requires_grad=False)
        return narrow

    def described(self) -> dict[str, Any]:
        """Return what a model directory says of the network's form, for `rebuilt`."""
        layer = {} if self.layer == "normed" else {"layer": self.layer}
        return {"hidden": self.first.out_features, **layer}

    def project(self, e: Tensor) -> Tensor:
        """Return W e + c, what the text alone gives the first layer: (..., hidden)."""
        return self.first(e)  # type: ignore[no-any-return]

    def shift_parts(self, S: Tensor, z: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return whose embeddings `shift` sums, (..., K), and what else it adds, (..., hidden)."""
        return S, None

    def shift(self, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return W V, what the groups add to it: membership (..., K) gives (..., hidden)."""
        S, more = self.shift_parts(S, z)
        # S (v W') is the same as (S v) W' and cheaper, since there are fewer groups than rows.
        shift = equations.value_representation(S, self.v @ self.first.weight.T)
        return shift if more is None else shift + more

    def score(self, projected: Tensor, shift: Tensor) -> Tensor:
        """Return o(e + V) from its two parts, which broadcast: (...).

        The first layer is linear, so W (e + V) + c is taken as (W e + c) + W V: a text meets any
        number of perspectives at the cost of one product.
        """
        return self.rest(projected + shift).squeeze(-1)  # type: ignore[no-any-return]

    def biases(self, z: Tensor | None = None) -> Tensor:
        """Return b_1 > ... > b_T, (T,)."""
        if not len(self.b_gaps):  # the only one; a tenth of a step would go into its order
            return self.b_first
        return equations.ordered_biases(self.b_first, self.b_gaps)

    def logits(self, e: Tensor, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return the level logits of n rows: e (n, 1 or 2, d) and S (n, K) give (n, T).

        `z` (n, r) are the annotators' traits, for a `people.PeopleNetwork`.
        """
        return self.logits_of(self.project(e), S, z)

    def logits_at(
        self, vectors: Tensor, positions: Tensor, S: Tensor, z: Tensor | None = None
    ) -> Tensor:
        """Return `logits` of rows given by their positions (n, 1 or 2) among distinct texts (m, d).

        Where there are fewer texts than places for them, each is projected once. It is for training
        and its rounding is another than that of `logits`.
        """
        if len(vectors) > positions.numel():
            vectors = vectors[positions.flatten()]
            positions = torch.arange(len(vectors), device=positions.device).view_as(positions)
        return self._head(self.scores_at(vectors, positions, S, z), S, z)

    def scores_at(
        self, vectors: Tensor, positions: Tensor, S: Tensor, z: Tensor | None = None
    ) -> Tensor:
        """Return `score` of the rows of `logits_at`: of the shape of `positions`."""
        if not self.by_hand:
            return self.score(self.projected_at(vectors, positions), self.shift(S, z)[:, None])
        norm, _, dropout, last = cast("tuple[nn.LayerNorm, nn.ReLU, Dropout, nn.Linear]", self.rest)
        kept = dropout.kept((*positions.shape, last.in_features), vectors)
        S, more = self.shift_parts(S, z)
        layers = self.first, norm, last
        factor = 1.0 if kept is None else dropout.factor
        return fast.scores(vectors, positions, S, self.v, more, layers, kept, factor)

    def projected_at(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Return what the texts at `positions` alone give the first layer: (n, 1 or 2, hidden)."""
        if len(vectors) > positions.numel():
            return self.project(vectors[positions])
        return nn.functional.embedding(positions, self.project(vectors))

    def logits_of(self, projected: Tensor, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return `logits` of rows whose texts are projected."""
        return self._head(self.score(projected, self.shift(S, z)[:, None]), S, z)

    def grid_probabilities(self, e: Tensor, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return every text seen by every perspective: (n, 1 or 2, d), (P, K) give (n, P, L)."""
        n, sides, _ = e.shape
        shift = self.shift(S, z)[None, :, None]
        scores = self.score(self.project(e)[:, None], shift).reshape(-1, sides)
        z = None if z is None else z.repeat(n, 1)
        p = equations.class_probabilities(self._head(scores, S.repeat(n, 1), z))
        return p.reshape(n, len(S), p.shape[1])

    def _head(self, scores: Tensor, S: Tensor, z: Tensor | None) -> Tensor:
        if self.preference:
            t = equations.temperature(S, self.log_t)
            return equations.preference_logits(scores[:, 0], scores[:, 1], t)
        return equations.level_logits(scores[:, 0], self.biases(z))


class HeadsNetwork(Network):
    """A separate head per group on a shared trunk, as in multi-task learning from annotators.

    Davani et al. (2022, §4) give every annotator a head; here every value group has one, its own
    weights and offset. A row in several groups has the mean of their heads, a row in none the
    shared one; `v` (K, hidden + 1) is how far each head is from that.
    """

    def __init__(
        self,
        dimension: int,
        n_groups: int,
        n_thresholds: int,
        **form: Unpack[Form],
    ) -> None:
        super().__init__(dimension, n_groups, n_thresholds, **form)
        self.v = nn.Parameter(torch.zeros(n_groups, self.first.out_features + 1))
        self.by_hand = False

    def shift(self, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return how far the rows' heads are from the shared one: (..., hidden + 1)."""
        return equations.value_representation(S, self.v) / S.sum(-1, keepdim=True).clamp(min=1)

    def score(self, projected: Tensor, shift: Tensor) -> Tensor:
        """Return the rows' heads applied to the trunk's units: (...)."""
        units = self.rest[:-1](projected)
        own = (units * shift[..., :-1]).sum(-1) + shift[..., -1]
        return self.rest[-1](units).squeeze(-1) + own  # type: ignore[no-any-return]


class ProductNetwork(Network):
    """MC-STL with V multiplied into what the text says instead of added: (a + V) . u(e).

    The h units u(e) = cos(W e + c) start as random features of a Gaussian kernel of the texts
    (Rahimi and Recht, 2007), of so small a `width` that only much the same text is near, and are
    then trained. Each group has an embedding v_k (K, h), the weights by which it takes them, and V
    is their sum (Eq. 1): a group's stance on a text is a function of the text of its own, and
    groups add up. Where what a text says depends wholly on who is asked, this is what boosted
    trees see and o(e + V) does not (docs/beyond.md).
    """

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
        hidden = self.first.out_features
        self.v = nn.Parameter(torch.zeros(n_groups, hidden))
        self.by_hand = False
        nn.init.normal_(self.first.weight, 0, 1 / width)
        nn.init.uniform_(self.first.bias, 0, 2 * math.pi)
        last = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.rest = nn.Sequential(self.rest[-2], last)

    def described(self) -> dict[str, Any]:
        """Return what a model directory says of the network's form, for `rebuilt`."""
        return {"hidden": self.first.out_features, "form": "product"}

    def shift(self, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return V, the weights that the groups add to a: (..., hidden)."""
        return equations.value_representation(S, self.v)

    def score(self, projected: Tensor, shift: Tensor) -> Tensor:
        """Return (a + V) . u(e) of parts that broadcast: (...)."""
        units: Tensor = self.rest[0](torch.cos(projected))
        a = self.rest.get_parameter("1.weight")[0]
        return (units * (a + shift)).sum(-1)


class MeanNetwork(Network):
    """Trained networks that answer as one: the mean of their scores and biases.

    In preference the mean is of their rewards r / t, and it has no temperatures of its own. It is
    not trained; `v` are the members' embeddings side by side.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        nn.Module.__init__(self)
        self.members = nn.ModuleList(members)
        self.preference, self.by_hand = members[0].preference, False
        # Not registered, since the first member has them.
        vars(self)["first"] = members[0].first
        vars(self)["v"] = torch.cat([member.v.detach() for member in members], dim=1)
        if self.preference:
            vars(self)["log_t"] = torch.zeros_like(members[0].log_t)
        else:
            vars(self)["b_gaps"] = members[0].b_gaps

    def narrowed(self, used: npt.NDArray[np.integer[Any]]) -> Self:
        """Return this network with some of its groups only; it shares all else."""
        return type(self)([member.narrowed(used) for member in self._each()])

    def described(self) -> dict[str, Any]:
        """Return what a model directory says of the network's form, for `rebuilt`."""
        return {"members": [member.described() for member in self._each()]}

    def project(self, e: Tensor) -> Tensor:
        """Return what the text alone gives each member, side by side: (..., units of all)."""
        return torch.cat([member.project(e) for member in self._each()], dim=-1)

    def shift(self, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return what the groups give each member, side by side, and its 1 / t in preference."""
        parts = []
        for member in self._each():
            parts.append(member.shift(S))
            if self.preference:
                parts.append(1 / equations.temperature(S, member.log_t)[:, None])
        return torch.cat(parts, dim=-1)

    def score(self, projected: Tensor, shift: Tensor) -> Tensor:
        """Return the mean of the members' scores, in preference of their rewards r / t: (...)."""
        total, at, start = torch.zeros(()), 0, 0
        for member in self._each():
            units = member.first.out_features
            x, moved = projected[..., at : at + units], shift[..., start : start + units]
            at, start = at + units, start + units
            own = member.score(x, moved)
            if self.preference:
                own, start = own * shift[..., start], start + 1
            total = total + own
        return total / len(self.members)

    def biases(self, z: Tensor | None = None) -> Tensor:
        """Return the means of the members' b_1 > ... > b_T, (T,), which keep their order."""
        return torch.stack([member.biases() for member in self._each()]).mean(0)

    def _each(self) -> list[Network]:
        return [member for member in self.members if isinstance(member, Network)]


def form_of(shape: Mapping[str, Any], preference: bool) -> Form:
    """Return the form of the network that was `described` as `shape`.

    Raises ValueError if it has a layer that is none.
    """
    layer = shape.get("layer", "normed")
    if layer not in get_args(Layer):
        raise ValueError(f"its layer is {brief(layer)}; expected {listed(get_args(Layer))}")
    return {"preference": preference, "hidden": shape["hidden"], "layer": layer}


def rebuilt(
    shape: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    sizes: tuple[int, int, int],
    preference: bool,
) -> Network:
    """Return the network that was `described` as `shape`, with its weights.

    `sizes` are the dimension, the groups and the thresholds. No weight is drawn, and none is held
    before it is known to be there. Raises ValueError, or what torch raises, if they do not fit.
    """
    if "members" in shape:
        if not shape["members"]:
            raise ValueError("it has no members")
        members, left = [], len(weights)
        for number, each in enumerate(shape["members"]):
            prefix = f"members.{number}."
            own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
            members.append(rebuilt(each, own, sizes, preference))
            left -= len(own)
        if left:
            raise ValueError(f"{left} of its weights are of no member")
        return MeanNetwork(members)
    kind = ProductNetwork if shape.get("form") == "product" else Network
    with torch.device("meta"):
        network = kind(*sizes, **form_of(shape, preference))
    network.load_state_dict(weights, assign=True)
    return network
