"""Names for clusters: a table for people to fill in, and what a language model proposes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mcstl._support import csv_files
from mcstl._support.errors import InputError, brief, did_you_mean, listed
from mcstl._support.progress import Progress, silent
from mcstl.groups.base import Group
from mcstl.groups.given_names import COLUMNS, check_names, read_names
from mcstl.groups.review.summaries import Summary
from mcstl.labelling.llm import Client, Prompt, Template, strings_of


def name_by_hand(options: Sequence[str], groups: Sequence[Group]) -> dict[str, str]:
    """Read names as they are written on the command line, ``1=Care``.

    Args:
        options: Each the number of a group, or its automatic name, ``=``, and its name.
        groups: The groups under their automatic names.

    Returns:
        The names by automatic name.

    Raises:
        InputError: There is no such group, or a name cannot be used.
    """
    automatic = [group.name for group in groups]
    by_number = {str(k): name for k, name in enumerate(automatic, 1)}
    given = {}
    for option in options:
        group, mark, name = (part.strip() for part in option.rpartition("="))
        group = by_number.get(group, group)
        if not mark or group not in automatic:
            raise InputError(
                f"--name {brief(option)!r}: expected the number of a group and its name, as "
                f"1=Care; the groups: {listed(automatic, 20)}.{did_you_mean(group, automatic)}"
            )
        given[group] = name
    return check_names(given)


def name_prompt(summaries: Sequence[Summary], template: Template) -> Prompt:
    """Write the prompt that asks for a name of each group.

    Args:
        summaries: The groups.
        template: The prompt to fill.

    Returns:
        One prompt for all groups, so that their names can differ in what the groups differ in.
    """
    return template.fill(groups=summaries)


def name_by_llm(
    summaries: Sequence[Summary], template: Template, client: Client, progress: Progress = silent
) -> dict[str, str]:
    """Ask a language model for a name of each group.

    Args:
        summaries: The groups under their automatic names.
        template: The prompt to fill.
        client: Sends the prompt.
        progress: Called with the step, how many prompts are answered and how many there are.

    Returns:
        The names by automatic name.

    Raises:
        InputError: The language model cannot be used, or gives no usable names.
    """
    prompt = name_prompt(summaries, template)
    (answer,) = client.ask([prompt], strings_of(len(summaries)), progress)
    if answer.value is None:
        raise InputError(f"{client.model} has named no groups: {answer.reason}")
    return check_names(
        {group.name: name for group, name in zip(summaries, answer.value, strict=True)}
    )


def write_names(path: Path, groups: Sequence[Group], given: Mapping[str, str]) -> dict[str, str]:
    """Write the table of names; those of an older table that fit the groups stay.

    Args:
        path: The CSV file.
        groups: The groups under their automatic names.
        given: Names by automatic name.

    Returns:
        All names that the table now gives, by automatic name.

    Raises:
        InputError: The older table cannot be read, or two groups would have the same name.
    """
    older = read_names(path) if path.exists() else {}
    automatic = [group.name for group in groups]
    names = check_names({k: v for k, v in {**older, **given}.items() if k in automatic})
    rows = ([group.name, names.get(group.name, ""), group.description] for group in groups)
    csv_files.write_csv(path, COLUMNS, rows, guard=True)
    return names
