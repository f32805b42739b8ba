"""The recipe of a training: chosen by validation, and its epochs followed whatever it costs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from mcstl.models import recipes, training
from mcstl.models.examples import Examples
from mcstl.models.networks import BaseNetwork
from mcstl.models.training import Problem, Session, TrainingConfig

OPEN = TrainingConfig(hidden=8, epochs=6)


def rows(seed: int) -> Examples:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(80, 4)).astype(np.float32)
    positions, S = np.arange(80)[:, None], csr_matrix((80, 0), dtype=np.float32)
    y = (vectors[:, 0] + random.normal(size=80) > 0).astype(np.int64)
    return Examples(vectors, positions, S, y, np.ones(80, dtype=np.float32))


def followed(checkpoint: Path | None = None) -> tuple[training.Fitted, dict[int, torch.Tensor]]:
    """Fit the open recipe, and note the first layer of each epoch."""
    noted = {}

    def note(epoch: int, network: BaseNetwork) -> None:
        noted[epoch] = network.state_dict()["first.weight"].clone()

    session = Session(checkpoint=checkpoint, on_epoch=note)
    fitted = recipes.fit(rows(0), rows(1), Problem(2), OPEN, session=session)
    return fitted, noted


@pytest.mark.parametrize("room", [0, 10_000, 2**28])
def test_the_epochs_that_are_followed_are_those_of_the_chosen_recipe(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "_BYTES_OF_HISTORY", room)
    fitted, noted = followed()
    expected = {}

    def note(epoch: int, network: BaseNetwork) -> None:
        expected[epoch] = network.state_dict()["first.weight"].clone()

    alone = training.fit(
        rows(0), rows(1), Problem(2), fitted.config, session=Session(on_epoch=note)
    )
    assert list(noted) == list(expected) == list(range(1, fitted.epochs + 1))
    assert all(torch.equal(noted[epoch], expected[epoch]) for epoch in expected)
    assert alone.validation_nll == fitted.validation_nll


def test_a_chosen_recipe_has_the_lower_validation_nll() -> None:
    fitted, _ = followed()
    each = [
        training.fit(
            rows(0),
            rows(1),
            Problem(2),
            TrainingConfig(hidden=8, epochs=6, learning_rate=rate, dropout=dropout),
        )
        for rate, dropout in ((0.001, 0.5), (0.003, 0.8))
    ]
    assert fitted.validation_nll == min(other.validation_nll for other in each)


def test_recipes_that_were_finished_before_a_stop_are_followed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):  # noqa: N818 (it is no error)
        pass

    def stop(*_: object) -> None:
        raise Stopped

    checkpoint = tmp_path / "run"
    undisturbed, expected = followed()
    with monkeypatch.context() as broken:
        broken.setattr(recipes._History, "tell", stop)
        with pytest.raises(Stopped):
            followed(checkpoint)
    fitted, noted = followed(checkpoint)
    assert fitted.validation_nll == undisturbed.validation_nll
    assert list(noted) == list(expected)
    assert not list(tmp_path.iterdir())
