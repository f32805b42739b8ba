"""A saved model over a table of any size: in pieces, resumable, and whole or not there."""

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
from mcstl.data.tables import Chunk, chunks, table_format
from mcstl.models.model import Model
from mcstl.models.perspectives import Views, check_weights, mean_level, parse

#: Texts that are told apart at the end: those the perspectives disagree on most.
MOST = 10
_MOST_COLUMNS = 10_000
#: Probabilities held at once, 128 MiB.
_CELLS = 2**24


@dataclass(frozen=True)
class Done:
    """What `predict_file` did: rows, those of them without a usable text, and the texts disputed.

    `most` are the at most ten texts of widest disagreement, as in the file `most_file`: ``row``
    (counted from 0), the texts, ``disagreement``, and the perspectives furthest apart as ``lowest``
    and ``highest``.
    """

    rows: int
    without_text: int
    most: list[dict[str, Any]]
    most_file: Path


def read_mix(path: str | Path) -> dict[str, float]:
    """Read a stated population: a YAML file of perspectives and their weights.

    ``Security: 2`` beside ``Security + Tradition: 1`` makes two thirds of the people judge from
    Security alone. Raises InputError for anything else, and for weights that are none.
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
    progress: Progress = silent,
) -> Done:
    """Predict every row of a table and write it with what each perspective says to `out`.

    Tables are CSV, TSV, JSON Lines or Parquet by their names, of any size: memory is bounded by
    some thousand rows. `perspectives` are written as "Security" or "Security + Tradition", every
    group by default; `mix` gives perspectives weights; `text` names the columns of the texts, by
    default those of the study that made the model. A row without a text gets no probabilities.

    The columns of `source` are followed by ``p(class)`` of the training population,
    ``p_mix(class)`` of the `mix`, ``p(class | perspective)`` of each perspective and
    ``disagreement`` (see `mcstl.models.perspectives`). In CSV and TSV a cell that a spreadsheet
    would run as a formula gets a ``'`` in front; JSON Lines and Parquet hold it as it came.

    A run that was killed goes on from its last finished part when it is called again in the same
    way; `out` is there only when it is whole. Raises InputError for a table, a perspective or a
    weight that cannot be used, before anything is predicted.
    """
    source, out = Path(source), Path(out)
    job = _Job.plan(model, source, out, perspectives, mix, text, progress)
    with _parts_of(out, job.identity()) as folder:
        parts = []
        for number, (first, chunk) in enumerate(_numbered(source)):
            part = folder / f"{number:06}.{job.kind}"
            if not part.with_suffix(".json").exists():
                job.write(part, first, chunk)
            parts.append(part)
            progress("predicting", first + len(chunk.frame), job.rows)
        told = [json.loads(p.with_suffix(".json").read_text(encoding="utf-8")) for p in parts]
        most = _most(each for part in told for each in part["most"])
        most_file = out.with_name(f"{out.name}.most-disagreed.json")
        files.write_text(most_file, json.dumps(most, indent=1, ensure_ascii=False) + "\n")
        with files.replacing(out) as temporary:
            names = [*job.columns, *job.new_columns()]
            exports.join(parts, temporary, job.kind, names, guard=True)
    return Done(job.rows, sum(part["without_text"] for part in told), most, most_file)


@dataclass(frozen=True)
class _Job:
    """All that decides what is written."""

    model: Model
    kind: str  # of the file that is written
    texts: list[str]  # the columns that hold them
    perspectives: list[list[str]]  # those that are shown, then those that only the mix needs
    shown: int
    mix: dict[str, float]
    columns: list[str]  # of the source
    types: Any  # their arrow schema, if the source has one
    rows: int
    digest: str  # of the source

    @classmethod
    def plan(
        cls,
        model: Model,
        source: Path,
        out: Path,
        perspectives: Sequence[str] | None,
        mix: Mapping[str, float] | None,
        text: Sequence[str] | None,
        progress: Progress,
    ) -> "_Job":
        kind = table_format(out)
        if out.name.lower().endswith(".gz"):
            raise InputError(f"{out.name}: predictions are not packed; leave out .gz")
        if out.exists() and source.exists() and out.samefile(source):
            raise InputError(f"{out} is the table to predict; name another file to write")
        groups = model.group_names
        written = groups if perspectives is None else perspectives
        asked = list(dict.fromkeys(" + ".join(parse(name, groups)) for name in written))
        weights = check_weights(mix) if mix is not None else {}
        weights = {" + ".join(parse(name, groups)): weight for name, weight in weights.items()}
        parsed = [parse(name, groups) for name in dict.fromkeys([*asked, *weights])]
        model.membership(parsed)  # refuses unknown names
        if (len(asked) + 2) * len(model.classes) > _MOST_COLUMNS:
            raise InputError(
                f"{len(asked):,} perspectives make more columns than a table is read with; "
                "name fewer with --perspective"
            )
        columns, types, rows = _look_through(source, progress)
        job = cls(
            model,
            kind,
            _text_columns(model, text, columns, source),
            parsed,
            len(asked),
            weights,
            columns,
            types,
            rows,
            _digest(source),
        )
        if taken := {*columns} & {*job.new_columns()}:
            raise InputError(
                f"{source.name} has columns that are ours already: {listed(sorted(taken))}; "
                "is it a file of predictions? Rename or drop them"
            )
        return job

    def identity(self) -> str:
        """Name all that the parts depend on, so that parts of another run are not taken up."""
        digest = hashlib.sha256()
        model = self.model
        patterns, weights = model.population
        for array in (patterns.indptr, patterns.indices, weights):
            digest.update(np.ascontiguousarray(array).tobytes())
        for name, tensor in sorted(model.network.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        facts = [
            *(model.task, model.classes, model.group_names, model.encoder.fingerprint),
            *(self.kind, self.texts, self.perspectives, self.shown, self.mix, self.columns),
            *(str(self.types), self.rows, self.digest),
        ]
        digest.update(json.dumps(facts).encode())
        return digest.hexdigest()

    def new_columns(self) -> list[str]:
        classes = self.model.classes
        names = [" + ".join(names) for names in self.perspectives[: self.shown]]
        return [
            *(f"p({c})" for c in classes),
            *(f"p_mix({c})" for c in classes if self.mix),
            *(f"p({c} | {name})" for name in names for c in classes),
            "disagreement",
        ]

    def write(self, part: Path, first: int, chunk: Chunk) -> None:
        """Predict one part of the table and write it, then what is to be told of it."""
        if chunk.arrow is None:
            frame = chunk.frame.reindex(columns=self.columns)
            carried = {name: frame[name].tolist() for name in self.columns}
        else:
            carried = {name: chunk.arrow.column(name).to_pylist() for name in self.columns}
        rows = list(zip(*(carried[name] for name in self.texts), strict=True))
        usable = [i for i, row in enumerate(rows) if all(map(_is_text, row))]
        numbers, most = self._predict([rows[i] for i in usable], [first + i for i in usable])
        table = np.full((len(rows), len(self.new_columns())), np.nan)
        table[usable] = numbers
        new = dict(zip(self.new_columns(), table.T, strict=True))
        with files.replacing(part) as temporary:
            exports.write_part(temporary, self.kind, carried, new, chunk.arrow, guard=True)
        told = {"rows": len(rows), "without_text": len(rows) - len(usable), "most": most}
        files.write_text(part.with_suffix(".json"), json.dumps(told))

    def _predict(
        self, texts: Sequence[tuple[str, ...]], at: Sequence[int]
    ) -> tuple[FloatArray, list[dict[str, Any]]]:
        """Return one row of new columns per text, and the texts disputed most."""
        step = max(1, _CELLS // max(1, len(self.perspectives) * len(self.model.classes)))
        rows = [np.empty((0, len(self.new_columns())))]
        disputed: list[dict[str, Any]] = []
        for start in range(0, len(texts), step):
            these = texts[start : start + step]
            whole: Any = these if len(self.texts) == 2 else [text for (text,) in these]
            views = self.model.views(whole, self.perspectives)
            mixed = [views.mixture(self.mix)] if self.mix else []
            shown = views.first(self.shown)
            score = shown.disagreement
            flat = shown.p.reshape(len(whole), -1)
            rows.append(np.hstack([views.population, *mixed, flat, score[:, None]]))
            # A text that is there many times is told once.
            places: dict[tuple[str, ...], int] = {}
            for place, text in enumerate(these):
                places.setdefault(text, place)
            firsts = np.array(list(places.values()))
            widest = firsts[np.lexsort((firsts, -score[firsts]))][: MOST if self.shown > 1 else 0]
            disputed += [
                {
                    "row": at[start + i],
                    "texts": list(these[i]),
                    "disagreement": float(score[i]),
                    **_ends(shown, int(i)),
                }
                for i in widest
            ]
        return np.concatenate(rows), _most(disputed)


def _is_text(cell: object) -> bool:
    return isinstance(cell, str) and bool(cell.strip())


def _ends(views: Views, i: int) -> dict[str, dict[str, Any]]:
    """Say which perspectives expect the lowest and the highest class of text i."""
    level = mean_level(views.p[i])
    ends = {"lowest": int(level.argmin()), "highest": int(level.argmax())}
    return {
        which: {"perspective": views.names[k], "expected": float(level[k])}
        for which, k in ends.items()
    }


def _most(disputed: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ten of widest disagreement, each text once, the earlier row first on a tie."""
    best: dict[tuple[str, ...], dict[str, Any]] = {}
    for each in sorted(disputed, key=lambda each: (-each["disagreement"], each["row"])):
        best.setdefault(tuple(each["texts"]), each)
    return list(best.values())[:MOST]


def _look_through(source: Path, progress: Progress) -> tuple[list[str], Any, int]:
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
    model: Model, text: Sequence[str] | None, columns: Sequence[str], source: Path
) -> list[str]:
    ours = TEXT_COLUMNS[model.task]
    if text is not None and len(text) != len(ours):
        raise InputError(
            f"a {model.task} model reads {len(ours)} column(s) of text; got {len(text)}: "
            f"{listed(text)}"
        )
    try:
        theirs = dict(model.facts["study"]["data"]["columns"])
    except (KeyError, TypeError, ValueError):  # made without a study
        theirs = {}
    found = []
    for position, name in enumerate(ours):
        names = [text[position]] if text is not None else [theirs.get(name, name), name]
        present = [each for each in names if each in columns]
        if not present:
            hint = "Name the column of the text with --text"
            need_names(names[:1], columns, source.name, hint=hint)
        found.append(present[0])
    return found


def _digest(source: Path) -> str:
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _numbered(source: Path) -> Iterator[tuple[int, Chunk]]:
    first = 0
    for chunk in chunks(source):
        yield first, chunk
        first += len(chunk.frame)


@contextmanager
def _parts_of(out: Path, identity: str) -> Iterator[Path]:
    """Yield the folder of the parts of one run, which is deleted when it ends well."""
    folder = out.with_name(f".{out.name}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder / "lock")
    try:
        held.acquire(timeout=0)
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
        held.release()
    shutil.rmtree(folder, ignore_errors=True)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != "lock":
            path.unlink()
