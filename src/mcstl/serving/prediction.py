"""A saved model over a table of any size: in parts, resumable, and written whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from mcstl._support import files
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, listed, need_names
from mcstl._support.progress import Progress, silent
from mcstl.data import exports
from mcstl.data.annotations import TEXT_COLUMNS
from mcstl.data.cells import is_usable_text
from mcstl.data.columns import Columns, has_columns, renamed
from mcstl.data.parts import readable
from mcstl.data.row_numbers import Source
from mcstl.data.tables import Chunk, chunks, first_row, named_by, shards_of, written_format
from mcstl.models.model import Model
from mcstl.models.perspectives import Views, check_weights, mean_level
from mcstl.models.texts import columns_of
from mcstl.serving.query import Query, probability_columns

#: How many of the texts that perspectives disagree on most are listed.
_N_DISPUTED = 10
_MAX_COLUMNS = 10_000
#: Probabilities held at once, 128 MiB.
_MAX_PROBABILITIES = 2**24


@dataclass(frozen=True)
class PredictionSummary:
    """What `predict_file` did.

    Attributes:
        rows: How many rows the table has.
        first_row: The number that the file gives to its first row, as a spreadsheet shows it.
        without_text: How many of them have no usable text, hence no probabilities.
        truncated: How many of them have a text that the encoder did not read to its end.
        disputed: The at most ten texts of widest disagreement: ``row`` (counted as the file
            does, from `first_row`), ``texts``, ``disagreement``, and the perspectives furthest
            apart as ``lowest`` and ``highest``, each with the class it ``expected`` on a scale from
            0 to 1.
        disputed_file: The JSON file that holds them, too.
    """

    rows: int
    first_row: int
    without_text: int
    truncated: int
    disputed: list[dict[str, Any]]
    disputed_file: Path


def read_mix(path: str | Path) -> dict[str, float]:
    """Read a stated population: a YAML file of perspectives and their weights.

    ``Security: 2`` beside ``Security + Tradition: 1`` makes two thirds of the people judge from
    Security alone.

    Args:
        path: The file.

    Returns:
        The weights by the names of perspectives.

    Raises:
        InputError: If the file is not of this form, or if the weights are no weights.
    """
    return check_weights(files.read_yaml(Path(path), "mix"))


def predict_file(
    model: Model,
    source: str | Path,
    out: str | Path,
    *,
    perspectives: Sequence[str] | None = None,
    mix: Mapping[str, float] | None = None,
    text: Sequence[str] | None = None,
    columns: Columns | None = None,
    progress: Progress = silent,
) -> PredictionSummary:
    """Predict every row of a table and write the table with what each perspective says of it.

    Tables are CSV, TSV, JSON Lines or Parquet by their names, of any size: memory is bounded by
    some thousand rows. The columns of `source` are followed by ``p(class)`` of the training
    population, ``p_mix(class)`` of the `mix`, ``p(class | perspective)`` of each perspective,
    ``low(class | perspective)`` and ``high(class | perspective)`` where the model has a `level`,
    and ``disagreement`` (see `mcstl.models.perspectives`). A row without a text gets no
    probabilities. In CSV and TSV a cell that a spreadsheet would run as a formula gets a ``'`` in
    front; JSON Lines and Parquet hold it as it came.

    A run that was killed goes on from its last finished part when it is called again in the same
    way; `out` is there only when it is whole. Whatever cannot be used is refused before anything
    is predicted.

    Args:
        model: The model that predicts.
        source: The table to read.
        out: The table to write.
        perspectives: Perspectives such as "Security + Tradition"; each group if None.
        mix: A stated population: weights of perspectives.
        text: The column of the text, those of its parts, or those of a pair, the first text's
            before the second's; those of the study that made the model if None.
        columns: The table's names by ours, as in a study: ``{"text": "comment"}``, or a list for a
            text in parts.
        progress: Called with what is being done, how many rows are finished and how many there
            are.

    Returns:
        How many rows were written, and the texts that perspectives disagree on most.

    Raises:
        InputError: If a table, a perspective or a weight cannot be used.
    """
    source, out = Path(source), Path(out)
    query = Query.parse(model, perspectives, mix)
    job = _Job.plan(model, source, out, query, _text_columns(model, text, columns or {}), progress)
    with _parts_of(out, job.identity()) as folder:
        parts = []
        for number, (first, chunk) in enumerate(_numbered(source)):
            part = folder / f"{number:06}.{job.format}"
            if not part.with_suffix(".json").exists():
                job.write(part, first, chunk, named_by(source))
            parts.append(part)
            progress("predicting", first + len(chunk.frame), job.rows)
        summaries = [json.loads(p.with_suffix(".json").read_text(encoding="utf-8")) for p in parts]
        disputed = _most_disputed(each for summary in summaries for each in summary["most"])
        disputed = [{**each, "row": each["row"] + first_row(source)} for each in disputed]
        disputed_file = out.with_name(f"{out.name}.most-disagreed.json")
        files.write_text(disputed_file, json.dumps(disputed, indent=1, ensure_ascii=False) + "\n")
        with files.replacing(out) as temporary:
            exports.join(parts, temporary, job.format, [*job.columns, *job.new_columns], guard=True)
    without_text, truncated = (
        sum(summary[count] for summary in summaries) for count in ("without_text", "truncated")
    )
    return PredictionSummary(
        job.rows, first_row(source), without_text, truncated, disputed, disputed_file
    )


@dataclass(frozen=True)
class _Job:
    """All that decides what is written.

    Attributes:
        model: The model that predicts.
        format: The format of the file that is written, such as "csv".
        text_columns: The columns that hold the text, or the two of a pair, by our names.
        query: The perspectives and the mixture.
        columns: The columns of the source.
        types: Their arrow schema, where the source has one.
        rows: How many rows the source has.
        digest: A digest of the source.
    """

    model: Model
    format: str
    text_columns: Columns
    query: Query
    columns: list[str]
    types: Any
    rows: int
    digest: str

    @classmethod
    def plan(
        cls,
        model: Model,
        source: Path,
        out: Path,
        query: Query,
        candidates: Sequence[Columns],
        progress: Progress,
    ) -> "_Job":
        """Check all that could stop the work; read the source to its end."""
        out_format = written_format(out)
        if out.name.lower().endswith(".gz"):
            raise InputError(f"{out.name}: predictions are not packed; leave out .gz")
        if out.exists() and source.exists() and out.samefile(source):
            raise InputError(f"{out} is the table to predict; name another file to write")
        model.membership(query.perspectives)  # refuses unknown groups
        if model.level is not None:
            model.check_level(model.level)
        if (3 * query.n_shown + 2) * len(model.classes) > _MAX_COLUMNS:
            raise InputError(
                f"{query.n_shown:,} perspectives make more columns than a table is read with; "
                "name fewer with --perspective"
            )
        columns, types, rows = _read_to_end(source, progress)
        text_columns = _present(candidates, columns, source)
        job = cls(model, out_format, text_columns, query, columns, types, rows, _digest(source))
        if taken := {*columns} & {*job.new_columns}:
            raise InputError(
                f"{source.name} has columns that are ours already: {listed(sorted(taken))}; "
                "is it a file of predictions? Rename or drop them"
            )
        return job

    def identity(self) -> str:
        """Name all that the parts depend on, so that parts of another run are not taken up."""
        digest = hashlib.sha256()
        model, query = self.model, self.query
        memberships, weights = model.population
        for array in (memberships.indptr, memberships.indices, weights):
            digest.update(np.ascontiguousarray(array).tobytes())
        for name, tensor in sorted(model.network.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        facts = [
            *(model.task, model.classes, model.group_names, model.encoder.fingerprint),
            *(self.format, self.text_columns, query.perspectives, query.n_shown, query.mix),
            *(self.columns, str(self.types), self.rows, self.digest, model.level),
        ]
        digest.update(json.dumps(facts).encode())
        return digest.hexdigest()

    @property
    def new_columns(self) -> list[str]:
        """The columns that stand after those of the source."""
        query, classes = self.query, self.model.classes
        columns = probability_columns(
            classes,
            query.shown_names,
            mixed=bool(query.mix),
            intervals=self.model.level is not None,
        )
        question = self.model.facts.get("study", {}).get("question")
        return [*columns, "disagreement" if question is None else f"disagreement on {question}"]

    def write(self, part: Path, first: int, chunk: Chunk, name: Source) -> None:
        """Predict one part of the table, which begins at row `first`; write it and its summary."""
        frame = chunk.frame.reindex(columns=self.columns)
        if chunk.arrow is None:
            carried = {name: frame[name].tolist() for name in self.columns}
        else:
            carried = {name: chunk.arrow.column(name).to_pylist() for name in self.columns}
        texts = renamed(frame, self.text_columns, name)[list(self.text_columns)]
        items = list(zip(*(texts[name].tolist() for name in texts), strict=True))
        usable = [i for i, item in enumerate(items) if all(map(is_usable_text, item))]
        form = self.model.text_form
        if bad := [
            i for i in usable if form.read(items[i] if form.sides == 2 else items[i][0]) is None
        ]:
            options = " ".join(f"--text {name!r}" for name in form.boxes)
            raise InputError(
                f"{name.rows([first + bad[0]])} has a whole text, and this model reads the parts "
                f"{listed(form.parts)} apart; name their columns: {options}"
            )
        numbers, disputed, truncated = self._predict([items[i] for i in usable])
        for each in disputed:
            each["row"] = first + usable[each["row"]]
        table = np.full((len(items), len(self.new_columns)), np.nan)
        table[usable] = numbers
        new = dict(zip(self.new_columns, table.T, strict=True))
        with files.replacing(part) as temporary:
            exports.write_part(temporary, self.format, carried, new, chunk.arrow, guard=True)
        summary = {
            "without_text": len(items) - len(usable),
            "truncated": truncated,
            "most": disputed,
        }
        files.write_text(part.with_suffix(".json"), json.dumps(summary))

    def _predict(
        self, items: Sequence[tuple[str, ...]]
    ) -> tuple[FloatArray, list[dict[str, Any]], int]:
        """Return one row of new columns per item, the items disputed most, and how many are cut."""
        query = self.query
        per_item = max(1, len(query.perspectives) * len(self.model.classes))
        step = max(1, _MAX_PROBABILITIES // per_item)
        numbers = [np.empty((0, len(self.new_columns)))]
        disputed: list[dict[str, Any]] = []
        truncated = 0
        for start in range(0, len(items), step):
            block = items[start : start + step]
            texts: Any = block if len(self.text_columns) == 2 else [text for (text,) in block]
            views = self.model.views(texts, query.perspectives, level=self.model.level)
            truncated += 0 if views.truncated is None else int(views.truncated.sum())
            mixed = [views.mixture(query.mix)] if query.mix else []
            shown = views.first_perspectives(query.n_shown)
            answers = [shown.p, *(() if shown.ends is None else shown.ends)]
            flat = [each.reshape(len(block), -1) for each in answers]
            numbers.append(
                np.hstack([views.population, *mixed, *flat, shown.disagreement[:, None]])
            )
            if query.n_shown > 1:
                disputed += _disputed(shown, block, start)
        return np.concatenate(numbers), _most_disputed(disputed), truncated


def _disputed(views: Views, items: Sequence[tuple[str, ...]], first: int) -> list[dict[str, Any]]:
    """Describe the distinct items of widest disagreement; `first` is the row of the first item."""
    rows: dict[tuple[str, ...], int] = {}
    for row, item in enumerate(items):
        rows.setdefault(item, row)
    disagreement, level = views.disagreement, mean_level(views.p)
    by_disagreement = sorted(rows.values(), key=lambda row: -disagreement[row])

    def end(row: int, k: int) -> dict[str, Any]:
        return {"perspective": views.names[k], "expected": float(level[row, k])}

    return [
        {
            "row": first + row,
            "texts": [readable(text) for text in items[row]],
            "disagreement": float(disagreement[row]),
            "lowest": end(row, int(level[row].argmin())),
            "highest": end(row, int(level[row].argmax())),
        }
        for row in by_disagreement[:_N_DISPUTED]
    ]


def _most_disputed(disputed: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ten of widest disagreement, each text once, the earlier row first on a tie."""
    widest: dict[tuple[str, ...], dict[str, Any]] = {}
    for each in sorted(disputed, key=lambda each: (-each["disagreement"], each["row"])):
        widest.setdefault(tuple(each["texts"]), each)
    return list(widest.values())[:_N_DISPUTED]


def _read_to_end(source: Path, progress: Progress) -> tuple[list[str], Any, int]:
    """Read a table to its end, so that hours of work do not end at its last line.

    Returns its columns, their arrow schema if it is Parquet, and how many rows it has.
    """
    columns: dict[str, None] = {}
    types, rows = None, 0
    for chunk in chunks(source):
        if chunk.arrow is None:
            names = [str(name) for name in chunk.frame.columns]
        else:
            types = chunk.arrow.schema.remove_metadata()
            names = types.names
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(
                f"{source} has more than one column named {listed(repeated)}; rename all but one"
            )
        columns |= dict.fromkeys(names)
        if rows:
            progress("reading", rows, rows + 1)  # how many there are is not known before the end
        rows += len(chunk.frame)
    progress("reading", rows, rows)
    return list(columns), types, rows


def _text_columns(
    model: Model, text: Sequence[str] | None, columns: Columns
) -> list[dict[str, str | Sequence[str]]]:
    """List what the columns of the text may be, the first that a table has is meant.

    Those named, else those of the model's study, else ours; for a pair also chosen and rejected.
    """
    standard, form = TEXT_COLUMNS[model.task], model.text_form
    if text is not None:
        numbers = {len(form.boxes)} if form.apart else {form.sides, len(form.boxes)}
        if len(text) not in numbers:
            parts = f", the parts {listed(form.parts)}" if form.parts else ""
            raise InputError(
                f"a {model.task} model reads {' or '.join(map(str, sorted(numbers)))} column(s) of "
                f"text{parts}; got {len(text)}: {listed(text)}"
            )
        n = len(text) // form.sides
        return [{ours: text[k * n : (k + 1) * n] for k, ours in enumerate(standard)}]
    in_study = columns_of(model.facts)
    if form.rationale:
        of_text = in_study.get("text", "text")
        texts = [*(of_text if isinstance(of_text, list) else [of_text])]
        return [{"text": [*texts, form.parts[-1]]}]
    sides = [standard, ("chosen", "rejected")] if len(standard) == 2 else [standard]
    candidates = [
        {ours: each.get(name, name) for ours, name in zip(standard, names, strict=True)}
        for names in sides
        for each in ({**in_study, **columns}, columns)
    ]
    for names in sides:
        if names[0] in columns:  # said for this table: nothing else is meant
            return [{ours: columns.get(n, n) for ours, n in zip(standard, names, strict=True)}]
    return candidates


def _present(candidates: Sequence[Columns], columns: Sequence[str], source: Path) -> Columns:
    """Choose the first candidates that a table has."""
    for candidate in candidates:
        if all(has_columns(columns, theirs) for theirs in candidate.values()):
            return candidate
    first = next(iter(candidates[0].values()))
    need_names(
        [first] if isinstance(first, str) else first,
        columns,
        source.name,
        hint="Name the column of the text with --text",
    )
    return candidates[0]


def _digest(source: Path) -> str:
    digest = hashlib.sha256()
    for path in shards_of(source) if source.is_dir() else [source]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _numbered(source: Path) -> Iterator[tuple[int, Chunk]]:
    """Yield the chunks of a table, each with the number of its first row."""
    first = 0
    for chunk in chunks(source):
        yield first, chunk
        first += len(chunk.frame)


@contextmanager
def _parts_of(out: Path, identity: str) -> Iterator[Path]:
    """Yield the folder of the parts of one run, which is deleted when it ends well."""
    folder = out.with_name(f".{out.name}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another run is writing {out}; wait for it or stop it") from None
    try:
        run = folder / "run"
        if not run.exists() or run.read_text(encoding="utf-8") != identity:
            _empty(folder)
            files.write_text(run, identity)
        yield folder
        _empty(folder)
    finally:
        lock.release()
    shutil.rmtree(folder, ignore_errors=True)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != "lock":
            path.unlink()
