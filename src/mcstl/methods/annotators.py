"""Annotators in the place of groups: everybody who has training rows has an embedding."""

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix

from mcstl.methods.base import Prepared
from mcstl.methods.network import NetworkMethod
from mcstl.models.examples import Examples
from mcstl.models.training import TrainingConfig


class Annotators(NetworkMethod):
    """The paper's network with a group for each annotator, and in none for everybody new."""

    name = "annotators"
    needs = "annotator"
    saves_model = False

    def _examples(self, prepared: Prepared, seed: int) -> Examples:
        codes = prepared.annotators
        rows = np.flatnonzero(codes >= 0)
        ones = np.ones(len(rows), dtype=np.float32)
        shape = (len(codes), codes.max(initial=-1) + 1)
        return replace(prepared.examples, S=csr_matrix((ones, (rows, codes[rows])), shape=shape))

    def training_config(self, config: TrainingConfig) -> TrainingConfig:
        """Leave out the calibration term, since Eq. 3 speaks of groups.

        Args:
            config: The `training` part of the study.

        Returns:
            The same with ``kl`` none.
        """
        return config.model_copy(update={"kl": "none"})


METHOD = Annotators()
