"""The multilevel model and MC-STL as one, weighted by what each predicts of rows held out.

Every fold holds out a fifth of the items, a fifth of the people and a fifth of the other rows at
once, so that weights are learnt for known and new texts and people alike, whatever the split of
the study is. The weights need not sum to 1, which recalibrates the sum. Where MC-STL gains less
than the error of the gain, the multilevel model answers alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.data.splits import whole_items
from mcstl.methods import mc_stl
from mcstl.methods.base import FittedMethod, Prepared, RunSettings
from mcstl.methods.multilevel import Multilevel, fitted, only_known
from mcstl.models import recipes, training
from mcstl.models.calibration import folds_of, shrunk
from mcstl.models.examples import Examples
from mcstl.models.networks import BaseNetwork
from mcstl.models.stack import STATUSES, StackNetwork, level_logits

#: How many folds there are; of many rows two of them are measured, which hold out as many rows.
_FOLDS, _FOLDS_OF_MANY = 5, 2
_MANY_ROWS = 10_000
#: With fewer rows held out, the weights of what is known are those of all rows.
_LEAST_ROWS = 100


class Best(Multilevel):
    """A stack of the multilevel model and MC-STL."""

    name = "best"
    is_trained = True

    def fit(self, prepared: Prepared, settings: RunSettings) -> FittedMethod:
        """Fit both models to all rows, and weigh them by folds that they were fitted without.

        Args:
            prepared: The seed's data.
            settings: The method as it stands in the study, its training and its seed.

        Returns:
            What predicts, and the stack.
        """
        session, seed = settings.session, settings.seed
        examples, parts = self.examples(prepared, seed), prepared.parts
        rows = np.concatenate([parts.train, parts.validation])
        items = whole_items(prepared.annotations)
        n_folds = _FOLDS if len(rows) <= _MANY_ROWS else _FOLDS_OF_MANY
        sessions = [session.part(i, 1 + n_folds) for i in range(1 + n_folds)]
        of_all = mc_stl.METHOD.trained(prepared, settings._replace(session=sessions[0]))
        multilevel = fitted(examples.take(rows), prepared, settings)
        folds = []
        for fold, each in enumerate(sessions[1:]):
            is_out = _held_out(examples, rows, items, fold, seed)
            kept = only_known(examples, rows[~is_out])
            train, stop = (
                np.intersect1d(rows[~is_out], x) for x in (parts.train, parts.validation)
            )
            if not is_out.any() or not len(train) or not len(stop):
                continue
            of_kept = training.fit(
                prepared.examples.take(train),
                prepared.examples.take(stop),
                prepared.problem,
                of_all.config,
                seed=seed,
                session=each,
            ).network
            regression = fitted(kept.take(rows[~is_out]), prepared, settings, multilevel)
            out = rows[is_out]
            folds.append(_Fold.of((regression, of_kept), kept.take(out), items[out]))
        members: list[BaseNetwork] = [multilevel, of_all.network]
        weights = _weights_by_status(folds)
        if not weights[:, 1].any():
            members, weights = members[:1], weights[:, :1]
        network = StackNetwork(members, prepared.problem.n_classes - 1).eval()
        network.weights = torch.tensor(weights, dtype=torch.float32)
        for each in sessions:
            each.forget()
        recipe = {
            **recipes.chosen(of_all.config),
            "weights": {
                member.kind: dict(zip(STATUSES, map(_rounded, of_member), strict=True))
                for member, of_member in zip(network.members, network.weights.T, strict=True)
            },
        }
        return FittedMethod(lambda examples: training.predict(network, examples), network, recipe)


def _rounded(weight: Tensor) -> float:
    return round(float(weight), 3)


def _held_out(
    examples: Examples, rows: IntArray, items: IntArray, fold: int, seed: int
) -> BoolArray:
    """Draw which of the rows a fold holds out: whole items, whole people, and some of the rest.

    An item is what a split by item keeps together, so that what is new of a text in a fold is what
    is new of it there. One that has more than half of the rows, as where all pairs hang together by
    their texts, is held out text by text.
    """
    random = np.random.default_rng([seed, 2])
    positions = examples.positions[rows]
    numbers = np.unique(items[rows], return_inverse=True)[1]
    of_items = np.full(int(numbers.max(initial=-1)) + 1, len(examples.vectors))
    np.minimum.at(of_items, numbers, positions.min(axis=1))  # each by one of its texts
    is_large = np.bincount(numbers, minlength=len(of_items)) > len(rows) / 2
    text = np.where(is_large[numbers][:, None], positions, of_items[numbers][:, None])
    # Of a pair that is held out by each of its texts, half as many hold out as many rows.
    is_pair = bool(is_large.any()) and positions.shape[1] > 1
    of_texts = random.integers(_FOLDS * (1 + is_pair), size=len(examples.vectors))
    out = (of_texts == fold)[text].any(axis=1)
    annotators = np.full(len(examples), -1) if examples.annotators is None else examples.annotators
    of_people = random.integers(_FOLDS, size=int(annotators.max(initial=0)) + 1)
    out |= (annotators[rows] >= 0) & (of_people == fold)[annotators[rows]]
    return np.asarray(out | (random.integers(_FOLDS, size=len(rows)) == fold), dtype=bool)


class _Fold(NamedTuple):
    """Rows that two members were fitted without, and what they say of them.

    Attributes:
        z: The members' level logits, (2, n, T).
        above: Whether labels are above the thresholds, (n, T).
        w: Weights, (n,).
        items: The number of each row's item, (n,).
        status: What is known of each row, by the places of `STATUSES`, (n,).
    """

    z: FloatArray
    above: FloatArray
    w: FloatArray
    items: IntArray
    status: IntArray

    @classmethod
    def of(
        cls, members: tuple[BaseNetwork, BaseNetwork], rows: Examples, items: IntArray
    ) -> "_Fold":
        p = [training.predict(member, rows) for member in members]
        z = np.stack([level_logits(torch.from_numpy(each)).numpy() for each in p])
        above = (rows.y[:, None] > np.arange(z.shape[2])).astype(float)
        known = np.full(len(rows.vectors), -1) if rows.known is None else rows.known
        people = np.full(len(rows), -1) if rows.annotators is None else rows.annotators
        status = 2 * (known[rows.positions] >= 0).all(axis=1) + (people >= 0)
        return cls(z, above, rows.w.astype(float), items, status)


def _weights_by_status(folds: Sequence[_Fold]) -> FloatArray:
    """Return the weight of each of two members by `STATUSES`, (4, 2)."""
    if not folds:
        return np.tile([1.0, 0.0], (len(STATUSES), 1))
    z = np.concatenate([fold.z for fold in folds], axis=1)
    above, w, items, status = (
        np.concatenate([getattr(fold, name) for fold in folds])
        for name in ("above", "w", "items", "status")
    )
    weights = np.tile(_weights(z, above, w, items), (len(STATUSES), 1))
    for s in range(len(STATUSES)):
        inside = status == s
        if inside.sum() >= _LEAST_ROWS:
            weights[s] = _weights(z[:, inside], above[inside], w[inside], items[inside])
    return weights


def _weights(z: FloatArray, above: FloatArray, w: FloatArray, items: IntArray) -> FloatArray:
    """Return the members' weights that predict best; 0 for the second where it gains too little.

    Its gain, on folds of items that weights were not chosen by, has to be larger than its error.
    """
    alone, loss_alone = _shrunk(z[:1], above, w, items)
    both, loss_both = _shrunk(z, above, w, items)
    gain = np.bincount(items, loss_alone - loss_both)
    return both if gain.sum() > np.sqrt((gain**2).sum()) else np.append(alone, 0.0)


def _shrunk(
    z: FloatArray, above: FloatArray, w: FloatArray, items: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return weights between the first member as it is and the best, and the loss of rows, (n,).

    How near to the best is what predicts folds of items best that the weights were not chosen by.
    """
    start = np.eye(len(z))[0]
    change, losses = shrunk(
        lambda rows: _best_weights(z[:, rows], above[rows], w[rows]) - start,
        lambda change, rows: w[rows] * _loss(z[:, rows], above[rows], start + change),
        folds_of(items),
    )
    return np.asarray(start + change), losses


def _best_weights(z: FloatArray, above: FloatArray, w: FloatArray) -> FloatArray:
    def loss(weights: FloatArray) -> float:
        return float(w @ _loss(z, above, weights))

    bounds = [(0.0, None)] * len(z)
    return np.asarray(minimize(loss, np.eye(len(z))[0], bounds=bounds, method="L-BFGS-B").x)


def _loss(z: FloatArray, above: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the loss of each row, summed over levels, (n,)."""
    mixed = np.tensordot(weights, z, 1)
    return np.asarray((np.logaddexp(0, mixed) - above * mixed).sum(axis=1))


METHOD = Best()
