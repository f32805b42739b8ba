"""What a language model says: the values of a rationale (A.4), and what moves a person (§2.1)."""

import warnings
from collections import Counter
from collections.abc import Sequence

from mcstl._support.errors import Notice
from mcstl._support.progress import Progress, silent
from mcstl.labelling.cases import Cases
from mcstl.labelling.llm import Answer, Client, Prompt, Template, list_of
from mcstl.labelling.taxonomies import Taxonomy


def label_prompts(cases: Cases, taxonomy: Taxonomy, template: Template) -> list[Prompt]:
    """Return one prompt per case that has a rationale, in their order."""
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
    """Ask for the values of each case (A.4); a case without a rationale has none.

    A case whose replies cannot be used stays without a value and says why. Raises InputError as
    `Client.ask` does.
    """
    prompts = label_prompts(cases, taxonomy, template)
    answers = iter(client.ask(prompts, list_of(taxonomy.names), progress))
    nothing = Answer[list[str]](None, "no rationale")
    return [next(answers) if rationale.strip() else nothing for rationale in cases.rationales]


def notice_unlabelled(cases: Cases, answers: Sequence[Answer[list[str]]]) -> None:
    """Say with a `Notice` how many rationales have got no value, and why most of them have not."""
    asked = [a for a, r in zip(answers, cases.rationales, strict=True) if r.strip()]
    without = Counter(answer.why for answer in asked if answer.value is None)
    if without:
        (why, _), *_ = without.most_common(1)
        warnings.warn(
            f"{without.total():,} of {len(asked):,} rationales stay without a value: {why}",
            Notice,
            stacklevel=2,
        )
