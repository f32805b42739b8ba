"""Ours beside the paper's figure, cell by cell, as Markdown that reads in a terminal, too."""

from collections.abc import Sequence

from mcstl._support.errors import InputError, listed
from mcstl.evaluation import metrics
from mcstl.evaluation.metrics import Summary
from mcstl.reproduce.paper import Block, PrintedSummaries, PrintedTable
from mcstl.reproduce.runs import Studies

#: Column of the paper, the metric whose mean is printed, the one that is printed as its sd.
_COLUMNS = (
    ("Overall", "{}", ""),
    ("Group", "group_{}_mean", "group_{}_sd"),
    ("Slope", "slope_mean", "slope_sd"),
    ("Bias", "bias_mean", "bias_sd"),
    ("1-EMD", "one_minus_emd", ""),
)
_HEAD = ("", "method", "", *(title for title, _, _ in _COLUMNS))
#: The paper's names of the methods.
_NAMES = {"mc-stl": "MC-STL", "none": "∅", "majority": "Maj(Y)", "irpm": "IRPM"}


def figures(name: str, printed: PrintedTable, studies: Studies, like: bool) -> str:
    """Return a table of figures as Markdown; a block whose study cannot run says why."""
    rows, notes = [], []
    for block in printed.blocks:
        keys = block.like if like else block.studies
        found, missing = _summaries(keys, studies)
        notes += [f"{block.title}: {why}" for why in missing]
        rows += _block(block, found, f" as {listed(keys[:1])}" if like else "")
    told = (
        f"Means over {studies.seeds} seed{'s' * (studies.seeds > 1)}, with the sd over groups (and "
        "thresholds). The third line of a method is ours less the paper's, in units of our sd over "
        "seeds."
    )
    if like:
        told += " Other data than the paper's: differences say nothing about the method."
    return "\n\n".join([f"{_title(name)}: {printed.title}", _markdown(_HEAD, rows), told, *notes])


def _title(name: str) -> str:
    return f"{name[:-1].capitalize()} {name[-1]}"


def _summaries(keys: Sequence[str], studies: Studies) -> tuple[Summary, list[str]]:
    """The summaries of studies by method, and why those are missing that are."""
    found: Summary = {}
    missing: list[str] = []
    for key in keys:
        try:
            found |= studies.results(key).results["summary"]
        except InputError as error:
            missing.append(f"{key} was not run. {error}")
    return found, missing


def _block(block: Block, found: Summary, note: str) -> list[tuple[str, ...]]:
    """Three lines per method: ours, the paper's, and how far apart they are."""
    rows: list[tuple[str, ...]] = []
    for method, printed in block.printed.items():
        title = block.title + note if not rows else ""
        summary = found.get(method, {})
        score = "accuracy" if "accuracy" in summary else "auc"
        values = iter(printed)
        ours, paper, apart = [], [], []
        for _, mean, sd in _COLUMNS:
            theirs = next(values)
            their_sd = f" ± {next(values):.2f}" if sd else ""
            paper.append(f"{theirs:.2f}{their_sd}")
            of = summary.get(mean.format(score))
            if of is None or of["mean"] is None:
                ours.append("-")
                apart.append("-")
                continue
            our_sd = summary[sd.format(score)]["mean"] if sd else None
            told = "" if our_sd is None else f" ± {metrics.rounded(our_sd, 2)}"
            ours.append(metrics.rounded(of["mean"], 2) + told)
            apart.append(f"{(of['mean'] - theirs) / of['sd']:+.1f}" if of["sd"] else "-")
        name = _NAMES[method]
        rows += [(title, name, "ours", *ours), ("", "", "paper", *paper), ("", "", "apart", *apart)]
    return rows


def summaries(name: str, printed: PrintedSummaries, studies: Studies, like: bool) -> str:
    """Return a table of value groups as Markdown: ours, then the paper's.

    Clusters have no order, so that rows are not pairs.
    """
    key = printed.like if like else printed.study
    rows = [("paper", str(k), "", text) for k, text in enumerate(printed.printed, 1)]
    notes = ["Clusters have no order: the same number does not mean the same group."]
    try:
        groups = studies.results(key).results["groups"]
    except InputError as error:
        notes.append(f"{key} was not run. {error}")
    else:
        whose = f"ours, {key}" if like else "ours"
        ours = [
            (whose, str(k), f"{group['size']:,}", f"{group['name']}: {group['description']}")
            for k, group in enumerate(groups, 1)
        ]
        rows = ours + rows
    head = ("", "k", "n", "summary")
    return "\n\n".join([f"{_title(name)}: {printed.title}", _markdown(head, rows), *notes])


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are as wide in plain text, too, but for the last."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    widths[-1] = min(widths[-1], 12)
    lines = [
        f"| {' | '.join(c.ljust(w) for c, w in zip(row, widths, strict=True))} |" for row in cells
    ]
    lines.insert(1, f"|{'|'.join('-' * (w + 2) for w in widths)}|")
    return "\n".join(lines)
