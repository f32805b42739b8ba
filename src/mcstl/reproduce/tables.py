"""Our figures beside the paper's, as Markdown that reads in a terminal, too."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mcstl._support.errors import InputError, listed
from mcstl._support.text_tables import markdown_table
from mcstl.evaluation.summaries import Summary
from mcstl.evaluation.tables import rounded
from mcstl.reproduce.leaks import label_leaks, leak_note
from mcstl.reproduce.paper import Block, PrintedSummaries, PrintedTable
from mcstl.reproduce.runs import StudyRuns

#: Column of the paper, the metric whose mean is printed, the one that is printed as its sd.
_COLUMNS = (
    ("Overall", "{}", ""),
    ("Group", "group_{}_mean", "group_{}_sd"),
    ("Slope", "slope_mean", "slope_sd"),
    ("Bias", "bias_mean", "bias_sd"),
    ("1-EMD", "one_minus_emd", ""),
)
_HEADER = ("", "method", "", *(title for title, _, _ in _COLUMNS), "label leaks")
#: The paper's names of the methods.
_METHOD_NAMES = {"mc-stl": "MC-STL", "none": "∅", "majority": "Maj(Y)", "irpm": "IRPM"}


def metrics_table(name: str, printed: PrintedTable, studies: StudyRuns, like: bool) -> str:
    """Write a table of metrics: ours, the paper's and how far apart they are.

    Args:
        name: The table, as ``table1``.
        printed: What the paper prints.
        studies: Runs the studies.
        like: Take open data of the same structure instead of the paper's.

    Returns:
        The table in Markdown with its notes; a block whose study cannot run says why.
    """
    rows, notes = [], []
    for block in printed.blocks:
        keys = block.like if like else block.studies
        if not keys:
            continue
        ran = _block(keys, studies)
        notes += [f"{block.title}: {each}" for each in ran.notes]
        rows += _block_rows(block, ran, f" as {listed(keys[:1])}" if like else "")
    note = (
        f"Means over {studies.seeds} seed{'s' * (studies.seeds > 1)}, with the sd over groups (and "
        "thresholds). The third line of a method is ours less the paper's, in units of our sd over "
        "seeds. Label leaks are the checks that say that groups, or the words of rationales, tell "
        "the label by themselves: a gain may then be theirs."
    )
    if like:
        note += " Other data than the paper's: differences say nothing about the method."
    table = markdown_table(_HEADER, rows, padded=True)
    return "\n\n".join([f"{_title(name)}: {printed.title}", table, note, *notes])


def group_summaries(name: str, printed: PrintedSummaries, studies: StudyRuns, like: bool) -> str:
    """Write a table of the summaries of value groups: ours, then the paper's.

    Clusters have no order, so that the rows of one do not belong to those of the other.

    Args:
        name: The table, as ``table4``.
        printed: What the paper prints.
        studies: Runs the study.
        like: Take open data of the same structure instead of the paper's.

    Returns:
        The table in Markdown with its notes.
    """
    key = printed.like if like else printed.study
    rows = [("paper", str(k), "", text) for k, text in enumerate(printed.printed, 1)]
    notes = ["Clusters have no order: the same number does not mean the same group."]
    try:
        groups = studies.results(key).results["groups"]
    except InputError as error:
        notes.append(f"{key} was not run. {error}")
    else:
        notes.append(leak_note(key, studies.results(key).results))
        by_llm: dict[str, str] = {}
        try:
            by_llm = studies.llm_summaries(key)
        except InputError as error:
            notes.append(f"These summaries are made without a language model: {error}")
        whose = f"ours, {key}" if like else "ours"
        ours = []
        for k, group in enumerate(groups, 1):
            summary = by_llm.get(group["name"], group["description"])
            ours.append((whose, str(k), f"{group['size']:,}", f"{group['name']}: {summary}"))
        rows = ours + rows
    table = markdown_table(("", "k", "n", "summary"), rows, padded=True)
    return "\n\n".join([f"{_title(name)}: {printed.title}", table, *notes])


def _title(name: str) -> str:
    return f"{name[:-1].capitalize()} {name[-1]}"


class _Block(NamedTuple):
    """What the studies behind a block's rows say: summaries and label leaks by method, notes.

    `model` is the transformer that IRPM trained, "" where it did not run.
    """

    summary: Summary
    leaks: dict[str, str]
    notes: list[str]
    model: str = ""


def _block(keys: Sequence[str], studies: StudyRuns) -> _Block:
    block = _Block({}, {}, [])
    for key in keys:
        try:
            results = studies.results(key).results
        except InputError as error:
            block.notes.append(f"{key} was not run. {error}")
            continue
        block.summary.update(results["summary"])
        block.leaks.update(dict.fromkeys(results["summary"], label_leaks(results)))
        block.notes.append(leak_note(key, results))
        for method in results["study"]["methods"]:
            if method["name"] == "irpm":
                model = Path(method["model"]).name
                block.notes.append(f"IRPM trains {model} here, and RoBERTa in the paper.")
                block = block._replace(model=model)
    return block


def _block_rows(block: Block, ran: _Block, note: str) -> list[tuple[str, ...]]:
    """Three lines per method: ours, the paper's, and how far apart they are."""
    rows: list[tuple[str, ...]] = []
    for method, printed in block.printed.items():
        title = block.title + note if not rows else ""
        metrics = ran.summary.get(method, {})
        score = "accuracy" if "accuracy" in metrics else "auc"
        values = iter(printed)
        ours, paper, apart = [], [], []
        for _, mean_metric, sd_metric in _COLUMNS:
            mean = next(values)
            sd = f" ± {next(values):.2f}" if sd_metric else ""
            paper.append(f"{mean:.2f}{sd}")
            value = metrics.get(mean_metric.format(score))
            if value is None or value["mean"] is None:
                ours.append("-")
                apart.append("-")
                continue
            our_sd = metrics[sd_metric.format(score)]["mean"] if sd_metric else None
            our_spread = "" if our_sd is None else f" ± {rounded(our_sd, 2)}"
            ours.append(rounded(value["mean"], 2) + our_spread)
            apart.append(f"{(value['mean'] - mean) / value['sd']:+.1f}" if value["sd"] else "-")
        name = _METHOD_NAMES[method]
        if method == "irpm" and ran.model:
            name += f" ({ran.model})"
        rows += [
            (title, name, "ours", *ours, ran.leaks.get(method, "-")),
            ("", "", "paper", *paper, ""),
            ("", "", "apart", *apart, ""),
        ]
    return rows
