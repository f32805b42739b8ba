"""Several networks of two forms, and the mean of those that validation prefers (docs/beyond.md)."""

import numpy as np

from mcstl.methods.base import FittedMethod, Prepared, RunSettings
from mcstl.methods.network import NetworkMethod
from mcstl.models import training
from mcstl.models.calibration import recalibrated
from mcstl.models.networks import MeanNetwork, Network, ProductNetwork
from mcstl.models.training import Session

_FORMS: tuple[type[Network], ...] = (Network, ProductNetwork)
_MEMBERS = 3  # of each form


class Best(NetworkMethod):
    """The mean of one form's networks or of all, whichever validates best, recalibrated."""

    name = "best"

    def fit(self, prepared: Prepared, settings: RunSettings) -> FittedMethod:
        """Fit three networks of each form, choose the mean that validates best, recalibrate it.

        Each has a checkpoint of its own, which stays until all are fitted. There is no trace,
        since that is of one network.

        Args:
            prepared: The seed's data.
            settings: The method as it stands in the study, its training and its seed.

        Returns:
            What predicts, and the mean of the networks that were chosen.
        """
        train, validation = self.training_examples(prepared, settings.seed)
        # The first of a form is what its method alone would be; torch tells seeds by 32 bits only.
        states = np.random.SeedSequence(settings.seed).generate_state(_MEMBERS - 1)
        plan = [(form, seed) for seed in (settings.seed, *map(int, states)) for form in _FORMS]
        sessions = [_member_session(settings.session, i, len(plan)) for i in range(len(plan))]
        networks = [
            training.fit(
                train,
                validation,
                prepared.problem,
                settings.training,
                network=form,
                seed=seed,
                session=session,
            ).network
            for (form, seed), session in zip(plan, sessions, strict=True)
        ]
        for session in sessions:
            if session.checkpoint is not None:
                session.checkpoint.unlink(missing_ok=True)
        by_form = [networks[form :: len(_FORMS)] for form in range(len(_FORMS))]
        in_order = [network for members in by_form for network in members]
        choices = [MeanNetwork(members) for members in (*by_form, in_order)]
        chosen = min(choices, key=lambda mean: training.validation_nll(mean, validation))
        network = recalibrated(list(chosen.members), validation, settings.seed)
        return FittedMethod(lambda examples: training.predict(network, examples), network)


def _member_session(session: Session, number: int, count: int) -> Session:
    """How one of `count` networks is followed: a checkpoint of its own, its share of progress."""
    checkpoint = session.checkpoint
    if checkpoint is not None:
        checkpoint = checkpoint.with_name(f"{checkpoint.name}-{number}")

    def progress(what: str, done: int, total: int) -> None:
        session.progress(what, number * total + done, count * total)

    return Session(checkpoint=checkpoint, keep=True, progress=progress)


METHOD = Best()
