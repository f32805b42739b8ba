"""The majority's label of each item as if it were the truth: Maj(Y) (§3.3)."""

import numpy as np

from mcstl.data.annotations import majority_rows
from mcstl.data.splits import items_apart
from mcstl.methods.base import Prepared
from mcstl.methods.none import TextAlone
from mcstl.models.examples import Examples


class Majority(TextAlone):
    """The text alone, trained on the annotations that carry their item's majority label."""

    name = "majority"

    def training_examples(self, prepared: Prepared, seed: int) -> tuple[Examples, Examples]:
        """Keep the rows that carry their item's majority label over all rows but the test rows.

        Items that are validated on are not trained on (`mcstl.data.splits.items_apart`).

        Args:
            prepared: The seed's data.
            seed: The seed.

        Returns:
            Examples to train on and examples to validate on, without groups.
        """
        data, (train, validation, _) = prepared.annotations, prepared.parts
        known = np.concatenate([train, validation])
        kept = np.zeros(len(data), dtype=bool)
        kept[known] = majority_rows(data.take(known))
        examples = self.examples(prepared, seed)
        train, validation, _ = items_apart(data, prepared.parts, seed)
        return examples.take(train[kept[train]]), examples.take(validation[kept[validation]])


METHOD = Majority()
