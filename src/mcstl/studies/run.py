"""One study: load -> split -> group -> encode -> fit -> predict -> evaluate.

`run` is the whole protocol. What a study is stands in `studyfile`, what it leaves in `outputs`.
"""

import json
import os
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from mcstl import evaluation as audit
from mcstl._support import files
from mcstl._support.errors import listed
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations, minority_rows
from mcstl.data.splits import Split, split
from mcstl.encoding import finetuning
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.evaluation import metrics
from mcstl.groups import Scheme, fit_scheme, leakage, settled
from mcstl.groups.base import need_column
from mcstl.groups.review import choosing
from mcstl.models import training
from mcstl.models.examples import Examples
from mcstl.models.model import Model
from mcstl.models.networks import BaseNetwork
from mcstl.studies import controls
from mcstl.studies import model_card as card
from mcstl.studies import results as outputs
from mcstl.studies.methods import Prepared, fit_method, saves_model
from mcstl.studies.results import Results, Work
from mcstl.studies.study_file import AnyMethod, Study, rationale_config, reads_rationales


def run(
    study: Study,
    *,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    jobs: int = 1,
    progress: Progress = silent,
) -> Results:
    """Run a study and, with `out`, write its outputs there (DESIGN: Contracts; no report yet).

    A stopped run goes on where it was when it is called again with the same study and folder;
    results.json is written last, so a folder that has it is whole. With `out`, as many seeds as
    `jobs` run at once, each in a process of its own; the results are the same. Where the number of
    groups is chosen, ``groups/`` has the page on which people can look over the choice.

    Raises InputError for anything in study or data that cannot be used, and if `out` holds another
    study.
    """
    annotations = study.load(data_dir)
    encoder = load_encoder(study.encoder_name)
    resolved = outputs.resolved(study, annotations, encoder, Path(out) if out else Path())
    if out is None:
        return _all_runs(study, annotations, encoder, resolved, Work(None), 1, progress)
    folder = Path(out)
    outputs.claim(folder, resolved)
    if not (folder / "results.json").exists():
        with outputs.working(folder, resolved) as work:
            results = _all_runs(study, annotations, encoder, resolved, work, jobs, progress)
            config = rationale_config(study.scheme(annotations))
            if config is not None and config.k == "auto":
                rows = training_rows(study, annotations)
                found = choosing.options(config, rows, encoder, progress=progress)
                choosing.write(folder / "groups", found, study.name)
            outputs.write(folder, work, annotations, results)
    return outputs.read(folder)


def _all_runs(
    study: Study,
    annotations: Annotations,
    encoder: Encoder,
    resolved: dict[str, Any],
    work: Work,
    jobs: int,
    progress: Progress,
) -> Results:
    """Run every method with every seed; runs that `work` has kept are not run again."""
    first = prepare(study, annotations, encoder, study.seeds[0], progress=progress)
    if jobs > 1 and len(study.seeds) > 1:
        _at_once(study, annotations, resolved, work, first, jobs, progress)
    done: dict[tuple[int, str], tuple[dict[str, Any], pd.DataFrame]] = {}
    model: Model | None = None
    n_runs = len(study.seeds) * len(study.methods)
    for seed in study.seeds:
        todo = []
        for method in study.methods:
            kept = work.kept(method.title, seed)
            if kept:
                done[seed, method.title] = kept
            else:
                todo.append(method)
        progress("methods x seeds", len(done), n_runs)
        prepared = first
        if todo and seed != study.seeds[0]:
            prepared = prepare(study, annotations, encoder, seed, first.scheme, progress)
        for found, rows, its_model in _seed_runs(
            study, todo, encoder, resolved, work, seed, prepared, progress
        ):
            done[seed, found["method"]] = found, rows
            progress("methods x seeds", len(done), n_runs)
            model = model or its_model
    progress("methods x seeds", n_runs, n_runs)
    in_order = [done[seed, method.title] for seed in study.seeds for method in study.methods]
    runs = [found for found, _ in in_order]
    predicted = pd.concat([rows for _, rows in in_order], ignore_index=True)
    results = {
        "schema": outputs.SCHEMA,
        "study": resolved,
        "data": outputs.described(
            annotations,
            first.encoder,
            resolved,
            first.parts,
            study.split.by,
            first.scheme.left_out,
        ),
        "groups": [asdict(group) for group in first.scheme.groups],
        "runs": runs,
        "summary": metrics.summarise(runs),
    }
    results |= audit.findings(results, predicted, progress=progress)
    checks = [*controls.leaks(study, first), *controls.shuffled_gain(results)]
    results["controls"] = metrics.jsonable([check._asdict() for check in checks])
    if model is not None:
        model.model_card = card.of_study(results)
    return Results(results, predicted, model)


def _seed_runs(
    study: Study,
    methods: Sequence[AnyMethod],
    encoder: Encoder,
    resolved: dict[str, Any],
    work: Work,
    seed: int,
    prepared: Prepared,
    progress: Progress,
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, Model | None]]:
    """Run methods of one seed; the first neural one of the first seed comes with its model."""
    is_first = seed == study.seeds[0]
    modelled = next((method for method in study.methods if saves_model(method)), None)
    for method in methods:
        checkpoint = work.file(method.title, seed, "checkpoint")
        trace = work.file(method.title, seed, "trace") if is_first else None
        found, rows, network = _one_run(method, study, prepared, seed, checkpoint, trace, progress)
        model = None
        if is_first and method == modelled and network is not None:
            facts = {"study": outputs.portable(resolved), "method": method.title, "seed": seed}
            forms_groups = encoder if reads_rationales(study.scheme(prepared.annotations)) else None
            model = as_model(network, prepared, forms_groups, facts, network.n_groups > 0)
            work.keep_model(model)
        work.keep(method.title, seed, found, rows)
        yield found, rows, model


def _at_once(
    study: Study,
    annotations: Annotations,
    resolved: dict[str, Any],
    work: Work,
    first: Prepared,
    jobs: int,
    progress: Progress,
) -> None:
    """Run several seeds at once in processes of their own, which leave their runs in `work`.

    Seeds that are too few for all processes are shared out by method, so that none stands idle.
    """
    from joblib import Parallel, delayed

    todo = {
        seed: [method for method in study.methods if work.kept(method.title, seed) is None]
        for seed in study.seeds
    }
    jobs = min(jobs, len(study.seeds))
    whole = len(study.seeds) - len(study.seeds) % jobs
    tasks = [(seed, todo[seed]) for seed in study.seeds[:whole] if todo[seed]]
    tasks += [(seed, [method]) for seed in study.seeds[whole:] for method in todo[seed]]
    n_runs = len(study.seeds) * len(study.methods)
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.5):
            progress("methods x seeds", min(work.count(), n_runs - 1), n_runs)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        # Without max_nbytes joblib maps large arrays into the workers read-only.
        run_some = delayed(_in_a_process)
        Parallel(n_jobs=jobs, max_nbytes=None)(
            run_some(os.getpid(), study, annotations, resolved, work, first, *task)
            for task in tasks
        )
    finally:
        finished.set()
        watching.join()


@cache
def _end_with(parent: int) -> None:
    """See that this process ends when its parent was killed, or a resumed run would have rivals.

    The parent says who it is: it may have been killed before this process asks.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


#: What this process prepared last, by folder and seed, for the next methods of the same seed.
_prepared_last: dict[tuple[Path | None, int], Prepared] = {}


def _in_a_process(
    parent: int,
    study: Study,
    annotations: Annotations,
    resolved: dict[str, Any],
    work: Work,
    first: Prepared,
    seed: int,
    methods: Sequence[AnyMethod],
) -> None:
    """Run some methods of one seed and leave them in `work`."""
    _end_with(parent)
    warnings.simplefilter("ignore")  # as the command line does
    encoder = load_encoder(study.encoder_name)
    prepared = _prepared_last.get((work.folder, seed))
    if prepared is None and seed != study.seeds[0]:
        prepared = prepare(study, annotations, encoder, seed, first.scheme)
        _prepared_last.clear()
        _prepared_last[work.folder, seed] = prepared
    for _ in _seed_runs(study, methods, encoder, resolved, work, seed, prepared or first, silent):
        pass


def training_rows(study: Study, annotations: Annotations) -> Annotations:
    """Return the rows that groups are formed on: the training rows of the first seed."""
    shares, seed = study.split, study.seeds[0]
    parts = split(annotations, shares.by, test=shares.test, validation=shares.validation, seed=seed)
    return annotations.take(parts.train)


def prepare(
    study: Study,
    annotations: Annotations,
    encoder: Encoder,
    seed: int,
    first: Scheme | None = None,
    progress: Progress = silent,
    parts: Split | None = None,
) -> Prepared:
    """Split, group and encode for one seed. Scheme and encoder are fitted on training rows only.

    Clusters found anew are named after those of the `first` seed's that they are nearest to, and
    where their number is chosen, the first seed's training rows choose it for all. Groups are
    formed with `encoder`, as it comes; texts are encoded with what the study makes of it. Without
    `parts` the rows are split as the study says.
    """
    by, test, validation = study.split.by, study.split.test, study.split.validation
    parts = parts or split(annotations, by, test=test, validation=validation, seed=seed)
    train = annotations.take(parts.train)
    config = study.scheme(annotations)
    config = config if first is None else settled(config, first)
    scheme = fit_scheme(config, train, encoder, progress)
    if first is not None:
        scheme = scheme.named_like(first)
    own = finetuning.encoder_for(study.encoder, encoder, train, seed, progress)
    rows = examples(annotations, scheme.assign(annotations, encoder, progress), own, progress)
    return Prepared(annotations, minority_rows(annotations), parts, scheme, rows, own)


def examples(
    annotations: Annotations, S: csr_matrix, encoder: Encoder, progress: Progress = silent
) -> Examples:
    """Return the annotations as rows of vectors, membership, labels and weights."""
    texts, positions = annotations.distinct_texts()
    vectors = encoder.encode(texts, progress)
    return Examples(vectors, positions, S, annotations.labels, annotations.weights)


def _one_run(
    method: AnyMethod,
    study: Study,
    prepared: Prepared,
    seed: int,
    checkpoint: Path | None,
    trace: Path | None,
    progress: Progress,
) -> tuple[dict[str, Any], pd.DataFrame, BaseNetwork | None]:
    """One run of results.json, its rows of predictions.parquet, and the network."""
    started = time.perf_counter()
    on_epoch = None if trace is None else _tracer(trace, method, seed, prepared)
    p, network = fit_method(
        method, study, prepared, seed, checkpoint=checkpoint, on_epoch=on_epoch, progress=progress
    )
    seconds = round(time.perf_counter() - started, 3)
    data, test = prepared.annotations, prepared.parts.test
    inside = prepared.rows.S[test].toarray() > 0
    names, minority = prepared.scheme.names, prepared.minority[test]
    found = metrics.evaluate(p, data.labels[test], inside, minority, data.task, names)
    head = {"method": method.title, "seed": seed, "split": study.split.by}
    rows = outputs.prediction_rows(head, data, test, inside, names, minority, p)
    return {**head, **found, "seconds": seconds}, rows, network


def _tracer(path: Path, method: AnyMethod, seed: int, prepared: Prepared) -> training.OnEpoch:
    """Note the metrics of every epoch on validation and test rows: for plots, never for choices."""
    data, names = prepared.annotations, prepared.scheme.names
    wanted = ("nll", "auc", "accuracy", "slope_mean", "bias_mean", "one_minus_emd")
    trace = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    parts = []
    both: tuple[Literal["validation", "test"], ...] = ("validation", "test")
    for part in both:
        which = getattr(prepared.parts, part)
        inside = prepared.rows.S[which].toarray() > 0
        seen = prepared.part(part, method.name, seed)
        parts.append((part, seen, inside, prepared.minority[which]))

    def note(epoch: int, network: BaseNetwork) -> None:
        # A run that was stopped goes on from its checkpoint, so the last epochs come once more.
        trace[:] = [row for row in trace if row["epoch"] < epoch]
        for part, rows, inside, minority in parts:
            p = training.predict(network, rows)
            found = metrics.evaluate(p, rows.y, inside, minority, data.task, names)["metrics"]
            head = {"method": method.title, "seed": seed, "epoch": epoch, "part": part}
            trace.append(head | {key: found[key] for key in wanted if key in found})
        files.write_text(path, json.dumps(trace))

    return note


def as_model(
    network: BaseNetwork,
    prepared: Prepared,
    group_encoder: Encoder | None,
    facts: dict[str, Any],
    with_groups: bool = True,
) -> Model:
    """Put a trained network together with its groups, its encoders and its training population."""
    train = prepared.part("train")
    patterns, codes = (train if with_groups else train.without_groups()).patterns
    counts = np.bincount(codes).astype(float)
    scheme = prepared.scheme if with_groups else None
    data, own = prepared.annotations, prepared.encoder
    former = group_encoder if with_groups and group_encoder is not own else None
    people = prepared.people if network.n_annotators else ()
    population = (patterns, counts)
    return Model(
        network,
        data.task,
        data.classes,
        scheme,
        own,
        population,
        facts,
        group_encoder=former,
        people=people,
    )


def describe(study: Study, data_dir: str | Path | None = None) -> Iterator[tuple[str, str]]:
    """Read and split a study's data for its first seed, and say what a run would do, line by line.

    Groups that need no encoder are formed too. Raises InputError as `run` does.
    """
    data = study.load(data_dir)
    items = data.frame["item"].nunique()
    yield "data", f"{data.source}: {len(data):,} annotations, {items:,} items"
    for reason, count in data.dropped.items():
        yield "", f"{count:,} dropped: {reason}"
    if data.has("annotator"):
        people = data.frame["annotator"]
        unknown = int(people.isna().sum())
        yield "annotators", f"{people.nunique():,}; {unknown:,} annotations without one"
    rates = np.bincount(data.labels, minlength=len(data.classes)) / len(data)
    shares = ", ".join(f"{c} {r:.1%}" for c, r in zip(data.classes, rates, strict=True))
    yield "task", f"{data.task}; {shares}"
    minority = int(minority_rows(data).sum())
    yield "minority", f"{minority:,} annotations differ from their item's majority"
    by, test, validation = study.split.by, study.split.test, study.split.validation
    parts = split(data, by, test=test, validation=validation, seed=study.seeds[0])
    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in parts._asdict().items())
    yield "split", f"by {by}: {sizes} (seed {study.seeds[0]})"
    config = study.scheme(data)
    if reads_rationales(config):
        need_column(data, "rationale", "These groups need")
        yield "groups", f"{config.model_dump(exclude_none=True)}, formed when the study runs"
    else:
        scheme = fit_scheme(config, data.take(parts.train), None)
        yield "groups", f"{len(scheme.groups)} (sizes in the training rows)"
        for group in scheme.groups:
            by_whom = "" if group.annotators is None else f" by {group.annotators:,} people"
            warning = f"  ({group.warning})" if group.warning else ""
            yield "", f"{group.name}: {group.size:,}{by_whom}{warning}"
        for name, why in scheme.left_out:
            yield "", f"left out: {name} ({why})"
        S = scheme.assign(data, None)
        yield "", f"{int((S.getnnz(axis=1) == 0).sum()):,} annotations are in no group"
        if warning := leakage.said(leakage.told(S[parts.train], data.take(parts.train))):
            yield "", warning
    yield "encoder", str(study.encoder)
    titles = listed(method.title for method in study.methods)
    yield "methods", f"{titles}; seeds {listed(study.seeds)}"


def default_jobs() -> int:
    """Choose how many seeds run at once where nothing is said.

    Returns:
        As many as there are cores, and one on a GPU, which all would share.
    """
    import joblib
    import torch

    return 1 if torch.cuda.is_available() else int(joblib.cpu_count())
