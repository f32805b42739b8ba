"""What is asked of a model: perspectives to show and a mixture of them, and how columns are named.

Tables and HTTP requests write perspectives alike, as "Security" or "Security + Tradition".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcstl.models.model import Model
from mcstl.models.perspectives import check_weights, parse


@dataclass(frozen=True)
class Query:
    """The perspectives that a prediction needs, those to be shown first.

    Attributes:
        perspectives: Lists of group names: those to be shown, then those that only `mix` needs.
        n_shown: How many of `perspectives` are to be shown.
        mix: The weights of a stated population by the names of perspectives; empty for none.
    """

    perspectives: list[list[str]]
    n_shown: int
    mix: dict[str, float]

    @classmethod
    def parse(
        cls, model: Model, perspectives: Sequence[str] | None, mix: Mapping[str, float] | None
    ) -> "Query":
        """Read perspectives and weights as users write them; repeated perspectives count once.

        Whether the groups exist is left to `Model.membership`.

        Args:
            model: The model that will answer.
            perspectives: Perspectives such as "Security + Tradition"; each group that may be
                asked if None.
            mix: Weights of perspectives, or None.

        Returns:
            The query.

        Raises:
            InputError: If the weights are no weights.
        """
        groups = model.group_names

        def name(written: str) -> str:
            return " + ".join(parse(written, groups))

        weights = check_weights(mix) if mix is not None else {}
        weights = {name(written): weight for written, weight in weights.items()}
        if perspectives is None:
            perspectives = [group.name for group in model.askable_groups]
        shown = list(dict.fromkeys(map(name, perspectives)))
        needed = dict.fromkeys([*shown, *weights])
        return cls([parse(each, groups) for each in needed], len(shown), weights)

    @property
    def shown_names(self) -> list[str]:
        """The names of the perspectives to be shown."""
        return [" + ".join(names) for names in self.perspectives[: self.n_shown]]


def probability_columns(
    classes: Sequence[str],
    perspectives: Sequence[str],
    *,
    mixed: bool = False,
    intervals: bool = False,
) -> list[str]:
    """Name the columns of probabilities, in the order in which a table has them.

    >>> probability_columns(["no", "yes"], ["Security"])
    ['p(no)', 'p(yes)', 'p(no | Security)', 'p(yes | Security)']

    Args:
        classes: The names of the L classes.
        perspectives: The names of the P perspectives.
        mixed: Whether a stated population stands between the training population and them.
        intervals: Whether the intervals of the population and the perspectives stand behind them.

    Returns:
        The L columns of the training population, L of the stated population if `mixed`, the P times
        L columns of the perspectives and, if `intervals`, the lower ends of the population's and
        the perspectives' intervals and then the upper ones, (1 + P) L each.
    """
    of_each = [f"({c} | {name})" for name in perspectives for c in classes]
    of_all = [f"({c})" for c in classes]
    return [
        *(f"p{each}" for each in of_all),
        *(f"p_mix{each}" for each in of_all if mixed),
        *(f"p{each}" for each in of_each),
        *(f"{end}{each}" for end in ("low", "high") if intervals for each in of_all + of_each),
    ]
