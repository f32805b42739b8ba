"""What happens to a run that is killed, has no room or shares its cache, and to hostile inputs."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.data.tables import read_table
from mcstl.datasets import simulated
from mcstl.encoding.encoders import load_encoder
from mcstl.groups import TaxonomyConfig, fit_scheme
from mcstl.models.model import Model
from mcstl.serving.prediction import predict_file
from tiny import Finished, write_study

pytestmark = pytest.mark.system

MAIN = "from mcstl.cli import main; main()"
KILLS = 50
GIGABYTE = 2**30


def command(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]", code: int = 0) -> str:
    """Wait for a command; return its errors, among which there is no traceback."""
    _, said = process.communicate(timeout=1200)
    assert "Traceback" not in said
    assert process.returncode == code, said
    return said


def same_results(one: Path, other: Path) -> None:
    """Two output folders say the same, but for how long it took."""

    def told(folder: Path) -> Any:
        found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        for run in found["runs"]:
            del run["seconds"]
        return found

    assert told(one) == told(other)
    for name in ("predictions", "items", "trace"):
        mine, theirs = (pd.read_parquet(folder / f"{name}.parquet") for folder in (one, other))
        assert_frame_equal(mine, theirs)
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (one, other)]
    assert weights[0] == weights[1]
    assert {p.name for p in one.iterdir()} == {p.name for p in other.iterdir()}


def study(folder: Path) -> Path:
    return write_study(
        folder, "ordinal", methods=["mc-stl", "none"], seeds=1, training={"epochs": 20}
    )


def test_killed_fifty_times_a_run_gives_what_an_undisturbed_one_gives(tmp_path: Path) -> None:
    file = study(tmp_path)
    undisturbed = tmp_path / "undisturbed"
    start = time.monotonic()
    finish(command("run", file, "--out", undisturbed, "-q", MCSTL_CACHE=str(tmp_path / "first")))
    duration = time.monotonic() - start
    chooser = random.Random(0)
    out, cache = tmp_path / "out", tmp_path / "cache"
    kills, is_first = 0, True
    while kills < KILLS:
        start = time.monotonic()
        process = command("run", file, "--out", out, "-q", MCSTL_CACHE=str(cache))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chooser.uniform(0.1, 1.0) * duration)
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()
            process.communicate()
            kills, is_first = kills + 1, False
            continue
        finish(process)
        if is_first:  # the machine has become faster: later kills come sooner, too
            duration = min(duration, time.monotonic() - start)
        is_first = True
        same_results(undisturbed, out)
        shutil.rmtree(out)
        shutil.rmtree(cache)
    finish(command("run", file, "--out", out, "-q", MCSTL_CACHE=str(cache)))
    same_results(undisturbed, out)


def test_killed_predictions_go_on(finished: Callable[[Task], Finished], tmp_path: Path) -> None:
    model = finished("ordinal").folder / "model"
    texts = [f"Sentence {i} about the {i % 13}th garden." for i in range(12_000)]
    pd.DataFrame({"text": texts}).to_csv(tmp_path / "in.csv", index=False)
    arguments = ("predict", model, tmp_path / "in.csv", "-q", "--out")
    cache = str(tmp_path / "cache")
    out = tmp_path / "out.csv"
    chooser = random.Random(1)
    kills = 0
    while kills < 10:
        process = command(*arguments, out, MCSTL_CACHE=cache)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chooser.uniform(2, 25))
        if out.exists():  # whole, so that the process is at its end
            process.wait(120)
        if process.poll() is not None:
            break
        os.killpg(process.pid, 9)
        process.communicate()
        kills += 1
    finish(process if process.returncode == 0 else command(*arguments, out, MCSTL_CACHE=cache))
    assert kills
    finish(command(*arguments, tmp_path / "whole.csv", MCSTL_CACHE=cache))
    found, expected = read_table(out), read_table(tmp_path / "whole.csv")
    assert list(found["text"]) == texts
    numbers = found.columns[1:]
    np.testing.assert_allclose(
        found[numbers].astype(float), expected[numbers].astype(float), atol=1e-6
    )


@pytest.mark.parametrize("limit", [1_000, 20_000, 100_000, 400_000])
def test_without_room_there_is_one_line_and_the_rerun_is_whole(
    finished: Callable[[Task], Finished], tmp_path: Path, limit: int
) -> None:
    """Files may not grow beyond `limit` bytes, as on a full disk."""
    one = finished("binary")
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
    pd.DataFrame({"comment": [f"Sentence {i}." for i in range(3000)]}).to_csv(
        tmp_path / "in.csv", index=False
    )
    for arguments in (
        ("run", one.file, "--out", tmp_path / "out", "-q"),
        ("predict", one.folder / "model", tmp_path / "in.csv", "--out", tmp_path / "p.csv", "-q"),
    ):
        process = subprocess.run(
            [sys.executable, "-c", limited + MAIN, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert "Traceback" not in process.stderr
        written = tmp_path / "p.csv"
        if process.returncode == 0:
            continue
        assert process.returncode == 2, process.stderr
        assert process.stderr.splitlines()[-1].startswith("mcstl: ")
        assert not written.exists()
        assert not (tmp_path / "out" / "report.html").exists() or arguments[0] == "predict"
        finish(command(*arguments))
    assert len(read_table(tmp_path / "p.csv")) == 3000
    assert (tmp_path / "out" / "results.json").exists()


def test_two_runs_into_one_cache(tmp_path: Path) -> None:
    file, cache = study(tmp_path), str(tmp_path / "cache")
    both = [
        command("run", file, "--out", tmp_path / name, "-q", MCSTL_CACHE=cache) for name in "ab"
    ]
    for process in both:
        finish(process)
    same_results(tmp_path / "a", tmp_path / "b")


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    # Root may write anywhere but here.
    home = {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none", "MCSTL_CACHE": ""}
    said = finish(command("run", study(tmp_path), "--out", tmp_path / "out", "-q", **home))
    assert "vectors are not cached" in said
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_text_of_a_gigabyte_is_refused_in_bounded_memory(
    finished: Callable[[Task], Finished], tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        text = "x" * GIGABYTE
        pd.DataFrame({"text": [text], "comment": [text], "label": ["1"]}).to_parquet(path)
        del text
    else:
        start, end = ("text,label\n", ",1\n") if name == "a.csv" else ('{"text": "', '"}\n')
        with path.open("w") as file:
            file.write(start)
            for _ in range(1024):
                file.write("x" * 2**20)
            file.write(end)
    model = finished("binary").folder / "model"
    asked = [["init", str(path)], ["predict", str(model), str(path), "--out", "p.csv"]]
    bounded = f"""
import resource, subprocess, sys
for asked in {asked!r}:
    command = [sys.executable, "-c", {MAIN!r}, *asked]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.returncode, done.stderr.count("Traceback"), done.stderr.splitlines()[-1])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
    done = subprocess.run(
        [sys.executable, "-c", bounded], capture_output=True, text=True, timeout=1200, cwd=tmp_path
    )
    *lines, kilobytes = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("2 0 mcstl: ")
        assert "16,777,216" in line
    assert int(kilobytes) < 1.2 * GIGABYTE / 1024  # of which torch takes half


def test_a_taxonomy_of_a_million_groups() -> None:
    n = 1_000_000
    frame = pd.DataFrame({"text": "a", "label": np.arange(n) % 2})
    frame["values"] = [f"value {i}" for i in range(n)]
    data = Annotations.from_frame(frame)
    with pytest.raises(InputError, match=r"1,000,000 groups have at least 1 training annotations"):
        fit_scheme(TaxonomyConfig(min_size=1), data, load_encoder())
    frame.loc[: n // 2, "values"] = "common"
    scheme = fit_scheme(TaxonomyConfig(), Annotations.from_frame(frame), load_encoder())
    assert scheme.names == ("common",)
    assert len(scheme.left_out) == n // 2 - 1


def test_unicode_of_every_kind(finished: Callable[[Task], Finished], tmp_path: Path) -> None:
    """One text per block of 256 code points: every letter, mark and control but NUL."""
    model = Model.load(finished("binary").folder / "model")
    starts = range(0, 0x110000, 0x100)
    texts = ["".join(chr(c) for c in range(s, s + 256) if not 0xD800 <= c < 0xE000) for s in starts]
    texts = ["x" + text.replace("\0", "") for text in texts if text]
    frame = pd.DataFrame({"comment": texts})
    for kind in ("csv", "jsonl", "parquet"):
        path = tmp_path / f"in.{kind}"
        if kind == "csv":
            frame.to_csv(path, index=False, lineterminator="\r\n", quoting=1)
        elif kind == "jsonl":
            path.write_text("".join(json.dumps({"comment": t}) + "\n" for t in texts))
        else:
            frame.to_parquet(path)
        assert list(read_table(path)["comment"]) == texts
        done = predict_file(model, path, tmp_path / f"out.{kind}", perspectives=["Security"])
        assert done.without_text == 0
        assert list(read_table(tmp_path / f"out.{kind}")["comment"]) == texts


ROWS = simulated.table("binary", 40).assign(values=lambda t: t["values"].map("|".join))
many = settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
CHANGES = st.lists(
    st.tuples(st.integers(0, 10**7), st.integers(0, 40), st.binary(max_size=6)),
    min_size=1,
    max_size=5,
)


def spoil(raw: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    spoilt = bytearray(raw)
    for place, length, new in changes:
        at = place % (len(spoilt) + 1)
        spoilt[at : at + length] = new
    return bytes(spoilt)


@many
@given(st.sampled_from(["csv", "jsonl"]), CHANGES)
def test_spoilt_annotations_are_read_or_refused(
    tmp_path: Path, kind: str, changes: list[tuple[int, int, bytes]]
) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        raw = ROWS.to_csv(index=False).encode()
    else:
        raw = ROWS.to_json(orient="records", lines=True).encode()
    path.write_bytes(spoil(raw, changes))
    with contextlib.suppress(InputError):
        data = Annotations.read(path)
        assert set(data.labels) <= set(range(len(data.classes)))


@many
@given(st.sampled_from(["config.json", "model.safetensors"]), CHANGES)
def test_a_spoilt_model_is_read_or_refused(
    finished: Callable[[Task], Finished],
    tmp_path: Path,
    name: str,
    changes: list[tuple[int, int, bytes]],
) -> None:
    whole = finished("binary").folder / "model"
    folder = tmp_path / "model"
    if not folder.exists():
        shutil.copytree(whole, folder)
    for file in ("config.json", "model.safetensors"):
        shutil.copy(whole / file, folder / file)
    if name == "model.safetensors":  # its header is a hundredth of it, and what is worth spoiling
        changes = [(place % 4000, length, new) for place, length, new in changes]
    (folder / name).write_bytes(spoil((whole / name).read_bytes(), changes))
    with contextlib.suppress(InputError):
        model = Model.load(folder)
        p = model.predict_proba(["The library opens at nine."])
        assert p.shape[2] == len(model.classes)
