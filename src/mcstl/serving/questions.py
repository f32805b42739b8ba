"""A model of several questions over a table: the table gets the columns of each in turn."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mcstl._support import files
from mcstl._support.progress import Progress, silent
from mcstl.data.columns import Columns
from mcstl.data.tables import first_row, written_format
from mcstl.models.questions import QuestionsModel
from mcstl.serving.prediction import PredictionSummary, predict_file


def predict_questions(
    model: QuestionsModel,
    source: str | Path,
    out: str | Path,
    *,
    perspectives: Sequence[str] | None = None,
    mix: Mapping[str, float] | None = None,
    text: Sequence[str] | None = None,
    columns: Columns | None = None,
    progress: Progress = silent,
) -> PredictionSummary:
    """Predict every row of a table as `mcstl.serving.prediction.predict_file` does, all questions.

    The columns of each question stand one after the other: ``p(not joy)``, ``p(joy)``,
    ``p(joy | gender=Woman)`` and so on, and ``disagreement on joy``.

    Args:
        model: The model that predicts.
        source: The table to read.
        out: The table to write.
        perspectives: As in `predict_file`.
        mix: As in `predict_file`.
        text: As in `predict_file`.
        columns: As in `predict_file`.
        progress: Called with what is being done, how many rows are finished and how many there
            are.

    Returns:
        How many rows were written. The texts that perspectives disagree on most are in the file
        that it names, by question; none is listed.

    Raises:
        InputError: If a table, a perspective or a weight cannot be used.
    """
    out = Path(out)
    # What stands between is read again as it is written, without guards against formulas.
    between = "parquet" if written_format(out) == "parquet" else "jsonl"
    steps = [out.with_name(f".{out.name}.{k}.{between}") for k in range(len(model.questions) - 1)]
    table, disputed = Path(source), {}
    try:
        for question, step in zip(model.questions, [*steps, out], strict=True):
            summary = predict_file(
                model[question],
                table,
                step,
                perspectives=perspectives,
                mix=mix,
                text=text,
                columns=columns,
                progress=progress,
            )
            rows = json.loads(summary.disputed_file.read_text(encoding="utf-8"))
            shift = first_row(Path(source)) - summary.first_row
            disputed[question] = [{**each, "row": each["row"] + shift} for each in rows]
            summary.disputed_file.unlink()
            table = step
    finally:
        for step in steps:
            step.unlink(missing_ok=True)
    files.write_text(
        summary.disputed_file, json.dumps(disputed, indent=1, ensure_ascii=False) + "\n"
    )
    return replace(summary, first_row=first_row(Path(source)), disputed=[])
