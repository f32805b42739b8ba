"""The majority's label of each item as if it were the truth: Maj(Y) (§3.3)."""

from mcstl.data.annotations import majority_rows
from mcstl.methods.base import Prepared
from mcstl.methods.none import TextAlone
from mcstl.models.examples import Examples


class Majority(TextAlone):
    """The text alone, trained on the annotations that carry their item's majority label."""

    name = "majority"

    def training_examples(self, prepared: Prepared, seed: int) -> tuple[Examples, Examples]:
        """Keep the training rows that carry their item's majority label over the training rows.

        Validation rows keep their own labels: all methods are stopped by the same rows. With the
        majority's label they would ask for what has been learnt where items are on both sides.

        Args:
            prepared: The seed's data.
            seed: The seed.

        Returns:
            Examples to train on and examples to validate on, without groups.
        """
        train = prepared.parts.train
        kept = train[majority_rows(prepared.annotations.take(train))]
        examples = self.examples(prepared, seed)
        return examples.take(kept), examples.take(prepared.parts.validation)


METHOD = Majority()
