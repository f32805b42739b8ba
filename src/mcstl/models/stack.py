"""Networks that answer as one: the weighted sum of their logits, recalibrated."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from mcstl.models.examples import Batch
from mcstl.models.networks import BaseNetwork, Replacements

#: Probabilities nearer to 0 or 1 than this have no logit.
_MARGIN = 1e-9
#: Whether a row's text and its person are known: 2 for the text plus 1 for the person.
STATUSES = ("new text, new person", "new text", "new person", "both known")


class StackNetwork(BaseNetwork):
    """Networks whose level logits are added with weights that depend on what is known of a row.

    Weights depend on whether the text and the person of a row are known, never on the view that is
    asked: a view is a mean of finished answers, so that the law of total probability holds. The sum
    is recalibrated by `slope` and `offsets`, the same for all groups (`mcstl.models.calibration`).

    Args:
        members: The networks, all of the same sizes and task.
        n_thresholds: T, how many offsets the sum has.

    Attributes:
        weights: The weight of each member by `STATUSES`, (4, members); equal at first.
        slope: What the sum is multiplied by, (1,).
        offsets: What is then added to the level logits, (T,); 0 in preference.

    Raises:
        ValueError: If there are no members.
    """

    kind = "stack"

    weights: Tensor
    slope: Tensor
    offsets: Tensor

    def __init__(self, members: Sequence[BaseNetwork], n_thresholds: int) -> None:
        super().__init__()
        if not members:
            raise ValueError("it has no members")
        self.members: Sequence[BaseNetwork] = nn.ModuleList(members)  # type: ignore[assignment]
        self.preference, self.dimension = members[0].preference, members[0].dimension
        self.hidden = sum(member.hidden for member in members)
        self.register_buffer("weights", torch.full((4, len(members)), 1 / len(members)))
        self.register_buffer("slope", torch.ones(1))
        self.register_buffer("offsets", torch.zeros(n_thresholds))

    @property
    def n_groups(self) -> int:
        """The number of value groups, K."""
        return self.members[0].n_groups

    @property
    def n_annotators(self) -> int:
        """How many annotators a member knows."""
        return max(member.n_annotators for member in self.members)

    @property
    def n_texts(self) -> int:
        """How many texts a member knows."""
        return max(member.n_texts for member in self.members)

    @property
    def n_draws(self) -> int:
        """How many draws `grid_draws` makes."""
        return max(member.n_draws for member in self.members)

    def sources(self) -> dict[str, float]:
        """See `BaseNetwork.sources`; as the member knows them that knows how sure it is."""
        return max(self.members, key=lambda member: member.n_draws).sources()

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

    def without_annotators(self) -> "StackNetwork":
        """See `BaseNetwork.without_annotators`."""
        members = [member.without_annotators() for member in self.members]
        stack = StackNetwork(members, len(self.offsets)).to(self.slope.device)
        stack.weights, stack.slope, stack.offsets = self.weights, self.slope, self.offsets
        return stack.eval()

    def probabilities(self, batch: Batch) -> Tensor:
        """See `BaseNetwork.probabilities`."""
        text = _all_known(None if batch.known is None else batch.known[batch.positions])
        known = batch.annotators_or_unknown() >= 0
        status = known.long() if text is None else 2 * text.long() + known.long()
        z = self._logits(self.weights[status], lambda member: member.probabilities(batch))
        return self._recalibrated(z)

    def grid_probabilities(
        self, e: Tensor, S: Tensor, annotators: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """See `BaseNetwork.grid_probabilities`."""
        return self._recalibrated(self._grid_logits(e, S, annotators, known))

    def grid_draws(
        self, e: Tensor, S: Tensor, annotators: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """See `BaseNetwork.grid_draws`.

        A draw is the answer of all, moved by how far a draw of the member that knows how sure it
        is, is from that member's mean.
        """
        z = self._grid_logits(e, S, annotators, known)
        unsure = max(self.members, key=lambda member: member.n_draws)
        draws = level_logits(unsure.grid_draws(e, S, annotators, known))
        return self._recalibrated(draws + (z - draws[0]))

    def rewards(self, e: Tensor, S: Tensor) -> Tensor:
        """Compute the members' rewards r = o(e + V) / t (§2.4), weighted as for a new text.

        Args:
            e: The vectors of the texts, (n, d).
            S: The membership of each perspective, (P, K).

        Returns:
            The rewards in logits, (n, P).
        """
        rewards = torch.stack([member.rewards(e, S) for member in self.members], -1)
        return self.slope * (rewards * self.weights[0]).sum(-1)

    def _grid_logits(
        self, e: Tensor, S: Tensor, annotators: Tensor, known: Tensor | None
    ) -> Tensor:
        text = _all_known(known)
        person = (annotators >= 0).long()
        of_text = e.new_zeros(len(e), dtype=torch.long) if text is None else 2 * text.long()
        return self._logits(
            self.weights[of_text[:, None] + person],
            lambda member: member.grid_probabilities(e, S, annotators, known),
        )

    def _logits(self, weights: Tensor, probabilities: Callable[[BaseNetwork], Tensor]) -> Tensor:
        """Return the weighted sum of the members' level logits, (..., T), of weights (..., M)."""
        of_first, *of_others = self.members
        z = weights[..., 0, None].double() * level_logits(probabilities(of_first))
        for i, member in enumerate(of_others, start=1):
            z = z + weights[..., i, None].double() * level_logits(probabilities(member))
        return z

    def _recalibrated(self, z: Tensor) -> Tensor:
        """Return the class probabilities (..., L) of summed level logits (..., T)."""
        above = torch.sigmoid(self.slope.double() * z + self.offsets.double())
        # Weighted sums of ordered levels stay in order; what is added to them may not.
        above = torch.stack(list(accumulate(above.unbind(-1), torch.minimum)), -1)
        ends = torch.ones_like(above[..., :1])
        edges = torch.cat([ends, above, torch.zeros_like(ends)], -1)
        return edges[..., :-1] - edges[..., 1:]


def level_logits(p: Tensor) -> Tensor:
    """Compute the logits of P(y > t) from class probabilities.

    Args:
        p: Class probabilities, (..., L).

    Returns:
        The logits, (..., T), float64.
    """
    # Classes are few: sums of whole tensors take far less than cumsum does along a short side.
    above = list(accumulate(p.double().unbind(-1)[:0:-1]))[::-1]
    return torch.logit(torch.stack(above, -1), _MARGIN)


def _all_known(known: Tensor | None) -> Tensor | None:
    """Return whether all texts of each row are known, (n,)."""
    return None if known is None else (known >= 0).all(-1)
