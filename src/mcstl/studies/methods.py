"""The methods of a study: what each sees of the rows, and which model it fits to them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from mcstl._support import plugins
from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations, majority_rows
from mcstl.data.splits import Split
from mcstl.encoding.encoders import Encoder
from mcstl.groups import Scheme
from mcstl.groups.base import need_column
from mcstl.methods.dawid_skene import label_probabilities
from mcstl.models import training
from mcstl.models.examples import Examples
from mcstl.models.networks import (
    BaseNetwork,
    HeadsNetwork,
    MeanNetwork,
    Network,
    ProductNetwork,
)
from mcstl.models.people import PeopleNetwork
from mcstl.studies.study_file import AnyMethod, IrpmConfig, MethodConfig, MethodName, Study

Part = Literal["train", "validation", "test"]
#: Methods whose network is saved and can be asked for perspectives.
_SAVED: tuple[MethodName, ...] = (
    *("mc-stl", "mc-stl-people", "best", "none", "majority", "dawid-skene"),
)
_WITHOUT_GROUPS: tuple[MethodName, ...] = ("none", "majority", "dawid-skene")
_WITH_ANNOTATORS: tuple[MethodName, ...] = ("mc-stl-people", "annotators", "dawid-skene")
#: How many networks of each form `best` has.
_MEMBERS = 3
_TABULAR: tuple[MethodName, ...] = ("gbm", "logistic", "groups-only")


@dataclass(frozen=True)
class Prepared:
    """One seed of a study, ready for its methods: the parts, the groups and the rows."""

    annotations: Annotations
    minority: BoolArray
    parts: Split
    scheme: Scheme
    rows: Examples  # all annotations, in their order
    encoder: Encoder  # of the texts, this seed's own where it is trained further
    #: What methods without recalibration predicted, for those that recalibrate them.
    predicted: dict[str, dict[Part, FloatArray]] = field(default_factory=dict, compare=False)

    def part(self, name: Part, method: MethodName = "mc-stl", seed: int = 0) -> Examples:
        """Return the rows of one part, with the groups and people that a method sees.

        Raises InputError if the method needs annotators and the data have none.
        """
        if method in _WITH_ANNOTATORS:
            need_column(self.annotations, "annotator", f"The method {method} needs")
        rows = self.rows
        if method in _WITHOUT_GROUPS:
            rows = rows.without_groups()
        elif method == "mc-stl-people":
            rows = replace(rows, annotators=self.who)
        elif method == "annotators":
            rows = replace(rows, S=self._annotators_as_groups)
        elif method == "shuffled":
            order = np.random.default_rng(seed).permutation(len(rows))
            rows = replace(rows, S=rows.S[order])
        return rows.take(getattr(self.parts, name))

    @cached_property
    def people(self) -> tuple[str, ...]:
        """The annotators who have training rows."""
        people = self.annotations.frame["annotator"]
        return tuple(people.iloc[self.parts.train].dropna().unique())

    @cached_property
    def who(self) -> IntArray:
        """(n,) the rows' annotators by their place in `people`, -1 for everybody else."""
        codes = pd.Index(self.people).get_indexer(pd.Index(self.annotations.frame["annotator"]))
        return np.asarray(codes, dtype=np.int64)

    @property
    def _annotators_as_groups(self) -> csr_matrix:
        """(n, A) membership in which everybody known is a group, and others are in none."""
        rows = np.flatnonzero(self.who >= 0)
        shape = (len(self.who), self.who.max(initial=-1) + 1)
        return csr_matrix((np.ones(len(rows), np.float32), (rows, self.who[rows])), shape=shape)

    @property
    def annotations_per_item(self) -> float:
        """The m of the paper's lambda_1: mean annotations per training item, by weight."""
        items = self.annotations.frame["item"].to_numpy()[self.parts.train]
        return float(self.rows.w[self.parts.train].sum() / len(np.unique(items)))


def saves_model(method: AnyMethod) -> bool:
    """Say whether a method ends in a network that answers for the groups of the study."""
    return method.name in _SAVED and method.recalibrate is None


def has_recipe(method: AnyMethod) -> bool:
    """Say whether a method is a network that the study's `training` trains."""
    own = isinstance(method, MethodConfig) and method.name in get_args(MethodName)
    return own and method.name not in _TABULAR and method.recalibrate is None


def fit_method(
    method: AnyMethod,
    study: Study,
    prepared: Prepared,
    seed: int,
    *,
    checkpoint: Path | None = None,
    on_epoch: training.OnEpoch | None = None,
    progress: Progress = silent,
) -> tuple[FloatArray, BaseNetwork | None]:
    """Fit one method and return its probabilities of the test rows, (n, L), and its network.

    A method with `recalibrate` is fitted as without it, then its probabilities are mapped to those
    of the validation rows' labels, group by group; it has no network.
    """
    # scikit-learn takes a second to import, which other commands need not pay.
    if method.recalibrate is not None:
        from mcstl.methods.recalibration import recalibrate

        plain = method.model_copy(update={"recalibrate": None, "label": ""})
        key = plain.model_dump_json()
        if key not in prepared.predicted:
            fit_method(plain, study, prepared, seed, checkpoint=checkpoint, progress=progress)
        p = prepared.predicted[key]
        groups = prepared.rows.S.toarray() > 0
        validation, test = prepared.parts.validation, prepared.parts.test
        recalibrated = recalibrate(
            method.recalibrate,
            p["validation"],
            prepared.rows.y[validation],
            groups[validation],
            p["test"],
            groups[test],
            symmetric=prepared.annotations.task == "preference",
            seed=seed,
        )
        return recalibrated, None
    predict, network = _fit(method, study, prepared, seed, checkpoint, on_epoch, progress)
    both: tuple[Part, ...] = ("validation", "test")
    p = {name: predict(prepared.part(name, method.name, seed)) for name in both}
    prepared.predicted[method.model_copy(update={"label": ""}).model_dump_json()] = p
    return p["test"], network


def _fit(
    method: AnyMethod,
    study: Study,
    prepared: Prepared,
    seed: int,
    checkpoint: Path | None,
    on_epoch: training.OnEpoch | None,
    progress: Progress,
) -> tuple[Callable[[Examples], FloatArray], BaseNetwork | None]:
    """Fit one method: rows to probabilities, and its network."""
    train, validation = (prepared.part(name, method.name, seed) for name in ("train", "validation"))
    n_classes = len(prepared.annotations.classes)
    added = method.name in plugins.names("methods")
    if added or method.name in _TABULAR:
        from mcstl.methods import tabular

        own = {
            "gbm": tabular.gbm,
            "logistic": tabular.logistic,
            "groups-only": tabular.groups_only,
        }
        fit = own.get(method.name) or plugins.load("methods", method.name)
        progress(f"training {method.title}", 0, 1)
        # On products this small a second thread waits more than it works (LOG.md, 2).
        with threadpool_limits(1):
            predict = fit(train, validation, n_classes=n_classes, seed=seed)
        progress(f"training {method.title}", 1, 1)
        return predict, None
    if isinstance(method, IrpmConfig):
        from mcstl.methods import irpm

        irpm_predict = irpm.fit(
            train,
            validation,
            prepared.annotations.distinct_texts()[0],
            prepared.scheme.names,
            model=method.model,
            config=method,
            epochs=method.epochs,
            n_classes=n_classes,
            preference=prepared.annotations.task == "preference",
            seed=seed,
            checkpoint=checkpoint,
            progress=lambda _, done, total: progress(f"training {method.title}", done, total),
        )
        return irpm_predict, None
    config = study.training_of(method)
    if method.name == "majority":
        train, validation = _majority_only(prepared)
    elif method.name == "dawid-skene":
        train, validation = _dawid_skene(prepared)
    elif method.name == "annotators":
        config = config.model_copy(update={"kl": "none"})  # Eq. 3 speaks of groups
    problem = training.Problem(
        n_classes, prepared.annotations.task == "preference", prepared.annotations_per_item
    )

    def told(_: str, done: int, total: int) -> None:
        progress(f"training {method.title}", done, total)

    network: BaseNetwork
    if method.name == "best":
        network = _best(train, validation, problem, config, seed, checkpoint, told)
    else:
        forms: dict[str, type[Network]] = {"heads": HeadsNetwork, "mc-stl-people": PeopleNetwork}
        network = training.fit(
            train,
            validation,
            problem,
            config,
            network=forms.get(method.name, Network),
            seed=seed,
            session=training.Session(checkpoint, on_epoch=on_epoch, progress=told),
        ).network
    return lambda rows: training.predict(network, rows), network


def _best(
    train: Examples,
    validation: Examples,
    problem: training.Problem,
    config: training.TrainingConfig,
    seed: int,
    checkpoint: Path | None,
    progress: Progress,
) -> MeanNetwork:
    """Fit several networks of each form; the mean of one form's or of all, by validation NLL.

    Each has a checkpoint of its own, which stays until all are fitted. There is no trace, since
    that is of one network.
    """
    forms: list[type[Network]] = [Network, ProductNetwork]
    # The first of a form is what its method alone would be; torch tells seeds by 32 bits only.
    seeds = [seed, *map(int, np.random.SeedSequence(seed).generate_state(_MEMBERS - 1))]
    fitted: list[list[Network]] = [[], []]
    files = []
    for number in range(_MEMBERS * len(forms)):
        member, form = divmod(number, len(forms))
        own = checkpoint and checkpoint.with_name(f"{checkpoint.name}-{number}")
        files += [own] if own else []

        def told(step: str, done: int, total: int, number: int = number) -> None:
            progress(step, number * total + done, _MEMBERS * len(forms) * total)

        found = training.fit(
            train,
            validation,
            problem,
            config,
            network=forms[form],
            seed=seeds[member],
            session=training.Session(own, keep=True, progress=told),
        )
        fitted[form].append(found.network)
    for file in files:
        file.unlink(missing_ok=True)
    choices = [MeanNetwork(members) for members in (*fitted, fitted[0] + fitted[1])]
    return min(choices, key=lambda mean: training.validation_nll(mean, validation))


def _majority_only(prepared: Prepared) -> tuple[Examples, Examples]:
    """Training and validation rows that carry their item's majority label: Maj(Y), §3.3.

    The majority is taken over all rows that are not test rows.
    """
    train, validation, _ = prepared.parts
    known = np.concatenate([train, validation])
    kept = majority_rows(prepared.annotations.take(known))
    rows = prepared.rows.without_groups()
    return rows.take(train[kept[: len(train)]]), rows.take(validation[kept[len(train) :]])


def _dawid_skene(prepared: Prepared) -> tuple[Examples, Examples]:
    """Training and validation rows labelled by the Dawid-Skene estimate of their item's label.

    It is made of all rows that are not test rows. A row becomes one per class, weighted by the
    class's probability.
    """
    train, validation, _ = prepared.parts
    known, data = np.concatenate([train, validation]), prepared.annotations
    p = label_probabilities(data.take(known))
    rows, n_classes = prepared.rows.without_groups(), len(data.classes)

    def soft(which: IntArray, p: FloatArray) -> Examples:
        labels = np.tile(np.arange(n_classes), len(which))
        weights = p.ravel().astype(np.float32)
        repeated = rows.take(np.repeat(which, n_classes))
        return replace(repeated, y=labels, w=weights).take(weights > 0)

    return soft(train, p[: len(train)]), soft(validation, p[len(train) :])
