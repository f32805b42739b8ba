"""The protocol of a study: load -> split -> group -> encode -> fit -> predict -> evaluate.

`run` loads the data; `protocol` prepares each seed (split, group, encode: `prepare`) and runs each
method on it (fit, predict, evaluate: `run_method`); `run` writes what comes out.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mcstl import evaluation
from mcstl._support import files
from mcstl._support.arrays import FloatArray
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.evaluation import leak_checks, metrics
from mcstl.evaluation.predictions import Predictions
from mcstl.evaluation.verdict import verdict
from mcstl.groups.small_groups import without_few
from mcstl.methods.base import BaseMethodConfig, MethodConfig, Part, Prepared
from mcstl.methods.fitting import fit_method
from mcstl.models.model import Model
from mcstl.models.training import Session
from mcstl.studies import model_card, use
from mcstl.studies.build_model import build_model, method_of_model
from mcstl.studies.parallel import in_processes
from mcstl.studies.preparation import prepare, training_rows, with_usable_seeds
from mcstl.studies.questions import run_questions
from mcstl.studies.resolved import describe_data, portable, resolve, with_choices
from mcstl.studies.results import SCHEMA, Results, prediction_rows, read, write
from mcstl.studies.reuse import take_over
from mcstl.studies.study_file import Study, rationale_config, reads_rationales
from mcstl.studies.trace import tracer
from mcstl.studies.work import FinishedRun, Work, check_folder, working


@dataclass(frozen=True)
class Setup:
    """A study with its data, as each of its runs needs it.

    Attributes:
        study: The study.
        annotations: Its annotations.
        encoder: Its encoder, as it comes.
        resolved: The study with nothing left open, as study.yaml has it.
        work: The runs that are finished.
        seeds_left_out: Why seeds that were asked for are not run.
    """

    study: Study
    annotations: Annotations
    encoder: Encoder
    resolved: dict[str, Any]
    work: Work
    seeds_left_out: Mapping[str, str] = field(default_factory=dict)

    def unfinished(self, seed: int) -> list[BaseMethodConfig]:
        """List the methods that are still to be run with a seed.

        Args:
            seed: The seed.

        Returns:
            The methods in their order.
        """
        methods = self.study.methods
        return [method for method in methods if self.work.finished(method.title, seed) is None]


def run(
    study: Study,
    *,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    jobs: int = 1,
    progress: Progress = silent,
    reuse: str | Path | None = None,
) -> Results:
    """Run a study and, with `out`, write its results there.

    A stopped run goes on where it was when it is called again with the same study and folder;
    results.json is written last, so a folder that has it is whole. The report is written apart
    (`mcstl.reporting.render`). Of a multilabel study each question is run by itself
    (`mcstl.studies.questions`). Where the number of groups is chosen, ``groups/`` has the page on
    which people can look over the choice.

    Args:
        study: The study.
        out: The folder of its results, None to write nothing.
        data_dir: The folder of the registered data sets, by default that of MCSTL_DATA.
        jobs: How many seeds run at once, each in a process of its own, where there is a folder;
            the results are the same.
        progress: Called with what is being done, how many steps are finished and how many there
            are.
        reuse: The folder of a finished study that differs in its methods and seeds alone: runs
            that would be the same are taken from there.

    Returns:
        The results: every run, the summary, the predictions and the model.

    Raises:
        InputError: If anything in study or data cannot be used, if `out` holds another study, or
            if `reuse` differs in more.
    """
    method_of_model(study)  # refuses one that leaves no model
    annotations = study.load(data_dir)
    encoder = load_encoder(study.encoder_name)
    folder, old = (None if path is None else Path(path) for path in (out, reuse))

    def run_one(one: Study, data: Annotations, at: str = "") -> Results:
        into, earlier = (None if path is None else path / at for path in (folder, old))
        return _run_on(one, data, encoder, into, earlier, jobs, progress)

    if annotations.task != "multilabel":
        return run_one(study, annotations)
    return run_questions(study, annotations, encoder, folder, run_one, progress)


def _run_on(
    study: Study,
    annotations: Annotations,
    encoder: Encoder,
    folder: Path | None,
    reuse: Path | None,
    jobs: int,
    progress: Progress,
) -> Results:
    """Run a study on its annotations, which have one label each."""
    study, left_out = with_usable_seeds(study, annotations)
    resolved = resolve(study, annotations, encoder, folder or Path())

    def with_work(work: Work) -> Setup:
        if reuse is not None:
            take_over(reuse, study, resolve(study, annotations, encoder, reuse), work)
        return Setup(study, annotations, encoder, resolved, work, left_out)

    if folder is None:
        return protocol(with_work(Work(None)), 1, progress)
    check_folder(folder, resolved)
    if not (folder / "results.json").exists():
        with working(folder, resolved) as work:
            setup = with_work(work)
            results = protocol(setup, jobs, progress)
            files.write_yaml(folder / "study.yaml", results.results["study"])
            _write_choice_of_groups(setup, folder / "groups", progress)
            work.publish_model(folder, model_card.of_study(results.results))
            write(folder, results, annotations.items(), work.epochs())
    return read(folder)


def protocol(setup: Setup, jobs: int, progress: Progress) -> Results:
    """Run every method with every seed, but those that are finished.

    Args:
        setup: The study and its data.
        jobs: How many seeds run at once.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        The results.

    Raises:
        InputError: If the data cannot be split, grouped or learnt from.
    """
    study, work = setup.study, setup.work
    plan = [(seed, method) for seed in study.seeds for method in study.methods]
    # Split, group and encode.
    first = prepare(study, setup.annotations, setup.encoder, study.seeds[0], progress=progress)
    if jobs > 1 and len(study.seeds) > 1:
        _run_seeds_at_once(setup, first, jobs, progress)
    for seed in study.seeds:
        if methods := setup.unfinished(seed):
            prepared = _prepared(setup, first, seed, progress)
        for method in methods:
            progress("methods x seeds", plan.index((seed, method)), len(plan))
            run_method(setup, prepared, method, seed, progress)  # fit, predict, evaluate
    progress("methods x seeds", len(plan), len(plan))
    runs = [run for seed, method in plan if (run := work.finished(method.title, seed))]
    return _summarised(setup, first, runs, progress)


def run_method(
    setup: Setup, prepared: Prepared, method: BaseMethodConfig, seed: int, progress: Progress
) -> None:
    """Fit one method, predict the test rows, evaluate the predictions, and keep them.

    The model that the study leaves is kept, too, if it is this run's.

    Args:
        setup: The study and its data.
        prepared: The seed's data.
        method: The method.
        seed: The seed.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Raises:
        InputError: If the method cannot be fitted.
    """
    started, work, is_first = time.perf_counter(), setup.work, seed == setup.study.seeds[0]
    trace = work.file(method.title, seed, "trace") if is_first else None
    on_epoch = None if trace is None else tracer(trace, method, seed, prepared)
    checkpoint = work.file(method.title, seed, "checkpoint")
    session = Session(checkpoint=checkpoint, on_epoch=on_epoch, progress=progress)
    settings = setup.study.settings_of(method, seed, session)

    p, network, recipe = fit_method(prepared, settings)
    seconds = round(time.perf_counter() - started, 3)
    data, test = prepared.annotations, prepared.parts.test
    inside, minority = prepared.groups("test"), prepared.minority[test]
    names = prepared.scheme.names
    measured = metrics.evaluate(p, data.labels[test], inside, minority, data.task, names)

    head = {"method": method.title, "seed": seed, "split": setup.study.split.title}
    predictions = prediction_rows(head, data, test, inside, names, minority, p)
    row = {
        **head,
        **measured,
        "groups_not_shown": [group.name for group in prepared.scheme.groups if group.is_of_few],
        "recipe": dict(recipe),
        "seconds": seconds,
    }
    if network is not None and is_first and method == method_of_model(setup.study):
        facts = {"study": portable(setup.resolved), "method": method.title, "seed": seed}
        from_texts = reads_rationales(setup.study.groups_for(data))
        group_encoder = setup.encoder if from_texts else None
        model = build_model(network, prepared, settings, group_encoder, facts)
        work.keep_model(model)
        row["use"] = _use_of(model, prepared, method, p)
    if prepared.text_parts > 1:
        row["parts"] = prepared.encoder.reading
    if isinstance(setup.study.encoder, tuple):
        row["encoder"] = prepared.encoder.name
    work.keep(method.title, seed, FinishedRun(row, predictions))


def _use_of(
    model: Model, prepared: Prepared, method: BaseMethodConfig, p: FloatArray
) -> dict[str, Any]:
    """Check the views of the model that a study leaves; set thresholds on its validation rows."""

    def rows(part: Part, p: FloatArray) -> Predictions:
        data = prepared.annotations.take(getattr(prepared.parts, part))
        return Predictions.of(data, p, prepared.groups(part)[:, : len(model.group_names)])

    validation = prepared.predicted[method.plain.model_dump_json()]["validation"]
    test = rows("test", p)
    data = prepared.annotations.take(prepared.parts.test)
    return use.of_model(model, data, test, rows("validation", validation), test)


def _summarised(
    setup: Setup, first: Prepared, finished: Sequence[FinishedRun], progress: Progress
) -> Results:
    """Make results.json of the runs, and the card of the model."""
    study, runs = setup.study, [dict(run.metrics) for run in finished]
    uses = [run.pop("use") for run in runs if "use" in run]
    predictions = pd.concat([run.predictions for run in finished], ignore_index=True)
    data = describe_data(
        setup.annotations,
        setup.resolved,
        first.encoder,
        first.parts,
        study.split.title,
        first.scheme.left_out,
    )
    data["seeds_left_out"] = dict(setup.seeds_left_out)
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "study": with_choices(setup.resolved, runs),
        "data": data,
        "groups": [asdict(group) for group in first.scheme.groups],
        "runs": runs,
        "summary": evaluation.summarise(runs, evaluation.split_overlap(data)),
    }
    results |= evaluation.audit_study(results, predictions, progress=progress)
    checks = leak_checks.check_leaks(seed_data(study, first))
    checks += leak_checks.check_shuffled_groups(results)
    results["controls"] = [check.to_json() for check in checks]
    results["use"] = uses[0] if uses else None
    results = without_few(results)
    judged = uses[0]["method"] if uses else runs[0]["method"]
    results["verdict"] = verdict(results, judged)._asdict()
    model = setup.work.model
    if model is not None:
        model.model_card = model_card.of_study(results)
    return Results(results, predictions, model)


def seed_data(study: Study, prepared: Prepared) -> leak_checks.SeedData:
    """Gather what the checks for leaks look at.

    Args:
        study: The study.
        prepared: The data of its first seed.

    Returns:
        The data, with the probabilities of the method groups-only.

    Raises:
        InputError: If that method cannot be fitted.
    """
    settings = study.settings_of(MethodConfig(name="groups-only"), study.seeds[0])
    p, *_ = fit_method(prepared, settings)
    membership = prepared.examples.S
    return leak_checks.SeedData(prepared.annotations, prepared.parts, membership, p)


def _run_seeds_at_once(setup: Setup, first: Prepared, jobs: int, progress: Progress) -> None:
    """Run several seeds at once in processes of their own, which leave their runs in the folder.

    Seeds that are too few for all processes are shared out by method, so that none stands idle.
    """
    study, work = setup.study, setup.work
    setup = replace(setup, work=Work(work.folder))  # without the predictions of finished runs
    jobs = min(jobs, len(study.seeds))
    whole = len(study.seeds) - len(study.seeds) % jobs
    tasks = [
        (setup, first, seed, methods)
        for seed in study.seeds[:whole]
        if (methods := setup.unfinished(seed))
    ]
    tasks += [
        (setup, first, seed, [method])
        for seed in study.seeds[whole:]
        for method in setup.unfinished(seed)
    ]
    n_runs = len(study.seeds) * len(study.methods)
    in_processes(
        _run_methods,
        tasks,
        jobs,
        lambda: progress("methods x seeds", min(work.count(), n_runs - 1), n_runs),
    )


#: What this process prepared last, by folder and seed, for the next methods of the same seed.
_prepared_last: dict[tuple[Path | None, int], Prepared] = {}


def _run_methods(
    setup: Setup, first: Prepared, seed: int, methods: Sequence[BaseMethodConfig]
) -> None:
    """Run some methods of one seed."""
    key = setup.work.folder, seed
    if key not in _prepared_last:
        _prepared_last.clear()
        _prepared_last[key] = _prepared(setup, first, seed, silent)
    for method in methods:
        run_method(setup, _prepared_last[key], method, seed, silent)


def _prepared(setup: Setup, first: Prepared, seed: int, progress: Progress) -> Prepared:
    """The data of a seed; the groups of further seeds are named like those of the first."""
    if seed == setup.study.seeds[0]:
        return first
    return prepare(setup.study, setup.annotations, setup.encoder, seed, first.scheme, progress)


def _write_choice_of_groups(setup: Setup, folder: Path, progress: Progress) -> None:
    """Write the page on which people look over the number of groups, where it was chosen."""
    config = rationale_config(setup.study.groups_for(setup.annotations))
    if config is not None and config.k == "auto":
        from mcstl.groups.review import choose_k  # loads the client of language models

        train = training_rows(setup.study, setup.annotations)
        options = choose_k.compare_options(config, train, setup.encoder, progress=progress)
        choose_k.write_page(folder, options, setup.study.name)
