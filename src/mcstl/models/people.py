"""Annotators as random effects within their groups: the network of `mc-stl-people`."""

from collections.abc import Mapping
from typing import Any, Self, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from mcstl import equations
from mcstl._support.arrays import FloatArray
from mcstl.models.examples import Batch, Examples
from mcstl.models.networks import Effects, Form, Network, Replacements

#: How many people a prediction about somebody unknown is the mean of; a power of two.
_DRAWS = 32
#: A few annotators' answers may change from one annotation to the next.
_VARIANCE_WITHIN_PEOPLE = 0.1


class PeopleNetwork(Network):
    """MC-STL with annotators as random effects: o(e + V + U z_a), z_a = sum of m_k + h_a.

    Each annotator has `traits` latent numbers z_a, which move the hidden layer and the biases: what
    their groups `share`, m_k (K, traits), and a habit h_a of their own, normal over people with sd
    1. What a group shares has a normal prior whose sd `tau`, one per trait, is learnt as well
    (empirical Bayes); `spread` (traits, K + 1, K + 1) is a root of the posterior covariance of that
    and of the level of all people, which is as wide as members, and people, are few. Only groups
    that one person's annotations are in and out of, as by rationale, have an embedding v_k as well;
    the others are people's.

    What training learns of an annotator is a normal distribution around their `habits`; of anybody
    else only the groups are known. Predictions are means over `draws` of what is not known, so that
    a group's is that of members whom training did not see (docs/people.md).

    Args:
        dimension: The length of a text's vector, d.
        n_groups: The number of value groups, K.
        n_thresholds: The number of levels, T = L - 1.
        typical: The mean membership of each annotator who is learnt, (A, K).
        personal: 1 for the groups that are people's, else 0, (K,).
        traits: The number of latent traits.
        **form: What `Network` takes by name.

    Attributes:
        draws: Standard normal traits of people who stand for somebody unknown, (n draws, traits).
        typical: The mean membership of known annotators in the groups that are people's, (A, K).
        personal: 1 for the groups that are people's, else 0, (K,).
        tau: The standard deviation of what groups share, per trait, (traits,).
        spread: A root of the posterior covariance of what groups share and of the level of all
            people, (traits, K + 1, K + 1).
    """

    kind = "people"

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
        self.to_hidden = nn.Parameter(0.05 * torch.randn(traits, self.hidden))
        self.to_biases = nn.Parameter(0.02 * torch.randn(traits, n_thresholds))
        self.register_buffer("draws", normal_draws(_DRAWS, traits))
        self.register_buffer("personal", personal)
        self.register_buffer("typical", typical * personal)
        self.register_buffer("tau", torch.ones(traits))
        self.register_buffer("spread", torch.zeros(traits, n_groups + 1, n_groups + 1))

    @classmethod
    def _measured(cls, train: Examples) -> dict[str, Any]:
        typical, personal = map(torch.from_numpy, memberships_of_annotators(train))
        return {"typical": typical.float(), "personal": personal.float()}

    @classmethod
    def _configured(cls, config: Mapping[str, Any], sizes: tuple[int, int, int]) -> dict[str, Any]:
        n_groups = sizes[1]
        return {
            "typical": torch.empty(config["annotators"], n_groups),
            "personal": torch.empty(n_groups),
            "traits": config["traits"],
        }

    @property
    def n_annotators(self) -> int:
        """How many annotators the network knows."""
        return len(self.habits)

    def config(self) -> dict[str, Any]:
        """Describe the network for config.json.

        Returns:
            What `Network.config` returns, and the numbers of traits and annotators.
        """
        return {**super().config(), "traits": len(self.tau), "annotators": self.n_annotators}

    def group_tensors(self, groups: Tensor) -> Replacements:
        """Return what is learnt of groups, for some of them; annotators stay in those left out.

        Args:
            groups: Positions of the groups to keep, (k,).

        Returns:
            Pairs of a tensor of this network and what replaces it.
        """
        yield from super().group_tensors(groups)
        yield self.personal, self.personal[groups]
        yield self.share, self.share.detach()[groups]
        yield self.habits, self._traits_of_annotators()
        yield self.typical, self.typical.new_zeros(self.n_annotators, len(groups))

    def without_annotators(self) -> Self:
        """See `BaseNetwork.without_annotators`."""
        personal_data = (self.habits, self.log_sds, self.typical)
        return self._copy_with((tensor, tensor.detach()[:0]) for tensor in personal_data)

    @torch.no_grad()
    def posterior_sample(self, annotators: Tensor, generator: torch.Generator) -> Self:
        """See `BaseNetwork.posterior_sample`."""
        traits, device = len(self.tau), self.share.device
        noise = torch.randn(1, self.n_groups + 1, traits, generator=generator)
        share = self.sample_share(noise.to(device))[0]
        noise = torch.randn(len(annotators), traits, generator=generator).to(device)
        is_known = annotators >= 0
        drawn = annotators[is_known]
        habits, log_sds = self._traits_of_annotators(), self.log_sds.detach().clone()
        habits[drawn] += log_sds[drawn].exp() * noise[is_known]
        log_sds[drawn] = -torch.inf
        return self._copy_with(
            [
                (self.share, share[:-1]),
                (self.draws, self.draws + share[-1]),
                (self.habits, habits),
                (self.log_sds, log_sds),
                (self.typical, torch.zeros_like(self.typical)),
            ]
        )

    def effects(self, S: Tensor) -> Effects:
        """Return what groups and an average annotator of them add.

        Args:
            S: Membership, (P, K).

        Returns:
            The effects of P rows or perspectives.
        """
        return self._effects(S, (S * self.personal) @ self.share)

    def traits_of(self, annotators: Tensor, S: Tensor, noise: Tensor) -> Tensor:
        """Compute the latent traits z_a of annotators.

        Args:
            annotators: Their codes, -1 for somebody unknown, (n,).
            S: The membership of their annotations, (n, K); it counts for somebody unknown only.
            noise: Standard normal numbers, (n, traits) or (traits,).

        Returns:
            The traits, (n, traits).
        """
        somebody: Tensor = (S * self.personal) @ self.share + noise
        if not self.n_annotators:
            return somebody
        codes = annotators.clamp(min=0)
        mean = self.typical[codes] @ self.share + self.habits[codes]
        learnt = mean + self.log_sds[codes].exp() * noise
        return torch.where((annotators >= 0)[:, None], learnt, somebody)

    def logits(self, batch: Batch) -> Tensor:
        """Compute the level logits of rows for one random draw of what their annotators are like.

        Args:
            batch: n rows.

        Returns:
            The logits, (n, T).
        """
        noise = torch.randn(len(batch.S), len(self.tau), device=batch.S.device)
        traits = self.traits_of(batch.annotators_or_unknown(), batch.S, noise)
        return self._respond(self._project_rows(batch), self._effects(batch.S, traits))

    def probabilities(self, batch: Batch, draws: int | None = None) -> Tensor:
        """Predict rows, as a mean over draws of what their annotators are like.

        Args:
            batch: n rows.
            draws: How many draws to average over, by default all.

        Returns:
            The class probabilities, (n, L), float64.
        """
        projected, annotators = self._project_rows(batch), batch.annotators_or_unknown()
        traits = [self.traits_of(annotators, batch.S, draw) for draw in self.draws[:draws]]
        logits = [self._respond(projected, self._effects(batch.S, z)).double() for z in traits]
        return torch.stack([equations.class_probabilities(each) for each in logits]).mean(0)

    def grid_probabilities(self, e: Tensor, S: Tensor, annotators: Tensor) -> Tensor:
        """Predict every text under every perspective, as a mean over draws of their annotators.

        Args:
            e: The vectors of the texts, (n, 1 or 2, d).
            S: The membership of each perspective, (P, K).
            annotators: The code of each perspective's annotator, -1 for somebody unknown, (P,).

        Returns:
            The class probabilities, (n, P, L).
        """
        projected = self.project(e)
        traits = [self.traits_of(annotators, S, draw) for draw in self.draws]
        logits = [self._respond_grid(projected, self._effects(S, z)) for z in traits]
        return torch.stack([equations.class_probabilities(each) for each in logits]).mean(0)

    def penalty(self, lambda_2: float) -> Tensor:
        """Return `Network.penalty` and what knowing people and groups costs.

        With the likelihood it makes the negative evidence lower bound (docs/people.md).

        Args:
            lambda_2: The weight of the embeddings' square (Eq. 2).

        Returns:
            A scalar in nats.
        """
        of_groups = 0.5 * (self.share / self.tau).square().sum()
        of_annotators = equations.traits_kl(self.habits, self.log_sds)
        return super().penalty(lambda_2) + of_annotators + of_groups

    @torch.no_grad()
    def after_epoch(self) -> None:
        """Set how much what groups share varies, and how sure it is, by what is learnt so far.

        An annotator with the posterior sd s tells of their groups as much as one who is seen
        exactly among people of the variance 1 / (1 - s^2).
        """
        if not self.n_annotators:
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
        places = nn.functional.pad(groups, (0, 1), value=len(self.personal))
        covariance = equations.shared_covariance(w, S, sd)
        self.spread[:, places[:, None], places] = torch.linalg.cholesky(covariance)

    def sample_share(self, noise: Tensor) -> Tensor:
        """Draw what groups share from its posterior; of few people it is spread widely.

        Args:
            noise: Standard normal numbers, (B, K + 1, traits).

        Returns:
            B draws, whose last row is the level of all people: (B, K + 1, traits).
        """
        mean = nn.functional.pad(self.share, (0, 0, 0, 1))
        return mean + torch.einsum("rkj,bjr->bkr", self.spread, noise)

    def _effects(self, S: Tensor, traits: Tensor) -> Effects:
        of_groups = equations.value_representation(
            S * (1 - self.personal), self.v @ self.first.weight.T
        )
        shift = of_groups + traits @ self.to_hidden
        if self.preference:
            return Effects(shift, equations.temperature(S, self.log_t))
        moves = traits @ self.to_biases
        gaps = self.b_gaps + moves[:, 1:]
        return Effects(shift, equations.ordered_biases(self.b_first + moves[:, :1], gaps))

    @torch.no_grad()
    def _traits_of_annotators(self) -> Tensor:
        return self.typical @ self.share + self.habits


def memberships_of_annotators(examples: Examples) -> tuple[FloatArray, FloatArray]:
    """Compute the mean membership of each annotator, and which groups are people's.

    A group is people's if not over a tenth of its variance is within people: annotators'
    attributes are, the reasons that they give are not.

    Args:
        examples: Rows with codes of their annotators.

    Returns:
        The mean memberships, (A, K), and 1 for the groups that are people's, else 0, (K,).
    """
    if examples.annotators is None:
        raise ValueError("the rows have no codes of annotators")
    rows = np.flatnonzero(examples.annotators >= 0)
    annotators, S = examples.annotators[rows], examples.S[rows].toarray().astype(float)
    counts = np.bincount(annotators, minlength=int(examples.annotators.max(initial=-1)) + 1)
    typical = np.zeros((len(counts), S.shape[1]))
    np.add.at(typical, annotators, S)
    typical /= np.maximum(counts, 1)[:, None]
    within = ((S - typical[annotators]) ** 2).sum(axis=0)
    total = ((S - S.mean(axis=0)) ** 2).sum(axis=0) if len(S) else within
    return typical, (within <= _VARIANCE_WITHIN_PEOPLE * total).astype(float)


def normal_draws(count: int, size: int) -> Tensor:
    """Return points that fill the standard normal evenly, the same always.

    Args:
        count: How many points, a power of two.
        size: How many numbers a point has.

    Returns:
        The points, (count, size).
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    # Without scrambling the first point is 0, which has no normal quantile.
    even = qmc.Sobol(size, seed=0).random(count)
    return torch.from_numpy(ndtri(even.clip(1e-4, 1 - 1e-4))).float()
