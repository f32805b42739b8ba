"""Who a prediction is for, and what several say of the same texts: how far apart they are."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, brief, did_you_mean, listed

#: Names of groups whose embeddings add (Eq. 1): somebody of these groups.
Groups = Sequence[str]


@dataclass(frozen=True)
class Person:
    """Somebody whose annotations the model learnt from, by the annotator's code in the data.

    `groups` name what moves from one annotation to the next, as reasons do; a person's attributes
    are known already.
    """

    code: str
    groups: Groups = ()


@dataclass(frozen=True)
class Jury:
    """A mixture: what a juror drawn at random would say, as in jury learning (Gordon et al., 2022).

    `weights` are the jurors' shares, by default equal; they need not sum to 1.

    >>> Jury([["gender=Woman"], ["gender=Man"], Person("a17")], weights=[2, 2, 1]).shares
    array([0.4, 0.4, 0.2])
    """

    jurors: Sequence[Groups | Person]
    weights: Sequence[float] | None = None

    @property
    def shares(self) -> FloatArray:
        """(jurors,) the weights, which sum to 1. Raises InputError if they cannot."""
        given = np.ones(len(self.jurors)) if self.weights is None else np.asarray(self.weights)
        if given.shape != (len(self.jurors),) or not len(given):
            raise InputError(
                f"a jury has one weight per juror and a juror at least; got {given.size} weights "
                f"for {len(self.jurors)} jurors"
            )
        if not (np.isfinite(given).all() and (given >= 0).all() and given.sum() > 0):
            raise InputError(f"the weights of a jury are shares, 0 or more; got {given.tolist()}")
        shares: FloatArray = given / given.sum()
        return shares


#: What `Model.predict_proba` can be asked for.
Perspective = Groups | Person | Jury


def jurors_of(
    perspectives: Sequence[Perspective],
) -> tuple[list[Groups | Person], FloatArray | None]:
    """Return all jurors of the perspectives in turn, and each one's share of each: (P, jurors).

    Where no perspective is a jury, the shares are None: everybody speaks for themselves.
    """
    if not any(isinstance(each, Jury) for each in perspectives):
        return [each for each in perspectives if not isinstance(each, Jury)], None
    juries = [each if isinstance(each, Jury) else Jury([each]) for each in perspectives]
    jurors = [juror for jury in juries for juror in jury.jurors]
    mixture = np.zeros((len(juries), len(jurors)))
    seat = 0
    for row, jury in zip(mixture, juries, strict=True):
        row[seat : seat + len(jury.jurors)] = jury.shares
        seat += len(jury.jurors)
    return jurors, mixture


@dataclass(frozen=True)
class Views:
    """Class probabilities of n texts from P perspectives, beside the training population's.

    `names` are the P perspectives, `p` (n, P, L) their probabilities, `population` (n, L) those of
    the mixture over the training set's memberships.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    p: FloatArray
    population: FloatArray

    @property
    def disagreement(self) -> FloatArray:
        """(n,) disagreement scores; see `disagreement`."""
        return disagreement(self.p)

    @property
    def gaps(self) -> FloatArray:
        """(n, P): how much higher a perspective's expected class is than the population's.

        In units of the scale from the first class (0) to the last (1).
        """
        gaps: FloatArray = mean_level(self.p) - mean_level(self.population)[:, None]
        return gaps

    def mixture(self, weights: Mapping[str, float]) -> FloatArray:
        """Return (n, L): the perspectives' probabilities, weighted (the weights are scaled to 1).

        A stated population in which people of each perspective judge for themselves; it mixes
        their answers, not their embeddings. Raises InputError for a name that is no perspective
        here, and for weights that are negative, not finite or all 0.
        """
        check_weights(weights)
        for name in weights:
            if name not in self.names:
                raise InputError(
                    f"{brief(name)!r} has a weight but is none of the perspectives "
                    f"{listed(self.names)}.{did_you_mean(name, self.names)}"
                )
        w = np.array([weights.get(name, 0.0) for name in self.names])
        mixed: FloatArray = np.einsum("p,npl->nl", w / w.sum(), self.p)
        return mixed

    def first(self, n: int) -> "Views":
        """Return the first n perspectives alone."""
        return Views(self.names[:n], self.classes, self.p[:, :n], self.population)

    def of(self, texts: slice) -> "Views":
        """Return the views of some of the texts alone."""
        return Views(self.names, self.classes, self.p[texts], self.population[texts])

    def table(self) -> pd.DataFrame:
        """Return one row per text and perspective, for each text the widest gap first.

        Columns: ``text`` (its position), ``perspective``, one per class ``p(class)``, and ``gap``.
        """
        n, P, L = self.p.shape
        table = pd.DataFrame({"text": np.repeat(np.arange(n), P), "perspective": self.names * n})
        table = table.join(
            pd.DataFrame(self.p.reshape(n * P, L), columns=[f"p({c})" for c in self.classes])
        )
        table["gap"] = self.gaps.ravel()
        widest = np.lexsort((-table["gap"].abs().to_numpy(), table["text"].to_numpy()))
        return table.iloc[widest].reset_index(drop=True)


def mean_level(p: FloatArray) -> FloatArray:
    """Return the expected class of p (..., L) on a scale from 0, the first, to 1, the last: (...).

    >>> mean_level(np.array([[1.0, 0, 0], [0.25, 0.5, 0.25]]))
    array([0. , 0.5])
    """
    level: FloatArray = p @ np.linspace(0, 1, p.shape[-1])
    return level


def disagreement(p: FloatArray) -> FloatArray:
    """Return how much P perspectives disagree on each of n texts: p (n, P, L) gives (n,) in 0..1.

    The mean over pairs of perspectives of the earth mover's distance between their distributions
    over the ordered classes, the measure of A.6, in units of the whole scale: 0 where all say the
    same, 1 where two are sure of opposite ends. With one perspective or none it is 0.

    >>> disagreement(np.array([[[1.0, 0, 0], [0, 0, 1]], [[0.5, 0.5, 0], [0.5, 0.5, 0]]]))
    array([1., 0.])
    """
    n, P, L = p.shape
    if P < 2:
        return np.zeros(n)
    # The distance is the mean gap between cumulative probabilities; sorted, the gaps of all pairs
    # add up in one pass.
    cumulative = np.sort(np.cumsum(p, axis=2)[:, :, :-1], axis=1)
    times = 2 * np.arange(P) - P + 1
    total: FloatArray = np.einsum("p,npt->n", times, cumulative) / (P * (P - 1) / 2) / (L - 1)
    return np.clip(total, 0, 1)


def parse(text: str, groups: Sequence[str]) -> list[str]:
    """Read a perspective as it is written: a group's name, or several joined by " + ".

    A name that itself has a " + " in it is taken as a whole. Names are not checked.

    >>> parse("Security + Tradition", ["Security", "Tradition"])
    ['Security', 'Tradition']
    >>> parse("A + B", ["A + B"])
    ['A + B']
    """
    whole = text.strip()
    return [whole] if whole in groups else [part.strip() for part in re.split(r"\s\+\s", whole)]


def check_weights(weights: Mapping[str, object]) -> dict[str, float]:
    """Return weights of perspectives as numbers.

    Raises InputError if one is no number, negative or not finite, or if all are 0.
    """
    checked = {}
    for name, weight in weights.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not math.isfinite(float(weight)) or weight < 0:  # type: ignore[arg-type, operator]
            raise InputError(
                f"the weight of {brief(name)!r} is {brief(weight)!r}; "
                "expected a number that is not negative, such as 0.25"
            )
        checked[name] = float(weight)  # type: ignore[arg-type]
    if not math.isfinite(total := sum(checked.values())) or total <= 0:
        raise InputError("the weights of a mixture sum to nothing; give at least one perspective")
    return checked
