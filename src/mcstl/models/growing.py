"""A trained model gets one more group, from that group's own annotations, and keeps all others.

Nothing that was learnt moves: only the new group's embedding (and temperature) is fitted, by the
model's own loss (Eq. 2, Eq. 4 or L_pl without KL), so every other perspective and the population's
mixture predict what they did, to the last bit (docs/growing.md).
"""

import copy
from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import csr_matrix, hstack
from torch import Tensor, nn

from mcstl import equations
from mcstl._support.errors import InputError, listed
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.groups.base import make_groups
from mcstl.groups.grown import GrownScheme
from mcstl.models.model import Model
from mcstl.models.networks import MeanNetwork, Network
from mcstl.models.people import PeopleNetwork

_LEAST = 20  # annotations; fewer tell less than the population does
_RATE = 0.01
_LAMBDA_2 = 0.0001  # as in `TrainingConfig`


def add_group(
    model: Model,
    name: str,
    annotations: Annotations,
    *,
    description: str = "",
    validation: float = 0.2,
    epochs: int = 500,
    patience: int = 30,
    seed: int = 0,
    progress: Progress = silent,
) -> Model:
    """Return `model` with one more group, learnt from its `annotations`; `model` stays as it is.

    Every row given is taken to be the group's. Adam on the whole set, stopped on a `validation`
    share; what is kept is the epoch of its lowest NLL, and the start, the population without groups
    (V = 0), where no epoch is better. An annotation is in the group later on if it has `name` among
    its values, or the answer that a name such as ``gender=Woman`` says.

    Raises InputError for a name that is taken, annotations of another task or other classes, and
    fewer than 20 of them.
    """
    _check(model, name, annotations)
    network = _with_room(model.network)
    texts, positions = annotations.distinct_texts()
    e = torch.from_numpy(model.encoder.encode(texts, progress))[torch.from_numpy(positions)]
    y, w = torch.tensor(annotations.labels), torch.tensor(annotations.weights)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(annotations)))
    held = max(1, round(validation * len(order)))
    parts = [(e[rows], y[rows], w[rows]) for rows in (order[held:], order[:held])]
    _fit(network, parts, len(model.classes), epochs, patience, progress)
    S, counts = model.population
    wider = csr_matrix(hstack([S, csr_matrix((S.shape[0], 1), dtype=S.dtype)]), dtype=np.float32)
    own = csr_matrix(np.ones((len(annotations), 1), dtype=np.float32))
    group = make_groups(own, [name], [description or f"annotations of {name}"], annotations)[0]
    told = f"\n## Added\n\n- {name}: learnt alone from {group.size:,} annotations, not measured.\n"
    return replace(
        model,
        network=network,
        scheme=GrownScheme.of(model.scheme, group),
        population=(wider, counts),
        facts={**model.facts, "added": [*model.facts.get("added", []), name]},
        model_card=model.model_card and model.model_card + told,
    )


def _check(model: Model, name: str, annotations: Annotations) -> None:
    if name in model.group_names:
        raise InputError(f"the model has a group {name!r} already; choose another name")
    if not name.strip():
        raise InputError("the new group needs a name")
    if isinstance(model.network, PeopleNetwork):
        raise InputError(
            "a group cannot be added to a model of mc-stl-people, in which groups are learnt of "
            "their people together; fit it anew with the annotations of all groups"
        )
    if isinstance(model.network, MeanNetwork):
        raise InputError(
            "a group cannot be added to a model of several networks, as the method best makes; fit "
            "it anew with the annotations of all groups, or add it to a model of mc-stl"
        )
    if (annotations.task, annotations.classes) != (model.task, model.classes):
        raise InputError(
            f"the model is {model.task} with the classes {listed(model.classes)}; "
            f"{annotations.source} is {annotations.task} with {listed(annotations.classes)}"
        )
    if len(annotations) < _LEAST:
        raise InputError(
            f"{annotations.source} has {len(annotations)} annotations of {name!r}, and {_LEAST} "
            "are needed to learn a group"
        )


def _with_room(network: Network) -> Network:
    """The network with a last group of zeros, which alone can be learnt."""
    wider = copy.deepcopy(network).eval().requires_grad_(False)
    wider.v = nn.Parameter(torch.cat([network.v.detach(), torch.zeros(1, network.v.shape[1])]))
    if network.preference:
        wider.log_t = nn.Parameter(torch.cat([network.log_t.detach(), torch.zeros(1)]))
    return wider


def _fit(
    network: Network,
    parts: list[tuple[Tensor, Tensor, Tensor]],
    n_classes: int,
    epochs: int,
    patience: int,
    progress: Progress,
) -> None:
    """Fit the last group's embedding, and temperature, in place."""
    learnt = [network.v] + ([network.log_t] if network.preference else [])
    fresh = [torch.zeros_like(whole[-1:]).requires_grad_() for whole in learnt]
    optimizer = torch.optim.Adam(fresh, lr=_RATE)
    projected = [network.project(e) for e, _, _ in parts]

    def nll(which: int) -> Tensor:
        _, y, w = parts[which]
        shift = fresh[0] @ network.first.weight.T
        scores = network.score(projected[which], shift[:, None])
        if network.preference:
            t = fresh[1].exp().expand(len(y))
            logits = equations.preference_logits(scores[:, 0], scores[:, 1], t)
        else:
            logits = equations.level_logits(scores[:, 0], network.biases())
        return w @ equations.cross_entropy(equations.levels(y, n_classes - 1), logits) / w.sum()

    best, best_epoch = float("inf"), 0
    kept = [tensor.detach().clone() for tensor in fresh]
    for epoch in range(epochs + 1):
        with torch.no_grad():
            held = float(nll(1))
        if held < best:
            best, best_epoch = held, epoch
            kept = [tensor.detach().clone() for tensor in fresh]
        if epoch - best_epoch >= patience:
            break
        optimizer.zero_grad()
        loss = nll(0) + _LAMBDA_2 * equations.l2(fresh[0]) / parts[0][2].sum()
        loss.backward()
        optimizer.step()
        progress("learning the group", min(epoch + 1, epochs), epochs)
    progress("learning the group", epochs, epochs)
    with torch.no_grad():
        for whole, last in zip(learnt, kept, strict=True):
            whole[-1:] = last
