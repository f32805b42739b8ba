"""MC-STL as a scikit-learn classifier, on texts or on vectors, with groups beside them."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    check_random_state,
    validate_data,
)

from mcstl._support.arrays import Float32Array, FloatArray, IntArray
from mcstl._support.errors import InputError
from mcstl.encoding.encoders import PAPER_ENCODER, load_encoder
from mcstl.equations import KLForm
from mcstl.groups.base import memberships
from mcstl.models import training
from mcstl.models.examples import Examples
from mcstl.models.training import TrainingConfig

Memberships = Sequence[Sequence[str]]


class MCSTLClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """MC-STL for labels with an order, that of `classes_` (sorted): Eq. 2 and 4 of the paper.

    Args:
        encoder: The encoder of texts, by name or folder.
        hidden: The number of hidden units.
        dropout: The share of hidden units dropped in training.
        learning_rate: Adam's step size.
        batch_size: Rows per step, by weight.
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
        dropout: float = 0.5,
        learning_rate: float = 0.003,
        batch_size: int = 512,
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
            X: Texts, which are encoded, or numbers (n, d), which are used as they are.
            y: The labels, (n,).
            groups: The names of each row's value groups; without it nobody is told apart.
            sample_weight: Row weights, (n,), by default 1.

        Returns:
            The classifier itself.

        Raises:
            InputError: A ValueError, for groups of another length and for a single class.
        """
        if _are_texts(X):
            vectors, y = self._encoded(X), np.asarray(y)
        else:
            vectors, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("y has only 1 class, and a classifier needs two or more")
        names = [] if groups is None else [name for row in groups for name in row]
        self.group_names_ = tuple(sorted(set(names)))
        rows = self._rows(vectors, groups)
        w = _check_sample_weight(sample_weight, vectors, dtype=np.float32)
        rows = Examples(rows.vectors, rows.positions, rows.S, codes.astype(np.int64), w)
        random = check_random_state(self.random_state)
        train, held_out = _split(codes, w, self.validation_fraction, random)
        config = TrainingConfig(
            hidden=self.hidden,
            dropout=self.dropout,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            epochs=self.epochs,
            patience=self.patience,
            kl=self.kl,
        )
        fitted = training.fit(
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
        if _are_texts(X):
            vectors = self._encoded(X)
        else:
            vectors = validate_data(self, X, dtype=np.float32, reset=False)
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

    def _encoded(self, texts: Any) -> Float32Array:
        return load_encoder(self.encoder).encode(list(texts))

    def _rows(self, vectors: Float32Array, groups: Memberships | None) -> Examples:
        n = len(vectors)
        groups = [()] * n if groups is None else groups
        if len(groups) != n:
            raise InputError(f"there are {n} rows and groups of {len(groups)}; give one list a row")
        S: csr_matrix = memberships(groups, self.group_names_)
        positions = np.arange(n, dtype=np.int64)[:, None]
        return Examples(vectors, positions, S, np.zeros(n, np.int64), np.ones(n, np.float32))


def _are_texts(X: Any) -> bool:
    return isinstance(X, list | tuple | np.ndarray) and len(X) > 0 and isinstance(X[0], str)


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
