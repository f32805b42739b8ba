"""The one owner of results.json, predictions.parquet, items.parquet and trace.parquet.

Their schema and columns stand here, and here they are written and read. Nothing here loads a
network before a model is asked for, so that reports are made without one; what a report needs,
with every prediction checked, is read by `mcstl.studies.output`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mcstl import evaluation
from mcstl._support import files
from mcstl._support.arrays import BoolArray, FloatArray, IntArray, ObjectArray
from mcstl._support.errors import InputError, first_line, listed, need_names
from mcstl._support.notebook import Shown
from mcstl._support.text_tables import plain_table
from mcstl._support.words import counted
from mcstl.data.annotations import Annotations
from mcstl.evaluation.verdict import ANSWERS
from mcstl.groups.small_groups import without_few

if TYPE_CHECKING:
    from mcstl.models.model import Model
    from mcstl.models.questions import QuestionsModel

#: The version of results.json.
SCHEMA = 2
#: The versions that can be read: in 1 only the number is another.
READABLE_SCHEMAS = (1, 2)
#: The folder, in the outputs of a multilabel study, of the outputs of each question.
QUESTIONS = "questions"
#: What stands for the split where a model is judged on all annotations of a new table.
NEW_TABLE = "new table"
#: The columns of predictions.parquet before the probabilities of the classes, p_0, p_1 and so on.
PREDICTION_COLUMNS = (
    *("method", "seed", "split", "row", "item", "annotator", "label"),
    *("groups", "minority", "flipped"),
)
#: The columns of trace.parquet that say what a row is about.
TRACE_KEYS = ("method", "seed", "epoch", "part")
#: Those that trace.parquet has even where no method is trained in epochs.
TRACE_COLUMNS = (*TRACE_KEYS, "slope_mean", "bias_mean", "one_minus_emd")


@dataclass(frozen=True, repr=False)
class Results(Shown):
    """The results of a study.

    Attributes:
        results: The content of results.json: ``schema``, ``study``, ``data``, ``groups``,
            ``runs``, ``summary``, and what follows from them.
        predictions: The table predictions.parquet, a row per method, seed and test annotation, and
            per question where there are several, then with a column ``question``.
        model: The model of the study's first seed, None if no method leaves one.
    """

    results: dict[str, Any]
    predictions: pd.DataFrame
    model: "Model | QuestionsModel | None"

    def shown_facts(self) -> Mapping[str, str]:
        """List the study, its verdict and the measures of each method.

        Returns:
            Facts by their names.
        """
        data, table = self.results["data"], evaluation.results_table(self.results["summary"])
        facts = {
            "study": f"{self.results['study'].get('name') or data['source']}, split by "
            f"{data['split']['by']}, {counted(data['split']['test'], 'test annotation')}"
        }
        if verdict := self.results.get("verdict"):
            facts["may it be used"] = f"{ANSWERS[verdict['answer']]}. {verdict['sentences'][0]}"
        return facts | {
            method: ", ".join(
                f"{column.title} {cell.text}"
                for column, cell in zip(table.columns, cells, strict=True)
            )
            for method, cells in table.rows
        }

    def table(self) -> str:
        """Show the summary as a plain table, the way the paper prints it.

        Returns:
            A text with a line for the titles and one for each method.
        """
        table = evaluation.results_table(self.results["summary"])
        return plain_table(table.header, table.texts)


def prediction_rows(
    run: Mapping[str, Any],
    annotations: Annotations,
    test: IntArray,
    inside: BoolArray,
    group_names: Sequence[str],
    minority: FloatArray,
    p: FloatArray,
) -> pd.DataFrame:
    """Make the rows of predictions.parquet of one run.

    Args:
        run: The columns that are the same in all rows: method, seed and split.
        annotations: All annotations of the study.
        test: (n,) the positions of the test annotations.
        inside: (n, K) whether each of them is in each group.
        group_names: The K names of the groups.
        minority: (n,) how far each counts as differing from its item's majority, 0 to 1.
        p: (n, L) its predicted class probabilities.

    Returns:
        A table of n rows: `PREDICTION_COLUMNS`, minority_weight, then p_0, p_1 and so on.
    """
    frame, names = annotations.frame.iloc[test], np.array(group_names, dtype=object)
    columns: dict[str, Any] = {
        **run,
        "row": frame["row"].to_numpy(),
        "item": frame["item"].to_numpy(),
        "annotator": _annotator_codes(annotations)[test],
        "label": annotations.labels[test],
        "groups": [list(names[row]) for row in inside],
        "minority": minority > 0,
        "minority_weight": minority,
        "flipped": frame["flipped"].to_numpy(),
    }
    columns |= {f"p_{c}": p[:, c] for c in range(p.shape[1])}
    return pd.DataFrame(columns)


def _annotator_codes(annotations: Annotations) -> ObjectArray:
    """(n,) codes of this study that do not tell who the annotators are, None where unknown."""
    if not annotations.has("annotator"):
        return np.full(len(annotations), None, dtype=object)
    codes, names = pd.factorize(annotations.frame["annotator"])
    shuffled = np.random.default_rng(len(names)).permutation(len(names))
    return np.array([None if c < 0 else f"a{shuffled[c]}" for c in codes], dtype=object)


def write(
    folder: Path, results: Results, items: pd.DataFrame, epochs: Sequence[Mapping[str, Any]]
) -> None:
    """Write the results of a study but its model: results.json last, which says that all is there.

    Args:
        folder: The folder of the study's outputs.
        results: What the study found.
        items: The table items.parquet, a row per item with its text or texts.
        epochs: The rows of trace.parquet: `TRACE_KEYS` and the metrics of an epoch.
    """
    trace = pd.DataFrame(epochs, columns=None if epochs else list(TRACE_COLUMNS))
    # A metric that no epoch has is a number nonetheless.
    measured = trace.columns.difference(list(TRACE_KEYS))
    tables = {
        "predictions": results.predictions,
        "items": items,
        "trace": trace.astype(dict.fromkeys(measured, float)),
    }
    for name, table in tables.items():
        with files.replacing(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
    text = json.dumps(results.results, indent=1, ensure_ascii=False)
    files.write_text(folder / "results.json", text)


def read(folder: str | Path) -> Results:
    """Read the results of a finished study.

    Args:
        folder: The folder that `run` wrote.

    Returns:
        Its results, with the model if it holds one.

    Raises:
        InputError: If a file is missing, damaged or of a schema that is not known.
    """
    folder = Path(folder)
    results = read_results(folder)
    predictions = read_table(folder, "predictions", PREDICTION_COLUMNS)
    model = None
    if (folder / "model").exists():
        from mcstl.models.model import Model
        from mcstl.models.questions import QuestionsModel, answers_several

        kind = QuestionsModel if answers_several(folder) else Model
        model = kind.load(folder / "model")
    return Results(results, predictions, model)


def by_question(predictions: pd.DataFrame) -> pd.DataFrame:
    """Put the questions of a multilabel study in the place of groups.

    Args:
        predictions: The content of predictions.parquet.

    Returns:
        The same, each row in the one group that is its question; as it is for other studies.
    """
    if "question" not in predictions.columns:
        return predictions
    questions = [[question] for question in predictions["question"]]
    return predictions.assign(groups=pd.Series(questions, predictions.index, dtype=object))


def read_results(folder: Path) -> dict[str, Any]:
    """Read results.json.

    Args:
        folder: The folder that `run` wrote.

    Returns:
        Its content.

    Raises:
        InputError: If it is missing, damaged or of a schema that is not known.
    """
    path = existing(folder, "results.json")
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); is it whole?") from error
    schema = results.get("schema") if isinstance(results, dict) else None
    if schema not in READABLE_SCHEMAS:
        raise InputError(
            f"{path} has schema {schema!r}, and this version reads {listed(READABLE_SCHEMAS)}; "
            "run the study again"
        )
    needed = ("study", "data", "groups", "runs", "summary")
    # Groups may be none.
    if missing := [k for k in needed if not results.get(k) and (k != "groups" or k not in results)]:
        raise InputError(f"{path} has no {listed(missing)}; run the study again")
    return without_few(results)


def read_trace(folder: Path) -> pd.DataFrame:
    """Read trace.parquet, the metrics of every epoch of the first seed.

    Args:
        folder: The folder that `run` wrote.

    Returns:
        A row per method, epoch and part of the data: `TRACE_COLUMNS` and other metrics.

    Raises:
        InputError: If it is missing or damaged.
    """
    return read_table(folder, "trace", TRACE_COLUMNS)


def read_table(folder: Path, name: str, columns: Iterable[str]) -> pd.DataFrame:
    """Read one of the tables of a study.

    Args:
        folder: The folder that `run` wrote.
        name: The file without its ending: predictions, items or trace.
        columns: What it must have.

    Returns:
        The table with all its columns.

    Raises:
        InputError: If the file is missing or damaged, or lacks a column.
    """
    path = existing(folder, f"{name}.parquet")
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # whatever pyarrow or the disk raises
        raise InputError(
            f"{path} cannot be read as Parquet: {first_line(error)}; is it whole?"
        ) from error
    need_names(columns, table.columns, str(path))
    return table


def existing(folder: Path, name: str) -> Path:
    """Locate a file of a finished study.

    Args:
        folder: The folder that `run` wrote.
        name: The name of the file.

    Returns:
        Its path.

    Raises:
        InputError: If it is not there.
    """
    path = folder / name
    if not path.is_file():
        raise InputError(
            f"{folder} holds no finished study: there is no {name} in {folder}; give the folder "
            f"that `mcstl run STUDY --out {folder}` wrote"
        )
    return path
