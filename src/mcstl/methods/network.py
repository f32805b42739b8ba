"""What methods share that are one network, trained by the `training` part of a study."""

from typing import ClassVar

from mcstl.methods.base import FittedMethod, Method, Prepared, RunSettings
from mcstl.models import recipes, training
from mcstl.models.examples import Examples
from mcstl.models.networks import Network
from mcstl.models.training import Fitted, TrainingConfig


class NetworkMethod(Method):
    """A network that is trained by the `training` part of a study."""

    is_trained = True
    saves_model = True
    #: The network that it trains.
    network: ClassVar[type[Network]] = Network

    def training_examples(self, prepared: Prepared, seed: int) -> tuple[Examples, Examples]:
        """Choose what the network is trained on and what it is stopped by.

        Args:
            prepared: The seed's data.
            seed: The seed.

        Returns:
            Examples to train on and examples to validate on, as the method sees them.

        Raises:
            InputError: If the data lack a column that the method needs.
        """
        examples = self.examples(prepared, seed)
        return examples.take(prepared.parts.train), examples.take(prepared.parts.validation)

    def training_config(self, config: TrainingConfig) -> TrainingConfig:
        """Change what the study says of training where the method cannot follow it.

        Args:
            config: The `training` part of the study, with the changes of the study file.

        Returns:
            What the network is trained with.
        """
        return config

    def trained(self, prepared: Prepared, settings: RunSettings) -> Fitted:
        """Train the network.

        Args:
            prepared: The seed's data.
            settings: The training, its seed and how it is followed.

        Returns:
            The network and how its training went.

        Raises:
            InputError: If it cannot be trained.
        """
        return recipes.fit(
            *self.training_examples(prepared, settings.seed),
            prepared.problem,
            self.training_config(settings.training),
            network=self.network,
            seed=settings.seed,
            session=settings.session,
        )

    def fit(self, prepared: Prepared, settings: RunSettings) -> FittedMethod:
        """See `Method.fit`."""
        fitted = self.trained(prepared, settings)
        network = fitted.network
        return FittedMethod(
            lambda examples: training.predict(network, examples),
            network,
            recipes.chosen(fitted.config),
        )
