"""Values given by a language model: what it is asked about each rationale (A.4)."""

import warnings
from collections import Counter
from collections.abc import Sequence

from mcstl._support.errors import Notice
from mcstl._support.progress import Progress, silent
from mcstl.labelling.cases import Cases
from mcstl.labelling.llm import Answer, Client, Prompt, Template, list_of
from mcstl.labelling.taxonomies import Taxonomy


def label_prompts(cases: Cases, taxonomy: Taxonomy, template: Template) -> list[Prompt]:
    """Write the prompts that ask for the values of cases (A.4).

    Args:
        cases: What is to be labelled.
        taxonomy: The values to choose from.
        template: The prompt to fill.

    Returns:
        One prompt per case that has a rationale, in their order.
    """
    labels = list(taxonomy.names)
    return [
        template.fill(
            taxonomy=taxonomy, labels=labels, rationale=rationale, text=text, explanation=explained
        )
        for rationale, text, explained in zip(*cases, strict=True)
        if rationale.strip()
    ]


def label(
    cases: Cases,
    taxonomy: Taxonomy,
    client: Client,
    template: Template,
    progress: Progress = silent,
) -> list[Answer[list[str]]]:
    """Ask a language model for the values of each case (A.4).

    Args:
        cases: What is to be labelled.
        taxonomy: The values to choose from.
        client: Sends the prompts.
        template: The prompt to fill.
        progress: Called with the step, how many prompts are answered and how many there are.

    Returns:
        (n,) answers in the order of the cases. A case without a rationale, or without a usable
        reply, has no value and says why.

    Raises:
        InputError: The language model cannot be used; see `Client.ask`.
    """
    prompts = label_prompts(cases, taxonomy, template)
    answers = iter(client.ask(prompts, list_of(taxonomy.names), progress))
    no_rationale = Answer[list[str]](None, "no rationale")
    return [next(answers) if rationale.strip() else no_rationale for rationale in cases.rationales]


def warn_of_unlabelled(cases: Cases, answers: Sequence[Answer[list[str]]]) -> None:
    """Warn by a `Notice` of rationales that got no value, with the most frequent reason.

    Args:
        cases: What was to be labelled.
        answers: (n,) what `label` returned for them.
    """
    pairs = zip(answers, cases.rationales, strict=True)
    with_rationale = [answer for answer, rationale in pairs if rationale.strip()]
    reasons = Counter(answer.reason for answer in with_rationale if answer.value is None)
    if reasons:
        (reason, _), *_ = reasons.most_common(1)
        warnings.warn(
            f"{reasons.total():,} of {len(with_rationale):,} rationales stay without a value: "
            f"{reason}",
            Notice,
            stacklevel=2,
        )
