"""The command line: what each command prints, and one clear line for everything that is wrong."""

import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from typer.testing import CliRunner

import mcstl
from mcstl import cli
from mcstl._support.errors import InputError
from mcstl.cli.app import COMMANDS, app
from mcstl.data.labels import Task
from mcstl.datasets import simulated
from mcstl.encoding import encoders
from tiny import Finished, town, write_study

QUICK = "training: {epochs: 2, hidden: 16}\nseeds: 1\nmethods: [mc-stl, none]\n"
ENDLESS = {"epochs": 10**6, "patience": 10**6, "hidden": 8}


class Result(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def command(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run `mcstl` with arguments in this process, as its entry point does."""
    monkeypatch.delenv("MCSTL_DATA", raising=False)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["mcstl", *map(str, arguments)])
        capsys.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as caught:
            cli.main()
        code = caught.value.code
        assert isinstance(code, int)
        return Result(code, *capsys.readouterr())

    return run


def refused(result: Result) -> str:
    """The one line that a user's error is."""
    assert result.code == 2
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("mcstl: ")
    return lines[0]


def is_progress(err: str) -> bool:
    return all(re.fullmatch(r"[\w &-]+: [\d,]+ of [\d,]+", line) for line in err.splitlines())


# One after the other


def test_from_a_table_of_ones_own_to_a_report(command: Command, tmp_path: Path) -> None:
    table = simulated.table("ordinal", 400).assign(values=lambda t: t["values"].map("|".join))
    table["rating"] = table.pop("label").map({"oppose": 1, "unsure": 2, "support": 3})
    table.to_csv(tmp_path / "town.csv", index=False)
    study, out = tmp_path / "town.yaml", tmp_path / "out"

    result = command("init", tmp_path / "town.csv")
    assert result.code == 0
    assert result.out.startswith(study.read_text())
    assert f"mcstl check {study}" in result.out
    study.write_text(study.read_text() + QUICK)

    result = command("check", study)
    assert (result.code, result.err) == (0, "")
    assert re.search(
        r"^data        town.csv: 400 annotations, \d+ items$", result.out, re.MULTILINE
    )
    assert result.out.endswith(f"\nTo run it: mcstl run {study} --out out\n")
    assert not out.exists()

    result = command("run", study, "--out", out)
    assert result.code == 0
    assert is_progress(result.err)
    assert "training mc-stl: 4 of 4" in result.err
    assert re.search(r"^│ mc-stl +│ +0\.\d{3} │", result.out, re.MULTILINE)
    assert f"Report: {out / 'report.html'}" in result.out
    assert f"Figures and predictions: {out}\nModel, that of mc-stl: {out / 'model'}" in result.out

    result = command("evaluate", out / "model", tmp_path / "town.csv")
    assert (result.code, result.err) == (0, "")
    assert re.search(r"^│ all +│ +400 │", result.out, re.MULTILINE)
    assert "Calibration over groups: slope " in result.out

    shutil.rmtree(out / "figures")
    (out / "report.html").unlink()
    result = command("report", out)
    assert result == Result(0, f"Report: {out / 'report.html'}\n", "")
    assert (out / "figures" / "calibration.svg").exists()

    assert "mcstl: " in refused(command("init", tmp_path / "town.csv"))


def test_a_run_names_what_it_left_out(
    command: Command, finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    one = finished("binary")
    shutil.copytree(one.folder, tmp_path / "out")
    shutil.copy(one.file, tmp_path)
    shutil.copy(one.file.with_name("town.csv"), tmp_path)
    result = command("run", tmp_path / one.file.name, "--out", tmp_path / "out", "--quiet")
    assert (result.code, result.err) == (0, "")
    assert (tmp_path / "out" / "report.html").exists()
    assert "binary: item split, 1 seed, " in result.out
    assert "Dropped: 16 annotations, label missing or outside `labels`.\n" in result.out
    assert re.search(r"^Left out: 1 group: gender=Non-binary \(\d+ training", result.out, re.M)
    assert "\nMay these probabilities be used? " in result.out
    for name in ("mc-stl", "none", "majority", "gbm", "logistic"):
        assert f"│ {name} " in result.out


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_on_a_terminal_lines_fit_and_numbers_are_whole(
    columns: int,
    command: Command,
    finished: Callable[[Task], Finished],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = finished("binary")
    shutil.copytree(one.folder, tmp_path / "out")
    shutil.copy(one.file, tmp_path)
    shutil.copy(one.file.with_name("town.csv"), tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments = ("run", one.file.name, "--out", "out", "--quiet")
    piped = command(*arguments).out
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = command(*arguments).out
    figures = re.findall(r"-?\d\.\d{3}\b", piped)
    assert sorted(figures) == sorted(re.findall(r"-?\d\.\d{3}\b", shown))
    assert all(len(line) <= columns for line in shown.splitlines() if " " in line.strip())
    shown = command("check", one.file.name).out
    assert all(len(line) <= max(columns, 80) for line in shown.split("\nTo run")[0].splitlines())


def test_quiet_says_nothing_but_results(command: Command, tmp_path: Path) -> None:
    study = write_study(tmp_path, "ordinal", methods=["logistic"], seeds=1)
    result = command("run", study, "--out", tmp_path / "out", "-q")
    assert (result.code, result.err) == (0, "")
    assert "│ logistic │" in result.out
    assert f"Figures and predictions: {tmp_path / 'out'}" in result.out


def test_names_with_brackets_and_bars_are_printed_as_they_are(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = simulated.table("binary", 400)[["text", "label"]].assign(area="[north] :ok: [/b] café")
    table.to_csv(tmp_path / "town.csv", index=False)
    study = write_study(
        tmp_path,
        "ordinal",
        data={"file": "town.csv"},
        labels={"no": ["oppose"], "yes": ["support"]},
        groups={"by": "attributes", "min_size": 1},
        training={"epochs": 1, "hidden": 8},
        methods=[{"name": "mc-stl", "label": "kl [/off]"}],
        seeds=1,
        name="x [bold]y[/z]",
    )
    monkeypatch.setenv("FORCE_COLOR", "1")  # live bars, as on a terminal
    result = command("run", study, "--out", tmp_path / "out")
    assert result.code == 0
    assert "x [bold]y[/z]: annotation split" in result.out
    assert "kl [/off]" in result.out
    assert "training kl [/off]" in result.err
    assert "\x1b[" in result.err
    monkeypatch.delenv("FORCE_COLOR")
    result = command("evaluate", tmp_path / "out" / "model", tmp_path / "town.csv", "-q")
    assert "area=[north] :ok: [/b]" in result.out
    assert "café" in result.out  # the name may go on in the next line
    # A terminal that lacks letters and boxes gets what it has.
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", shown)
    command("evaluate", tmp_path / "out" / "model", tmp_path / "town.csv", "-q")
    assert b"area=[north] :ok: [/b]" in shown.buffer.getvalue()
    assert b"caf?" in shown.buffer.getvalue()


def test_evaluate_prints_json_on_request(
    command: Command, finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    model = finished("binary").folder / "model"
    town().to_csv(tmp_path / "town.csv", index=False)
    result = command("evaluate", model, tmp_path / "town.csv", "--json")
    evaluation = json.loads(result.out)
    keys = {"metrics", "groups", "interval", "intervals", "groups_not_shown"}
    assert set(evaluation) == keys
    assert 0 < evaluation["metrics"]["auc"] < 1
    result = command("evaluate", model, tmp_path / "town.csv")
    assert f"│ {evaluation['metrics']['auc']:.3f} [" in result.out
    assert "Dropped: 16 annotations, " in result.out
    table = simulated.table("preference", 400)
    table.drop(columns="values").to_csv(tmp_path / "pairs.csv", index=False)
    result = command("evaluate", finished("preference").folder / "model", tmp_path / "pairs.csv")
    assert "Accuracy" in result.out


def test_check_shows_the_split_that_was_asked_for(command: Command, tmp_path: Path) -> None:
    study = write_study(tmp_path / "with blank", "ordinal")
    result = command("check", study, "--split", "item", "--data-dir", tmp_path)
    assert "split       by item: " in result.out
    options = f"--split item --data-dir {tmp_path}"
    assert f"To run it: mcstl run '{study}' {options} --out out\n" in result.out
    assert "Did you mean 'item'?" in refused(command("check", study, "--split", "itme"))


def test_check_leaves_groups_by_rationale_to_the_run(command: Command, tmp_path: Path) -> None:
    result = command("check", write_study(tmp_path, "preference"))
    assert result.code == 0
    assert "by: rationale" in result.out
    assert "formed when the study runs" in result.out


def test_the_cache_is_shown_and_cleared(
    command: Command, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCSTL_CACHE", str(tmp_path / "new"))
    folder = tmp_path / "new" / "embeddings"
    assert command("cache").out == f"The cache is empty; it will be in {folder}\n"
    encoders.load_encoder(cache_dir=cache).encode(["A bench"])
    shutil.copytree(cache, tmp_path / "new", ignore=shutil.ignore_patterns("encoders", "llm"))
    reply, made = (tmp_path / "new" / name for name in ("llm/model.jsonl", "encoders/key/weights"))
    for path in (reply, made):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(2**20))
    result = command("cache")
    assert re.match(r"all-MiniLM-L6-v2[\w-]*: [\d,]+ texts, [\d.]+ MiB, ", result.out)
    assert str(folder) in result.out
    assert f"encoders trained further or unpacked: 1.0 MiB, {made.parents[1]}" in result.out
    assert f"replies of language models: 1.0 MiB, {reply.parent}" in result.out
    assert re.fullmatch(r"Deleted [\d.]+ MiB\.\n", command("cache", "clear").out)
    assert not list(folder.iterdir())
    assert not made.exists()
    result = command("cache")
    assert result.out.startswith("The cache is empty")
    assert str(reply.parent) in result.out


# Help


def test_version(command: Command) -> None:
    assert command("--version") == Result(0, f"mcstl {mcstl.__version__}\n", "")


@pytest.mark.parametrize(
    "words", ["demo", "init", "check", "run", "report", "evaluate", "cache", "cache clear"]
)
def test_every_command_has_help_with_an_example(words: str, command: Command) -> None:
    result = command(*words.split(), "--help")
    assert result.code == 0
    assert f"Example:  mcstl {words}" in result.out


def test_help_lists_the_commands_in_the_order_of_work_and_where_to_start(command: Command) -> None:
    result = command("--help")
    assert tuple(re.findall(r"^│ (\w+) ", result.out, re.MULTILINE)) == COMMANDS
    assert "Start with mcstl demo, then mcstl init reviews.csv" in result.out
    assert command("rnu").code == 2
    assert "No such command 'rnu'" in command("rnu").err
    assert command("run").code == 2


@pytest.mark.parametrize(
    ("typed", "offered"), [("mcstl ch", "check"), ("mcstl label --by ", "llm embedding trained")]
)
def test_a_shell_can_complete_commands_and_choices(typed: str, offered: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    code = "import sys; from mcstl.cli import main; sys.argv = ['mcstl']; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=os.environ | words | {"_MCSTL_COMPLETE": "complete_bash"},
    )
    assert done.stdout.split() == offered.split()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mcstl.cli import main; sys.argv = ['mcstl', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(done.stderr.split())
    assert "mcstl.cli" in loaded
    assert not loaded & {"torch", "sklearn", "pandas", "numpy", "pydantic", "transformers"}


# Bad input: one line, exit code 2, nothing that looks like results


class Bad(NamedTuple):
    """A study that cannot be run: what differs from a good one, and what is said of it."""

    expected: str
    study: str = ""
    table: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table
    file: Callable[[Path], None] = lambda path: None  # done to the written file
    name: str = "town.csv"


def with_cell(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        cells = table[column].tolist()
        cells[7] = value
        return table.assign(**{column: pd.Series(cells, dtype=object)})

    return change


def labelled(of_row: Callable[[int], object]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.assign(label=pd.Series(map(of_row, range(len(table)))))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def latin(path: Path) -> None:
    path.write_bytes(path.read_text().replace("A ", "Caf\xe9 ").encode("latin1"))


BAD = {
    "misspelt column": Bad(
        "column 'label' is not in town.csv; found: text, lable, area. Did you mean 'lable'?",
        table=lambda t: t.rename(columns={"label": "lable"}),
        study="task: binary",
    ),
    "misspelt mapping": Bad(
        "column 'txet' is not in town.csv; found: text, label, area. Did you mean 'text'?",
        study="data: {file: town.csv, columns: {text: txet}}",
    ),
    "nothing left": Bad(
        "no label in town.csv is among the raw values in `labels`; found: 0, 1; `labels` has: x, y",
        study="labels: {a: [x], b: [y]}",
    ),
    "empty class": Bad(
        "no training annotation has the label c (split by annotation, seed 0); merge classes",
        study="labels: {a: [0], b: [1], c: [2]}",
    ),
    "class in the test rows only": Bad(
        "no training annotation has the label 2",
        table=with_cell("label", 2),
        study="split: {test: 0.8}",
    ),
    "empty texts": Bad("no row of town.csv has text (all are", table=lambda t: t.assign(text=" ")),
    "missing texts": Bad("no row of town.csv has text (all", table=lambda t: t.assign(text=None)),
    "duplicate id": Bad(
        "1 rows of town.csv repeat an annotation_id, the first one '3' in row 11 (row 1 has",
        table=lambda t: t.assign(annotation_id=[*range(9), 3, *range(10, len(t))]),
    ),
    "unknown key": Bad(
        "bad.yaml: the study: unknown key 'seed'; known: name, data,", study="seed: 3"
    ),
    "unknown method": Bad("Did you mean 'mc-stl'?", study="methods: [mcstl]"),
    "no group left": Bad(
        "no group is left: area=East (", study="groups: {by: attributes, min_size: 1000}"
    ),
    "no attributes": Bad(
        "groups by attributes need columns", table=lambda t: t.drop(columns="area")
    ),
    "truncated gz": Bad("cannot be read as csv: ", name="town.csv.gz", file=cut),
    "truncated parquet": Bad("cannot be read as parquet: ", name="town.parquet", file=cut),
    "wrong encoding": Bad("is not UTF-8 (byte 0xe9 in line ", file=latin),
    "not a table": Bad("is not a table that can be read", name="town.docx"),
    "no workbook": Bad("cannot be read as xlsx: ", name="town.xlsx"),
    "no data file": Bad("there is no file ", file=Path.unlink),
    "nominal": Bad(
        "words without a known order (nominal?): blue, green, red; The task forms are binary",
        table=labelled(lambda i: ("red", "green", "blue")[i % 3]),
    ),
    "multi-label": Bad(
        "labels in town.csv hold several values each (multi-label), as 'a|b'; The task forms",
        table=labelled(lambda i: ("a", "b", "a|b")[i % 3]),
    ),
    "continuous": Bad(
        "distinct numbers from 0 to 0.995 and look continuous; The task forms are binary",
        table=labelled(lambda i: i / 200),
    ),
    "data folder": Bad(
        "popquorn lacks raw_data.csv", study="data: {dataset: popquorn}\ngroups: {by: attributes}"
    ),
    "split by nobody": Bad("column 'annotator' is not in", study="split: {by: annotator}"),
    "no such encoder": Bad("encoder './none' is no folder", study="encoder: ./none"),
}


def write_bad(folder: Path, bad: Bad) -> Path:
    """Write the table and the study of a case of bad input."""
    table = pd.DataFrame({"text": [f"A bench, {i % 50}" for i in range(200)]})
    table["label"] = [i % 2 for i in range(200)]
    table["area"] = [("East", "West")[i % 3 % 2] for i in range(200)]
    table, path = bad.table(table), folder / bad.name
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    else:
        table.to_csv(path, index=False)
    bad.file(path)
    (folder / "popquorn").mkdir()
    keys = {line.split(":")[0] for line in bad.study.splitlines()}
    defaults = {
        "data": f"{{file: {bad.name}}}",
        "groups": "{by: attributes, min_size: 1}",
        "seeds": "1",
        "training": "{epochs: 1}",
    }
    lines = [f"{key}: {value}" for key, value in defaults.items() if key not in keys]
    (folder / "bad.yaml").write_text("\n".join([bad.study, *lines]) + "\n", encoding="utf-8")
    return folder / "bad.yaml"


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_leaves_nothing(
    case: str, command: Command, tmp_path: Path
) -> None:
    bad = BAD[case]
    study, out = write_bad(tmp_path, bad), tmp_path / "out"
    line = refused(command("run", study, "--out", out, "--data-dir", tmp_path, "--quiet"))
    assert bad.expected in line
    assert not out.exists()
    if case != "no such encoder":  # it might have to be fetched, which is for a run to do
        result = command("check", study, "--data-dir", tmp_path)
        assert (result.code, result.err) == (2, f"{line}\n")


def test_the_study_that_bad_ones_differ_from_is_good(command: Command, tmp_path: Path) -> None:
    assert command("check", write_bad(tmp_path, Bad(""))).code == 0


def test_bad_folders_get_one_line(
    command: Command, finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    one = finished("ordinal")
    town().to_csv(tmp_path / "town.csv", index=False)
    study = write_study(tmp_path, "ordinal", seeds=3)
    model, file = one.folder / "model", tmp_path / "file"
    file.write_text("not a folder")
    cases: list[tuple[str, tuple[object, ...]]] = [
        ("already holds another study (different: seeds)", ("run", study, "--out", one.folder)),
        ("is a file; choose another --out", ("run", study, "--out", file)),
        ("cannot be written: Not a directory", ("run", study, "--out", file / "out")),
        ("there is no study file", ("run", tmp_path / "no.yaml", "--out", tmp_path / "out")),
        ("there is no study file", ("check", tmp_path / "no.yaml")),
        ("holds no model", ("evaluate", tmp_path / "none", "simulated")),
        ("there is no file", ("evaluate", model, tmp_path / "no.csv")),
        ("Did you mean 'popquorn'?", ("evaluate", model, "popqorn")),
        ("results.json", ("report", tmp_path)),
        ("there is no file", ("init", tmp_path / "no.csv")),
        ("file: File exists", ("init", tmp_path / "town.csv", "--out", file / "x.yaml")),
    ]
    for expected, arguments in cases:
        assert expected in refused(command(*arguments)), arguments


# The real program


def started(*arguments: object) -> subprocess.Popen[str]:
    """Start the installed `mcstl`; it hears Ctrl-C even where the tests run in the background."""
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("mcstl")), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.fixture
def endless(cache: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A `mcstl run endless.yaml --out out` that does not end by itself."""
    study = write_study(tmp_path, "ordinal", training=ENDLESS)
    study.rename(tmp_path / "endless.yaml")
    child = started("run", tmp_path / "endless.yaml", "--out", tmp_path / "out", "--jobs", 1)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def test_a_run_is_alone_in_its_folder_and_stops_on_ctrl_c(
    endless: subprocess.Popen[str], command: Command, tmp_path: Path
) -> None:
    assert endless.stderr is not None
    lines = []
    for line in endless.stderr:
        lines.append(line)
        if line.startswith("training mc-stl: "):
            break
    again = command("run", tmp_path / "endless.yaml", "--out", tmp_path / "out")
    assert "another run is writing into" in refused(again)
    endless.send_signal(signal.SIGINT)
    out, rest = endless.communicate(timeout=120)
    assert endless.returncode == 130
    assert out == ""
    *progress, last = ("".join(lines) + rest).splitlines()
    assert last == "mcstl: stopped; the same command goes on from here"
    assert is_progress("\n".join(progress))
    assert not (tmp_path / "out" / "results.json").exists()
    other = write_study(tmp_path, "ordinal", training=ENDLESS, seeds=1)
    message = refused(command("run", other, "--out", tmp_path / "out"))
    assert "already holds another study (different: seeds)" in message


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_seeds_at_once_end_with_their_run(
    cache: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    study = write_study(tmp_path, "ordinal", training=ENDLESS)
    child = started("run", study, "--out", tmp_path / "out", "--jobs", 2)
    assert child.stderr is not None
    assert any(line.startswith("methods x seeds: 0 of") for line in child.stderr)
    time.sleep(5)  # for its processes to start
    child.send_signal(ending)
    child.communicate(timeout=60)  # which waits for the processes of the seeds too
    assert child.returncode == (130 if ending == signal.SIGINT else -ending)


def test_the_real_program_says_the_same(tmp_path: Path) -> None:
    child = started("check", write_bad(tmp_path, BAD["misspelt column"]))
    out, err = child.communicate(timeout=120)
    result = Result(child.returncode, out, err)
    assert BAD["misspelt column"].expected in refused(result)


def test_a_cache_that_cannot_be_used_is_told_once(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    monkeypatch.setenv("MCSTL_CACHE", str(tmp_path / "file" / "cache"))
    study = write_study(tmp_path, "ordinal", methods=["none"], seeds=1)
    result = command("run", study, "--out", tmp_path / "out", "-q")
    assert result.code == 0
    assert re.search("mcstl: vectors are not cached: .* set MCSTL_CACHE", result.err)
    assert result.err.count("not cached") == 1


def test_a_new_table_is_judged_and_predicted_from_the_outputs_of_a_study(
    finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    out, table, judged = finished("binary").folder, tmp_path / "new.csv", tmp_path / "judged"
    town().tail(60).rename(columns={"comment": "remark"}).to_csv(table, index=False)
    words = [str(out), str(table), "--columns", "text: remark", "--quiet"]
    done = CliRunner().invoke(app, ["evaluate", *words, "--out", str(judged)])
    assert done.exit_code == 0, done.output
    assert str(judged / "report.html") in done.output.replace("\n", "")
    assert "May these probabilities be used?" in done.output
    assert (judged / "report.html").exists()
    done = CliRunner().invoke(app, ["predict", *words, "--out", str(tmp_path / "p.csv")])
    assert done.exit_code == 0, done.output
    with pytest.raises(InputError, match="--columns is written as in a study file, as --columns"):
        CliRunner().invoke(
            app, ["evaluate", *words[:2], "--columns", "remark"], catch_exceptions=False
        )
