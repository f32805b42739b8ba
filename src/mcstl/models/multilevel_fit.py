"""How the multilevel model is fitted: variational EM whose every step is a sparse linear system.

The latent score of an annotation is linear in its effects, each normal with the variance of its
kind (`mcstl.models.multilevel_design`). The posterior of all effects is taken to be normal (Ormerod
and Wand, 2012): its mean solves one linear system per step, and draws from it solve the same system
with random right hand sides, so that no covariance is ever held. From the mean and the draws come
the variances of the kinds, by the fixed point of MacKay (1992). Systems are solved by conjugate
gradients; texts, groups and people are eliminated in blocks by the preconditioner.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from mcstl._support.arrays import Float32Array, FloatArray, IntArray
from mcstl._support.progress import Progress, silent
from mcstl.models.multilevel_design import Design, Matrix, explicit, unit_blocks

#: Rounds of EM at most, and by how much the standard deviation that a kind of effect gives to
#: scores may still change at the end.
_ROUNDS, _ROUNDS_FROM_START = 40, 3
_CHANGE = 0.01
#: A variance below this has no effect that could be seen.
_LEAST_VARIANCE = 1e-6
#: Draws from the posterior while variances are learnt.
_DRAWS_IN_EM = 8
#: Relative accuracy of the mean and of draws. A few steps are always made: an old solution within
#: the accuracy is off in the same direction for all effects of a kind, and variances would follow.
_TOLERANCE = 0.01
_FEWEST_STEPS, _STEPS = 3, 200
#: Nodes and weights by which the likelihood is averaged over the posterior of a score.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
#: How far a step may move a score: the likelihood is not known further away.
_FURTHEST = 5.0
#: Cuts are as if drawn around where the label rates put them, with this standard deviation.
_SD_OF_CUTS = 5.0
#: Each variance is as if two more effects of this variance had been seen: a few groups that happen
#: to be alike do not show that all are.
_PRIOR_EFFECTS, _PRIOR_VARIANCE = 2.0, 0.1
#: Rows by which the blocks of the preconditioner are made at most.
_ROWS_OF_BLOCKS = 10_000
#: A term of more effects than this has a block per unit, one of fewer a block for all.
_LARGEST_BLOCK = 1000
#: Numbers of scores that are held at once, 256 MiB, and rows whose random numbers are.
_NUMBERS_AT_ONCE, _ROWS_AT_ONCE = 2**25, 2**18

#: What solves a system for right-hand sides (size, R), from a start of the same shape.
_Solve = Callable[[FloatArray, FloatArray], FloatArray]


class Posterior(NamedTuple):
    """What is known of the effects after the fit.

    Attributes:
        mean: The posterior mean of the text's features, then of each term, (U, d) each.
        draws: How far each draw is from the mean, (R, U, d) each.
        variances: The variance of each feature of a unit, (d,) each.
        cuts: The thresholds of the levels, (T,).
    """

    mean: list[FloatArray]
    draws: list[FloatArray]
    variances: list[FloatArray]
    cuts: FloatArray


def fit(
    design: Design,
    draws: int,
    seed: int = 0,
    progress: Progress = silent,
    start: Sequence[FloatArray] | None = None,
) -> Posterior:
    """Fit the effects and their variances.

    Args:
        design: The rows and the kinds of effects.
        draws: How many draws from the posterior are made at the end, R.
        seed: Decides the draws.
        start: The `Posterior.variances` of most of these rows: then a few rounds are enough.
        progress: Called with what is being done, how many rounds are finished and how many there
            are at most.

    Returns:
        The posterior.
    """
    X = Matrix(design)
    bands = _bands(design)
    counts = np.bincount(bands).astype(float)
    variances = np.full(len(counts), 0.3)
    if start is not None:
        of_effects = [
            np.tile(each, t.units.shape[1]) for each, t in zip(start[1:], design.terms, strict=True)
        ]
        variances = np.bincount(bands, np.concatenate([start[0], *of_effects])) / counts
    rounds = _ROUNDS if start is None else _ROUNDS_FROM_START
    in_scores = np.bincount(bands, X.mean_squares())
    random = np.random.default_rng(seed)
    noise = _Noise.drawn(random, len(design.y), X.size, _DRAWS_IN_EM)
    effects, deviations = np.zeros((X.size, 1)), np.zeros((X.size, _DRAWS_IN_EM))
    cuts, spread = _first_cuts(design), np.zeros(len(design.y))
    for done in range(1, rounds + 1):
        precision, precondition = 1 / variances[bands], None
        for _ in range(2 if done > 1 else 4):
            gradient, weight = _slopes(design, X.times(effects)[:, 0], spread, cuts)
            if precondition is None:  # it need not be exact
                precondition = _preconditioner(design, X, weight, precision)
            solve = _solver(X, weight, precision, precondition)
            change = X.transposed_times(gradient[:, None]) - precision[:, None] * effects
            step = solve(change, np.zeros_like(effects))
            furthest = np.abs(X.times(step)).max(initial=0)
            effects = effects + step * min(1, _FURTHEST / max(furthest, 1e-9))
            if not design.symmetric:
                cuts = _moved_cuts(design, X.times(effects)[:, 0], spread, cuts)
        deviations, spread = noise.solved(X, weight, precision, solve, deviations)
        before = variances
        if start is None or done > 1:  # the first mean is not yet near its place
            variances = _learnt(effects[:, 0], deviations, bands, counts, variances, done > 1)
        progress("fitting", done, rounds)
        changes = np.sqrt(in_scores) * np.abs(np.sqrt(variances) - np.sqrt(before))
        if done > 5 and changes.max(initial=0) < _CHANGE:
            break
    progress("fitting", rounds, rounds)
    del noise  # before the other, which is as large
    noise = _Noise.drawn(random, len(design.y), X.size, draws)
    deviations, _ = noise.solved(X, weight, precision, solve, np.zeros((X.size, draws)))
    return _posterior(design, X, effects, deviations, variances[bands], cuts)


class _Noise(NamedTuple):
    """The random numbers of draws, the same in all rounds so that EM settles.

    Attributes:
        of_rows: Those of the rows, (n, R), in single precision since they are many.
        of_effects: Those of the effects, (size, R).
    """

    of_rows: Float32Array
    of_effects: FloatArray

    @classmethod
    def drawn(cls, random: np.random.Generator, n: int, size: int, draws: int) -> "_Noise":
        of_rows = np.empty((n, draws), dtype=np.float32)
        for start in range(0, n, _ROWS_AT_ONCE):
            some = of_rows[start : start + _ROWS_AT_ONCE]
            some[:] = random.standard_normal(some.shape)
        return cls(of_rows, random.standard_normal((size, draws)))

    def solved(
        self,
        X: Matrix,
        weight: FloatArray,
        precision: FloatArray,
        solve: _Solve,
        start: FloatArray,
    ) -> tuple[FloatArray, FloatArray]:
        """Return draws of how far effects are from their mean, and the variance of scores, (n,).

        They solve the system for numbers whose covariance is its matrix. Of many rows only some
        draws are made at once.
        """
        draws, spread = np.empty_like(start), np.zeros(len(weight))
        width = max(1, _NUMBERS_AT_ONCE // len(weight))
        for first in range(0, start.shape[1], width):
            some = slice(first, first + width)
            b = X.transposed_times(np.sqrt(weight)[:, None] * self.of_rows[:, some])
            b += np.sqrt(precision)[:, None] * self.of_effects[:, some]
            draws[:, some] = solve(b, start[:, some])
            scores = X.times(draws[:, some])
            spread += np.einsum("nr,nr->n", scores, scores)
            del scores  # before the next ones
        return draws, spread / start.shape[1]


def _bands(design: Design) -> IntArray:
    """Number the variances: (size,) which one each effect has."""
    bands, before = [design.text_bands], int(design.text_bands.max(initial=-1)) + 1
    for term in design.terms:
        bands.append(np.tile(term.bands + before, term.units.shape[1]))
        before += int(term.bands.max(initial=-1)) + 1
    numbered = np.concatenate(bands)
    # A term without units leaves a gap, which has no variance to learn.
    return np.unique(numbered, return_inverse=True)[1].astype(np.int64)


def _posterior(
    design: Design,
    X: Matrix,
    effects: FloatArray,
    deviations: FloatArray,
    variances: FloatArray,
    cuts: FloatArray,
) -> Posterior:
    shapes = [(1, design.text.shape[1])] + [
        (t.units.shape[1], t.features.shape[1]) for t in design.terms
    ]
    pieces, n_draws = list(zip(X.slices, shapes, strict=True)), deviations.shape[1]
    return Posterior(
        [effects[piece, 0].reshape(shape) for piece, shape in pieces],
        [deviations[piece].T.reshape(n_draws, *shape) for piece, shape in pieces],
        [
            variances[piece][: shape[1]] if shape[0] else np.zeros(shape[1])
            for piece, shape in pieces
        ],
        cuts,
    )


def _learnt(
    effects: FloatArray,
    deviations: FloatArray,
    bands: IntArray,
    counts: FloatArray,
    variances: FloatArray,
    faster: bool,
) -> FloatArray:
    """Return the variance of each kind of effect, by what is known of its effects now.

    EM's own step is sure and slow where little is known of each effect; MacKay's has the same fixed
    point and is fast, but for the noise of few draws: the noisier, the nearer the step is to EM's.
    """
    n = len(counts)
    squares = np.bincount(bands, effects**2, n) + _PRIOR_EFFECTS * _PRIOR_VARIANCE
    unknown = np.bincount(bands, (deviations**2).mean(axis=1), n)
    total = counts + _PRIOR_EFFECTS
    em = (squares + unknown) / total
    if not faster:
        return np.asarray(em)
    determined = np.maximum(total - unknown / variances, 1e-3 * total)
    mackay = np.clip(squares / determined, em / 4, em * 4)
    noise = 2 * total / deviations.shape[1]
    share = determined**2 / (determined**2 + noise)
    return np.asarray(np.clip(em ** (1 - share) * mackay**share, _LEAST_VARIANCE, 100))


def _first_cuts(design: Design) -> FloatArray:
    if design.symmetric:
        return np.zeros(1)
    counts = np.bincount(design.y, weights=design.w, minlength=design.n_classes) + 1.0
    above = np.cumsum(counts[::-1])[::-1][1:] / counts.sum()
    return np.asarray(np.log(1 - above) - np.log(above))


class _Levels(NamedTuple):
    """The levels of rows' scores: P(y > t) below and above each row's class."""

    below: FloatArray
    above: FloatArray

    @property
    def probability(self) -> FloatArray:
        return np.maximum(self.below - self.above, 1e-12)


def _levels(scores: FloatArray, y: IntArray, cuts: FloatArray) -> _Levels:
    ends = np.concatenate([[-np.inf], cuts, [np.inf]])
    return _Levels(expit(scores - ends[y]), expit(scores - ends[y + 1]))


def _slopes(
    design: Design, scores: FloatArray, spread: FloatArray, cuts: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the expected slope and curvature of each row's log likelihood in its score, (n,)."""
    slope, curvature = np.zeros(len(scores)), np.zeros(len(scores))
    sd = np.sqrt(spread)
    for node, share in zip(_NODES, _WEIGHTS, strict=True):
        below, above = _levels(scores + node * sd, design.y, cuts)
        slope += share * (1 - below - above)
        curvature += share * (below * (1 - below) + above * (1 - above))
    return design.w * slope, design.w * curvature


def _moved_cuts(
    design: Design, scores: FloatArray, spread: FloatArray, cuts: FloatArray
) -> FloatArray:
    """Return the cuts after two steps of Fisher scoring; they stay in order."""
    T, prior = len(cuts), _SD_OF_CUTS**-2
    for _ in range(2):
        slope, information = prior * (_first_cuts(design) - cuts), prior * np.eye(T)
        for node, share in zip(_NODES, _WEIGHTS, strict=True):
            at = scores + node * np.sqrt(spread)
            levels = _levels(at, design.y, cuts)
            lower = -design.w * levels.below * (1 - levels.below) / levels.probability
            upper = design.w * levels.above * (1 - levels.above) / levels.probability
            slope += share * np.bincount(design.y, upper, T + 1)[:T]
            slope += share * np.bincount(design.y, lower, T + 1)[1:]
        above = expit(scores[:, None] - cuts)
        density = above * (1 - above)
        classes = -np.diff(np.pad(above, ((0, 0), (1, 0)), constant_values=1), axis=1)
        classes = np.maximum(np.column_stack([classes, above[:, -1]]), 1e-9)
        for t in range(T):
            own = density[:, t] ** 2 * (1 / classes[:, t] + 1 / classes[:, t + 1])
            information[t, t] += (design.w * own).sum()
            if t + 1 < T:
                both = density[:, t] * density[:, t + 1] / classes[:, t + 1]
                information[t, t + 1] = information[t + 1, t] = -(design.w * both).sum()
        moved = cuts + np.linalg.solve(information, slope)
        if (np.diff(moved) <= 0).any():
            break
        cuts = moved
    return cuts


def _solver(
    X: Matrix,
    weight: FloatArray,
    precision: FloatArray,
    precondition: Callable[[FloatArray], FloatArray],
) -> _Solve:
    """Return what solves (X' W X + Lambda) x = b by conjugate gradients, from a start."""

    def matrix(v: FloatArray) -> FloatArray:
        rows = X.times(v)
        rows *= weight[:, None]
        return X.transposed_times(rows) + precision[:, None] * v

    def solve(b: FloatArray, x: FloatArray) -> FloatArray:
        residual = b - matrix(x)
        scale = np.maximum((b * precondition(b)).sum(axis=0), 1e-300)
        direction = step = precondition(residual)
        size = (residual * step).sum(axis=0)
        for done in range(_STEPS):
            if done >= _FEWEST_STEPS and (size <= _TOLERANCE**2 * scale).all():
                break
            image = matrix(direction)
            length = size / np.maximum((direction * image).sum(axis=0), 1e-300)
            x = x + length * direction
            residual = residual - length * image
            step = precondition(residual)
            before, size = size, (residual * step).sum(axis=0)
            direction = step + size / np.maximum(before, 1e-300) * direction
        return x

    return solve


def _preconditioner(
    design: Design, X: Matrix, weight: FloatArray, precision: FloatArray
) -> Callable[[FloatArray], FloatArray]:
    """Return an approximate inverse: blocks for texts, for few units and for each of many."""
    of_cells = X.of_cells @ weight
    text = (design.text.T * of_cells) @ design.text + np.diag(precision[X.slices[0]])
    whole = [(X.slices[0], np.linalg.inv(text))]
    many: list[tuple[slice, FloatArray]] = []
    n = len(weight)
    some = np.arange(0, n, -(-n // _ROWS_OF_BLOCKS))
    for term, piece in zip(design.terms, X.slices[1:], strict=True):
        U, d = term.units.shape[1], term.features.shape[1]
        if not U:
            continue
        prior = precision[piece]
        if U * d <= _LARGEST_BLOCK:
            columns = explicit(term, design.cell, some).toarray()
            block = (columns.T * (weight[some] * (n / len(some)))) @ columns
            whole.append((piece, np.linalg.inv(block + np.diag(prior))))
            continue
        blocks = unit_blocks(term, design.cell, weight)
        blocks[:, np.arange(d), np.arange(d)] += prior.reshape(U, d)
        many.append((piece, np.asarray(np.linalg.inv(blocks))))

    def precondition(v: FloatArray) -> FloatArray:
        out = np.empty_like(v)
        for piece, inverse in whole:
            out[piece] = inverse @ v[piece]
        for piece, inverses in many:
            units = v[piece].reshape(len(inverses), -1, v.shape[1])
            out[piece] = (inverses @ units).reshape(-1, v.shape[1])
        return out

    return precondition
