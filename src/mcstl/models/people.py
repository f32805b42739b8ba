"""Annotators as random effects within their groups: the network of `mc-stl-people`."""

from typing import Any, Self, Unpack

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mcstl import equations
from mcstl.models.networks import Form, Network

#: How many people a prediction about somebody not known is the mean of; a power of two.
_DRAWS = 32


class PeopleNetwork(Network):
    """MC-STL with annotators as random effects: o(e + V + U z_a), z_a = sum of m_k + h_a.

    Each annotator has `traits` latent numbers z_a, which move the hidden layer and the biases: what
    their groups `share`, m_k (K, traits), and a habit h_a of their own, normal over people with sd
    1. What a group shares has a normal prior whose sd `tau`, one per trait, is learnt as well
    (empirical Bayes); `spread` (traits, K + 1, K + 1) is a root of the posterior covariance of that
    and of the level of all people, which is as wide as members, and people, are few. Only groups
    that one person's annotations are in and out of, as by rationale, have an embedding v_k as well;
    the others are people's.

    What training learns of a known annotator is a normal distribution around their `habits`; of
    anybody else their groups' is known. Predictions are means over `draws` of what is not known, so
    that a group's is that of its absent members (docs/people.md). `typical` (A, K) are the
    annotators' memberships, `personal` (K,) is 1 for the groups that are people's.
    """

    draws: Tensor
    typical: Tensor
    personal: Tensor
    tau: Tensor
    spread: Tensor

    def __init__(
        self,
        dimension: int,
        n_groups: int,
        n_thresholds: int,
        *,
        typical: Tensor,
        personal: Tensor,
        traits: int = 16,
        **form: Unpack[Form],
    ) -> None:
        super().__init__(dimension, n_groups, n_thresholds, **form)
        self.habits = nn.Parameter(torch.zeros(len(typical), traits))
        self.log_sds = nn.Parameter(torch.full((len(typical), traits), -1.0))
        self.share = nn.Parameter(0.01 * torch.randn(n_groups, traits) * personal[:, None])
        self.to_hidden = nn.Parameter(0.05 * torch.randn(traits, self.first.out_features))
        self.to_biases = nn.Parameter(0.02 * torch.randn(traits, n_thresholds))
        self.register_buffer("draws", normal_draws(_DRAWS, traits))
        self.register_buffer("personal", personal)
        self.register_buffer("typical", typical * personal)
        self.register_buffer("tau", torch.ones(traits))
        self.register_buffer("spread", torch.zeros(traits, n_groups + 1, n_groups + 1))

    def narrowed(self, used: npt.NDArray[np.integer[Any]]) -> Self:
        """Return this network with some of its groups only, of which it learns no more."""
        narrow = super().narrowed(used)
        narrow._buffers = dict(self._buffers)
        narrow.personal = self.personal[used]
        narrow.share = nn.Parameter(self.share[used], requires_grad=False)
        # Known people stay in the groups that are left out.
        known = self.typical @ self.share + self.habits
        narrow.habits = nn.Parameter(known, requires_grad=False)
        narrow.typical = self.typical.new_zeros(len(known), len(used))
        return narrow

    def shift_parts(self, S: Tensor, z: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the groups of annotations, and what people add; without `z`, an average person."""
        if z is None:
            z = (S * self.personal) @ self.share
        return S * (1 - self.personal), z @ self.to_hidden

    def biases(self, z: Tensor | None = None) -> Tensor:
        """Return b_1 > ... > b_T, (T,), or each person's, (n, T)."""
        if z is None:
            return super().biases()
        moved = z @ self.to_biases
        return equations.ordered_biases(self.b_first + moved[:, :1], self.b_gaps + moved[:, 1:])

    def traits_of(
        self, who: Tensor, S: Tensor, noise: Tensor, share: Tensor | None = None
    ) -> Tensor:
        """Return (n, r) traits of people (n,) for standard noise; -1 is nobody known, of groups S.

        `share` is one of `drawn_share`; of known people it tells nothing.
        """
        S = S * self.personal
        if share is not None:
            S = nn.functional.pad(S, (0, 1), value=1.0)
        somebody: Tensor = S @ (self.share if share is None else share) + noise
        if not len(self.habits):
            return somebody
        at = who.clamp(min=0)
        own = self.habits[at] + self.log_sds[at].exp() * noise
        return torch.where((who >= 0)[:, None], self.typical[at] @ self.share + own, somebody)

    def price(self) -> Tensor:
        """Return what knowing people and groups costs in nats: with the likelihood, the -ELBO."""
        of_groups = 0.5 * (self.share / self.tau).square().sum()
        return equations.traits_kl(self.habits, self.log_sds) + of_groups

    @torch.no_grad()
    def learn_groups(self) -> None:
        """Set how much what groups share varies, and how sure it is, by what is learnt so far.

        An annotator with the posterior sd s tells of their groups as much as one who is seen
        exactly among people of the variance 1 / (1 - s^2).
        """
        if not len(self.habits):
            return
        groups = self.personal.nonzero()[:, 0]
        w = (1 - (2 * self.log_sds).exp()).clamp(min=0)
        S = self.typical[:, groups]
        if len(groups):
            self.tau.copy_(equations.shared_spread(self.share[groups], w, S, self.tau))
        # The level is in the biases and the layer, with nothing to say where it is; an sd of 1, a
        # single person's, is wide beside what all of them tell.
        S = nn.functional.pad(S, (0, 1), value=1.0)
        sd = nn.functional.pad(self.tau[:, None].expand(-1, len(groups)), (0, 1), value=1.0)
        of = nn.functional.pad(groups, (0, 1), value=len(self.personal))
        covariance = equations.shared_covariance(w, S, sd)
        self.spread[:, of[:, None], of] = torch.linalg.cholesky(covariance)

    def drawn_share(self, noise: Tensor) -> Tensor:
        """Return (B, K + 1, r) draws of what groups share, and last of the level of all people.

        `noise` is standard and of that shape. What is learnt of few people is spread widely.
        """
        known = nn.functional.pad(self.share, (0, 0, 0, 1))
        return known + torch.einsum("rkj,bjr->bkr", self.spread, noise)


def normal_draws(count: int, size: int) -> Tensor:
    """Return (count, size) points that fill the standard normal evenly, the same always."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    # Without scrambling the first point is 0, which has no normal quantile.
    even = qmc.Sobol(size, seed=0).random(count)
    return torch.from_numpy(ndtri(even.clip(1e-4, 1 - 1e-4))).float()
