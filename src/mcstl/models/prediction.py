"""Predictions of any network, block by block: of rows, and of texts under perspectives."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from mcstl._support.arrays import Float32Array, FloatArray, IntArray
from mcstl.models.examples import Batch
from mcstl.models.networks import BaseNetwork

#: Numbers held at once while a grid is predicted, 64 MiB as float32.
_NUMBERS_AT_ONCE = 2**24


#: The least probability of any class: what is certain in 32 bits is not certain.
_LEAST = 1e-7


class Respondents(NamedTuple):
    """Whom a prediction is for.

    Attributes:
        S: The groups of J respondents, (J, K).
        annotators: Their codes, -1 for somebody unknown, (J,).
        shares: The share of each respondent in each of P perspectives, (P, J).
        unseen: The places of those perspectives that no training annotation has.
    """

    S: csr_matrix
    annotators: IntArray
    shares: csr_matrix
    unseen: tuple[int, ...] = ()


def predict_rows(
    network: BaseNetwork,
    vectors: Float32Array,
    positions: IntArray,
    S: csr_matrix,
    annotators: IntArray | None = None,
    *,
    known: IntArray | None = None,
    batch_size: int = 4096,
) -> FloatArray:
    """Predict rows, each under its own groups.

    Args:
        network: The network; it is set to evaluation.
        vectors: The vectors of distinct texts, (m, d).
        positions: The rows' texts among them, (n, 1 or 2).
        S: Which groups the rows are in, (n, K).
        annotators: The codes of the rows' annotators, -1 for somebody unknown, (n,); without it
            all are unknown.
        known: The codes of the texts, -1 for a new one, (m,); without it all are new.
        batch_size: How many rows are computed at once.

    Returns:
        The class probabilities, (n, L).
    """
    S, network = _groups_in_use(S, network)
    device = _device(network)
    all_vectors = torch.from_numpy(vectors).to(device)
    codes = None if known is None else torch.from_numpy(known).to(device)
    parts = []
    with torch.inference_mode():
        for start in range(0, max(1, len(positions)), batch_size):
            rows = slice(start, start + batch_size)
            batch = Batch(
                all_vectors,
                torch.from_numpy(positions[rows]).to(device),
                _dense(S[rows], device),
                None if annotators is None else torch.from_numpy(annotators[rows]).to(device),
                codes,
            )
            parts.append(network.probabilities(batch).cpu().numpy())
    return never_certain(np.concatenate(parts))


def never_certain(p: FloatArray) -> FloatArray:
    """Move probabilities off 0 and 1 by a hair, so that no prediction is ever infinitely wrong.

    Args:
        p: Class probabilities, (..., L).

    Returns:
        The same, each class with 1e-7 at least.
    """
    moved: FloatArray = np.maximum(p, _LEAST)
    moved /= moved.sum(axis=-1, keepdims=True)
    return moved


def predict_grid(
    network: BaseNetwork,
    vectors: Float32Array,
    positions: IntArray,
    respondents: Respondents,
    n_classes: int,
    known: IntArray | None = None,
) -> FloatArray:
    """Predict every text under every perspective.

    Args:
        network: The network; it is set to evaluation.
        vectors: The vectors of distinct texts, (m, d).
        positions: The texts, or pairs, among them, (n, 1 or 2).
        respondents: Whom the perspectives are made of.
        n_classes: The number of classes, L.
        known: As in `predict_rows`.

    Returns:
        The class probabilities, (n, P, L).
    """
    answers = _mixed(network, vectors, positions, respondents, n_classes, known, draws=False)
    return np.asarray(answers[0])


def predict_draws(
    network: BaseNetwork,
    vectors: Float32Array,
    positions: IntArray,
    respondents: Respondents,
    n_classes: int,
    known: IntArray | None = None,
) -> FloatArray:
    """Predict every text under every perspective by each draw of what the network is not sure of.

    Args:
        network: The network; it is set to evaluation.
        vectors: As in `predict_grid`, and so are the others.
        positions: The texts, or pairs, (n, 1 or 2).
        respondents: Whom the perspectives are made of.
        n_classes: The number of classes, L.
        known: As in `predict_rows`.

    Returns:
        The class probabilities, (D, n, P, L), of the network's `n_draws` draws.

    Raises:
        InputError: If the network does not know how sure it is.
    """
    return _mixed(network, vectors, positions, respondents, n_classes, known, draws=True)[1:]


def _mixed(
    network: BaseNetwork,
    vectors: Float32Array,
    positions: IntArray,
    respondents: Respondents,
    n_classes: int,
    known: IntArray | None,
    *,
    draws: bool,
) -> FloatArray:
    """Return what the network says by what is most likely, then by draws, (1 + D, n, P, L)."""
    S, network = _groups_in_use(respondents.S, network)
    device, shares = _device(network), respondents.shares.tocsc()
    all_vectors = torch.from_numpy(vectors)
    n_perspectives, n_answers = shares.shape[0], 1 + draws * network.n_draws
    out = np.zeros((n_answers, len(positions), n_perspectives, n_classes))
    numbers = max(network.hidden, draws * n_answers * n_classes)
    # Blocks of respondents, and of texts within them: a membership is dense in a block only.
    block_size = max(1, _NUMBERS_AT_ONCE // max(numbers, S.shape[1]) // 16)
    with torch.inference_mode():
        for first in range(0, S.shape[0], block_size):
            block = slice(first, first + block_size)
            membership = _dense(S[block], device)
            annotators = torch.from_numpy(respondents.annotators[block]).to(device)
            n_texts = max(1, _NUMBERS_AT_ONCE // (len(membership) * numbers))
            for start in range(0, len(positions), n_texts):
                texts = slice(start, start + n_texts)
                e = all_vectors[torch.from_numpy(positions[texts])].to(device)
                codes = None if known is None else torch.from_numpy(known[positions[texts]])
                codes = None if codes is None else codes.to(device)
                asked = (e, membership, annotators, codes)
                if draws:
                    grids = network.grid_draws(*asked)
                else:
                    grids = network.grid_probabilities(*asked)[None]
                p = never_certain(grids.double().cpu().numpy())  # (answers, texts, block, L)
                by_respondent = p.transpose(2, 0, 1, 3).reshape(len(membership), -1)
                mixed = shares[:, block] @ by_respondent
                mixed = mixed.reshape(n_perspectives, n_answers, -1, n_classes)
                out[:, texts] += mixed.transpose(1, 2, 0, 3)
    return out


def _groups_in_use(S: csr_matrix, network: BaseNetwork) -> tuple[csr_matrix, BaseNetwork]:
    """Return membership in those groups that have members, and the network with these alone."""
    in_use = np.flatnonzero(S.getnnz(axis=0))
    if len(in_use) == S.shape[1]:
        return S, network.eval()
    groups = torch.from_numpy(in_use).to(_device(network))
    return S[:, in_use], network.eval().select_groups(groups)


def _dense(S: csr_matrix, device: torch.device) -> Tensor:
    return torch.from_numpy(S.toarray().astype(np.float32)).to(device)


def _device(network: BaseNetwork) -> torch.device:
    tensor: Tensor = next(iter(network.state_dict().values()))
    return tensor.device
