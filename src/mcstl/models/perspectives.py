"""Who a prediction is for, and what several say of the same texts: how far apart they are.

A group's view is post-stratified: the mean of what is predicted under the memberships that the
group's training annotations really have, weighted by how often each occurs. A woman of the training
set also has an age and a country; the embedding of "woman" alone is a point that training never
saw. The law of total probability then holds: over a partition, such as the countries, the views
weighted by the groups' sizes average to the population's.
"""

import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from mcstl._support.arrays import BoolArray, FloatArray
from mcstl._support.errors import InputError, Notice, brief, did_you_mean, listed
from mcstl.groups.base import Group
from mcstl.groups.small_groups import OF_FEW

#: Names of groups: somebody who is in all of them.
Groups = Sequence[str]


@dataclass(frozen=True)
class Person:
    """Somebody whose annotations the model learnt from.

    Attributes:
        code: The annotator's code in the data.
        groups: Names of groups that change from one annotation to the next, as reasons do; the
            model has a person's attributes already.
    """

    code: str
    groups: Groups = ()


@dataclass(frozen=True)
class Jury:
    """A mixture: what a juror drawn at random would say, as in jury learning (Gordon et al., 2022).

    Attributes:
        jurors: Lists of group names, or persons.
        weights: The jurors' shares, by default equal; they need not sum to 1.

    Example:
        >>> Jury([["gender=Woman"], ["gender=Man"], Person("a17")], weights=[2, 2, 1]).shares
        array([0.4, 0.4, 0.2])
    """

    jurors: Sequence[Groups | Person]
    weights: Sequence[float] | None = None

    @property
    def shares(self) -> FloatArray:
        """The weights scaled to sum to 1, (jurors,); InputError if they cannot be."""
        weights = np.ones(len(self.jurors)) if self.weights is None else np.asarray(self.weights)
        if weights.shape != (len(self.jurors),) or not len(weights):
            raise InputError(
                f"a jury has one weight per juror and a juror at least; got {weights.size} weights "
                f"for {len(self.jurors)} jurors"
            )
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise InputError(f"the weights of a jury are shares, 0 or more; got {weights.tolist()}")
        shares: FloatArray = weights / weights.sum()
        return shares


#: What `Model.predict_proba` can be asked for.
Perspective = Groups | Person | Jury


def askable(groups: Iterable[Group], min_people: int) -> tuple[Group, ...]:
    """Take the groups for which predictions are made.

    Args:
        groups: Groups.
        min_people: How many people a group must be of, where they are known. How many fewer than
            five are is not kept, so that 2 to 5 are alike, and 1 allows all groups.

    Returns:
        Those that are large enough.

    Raises:
        InputError: If `min_people` is below 1.
    """
    if min_people < 1:
        raise InputError(f"min_people is a number of people from 1 up; got {min_people}")
    return tuple(
        group
        for group in groups
        if group.annotators is None or group.annotators >= min_people or min_people == 1
    )


def check_people(asked: Sequence[Group], min_people: int) -> None:
    """Check that nobody asks for what a handful of people think without meaning to.

    Args:
        asked: The groups that are asked.
        min_people: As in `askable`.

    Raises:
        InputError: If a group is of fewer people.

    Warns:
        Notice: Of groups of fewer than five people that `min_people` allows.
    """
    allowed = askable(asked, min_people)
    if refused := [group.name for group in asked if group not in allowed]:
        raise InputError(
            f"{listed(refused)}: of fewer than {min_people} people, so that a prediction may tell "
            "what one of them thinks. If you may ask all the same: "
            "Model.load(folder, min_people=1), on the command line --min-people 1"
        )
    if few := [group.name for group in allowed if group.is_of_few]:
        warnings.warn(
            f"{listed(few)}: of {OF_FEW}; what is predicted may be theirs alone, and may identify "
            "them",
            Notice,
            stacklevel=4,
        )


def jurors_of(perspectives: Sequence[Perspective]) -> tuple[list[Groups | Person], csr_matrix]:
    """List all jurors of some perspectives.

    Args:
        perspectives: P perspectives; one that is no jury has itself as its juror.

    Returns:
        The jurors of all perspectives in turn, and the share of each in each perspective,
        (P, jurors).
    """
    juries = [each if isinstance(each, Jury) else Jury([each]) for each in perspectives]
    ends = np.cumsum([0, *(len(jury.jurors) for jury in juries)])
    jurors = [juror for jury in juries for juror in jury.jurors]
    shares = np.concatenate([jury.shares for jury in juries]) if juries else np.zeros(0)
    shape = (len(juries), len(jurors))
    return jurors, csr_matrix((shares, np.arange(len(jurors)), ends), shape=shape)


def post_stratify(
    population: tuple[csr_matrix, FloatArray], groups: csr_matrix
) -> tuple[csr_matrix, BoolArray]:
    """Weigh the memberships of a population by how much they belong to the asked groups.

    Args:
        population: The distinct memberships, (J, K), and how often each occurs, (J,).
        groups: Which groups each of P perspectives names, (P, K); one that names none is the
            whole population.

    Returns:
        The share of each membership in each perspective, (P, J): how often it occurs times its
        membership in every named group, scaled to sum to 1; and for each perspective whether any
        membership is in all of its groups, (P,). Without one, its shares are 0.

    Example:
        >>> S = csr_matrix([[1, 0, 1], [0, 1, 1], [0, 1, 0]])
        >>> shares, occurs = post_stratify((S, np.array([2.0, 1, 1])), csr_matrix(np.eye(3)))
        >>> shares.toarray().round(2), occurs
        (array([[1.  , 0.  , 0.  ],
               [0.  , 0.5 , 0.5 ],
               [0.67, 0.33, 0.  ]]), array([ True,  True,  True]))
    """
    memberships, counts = population
    by_group, counts = memberships.tocsc(), np.asarray(counts, dtype=np.float64)
    (J, _), P = memberships.shape, groups.shape[0]
    where, shares = [], []
    for row in range(P):
        weights = counts
        for k in groups.indices[groups.indptr[row] : groups.indptr[row + 1]]:
            of_group, inside = np.zeros(J), slice(by_group.indptr[k], by_group.indptr[k + 1])
            of_group[by_group.indices[inside]] = by_group.data[inside]
            weights = weights * of_group
        where.append(np.flatnonzero(weights))
        shares.append(weights[where[-1]] / weights.sum() if len(where[-1]) else np.zeros(0))
    ends = np.cumsum([0, *map(len, where)])
    each = csr_matrix((np.concatenate([[], *shares]), np.concatenate([[], *where]), ends), (P, J))
    return each, each.getnnz(axis=1) > 0


@dataclass(frozen=True)
class Views:
    """Class probabilities of n texts from P perspectives, beside the training population's.

    Attributes:
        names: The names of the P perspectives.
        classes: The names of the L classes.
        p: The perspectives' class probabilities, (n, P, L).
        population: Those of the mixture over the training set's memberships, (n, L).
        unseen: The names of those perspectives that no training annotation has: the embeddings of
            their groups are added alone.
        truncated: Whether the encoder did not read a text to its end, (n,); None where that is not
            known.
        ends: The lower and the upper ends of intervals, of the population and then of each
            perspective, (2, n, 1 + P, L); None where none were asked.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    p: FloatArray
    population: FloatArray
    unseen: tuple[str, ...] = ()
    truncated: BoolArray | None = None
    ends: FloatArray | None = None

    @property
    def disagreement(self) -> FloatArray:
        """How much the perspectives disagree on each text, (n,); see `disagreement`."""
        return disagreement(self.p)

    @property
    def gaps(self) -> FloatArray:
        """How much higher each perspective's expected class is than the population's, (n, P).

        In units of the scale from the first class (0) to the last (1).
        """
        gaps: FloatArray = mean_level(self.p) - mean_level(self.population)[:, None]
        return gaps

    def mixture(self, weights: Mapping[str, float]) -> FloatArray:
        """Average the perspectives' probabilities over a population that is stated.

        In it people of each perspective judge for themselves: what is mixed are their answers, not
        their embeddings.

        Args:
            weights: The weight of each perspective by its name; they are scaled to sum to 1.

        Returns:
            The class probabilities, (n, L).

        Raises:
            InputError: For a name that is no perspective here, and for weights that are negative,
                not finite or all 0.
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

    def first_perspectives(self, n: int) -> "Views":
        """Keep some perspectives only.

        Args:
            n: How many, from the first.

        Returns:
            The views of all texts from these.
        """
        unseen = tuple(name for name in self.unseen if name in self.names[:n])
        ends = None if self.ends is None else self.ends[:, :, : 1 + n]
        return replace(self, names=self.names[:n], p=self.p[:, :n], unseen=unseen, ends=ends)

    def of_texts(self, texts: slice) -> "Views":
        """Keep some texts only.

        Args:
            texts: Which ones.

        Returns:
            The views of these from all perspectives.
        """
        truncated = None if self.truncated is None else self.truncated[texts]
        return replace(
            self,
            p=self.p[texts],
            population=self.population[texts],
            truncated=truncated,
            ends=None if self.ends is None else self.ends[:, texts],
        )

    def table(self) -> pd.DataFrame:
        """Tabulate the views, for each text the widest gap first.

        Returns:
            One row per text and perspective, with the columns ``text`` (its position),
            ``perspective``, one per class ``p(class)``, and ``gap``.
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
    """Compute the expected class on a scale from 0, the first, to 1, the last.

    Args:
        p: Class probabilities, (..., L).

    Returns:
        The expected class, (...).

    Example:
        >>> mean_level(np.array([[1.0, 0, 0], [0.25, 0.5, 0.25]]))
        array([0. , 0.5])
    """
    level: FloatArray = p @ np.linspace(0, 1, p.shape[-1])
    return level


def disagreement(p: FloatArray) -> FloatArray:
    """Compute how much perspectives disagree on each text.

    The mean over pairs of perspectives of the earth mover's distance between their distributions
    over the ordered classes, the measure of A.6, in units of the whole scale: 0 where all say the
    same, 1 where two are sure of opposite ends. With one perspective or none it is 0.

    Args:
        p: Class probabilities of n texts from P perspectives, (n, P, L).

    Returns:
        The disagreement, (n,), from 0 to 1.

    Example:
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

    Args:
        text: The perspective. Names in it are not checked.
        groups: The names of the model's groups: one that itself has a " + " is taken as a whole.

    Returns:
        The names.

    Example:
        >>> parse("Security + Tradition", ["Security", "Tradition"])
        ['Security', 'Tradition']
        >>> parse("A + B", ["A + B"])
        ['A + B']
    """
    whole = text.strip()
    return [whole] if whole in groups else [part.strip() for part in re.split(r"\s\+\s", whole)]


def check_weights(weights: Mapping[str, object]) -> dict[str, float]:
    """Check weights of perspectives.

    Args:
        weights: The weights by perspective, as they were given.

    Returns:
        The weights as numbers.

    Raises:
        InputError: If one is no number, negative or not finite, or if all are 0.
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
