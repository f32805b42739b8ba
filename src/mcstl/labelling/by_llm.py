"""What a language model says: the values of a rationale (A.4), and what moves a person (§2.1)."""

from mcstl.labelling.cases import Cases
from mcstl.llm import Answer, Client, Prompt, Template, list_of
from mcstl.progress import Progress, silent
from mcstl.taxonomies import Taxonomy


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
