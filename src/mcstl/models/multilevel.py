"""Multilevel regression on texts: the network of `multilevel`, which is right for whoever is asked.

The latent score of an annotation is a function of the text, plus what its groups share, plus its
person's (each a level and a function of the text), plus the text's own level and what its groups
say of this very text. All effects are normal, each kind with a variance of its own that is learnt
(Gelman and Hill, 2007). What is not known of whoever is asked is integrated out.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from mcstl._support.arrays import Float32Array, FloatArray, IntArray, distinct
from mcstl._support.progress import Progress, silent
from mcstl.models.examples import Batch, Examples
from mcstl.models.multilevel_design import Design, Term
from mcstl.models.multilevel_fit import Posterior, fit
from mcstl.models.networks import BaseNetwork, Replacements

#: How many principal components of the texts groups and people have functions of.
_OF_GROUPS, _OF_PEOPLE = 16, 8
#: Where another variance begins among the components: large ones tell more than small ones.
_TEXT_BANDS, _GROUP_BANDS, _PERSON_BANDS = (8, 32, 128), (8,), (4,)
#: Draws from the posterior that a model keeps, and how many numbers they may be together.
_DRAWS = 32
_NUMBERS_OF_DRAWS = 2**24
#: Of more rows the principal components and the variances are learnt from so many.
_ROWS_OF_VARIANCES = 200_000
#: With more pairs of a text and a group, what a group says of a single text is not learnt.
_MOST_PAIRS = 2**22
#: Nodes at which a normal score is integrated out; of draws, which are many, at fewer.
_NODES, _NODES_OF_DRAWS = 15, 7


class MultilevelNetwork(BaseNetwork):
    """A multilevel regression on the principal components of texts, with its posterior.

    Every tensor of effects has the posterior mean first and then R draws, (1 + R, ...). The last
    text stands for any text that training did not know: its mean is 0, its draws are as wide as
    texts are.

    Args:
        sizes: The sizes of the tensors: ``dimension`` d, ``groups`` K, ``thresholds`` T,
            ``features`` D of texts, ``group_features``, ``person_features``, ``annotators`` A,
            ``texts`` I and ``draws`` R.
        preference: Whether two texts are compared.

    Attributes:
        center: The mean vector of texts, (d,).
        components: The directions that features are along, scaled, (d, D).
        text: The effects of the text's features, (1 + R, D).
        group: Those of each group's level (none in preference) and features, (1 + R, K, G).
        person: Those of each known person's, (1 + R, A, H).
        person_variance: The variance of each of them over people, (H,).
        text_level: The level of each known text, and of a new one, (1 + R, I + 1).
        text_group: What each group says of each text beside that, (1 + R, I + 1, K); of too many
            texts and groups only of a new one, which is nothing, (1 + R, 1, K).
        cuts: The thresholds of the levels, (T,); 0 in preference.
        sds: The standard deviation of the score, over training rows, that each kind of effect
            makes, by `SOURCES`, (5,).
    """

    kind = "multilevel"
    #: What makes scores differ, in the order of `sds`: each kind of effect, and its plain name.
    SOURCES = MappingProxyType(
        {
            "text": "what the text says",
            "group": "groups",
            "person": "people",
            "text by itself": "the text beyond its words' meaning",
            "text and group": "what groups say of a single text",
        }
    )

    center: Tensor
    components: Tensor
    text: Tensor
    group: Tensor
    person: Tensor
    person_variance: Tensor
    text_level: Tensor
    text_group: Tensor
    cuts: Tensor
    sds: Tensor

    def __init__(self, sizes: Mapping[str, int], preference: bool) -> None:
        super().__init__()
        self.preference = preference
        d, K, D, A = (sizes[x] for x in ("dimension", "groups", "features", "annotators"))
        G, H = sizes["group_features"], sizes["person_features"]
        texts, S = sizes["texts"] + 1, sizes["draws"] + 1
        paired = texts if _has_pairs(sizes["texts"], K) else 1
        shapes = {
            "center": (d,),
            "components": (d, D),
            "text": (S, D),
            "group": (S, K, G),
            "person": (S, A, H),
            "person_variance": (H,),
            "text_level": (S, texts),
            "text_group": (S, paired, K),
            "cuts": (sizes["thresholds"],),
            "sds": (len(self.SOURCES),),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.dimension = d
        self.variances: list[FloatArray] = []  # of a network that was fitted and not read
        # What a text under one perspective costs, by which predictions are made in blocks.
        self.hidden = (4 + K) * S

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], sizes: tuple[int, int, int], preference: bool
    ) -> Self:
        """Make a network of zeros of the form that `config` returned.

        Args:
            config: The network's entry in config.json.
            sizes: The dimension d, the number of groups K and of thresholds T.
            preference: Whether two texts are compared.

        Returns:
            The network; its tensors are to be loaded.
        """
        named = dict(zip(("dimension", "groups", "thresholds"), sizes, strict=True))
        return cls({**config["sizes"], **named}, preference)

    @classmethod
    def fitted(
        cls,
        train: Examples,
        n_classes: int,
        *,
        preference: bool = False,
        like: Self | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> Self:
        """Fit a network to rows.

        Args:
            train: The rows, with their annotators and known texts where there are any.
            n_classes: The number of classes, L.
            preference: Whether two texts are compared.
            like: A network fitted to most of these rows, or to these and more, whose features this
                one has, and from whose variances it starts.
            seed: Decides the draws from the posterior.
            progress: Called with what is being done, how many rounds are finished and how many
                there are at most.

        Returns:
            The fitted network.
        """
        if like is None and len(train) > _ROWS_OF_VARIANCES:
            some = train.take(_of_whole_people(train, _ROWS_OF_VARIANCES, seed))
            like = cls.fitted(some, n_classes, preference=preference, seed=seed, progress=progress)
        if like is None:
            center, components = principal_components(train)
        else:
            center, components = like.center.numpy(), like.components.numpy()
        z = ((train.vectors - center) @ components).astype(np.float32)
        rows = _Rows(train, z, preference)
        design = rows.design(n_classes)
        per_draw = max(rows.I * (1 + rows.K * rows.has_pairs), len(train) // 5)
        n_draws = min(_DRAWS, max(4, _NUMBERS_OF_DRAWS // max(1, per_draw)))
        start = None if like is None else like.variances
        posterior = fit(design, n_draws, seed, progress, start)
        sizes = {
            "dimension": len(center),
            "groups": rows.K,
            "thresholds": n_classes - 1,
            "features": components.shape[1],
            "group_features": rows.of_groups.shape[1],
            "person_features": rows.of_people.shape[1],
            "annotators": rows.A,
            "texts": rows.I,
            "draws": n_draws,
        }
        network = cls(sizes, preference)
        network.center.copy_(torch.from_numpy(center))
        network.components.copy_(torch.from_numpy(components))
        network._take(posterior, rows, seed)
        network.sds.copy_(_sds(design, posterior))
        network.variances = posterior.variances
        return network.eval()

    @property
    def n_groups(self) -> int:
        """The number of value groups, K."""
        return self.group.shape[1]

    @property
    def n_annotators(self) -> int:
        """How many annotators the network knows."""
        return self.person.shape[1]

    @property
    def n_texts(self) -> int:
        """How many texts the network knows."""
        return self.text_level.shape[1] - 1

    def config(self) -> dict[str, Any]:
        """Describe the network for config.json.

        Returns:
            Its kind and the sizes of its tensors.
        """
        sizes = {
            "features": self.text.shape[1],
            "group_features": self.group.shape[2],
            "person_features": self.person.shape[2],
            "annotators": self.n_annotators,
            "texts": self.n_texts,
            "draws": len(self.text) - 1,
        }
        return {"kind": self.kind, "sizes": sizes}

    def group_tensors(self, groups: Tensor) -> Replacements:
        """Return the groups' effects, with those of some groups.

        Args:
            groups: Positions of the groups to keep, (k,).

        Returns:
            Pairs of a tensor of this network and what replaces it.
        """
        yield self.group, self.group[:, groups]
        yield self.text_group, self.text_group[:, :, groups]

    def without_annotators(self) -> Self:
        """See `BaseNetwork.without_annotators`."""
        return self._copy_with([(self.person, self.person[:, :0])])

    @property
    def n_draws(self) -> int:
        """How many draws `grid_draws` makes."""
        return 2 * (len(self.text) - 1)

    def sources(self) -> dict[str, float]:
        """See `BaseNetwork.sources`."""
        sds = dict(zip(self.SOURCES.values(), self.sds.tolist(), strict=True))
        return {source: sd for source, sd in sds.items() if sd > 0}

    def probabilities(self, batch: Batch) -> Tensor:
        """See `BaseNetwork.probabilities`."""
        z, n = self._features(batch.vectors), len(batch.S)
        known = _or_unknown(batch.known, len(z), z.device)
        base = z @ self.text.T + self.text_level[:, known].T
        of_groups = torch.einsum("nk,rkg->nrg", batch.S, self.group)
        scores = base.new_zeros(n, len(self.text))
        people, sign = self._of_people(z), 1.0
        difference = torch.zeros(n, people.shape[1], device=z.device)
        for texts in batch.positions.T:  # in preference the second text's score is taken off
            on_text = torch.einsum("nk,rnk->nr", batch.S, self._on_texts(known[texts]))
            of_text = torch.einsum("nrg,ng->nr", of_groups, self._of_groups(z)[texts])
            scores = scores + sign * (base[texts] + of_text + on_text)
            difference, sign = difference + sign * people[texts], -1.0
        annotators = batch.annotators_or_unknown()
        variance = (difference**2) @ self.person_variance
        if self.n_annotators:
            is_known = annotators >= 0
            person = self.person[:, annotators.clamp(min=0)]
            of_person = torch.einsum("rnh,nh->nr", person, difference)
            scores = scores + torch.where(is_known[:, None], of_person, 0.0)
            variance = torch.where(is_known, 0.0, variance)
        return self._integrated(scores, variance)

    def grid_probabilities(
        self, e: Tensor, S: Tensor, annotators: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """See `BaseNetwork.grid_probabilities`."""
        return self._integrated(*self._grid_scores(e, S, annotators, known))

    def grid_draws(
        self, e: Tensor, S: Tensor, annotators: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """See `BaseNetwork.grid_draws`; draws are in pairs around the mean, which they keep."""
        scores, variance = self._grid_scores(e, S, annotators, known)
        mean, away = scores[..., :1], scores[..., 1:] - scores[..., :1]
        each = torch.cat([mean, mean + away, mean - away], -1).permute(2, 0, 1)
        return self._averaged(each, variance.sqrt(), _NODES_OF_DRAWS)

    def _grid_scores(
        self, e: Tensor, S: Tensor, annotators: Tensor, known: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return a grid's scores, (n, P, 1 + R), and the variance over people of each, (n, P)."""
        n, sides, _ = e.shape
        P, draws = len(S), len(self.text)
        z = self._features(e)  # (n, sides, D)
        codes = _or_unknown(known, n * sides, e.device).view(n, sides)
        of_groups = torch.einsum("pk,rkg->gpr", S, self.group).reshape(-1, P * draws)
        scores, sign = e.new_zeros(n, P, draws), 1.0
        people = self._of_people(z)
        difference = people[:, 0] - people[:, 1] if sides == 2 else people[:, 0]
        for side in range(sides):
            base = z[:, side] @ self.text.T + self.text_level[:, codes[:, side]].T  # (n, 1 + R)
            of_text = (self._of_groups(z[:, side]) @ of_groups).view(n, P, draws)
            on_text = torch.einsum("pk,rnk->npr", S, self._on_texts(codes[:, side]))
            scores, sign = scores + sign * (base[:, None] + of_text + on_text), -1.0
        variance = ((difference**2) @ self.person_variance)[:, None].expand(n, P)
        if self.n_annotators and bool((annotators >= 0).any()):
            is_known = annotators >= 0
            of_person = torch.einsum(
                "rph,nh->npr", self.person[:, annotators.clamp(min=0)], difference
            )
            scores = scores + torch.where(is_known[:, None], of_person, 0.0)
            variance = torch.where(is_known, 0.0, variance)
        return scores, variance

    def rewards(self, e: Tensor, S: Tensor) -> Tensor:
        """See `BaseNetwork.rewards`."""
        slopes, intercepts = self.reward_function(S)
        return e @ slopes.T + intercepts

    def reward_function(self, S: Tensor) -> tuple[Tensor, Tensor]:
        """Return the linear function of a text's vector that each perspective's reward is.

        Args:
            S: The membership of each perspective, (P, K) or (K,).

        Returns:
            The slopes, (P, d) or (d,), and what is added, (P,) or ().
        """
        of_groups = S @ self.group[0]
        rest = self.text.shape[1] - of_groups.shape[-1]
        effects = self.text[0] + torch.nn.functional.pad(of_groups, (0, rest))
        slopes = effects @ self.components.T
        return slopes, -(slopes @ self.center)

    def _integrated(self, scores: Tensor, variance: Tensor) -> Tensor:
        """Return class probabilities (..., L) of draws of scores (..., 1 + R), the mean first."""
        mean = scores[..., 0].double()
        spread = variance.double()
        if scores.shape[-1] > 1:
            spread = spread + (scores[..., 1:].double() - mean[..., None]).square().mean(-1)
        return self._averaged(mean, spread.sqrt(), _NODES)

    def _averaged(self, mean: Tensor, sd: Tensor, n_nodes: int) -> Tensor:
        """Return class probabilities (..., L), averaged over normal scores."""
        cuts, above = self.cuts.to(mean), mean.new_zeros(*mean.shape, len(self.cuts))
        nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            at = mean[..., None] + (node * sd[..., None] - cuts)
            above.add_(torch.sigmoid_(at), alpha=weight)
        ends = torch.ones_like(above[..., :1])
        edges = torch.cat([ends, above, torch.zeros_like(ends)], -1)
        return edges[..., :-1] - edges[..., 1:]

    def _on_texts(self, known: Tensor) -> Tensor:
        """Return what groups say of n texts by themselves, (1 + R, n, K)."""
        if self.text_group.shape[1] == 1:
            return self.text_group.expand(-1, len(known), -1)
        return self.text_group[:, known]

    def _features(self, e: Tensor) -> Tensor:
        return (e - self.center) @ self.components

    def _of_groups(self, z: Tensor) -> Tensor:
        return _with_level(z, self.group.shape[2], self.preference)

    def _of_people(self, z: Tensor) -> Tensor:
        return _with_level(z, self.person.shape[2], self.preference)

    def _take(self, posterior: Posterior, rows: "_Rows", seed: int) -> None:
        """Set the effects to those of a posterior; what it has not seen is as the prior says."""
        random = np.random.default_rng([seed, 1])
        draws = len(self.text) - 1

        def unseen(variance: FloatArray, *shape: int) -> FloatArray:
            """Return draws of what training has not seen, exactly as wide as they should be."""
            drawn = random.standard_normal((draws, *shape))
            drawn -= drawn.mean(axis=0)
            drawn /= np.maximum(np.sqrt((drawn**2).mean(axis=0)), 1e-12)
            return np.asarray(drawn * np.sqrt(variance))

        def both(mean: FloatArray, deviations: FloatArray) -> Tensor:
            return torch.from_numpy(np.concatenate([mean[None], mean + deviations])).float()

        names = ["text", *(term.name for term in rows.terms)]
        mean, drawn, variances = (
            dict(zip(names, each, strict=True))
            for each in (posterior.mean, posterior.draws, posterior.variances)
        )
        self.text.copy_(both(mean["text"], drawn["text"])[:, 0])
        self.cuts.copy_(torch.from_numpy(posterior.cuts))
        if rows.K:
            self.group.copy_(both(mean["group"], drawn["group"]))
        if rows.has_pairs:
            table = np.zeros((1 + draws, rows.I + 1, rows.K))
            table[1:] = unseen(variances["text and group"][0], rows.K)[:, None]
            effects = both(mean["text and group"], drawn["text and group"])[..., 0]
            table.reshape(1 + draws, -1)[:, rows.pairs] = effects
            self.text_group.copy_(torch.from_numpy(table))
        if rows.A:
            self.person.copy_(both(mean["person"], drawn["person"]))
            self.person_variance.copy_(torch.from_numpy(variances["person"]))
        levels = both(mean["text by itself"], drawn["text by itself"])[..., 0]
        self.text_level[:, : rows.I] = levels
        self.text_level[1:, rows.I] = torch.from_numpy(unseen(variances["text by itself"][0]))


class _Rows:
    """Training rows as the multilevel model sees them, and their effects."""

    def __init__(self, train: Examples, z: Float32Array, preference: bool) -> None:
        self.train, self.preference = train, preference
        n = len(train)
        known = np.full(len(z), -1) if train.known is None else train.known
        people = np.full(n, -1) if train.annotators is None else train.annotators
        self.texts = known[train.positions]  # (n, 1 or 2)
        self.I, self.A = int(known.max(initial=-1)) + 1, int(people.max(initial=-1)) + 1
        self.K = train.S.shape[1]
        self.has_pairs = self.K > 0 and _has_pairs(self.I, self.K)
        first, self.cell = distinct(*train.positions.T)
        self.of_texts = _difference(z, train.positions[first])
        self.of_groups, self.of_people = (
            _with_level(
                torch.from_numpy(self.of_texts),
                min(width, z.shape[1]) + (not preference),
                preference,
            ).numpy()
            for width in (_OF_GROUPS, _OF_PEOPLE)
        )
        one = np.ones((len(first), 1))
        S = csr_matrix(train.S, dtype=float)
        of_texts = _signed_units(self.texts, np.ones(n), np.arange(n), self.I, n)
        self.terms: list[Term] = []
        self.pairs: IntArray = np.empty(0, dtype=np.int64)
        if self.K:
            bands = _bands(self.of_groups, _GROUP_BANDS, preference)
            self.terms.append(Term("group", S, self.of_groups, bands))
        if self.A:
            own = _signed_units(people[:, None], np.ones(n), np.arange(n), self.A, n)
            bands = _bands(self.of_people, _PERSON_BANDS, preference)
            self.terms.append(Term("person", own, self.of_people, bands))
        self.terms.append(Term("text by itself", of_texts, one, np.zeros(1, dtype=np.int64)))
        if self.has_pairs:
            each = S.tocoo()
            texts = self.texts[each.row]
            pairs = np.where(texts >= 0, texts * self.K + each.col[:, None], -1)
            self.pairs, places = np.unique(pairs, return_inverse=True)
            places = places.reshape(pairs.shape)
            if len(self.pairs) and self.pairs[0] < 0:
                self.pairs, places = self.pairs[1:], places - 1
            units = _signed_units(places, each.data, each.row, len(self.pairs), n)
            self.terms.append(Term("text and group", units, one, np.zeros(1, dtype=np.int64)))

    def design(self, n_classes: int) -> Design:
        """Put the effects of all rows together."""
        train = self.train
        return Design(
            self.of_texts,
            _bands(self.of_texts, _TEXT_BANDS, True),
            self.cell,
            self.terms,
            train.y,
            train.w.astype(float),
            n_classes,
            self.preference,
        )


def _has_pairs(n_texts: int, n_groups: int) -> bool:
    return n_texts * n_groups <= _MOST_PAIRS


def _difference(features: Float32Array, positions: IntArray) -> FloatArray:
    """Return the features of rows' texts, in preference those of the first less the second."""
    of_rows = features[positions[:, 0]].astype(float)
    return of_rows if positions.shape[1] == 1 else of_rows - features[positions[:, 1]]


def _signed_units(
    units: IntArray, values: FloatArray, rows: IntArray, n_units: int, n: int
) -> csr_matrix:
    """Return how much each of n rows is of each unit; the second column's count against it."""
    parts = []
    for column, sign in zip(units.T, (1.0, -1.0), strict=False):
        is_known = column >= 0
        at = (rows[is_known], column[is_known])
        parts.append(csr_matrix((sign * values[is_known], at), shape=(n, n_units)))
    return csr_matrix(sum(parts[1:], parts[0]))


def _bands(features: FloatArray, edges: tuple[int, ...], without_level: bool) -> IntArray:
    """Number the variances of features: the level has one, then each band of components."""
    n = features.shape[1] - (not without_level)
    of_components = np.searchsorted(np.array(edges), np.arange(n), side="right")
    if without_level:
        return of_components.astype(np.int64)
    return np.concatenate([[0], 1 + of_components]).astype(np.int64)


def _with_level(z: Tensor, width: int, preference: bool) -> Tensor:
    """Return the first features, `width` of them with a level of 1 unless texts are compared."""
    if preference:
        return z[..., :width]
    return torch.cat([torch.ones_like(z[..., :1]), z[..., : width - 1]], -1)


def principal_components(train: Examples) -> tuple[Float32Array, Float32Array]:
    """Find the principal components of rows' texts.

    Args:
        train: The rows.

    Returns:
        The mean vector of the distinct texts, (d,), and the directions (d, D) of the components,
        scaled so that the sum of their variances is 1.
    """
    texts = train.vectors[np.unique(train.positions)]
    center = texts.mean(axis=0)
    centred = (texts - center).astype(np.float64)
    values, directions = np.linalg.eigh(centred.T @ centred / max(1, len(texts)))
    kept = np.flatnonzero(values > 1e-9 * values.sum())[::-1]
    if not len(kept):  # all texts are the same
        return center, np.zeros((len(center), 1), dtype=np.float32)
    components = directions[:, kept] / np.sqrt(values.sum())
    return center, components.astype(np.float32)


def _of_whole_people(train: Examples, n: int, seed: int) -> IntArray:
    """Draw about n rows: all of some people, so that people differ in them as in all rows."""
    random = np.random.default_rng([seed, 3])
    if train.annotators is None:
        return np.sort(random.permutation(len(train))[:n])
    people = np.where(train.annotators < 0, -1 - np.arange(len(train)), train.annotators)
    person = np.unique(people, return_inverse=True)[1]
    places = random.permutation(int(person.max()) + 1)[person]
    return np.sort(np.argsort(places, kind="stable")[:n])


def _or_unknown(known: Tensor | None, n: int, device: torch.device) -> Tensor:
    return torch.full((n,), -1, device=device) if known is None else known


def _sds(design: Design, posterior: Posterior) -> Tensor:
    """Return how much each kind of effect makes training rows' scores differ: see `sds`."""
    w = design.w / design.w.sum()

    def expected(features: FloatArray, variances: FloatArray, share: FloatArray) -> float:
        of_cells = np.bincount(design.cell, weights=w * share, minlength=len(features))
        return float(of_cells @ (features**2 @ variances))

    by_name = {"text": expected(design.text, posterior.variances[0], np.ones(len(w)))}
    for term, variances in zip(design.terms, posterior.variances[1:], strict=True):
        share = np.asarray(term.units.multiply(term.units).sum(axis=1)).ravel()
        by_name[term.name] = expected(term.features, variances, share)
    sds = [by_name.get(name, 0.0) for name in MultilevelNetwork.SOURCES]
    return torch.tensor(sds).sqrt().float()
