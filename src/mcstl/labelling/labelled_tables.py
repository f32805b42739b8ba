"""A table whose rationales get values: by whom, how they are written, how well they agree."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from mcstl._support.errors import InputError, Notice, did_you_mean, listed, need_names
from mcstl._support.progress import Progress, silent
from mcstl.data.cells import as_values
from mcstl.data.exports import write_table
from mcstl.data.tables import read_table, written_format
from mcstl.datasets import sources
from mcstl.encoding.encoders import PAPER_ENCODER, Encoder, load_encoder
from mcstl.labelling import by_embedding, by_llm, taxonomies, trained_labeller
from mcstl.labelling.cases import Cases, cases_of_table
from mcstl.labelling.llm import Client, Count, Template
from mcstl.labelling.taxonomies import Taxonomy
from mcstl.labelling.trained_labeller import Labeller
from mcstl.labelling.value_notation import format_memberships, parse_memberships

#: How the columns of a pair's two sides end.
_SIDES = (
    *(("a", "b"), ("1", "2"), ("chosen", "rejected"), ("preferred", "dispreferred")),
    *(("left", "right"), ("first", "second"), ("winner", "loser")),
)


class Labelled(NamedTuple):
    """The values that n cases have got.

    Attributes:
        names: (K,) names of the values.
        membership: (n, K) membership of the cases in them, from 0 to 1.
        unlabelled: By position, why a case with a rationale has no value.
    """

    names: tuple[str, ...]
    membership: csr_matrix
    unlabelled: Mapping[int, str] = {}


@dataclass(frozen=True, kw_only=True)
class LabellingRequest:
    """A table to label, and how.

    Attributes:
        table: File with one case per row: CSV, TSV, JSON Lines or Parquet; or the folder of a
            registered data set, whose tables are read as one.
        by: Who gives the values: a language model, similarity to definitions, a trained labeller.
        taxonomy: Name or YAML file of the taxonomy; a trained labeller has its own values.
        rationale: Column of the rationales.
        text: Column of the texts that they are about; "" for none.
        explanation: Column of the explanations; "" for none.
        train: Table with a column ``values`` to train a labeller on.
        save: Folder to which the trained labeller is saved.
        fine_tune: Epochs of training the labeller's encoder further.
        labeller: Folder of a saved labeller, instead of `train`.
        soft: Give calibrated memberships between 0 and 1, which a trained labeller has.
        encoder: Name of the encoder; None for the paper's.
        prompt: File of the prompt for a language model; None for mcstl's.
    """

    table: Path
    by: Literal["llm", "embedding", "trained"]
    taxonomy: str = "schwartz"
    rationale: str = "rationale"
    text: str = ""
    explanation: str = ""
    train: Path | None = None
    save: Path | None = None
    fine_tune: int = 0
    labeller: Path | None = None
    soft: bool = False
    encoder: str | None = None
    prompt: Path | None = None

    def read(self) -> tuple[pd.DataFrame, Cases]:
        """Read the table.

        Returns:
            The table and the cases in its rows.

        Raises:
            InputError: The table cannot be read, or lacks a column that is named.
        """
        tables = [read_table(path) for path in _tables_of(self.table)]
        table = pd.concat(tables, ignore_index=True)
        columns = filter(None, (self.rationale, self.text, self.explanation))
        need_names(columns, table.columns, self.table.name)
        if other := other_side(self.rationale, map(str, table.columns)):
            warnings.warn(
                f"the values are those of {self.rationale!r} alone, one side of each pair, and say "
                f"nothing of {other!r}: groups made of them may only tell which side is preferred. "
                "Label what people gave as their reason, or both sides in one column",
                Notice,
                stacklevel=2,
            )
        return table, cases_of_table(table, self.rationale, self.text, self.explanation)


def _tables_of(path: Path) -> list[Path]:
    """List the file itself, or those that a registered data set's loader reads in a folder."""
    if not path.is_dir():
        return [path]
    known = {source.folder or source.name: source.files for source in reversed(sources().values())}
    name = path.resolve().name
    if tables := sorted(table for pattern in known.get(name, ()) for table in path.glob(pattern)):
        return tables
    wanted = f"with {listed(known[name])} in it" if name in known else "named as the registry does"
    raise InputError(
        f"{path} is a folder without tables that are known; expected a table, or the folder of a "
        f"registered data set, {wanted}, as data/valueprism.{did_you_mean(name, known)}"
    )


def other_side(column: str, columns: Iterable[str]) -> str:
    """Find the column that holds the other side of a pair, if a column holds one side.

    Args:
        column: A column.
        columns: All columns of its table.

    Returns:
        The name of the other side's column, "" where there is none.

    >>> other_side("text_a", ["text_a", "text_b"]), other_side("chosen", ["chosen", "Rejected"])
    ('text_b', 'Rejected')
    >>> other_side("answer_2", ["answer_1", "answer_2"]), other_side("data", ["data", "datb"])
    ('answer_1', '')

    """
    by_folded = {name.casefold(): name for name in columns}
    *first, last = re.split(r"([-_ .]|(?<=[a-z])(?=\d))", column.casefold())
    for pair in _SIDES:
        if last in pair and (first or len(last) > 1):
            (other,) = {*pair} - {last}
            return by_folded.get("".join([*first, other]), "")
    return ""


class LabellingResult(NamedTuple):
    """What `label_table` returns.

    Attributes:
        labelled: The values of each row.
        scores: Agreement with the table's own values (`f1_scores`), None where a table was written
            or it has none.
    """

    labelled: Labelled
    scores: pd.DataFrame | None


def label_table(
    request: LabellingRequest,
    client: Client | None = None,
    out: Path | None = None,
    progress: Progress = silent,
) -> LabellingResult:
    """Give every row of a table the values that its rationale appeals to.

    Args:
        request: The table, and how it is labelled.
        client: Client of the language model, where `request.by` is ``llm``.
        out: CSV, TSV, JSON Lines or Parquet to write: the table with a new column ``values``. None
            to write nothing, and to compare the values with those that the table has.
        progress: Called with the step, how far it is and how far it goes.

    Returns:
        The values, and their agreement with the table's own.

    Raises:
        InputError: Options do not fit together, a table or labeller cannot be read, the language
            model cannot be used, or there is nowhere to write to and nothing to compare with.
    """
    table, cases = request.read()
    by = request.by
    if request.soft and by != "trained":
        raise InputError(f"--soft needs probabilities, which --by {by} has none of; use trained")
    if request.fine_tune and (by != "trained" or request.train is None):
        raise InputError("--fine-tune trains an encoder on --train TABLE, with --by trained")
    if out is not None:
        written_format(out)  # refuses another ending before the work begins
    if out is None and request.save is None and "values" not in table.columns:
        raise InputError("where to? Give --out labelled.csv")
    labelled = _labelled(request, cases, client, progress)
    if out is not None:
        write(out, table, labelled)
        return LabellingResult(labelled, None)
    if "values" not in table.columns:
        return LabellingResult(labelled, None)
    return LabellingResult(labelled, f1_scores(labelled, values_of(table, request.table.name)))


def count_requests(request: LabellingRequest, client: Client | None) -> Count:
    """Count what labelling a table by a language model would cost, without sending anything.

    Args:
        request: The table, and how it is labelled.
        client: Client of the language model.

    Returns:
        The requests to make, the replies kept from before and the tokens to send.

    Raises:
        InputError: There is no client, or the table cannot be read.
    """
    cases = request.read()[1]
    if client is None:
        raise InputError("--dry-run counts what a language model would be asked; use --by llm")
    taxonomy = taxonomies.load(request.taxonomy)
    return client.count(by_llm.label_prompts(cases, taxonomy, Template("label", request.prompt)))


def _labelled(
    request: LabellingRequest, cases: Cases, client: Client | None, progress: Progress
) -> Labelled:
    if request.by == "llm":
        if client is None:
            raise InputError("labelling by a language model needs a client")
        taxonomy = taxonomies.load(request.taxonomy)
        return with_llm(cases, taxonomy, client, Template("label", request.prompt), progress)
    if request.by == "trained" and (request.train is None) == (request.labeller is None):
        raise InputError("--by trained learns from --train TABLE, or takes --labeller DIR")
    encoder = load_encoder(request.encoder or PAPER_ENCODER)
    if request.by == "embedding":
        return with_embedding(cases, taxonomies.load(request.taxonomy), encoder, progress)
    if request.train is not None:
        labeller = train_labeller(
            request.train, request.rationale, encoder, progress, fine_tune=request.fine_tune
        )
    else:
        labeller = Labeller.load(request.labeller or "")
    if request.save is not None:
        labeller.save(request.save)
    return with_labeller(cases, labeller, encoder, request.soft, progress)


def with_llm(
    cases: Cases,
    taxonomy: Taxonomy,
    client: Client,
    template: Template,
    progress: Progress = silent,
) -> Labelled:
    """Label by a language model (A.4).

    Args:
        cases: (n,) what is labelled.
        taxonomy: The values to choose from.
        client: Sends the prompts.
        template: The prompt to fill.
        progress: Called with the step, how many prompts are answered and how many there are.

    Returns:
        The values of each case.

    Raises:
        InputError: The language model cannot be used, see `Client.ask`, or labels no case.
    """
    answers = by_llm.label(cases, taxonomy, client, template, progress)
    given = np.zeros((len(answers), len(taxonomy.names)), dtype=np.float32)
    for row, answer in enumerate(answers):
        given[row, [taxonomy.names.index(name) for name in answer.value or []]] = 1
    unlabelled = {
        row: answer.reason
        for row, answer in enumerate(answers)
        if answer.value is None and cases.rationales[row].strip()
    }
    if unlabelled and not given.any():
        raise InputError(
            f"the language model {client.model} labelled none of {len(unlabelled):,} rationales: "
            f"{next(iter(unlabelled.values()))}"
        )
    return Labelled(taxonomy.names, csr_matrix(given), unlabelled)


def with_embedding(
    cases: Cases, taxonomy: Taxonomy, encoder: Encoder, progress: Progress = silent
) -> Labelled:
    """Label by similarity to the definitions, compared with what is usual among the cases.

    Args:
        cases: (n,) what is labelled.
        taxonomy: The values to choose from.
        encoder: Embeds rationales and definitions.
        progress: Called with the step, how many texts are encoded and how many there are.

    Returns:
        The values of each case.
    """
    zero_shot = by_embedding.fit_zero_shot(cases.rationales, taxonomy, encoder, progress)
    return Labelled(taxonomy.names, zero_shot.membership(cases.rationales, encoder, progress))


def with_labeller(
    cases: Cases,
    labeller: Labeller,
    encoder: Encoder,
    soft: bool = False,
    progress: Progress = silent,
) -> Labelled:
    """Label by a trained labeller.

    Args:
        cases: (n,) what is labelled.
        labeller: The trained labeller.
        encoder: The encoder that it was trained with.
        soft: Keep the probabilities of the values that are given.
        progress: Called with the step, how many texts are encoded and how many there are.

    Returns:
        The values of each case.

    Raises:
        InputError: The encoder is another one.
    """
    p = labeller.probabilities(cases.rationales, encoder, progress)
    return Labelled(labeller.names, labeller.membership(p, soft))


def train_labeller(
    path: Path,
    rationale: str,
    encoder: Encoder,
    progress: Progress = silent,
    *,
    fine_tune: int = 0,
) -> Labeller:
    """Train a labeller on a table with rationales and ``values``.

    Rationales about the same ``item`` or ``text``, where there is such a column, are in one fold.

    Args:
        path: The table.
        rationale: Column of the rationales.
        encoder: Embeds the rationales.
        progress: Called with the step, how far it is and how far it goes.
        fine_tune: Epochs of training the encoder further; 0 leaves it as it is.

    Returns:
        The trained labeller.

    Raises:
        InputError: The table cannot be learned from.
    """
    table = read_table(path)
    need_names([rationale], table.columns, path.name)
    values = values_of(table, path.name)
    text = next((name for name in ("item", "text") if name in table.columns), rationale)
    cases = cases_of_table(table, rationale, text)
    return trained_labeller.fit_labeller(
        cases.rationales, values, encoder, cases.texts, progress, fine_tune=fine_tune
    )


def values_of(table: pd.DataFrame, source: str, column: str = "values") -> list[list[str]]:
    """Read the values of each row of a table, lists or text separated by ``|``.

    Args:
        table: Any table.
        source: What errors call it.
        column: Column of the values.

    Returns:
        (n,) the values of each row, without their memberships.

    Raises:
        InputError: The table has no such column.
    """
    need_names([column], table.columns, source)
    return [list(parse_memberships(as_values(cell))) for cell in table[column]]


def f1_scores(labelled: Labelled, gold: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Compare values with those that a table has.

    Args:
        labelled: The values that n cases have got.
        gold: (n,) the values that each of them should have.

    Returns:
        One row per value in `gold`: value, n (how many cases have it), precision, recall, f1.
    """
    from sklearn.metrics import precision_recall_fscore_support

    names = sorted({name for row in gold for name in row})
    position = {name: k for k, name in enumerate(labelled.names)}
    given = labelled.membership.toarray() > 0
    never = np.zeros(len(given), dtype=bool)
    predicted = np.column_stack([given[:, position[n]] if n in position else never for n in names])
    true = np.array([[name in row for name in names] for row in gold])
    precision, recall, f1, n = precision_recall_fscore_support(true, predicted, zero_division=0)
    return pd.DataFrame(
        {"value": names, "n": n, "precision": precision, "recall": recall, "f1": f1}
    )


def write(out: Path, table: pd.DataFrame, labelled: Labelled) -> None:
    """Write a table with a new column ``values``, whole or not at all.

    Args:
        out: A .csv, .tsv, .jsonl or .parquet file.
        table: The table, n rows.
        labelled: The values of its rows.

    Raises:
        InputError: The table has such a column already, or the file's name has another ending.
    """
    if "values" in table.columns:
        raise InputError(
            "the table has a column 'values' already, which would be lost; rename it, or leave "
            "--out away to compare what is given with it"
        )
    cells = format_memberships(labelled.membership, labelled.names)
    write_table(table.assign(values=cells), out)
