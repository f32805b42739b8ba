"""The majority's label of each item as if it were the truth: Maj(Y) (§3.3)."""

import numpy as np

from mcstl.data.annotations import majority_rows
from mcstl.methods.base import Prepared
from mcstl.methods.none import TextAlone
from mcstl.models.examples import Examples


class Majority(TextAlone):
    """The text alone, trained on the annotations that carry their item's majority label."""

    name = "majority"

    def training_examples(self, prepared: Prepared, seed: int) -> tuple[Examples, Examples]:
        """Keep the rows that carry their item's majority label over all rows but the test rows.

        Args:
            prepared: The seed's data.
            seed: The seed.

        Returns:
            Examples to train on and examples to validate on, without groups.
        """
        train, validation, _ = prepared.parts
        kept = majority_rows(prepared.annotations.take(np.concatenate([train, validation])))
        examples = self.examples(prepared, seed)
        return (
            examples.take(train[kept[: len(train)]]),
            examples.take(validation[kept[len(train) :]]),
        )


METHOD = Majority()
