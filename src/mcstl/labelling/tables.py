"""A table gets its values: what was given to whom, how it is written, how well it agrees."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from mcstl._support.errors import InputError, need_names
from mcstl._support.progress import Progress, silent
from mcstl.data.cells import mapped
from mcstl.data.exports import write_table
from mcstl.data.tables import read_table
from mcstl.encoding.encoders import Encoder
from mcstl.labelling import by_embedding, by_llm, trained
from mcstl.labelling import value_cells as cells
from mcstl.labelling.cases import Cases, cases_from
from mcstl.labelling.llm import Client, Template
from mcstl.labelling.taxonomies import Taxonomy
from mcstl.labelling.trained import Labeller


class Labelled(NamedTuple):
    """The `membership` (n, K) of cases in the values `names`, and who has none though asked.

    `unlabelled` says why, by position; cases without a rationale are not asked about.
    """

    names: tuple[str, ...]
    membership: csr_matrix
    unlabelled: Mapping[int, str] = {}


def with_llm(
    cases: Cases,
    taxonomy: Taxonomy,
    client: Client,
    template: Template,
    progress: Progress = silent,
) -> Labelled:
    """Label by a language model (A.4). Raises InputError as `Client.ask` does."""
    answers = by_llm.label(cases, taxonomy, client, template, progress)
    given = np.zeros((len(answers), len(taxonomy.names)), dtype=np.float32)
    for row, answer in enumerate(answers):
        given[row, [taxonomy.names.index(name) for name in answer.value or []]] = 1
    why = {
        row: answer.why
        for row, answer in enumerate(answers)
        if answer.value is None and cases.rationales[row].strip()
    }
    return Labelled(taxonomy.names, csr_matrix(given), why)


def with_embedding(
    cases: Cases, taxonomy: Taxonomy, encoder: Encoder, progress: Progress = silent
) -> Labelled:
    """Label by similarity to the definitions, compared with what is usual among the cases."""
    zero_shot = by_embedding.fit(cases.rationales, taxonomy, encoder, progress)
    return Labelled(taxonomy.names, zero_shot.membership(cases.rationales, encoder, progress))


def learn(
    path: Path,
    rationale: str,
    encoder: Encoder,
    progress: Progress = silent,
    *,
    fine_tune: int = 0,
) -> Labeller:
    """Train a labeller on a table with rationales and ``values``; equal texts share a fold.

    Rationales about the same ``item`` or ``text``, where there is such a column, share one too.
    Raises InputError if the table cannot be learned from.
    """
    table = read_table(path)
    need_names([rationale], table.columns, path.name)
    values = values_of(table, path.name)
    about = next((name for name in ("item", "text") if name in table.columns), rationale)
    cases = cases_from(table, rationale, about)
    return trained.fit(
        cases.rationales, values, encoder, cases.texts, progress, fine_tune=fine_tune
    )


def with_labeller(
    cases: Cases,
    labeller: Labeller,
    encoder: Encoder,
    soft: bool = False,
    progress: Progress = silent,
) -> Labelled:
    """Label by a trained labeller; `soft` keeps the probabilities of the values that are given."""
    p = labeller.probabilities(cases.rationales, encoder, progress)
    return Labelled(labeller.names, labeller.membership(p, soft))


def values_of(table: pd.DataFrame, source: str, column: str = "values") -> list[list[str]]:
    """Return the values of each row of a table, as the annotations contract writes them.

    Raises InputError if the table has no such column.
    """
    need_names([column], table.columns, source)
    rows = mapped(table[column], lambda cell: [] if cell is None or cell != cell else cell)
    lists = (cell.split("|") if isinstance(cell, str) else list(cell) for cell in rows)
    return [list(cells.values_in(filter(None, map(str.strip, row)))) for row in lists]


def f1_scores(labelled: Labelled, gold: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return, per value that `gold` has, how many rows have it (n), and precision, recall, F1."""
    from sklearn.metrics import precision_recall_fscore_support

    names = sorted({name for row in gold for name in row})
    place = {name: k for k, name in enumerate(labelled.names)}
    given = labelled.membership.toarray() > 0
    empty = np.zeros(len(given), dtype=bool)
    told = np.column_stack([given[:, place[n]] if n in place else empty for n in names])
    true = np.array([[name in row for name in names] for row in gold])
    precision, recall, f1, n = precision_recall_fscore_support(true, told, zero_division=0)
    return pd.DataFrame(
        {"value": names, "n": n, "precision": precision, "recall": recall, "f1": f1}
    )


def write(out: Path, table: pd.DataFrame, labelled: Labelled) -> None:
    """Write a table with its new column `values` as CSV, whole or not at all.

    Raises InputError if it has one already, or for another kind of file.
    """
    if "values" in table.columns:
        raise InputError(
            "the table has a column 'values' already, which would be lost; rename it, or leave "
            "--out away to compare what is given with it"
        )
    if out.suffix != ".csv":
        raise InputError(f"{out} is not a CSV file; name one that ends in .csv")
    written = table.assign(values=cells.cells(labelled.membership, labelled.names))
    write_table(written, out)
