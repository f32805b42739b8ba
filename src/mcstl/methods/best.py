"""Several networks of two forms, and the mean of those that validation prefers (docs/beyond.md)."""

import numpy as np

from mcstl.methods.base import FittedMethod, Prepared, RunSettings
from mcstl.methods.network import NetworkMethod
from mcstl.models import recipes, training
from mcstl.models.calibration import recalibrated
from mcstl.models.networks import MeanNetwork, Network, ProductNetwork
from mcstl.models.training import TrainingConfig

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
        sessions = [settings.session.part(i, len(plan)) for i in range(len(plan))]
        configs: dict[type[Network], TrainingConfig] = {}
        networks = []
        for (form, seed), session in zip(plan, sessions, strict=True):
            # The first of a form chooses the recipe for the others.
            fit = training.fit if form in configs else recipes.fit
            config = configs.get(form, settings.training)
            fitted = fit(
                train,
                validation,
                prepared.problem,
                config,
                network=form,
                seed=seed,
                session=session,
            )
            configs[form] = fitted.config
            networks.append(fitted.network)
        for session in sessions:
            session.forget()
        by_form = [networks[form :: len(_FORMS)] for form in range(len(_FORMS))]
        in_order = [network for members in by_form for network in members]
        choices = [MeanNetwork(members) for members in (*by_form, in_order)]
        chosen = min(choices, key=lambda mean: training.validation_nll(mean, validation))
        network = recalibrated(list(chosen.members), validation, settings.seed)
        recipe = {form.kind: recipes.chosen(config) for form, config in configs.items()}
        return FittedMethod(lambda examples: training.predict(network, examples), network, recipe)


METHOD = Best()
