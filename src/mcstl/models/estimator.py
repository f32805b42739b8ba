"""MC-STL as a scikit-learn classifier, on texts or on vectors, with groups beside them."""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    check_random_state,
    column_or_1d,
    validate_data,
)

from mcstl._support.arrays import Float32Array, FloatArray, IntArray
from mcstl._support.errors import InputError, Notice, listed
from mcstl.data.cells import comparable, first_spellings, is_missing, is_usable_text
from mcstl.data.scales import usual_order
from mcstl.encoding.encoders import PAPER_ENCODER, load_encoder
from mcstl.equations import KLForm
from mcstl.groups.base import memberships
from mcstl.models import recipes, training
from mcstl.models.examples import Examples
from mcstl.models.training import TrainingConfig

#: Per row the names of its value groups, or one name, or nothing; also as an array or a frame.
Memberships = Sequence[Sequence[str] | str | None] | npt.NDArray[Any] | pd.Series | pd.DataFrame


class MCSTLClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """MC-STL for labels with an order, that of `classes_` (sorted): Eq. 2 and 4 of the paper.

    Args:
        encoder: The encoder of texts, by name or folder.
        hidden: The number of hidden units.
        dropout: The share of hidden units dropped in training; None: chosen on the held-out rows,
            as a study does.
        learning_rate: Adam's step size; None: chosen.
        batch_size: Rows per step, by weight; None: chosen.
        epochs: The most epochs.
        patience: Training stops after this many epochs without a lower validation NLL.
        kl: The form of the KL term (`mcstl.equations.kl_term`).
        validation_fraction: The share of the rows that `fit` stops on.
        random_state: A seed or a `RandomState`, as in scikit-learn.

    Attributes:
        classes_: The classes, sorted.
        group_names_: The names of the groups, sorted.
        n_iter_: How many epochs were trained.
        network_: The network.
        reads_texts_: Whether `X` was texts.
        n_features_in_: The number of columns of `X`, if it was numbers.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(200, 3)); y = X[:, 0] > 0
        >>> model = MCSTLClassifier(epochs=30, random_state=0).fit(X, y)
        >>> float(model.score(X, y)) > 0.9
        True
    """

    def __init__(
        self,
        *,
        encoder: str = PAPER_ENCODER,
        hidden: int = 256,
        dropout: float | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        epochs: int = 200,
        patience: int = 10,
        kl: KLForm = "paper",
        validation_fraction: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.encoder = encoder
        self.hidden = hidden
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.kl = kl
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any,
        groups: Memberships | None = None,
        sample_weight: Any = None,
    ) -> Self:
        """Fit the network.

        Args:
            X: Texts (a list, an array, a Series or a frame of one column), which are encoded, or
                numbers (n, d), which are used as they are.
            y: The labels, (n,).
            groups: Each row's value groups: a list of names, one name or nothing; without it
                nobody is told apart. Where metadata is routed, ask for it by
                ``set_fit_request(groups=True)``.
            sample_weight: Row weights, (n,), 0 or more, by default 1.

        Returns:
            The classifier itself.

        Raises:
            InputError: A ValueError, for a missing text or label, for groups of another length and
                for a single class.

        Warns:
            Notice: If the classes are three or more words that do not sort in a known order:
                classes are ordered as they sort.
        """
        texts = _texts(X)
        self.reads_texts_ = texts is not None
        if missing := _missing(y):
            raise InputError(
                f"y: {len(missing)} labels are missing, row {listed(missing, 5)} (counted from 0); "
                "drop these rows"
            )
        if texts is None:
            vectors, y = validate_data(self, X, y, dtype=np.float32)
        else:
            y = column_or_1d(y, warn=True)
            check_consistent_length(texts, y)
            vectors = self._encoded(texts)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("y has only 1 class, and a classifier needs two or more")
        _warn_of_order(self.classes_.tolist())
        names = [name for row in _names_per_row(groups, len(vectors)) for name in row]
        self.group_names_ = tuple(sorted(first_spellings(pd.Series(names, dtype=object)).values()))
        rows = self._rows(vectors, groups)
        w = _check_sample_weight(sample_weight, vectors, dtype=np.float32, ensure_non_negative=True)
        rows = Examples(rows.vectors, rows.positions, rows.S, codes.astype(np.int64), w)
        random = check_random_state(self.random_state)
        train, held_out = _split(codes, w, self.validation_fraction, random)
        recipe = {key: getattr(self, key) for key in training.CHOSEN}
        given = {key: value for key, value in recipe.items() if value is not None}
        config = TrainingConfig(
            hidden=self.hidden, epochs=self.epochs, patience=self.patience, kl=self.kl, **given
        )
        fitted = recipes.fit(
            rows.take(train),
            rows.take(held_out),
            training.Problem(len(self.classes_)),
            config,
            seed=int(random.randint(2**31)),
        )
        self.network_, self.n_iter_ = fitted.network, fitted.epochs
        return self

    def predict_proba(self, X: Any, groups: Memberships | None = None) -> FloatArray:
        """Predict P(class | row, groups).

        Args:
            X: Texts or numbers, as in `fit`.
            groups: The names of each row's groups; a row without groups has V = 0. Names that
                training did not have are passed over.

        Returns:
            The class probabilities, (n, L).

        Raises:
            InputError: A ValueError, for groups of another length.
        """
        check_is_fitted(self)
        texts = _texts(X)
        if (texts is not None) != self.reads_texts_:
            kinds = ("texts", "numbers") if self.reads_texts_ else ("numbers", "texts")
            raise InputError("this classifier was fitted on {}; X is {}".format(*kinds))
        if texts is None:
            vectors = validate_data(self, X, dtype=np.float32, reset=False)
        else:
            vectors = self._encoded(texts)
        return training.predict(self.network_, self._rows(vectors, groups))

    def predict(self, X: Any, groups: Memberships | None = None) -> npt.NDArray[Any]:
        """Predict the most probable class of each row.

        Args:
            X: Texts or numbers, as in `fit`.
            groups: The names of each row's groups, as in `predict_proba`.

        Returns:
            The classes, (n,).

        Raises:
            InputError: As `predict_proba`.
        """
        most = self.predict_proba(X, groups).argmax(axis=1)
        return self.classes_[most]  # type: ignore[no-any-return]

    def score(
        self, X: Any, y: Any, groups: Memberships | None = None, sample_weight: Any = None
    ) -> float:
        """Compute the share of rows whose class is predicted.

        Args:
            X: Texts or numbers, as in `fit`.
            y: The labels, (n,).
            groups: The names of each row's groups, as in `predict_proba`.
            sample_weight: Row weights, (n,), by default 1.

        Returns:
            The accuracy, from 0 to 1.

        Raises:
            InputError: As `predict_proba`.
        """
        return float(accuracy_score(y, self.predict(X, groups), sample_weight=sample_weight))

    def _encoded(self, texts: list[str]) -> Float32Array:
        return load_encoder(self.encoder).encode(texts)

    def _rows(self, vectors: Float32Array, groups: Memberships | None) -> Examples:
        n = len(vectors)
        known = {comparable(name): name for name in self.group_names_}
        named = [
            [known[comparable(name)] for name in row if comparable(name) in known]
            for row in _names_per_row(groups, n)
        ]
        positions = np.arange(n, dtype=np.int64)[:, None]
        S = memberships(named, self.group_names_)
        return Examples(vectors, positions, S, np.zeros(n, np.int64), np.ones(n, np.float32))


def _texts(X: Any) -> list[str] | None:
    """Return the texts of a list, an array, a Series or one column; None for numbers."""
    if isinstance(X, pd.DataFrame | pd.Series):
        cells = X.to_numpy(dtype=object)
    elif isinstance(X, np.ndarray) and X.dtype.kind in "OUT":
        cells = X
    elif isinstance(X, list | tuple) and any(isinstance(_first(cell), str) for cell in X):
        cells = np.empty(len(X), dtype=object)
        cells[:] = [_first(cell) for cell in X]
    else:
        return None
    if not any(isinstance(cell, str) for cell in cells.ravel()):
        return None
    if cells.size != len(cells):
        raise InputError(
            f"X has texts in {cells.size // len(cells)} columns; give one, as X[{_column(X)!r}], "
            "or join them"
        )
    texts = cells.ravel().tolist()
    if unusable := [row for row, text in enumerate(texts) if not is_usable_text(text)]:
        raise InputError(
            f"X: {len(unusable)} texts are missing, empty or not text, row {listed(unusable, 5)} "
            "(counted from 0); fill them or drop these rows"
        )
    return [str(text) for text in texts]


def _missing(y: Any) -> list[int]:
    """Return the rows without a label; in an array of texts NaN would be the word nan."""
    cells = pd.Series(y, dtype=object) if isinstance(y, list | tuple) else y
    if not isinstance(cells, pd.Series | np.ndarray):
        return []
    return np.flatnonzero(pd.isna(cells)).tolist()


def _warn_of_order(classes: list[Any]) -> None:
    """Warn where words are taken in an order that they may not have."""
    if len(classes) < 3 or not all(isinstance(each, str) for each in classes):
        return
    usual = [level[0] for level in usual_order(classes) or ()]
    if usual == classes:
        return
    order = listed(usual) if len(usual) == len(classes) else "they have no known one"
    warnings.warn(
        f"classes are taken to be ordered as they sort, {listed(classes, 5)}; their usual order: "
        f"{order}. Give y as numbers in the order meant, as [['low', 'medium', 'high'].index(x) "
        "for x in y]; labels without an order (topics) need another classifier",
        Notice,
        stacklevel=3,
    )


def _first(cell: Any) -> Any:
    """Return a cell, or what is alone in a list."""
    return cell[0] if isinstance(cell, list | tuple) and len(cell) == 1 else cell


def _column(X: Any) -> object:
    return X.columns[0] if isinstance(X, pd.DataFrame) else 0


def _names_per_row(groups: Any, n: int) -> list[list[object]]:
    """Return each row's names of groups, (n,)."""
    if groups is None:
        return [[] for _ in range(n)]
    if isinstance(groups, str) or not hasattr(groups, "__len__") or len(groups) != n:
        got = f"groups of {len(groups)}" if hasattr(groups, "__len__") else "groups are no list"
        raise InputError(f"there are {n} rows and {got}; give one list of names per row")
    if isinstance(groups, pd.DataFrame):
        rows = groups.to_numpy(dtype=object).tolist()
    else:
        rows = list(groups)
    listed_rows = [
        list(row) if isinstance(row, list | tuple | set | frozenset | np.ndarray) else [row]
        for row in rows
    ]
    return [[name for name in row if not is_missing(name)] for row in listed_rows]


def _split(
    codes: IntArray,
    w: Float32Array,
    share: float,
    random: np.random.RandomState,
) -> tuple[IntArray, IntArray]:
    """Rows to train on and rows to stop on; where too few have weight, the same for both."""
    order = random.permutation(np.flatnonzero(w > 0))
    held_out = order[: round(share * len(order))]
    train = order[len(held_out) :]
    if not len(held_out) or len(np.unique(codes[train])) < len(np.unique(codes)):
        return order, order
    return train, held_out
