"""Predictions of a table: the model's own numbers, every kind of file, stopped and gone on."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from numpy.testing import assert_allclose

from mcstl._support.csv_files import guarded
from mcstl._support.errors import InputError
from mcstl.data import exports, tables
from mcstl.data.labels import Task
from mcstl.data.tables import read_table
from mcstl.models.model import Model
from mcstl.serving.prediction import predict_file, read_mix
from test_cli import Command, command, refused
from tiny import Finished

__all__ = ["command"]  # a fixture

KINDS = ("csv", "tsv", "jsonl", "parquet")
TEXTS = [
    "The library opens at nine.",
    "=HYPERLINK('x')",
    'Nobody counted, ever, the "bridge\'s" planks.',
    "+1 for the\tbus\nand the tram",
    "- a point",
    "  ",
    "漢字 🙂 عربي",
    "The library opens at nine.",
]


@pytest.fixture(scope="module")
def model(finished: Callable[[Task], Finished]) -> Model:
    return Model.load(finished("binary").folder / "model")


def write(path: Path, table: pd.DataFrame) -> Path:
    match path.suffix:
        case ".csv":
            table.to_csv(path, index=False)
        case ".tsv":
            table.to_csv(path, index=False, sep="\t")
        case ".jsonl":
            table.to_json(path, orient="records", lines=True, force_ascii=False)
        case _:
            table.to_parquet(path, index=False)
    return path


def table(texts: list[Any] = TEXTS) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"n{i}" for i in range(len(texts))], "comment": texts})


def numbers(path: Path) -> pd.DataFrame:
    found = read_table(path)
    columns = [name for name in found.columns if name.startswith("p") or name == "disagreement"]
    return found[columns].astype(float)


@pytest.mark.parametrize("out", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_every_kind_of_file_holds_the_models_numbers(
    model: Model, tmp_path: Path, source: str, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_ROWS_PER_CHUNK", 3)
    path = write(tmp_path / f"in.{source}", table())
    mix = {"Security": 3.0, "Tradition + gender=Man": 1.0}
    written = tmp_path / f"out.{out}"
    done = predict_file(
        model, path, written, perspectives=["Security", "Tradition + Security"], mix=mix
    )
    assert (done.rows, done.without_text) == (8, 1)
    found = numbers(written)
    usable = [i for i, text in enumerate(TEXTS) if text.strip()]
    texts = [TEXTS[i] for i in usable]
    no, yes = model.classes
    expected = model.predict_proba(texts)[:, 0]
    assert_allclose(found.loc[usable, [f"p({no})", f"p({yes})"]], expected, atol=1e-6)
    asked = [["Security"], ["Tradition", "Security"], ["Tradition", "gender=Man"]]
    p = model.predict_proba(texts, asked)
    assert_allclose(found.loc[usable, f"p({yes} | Security)"], p[:, 0, 1], atol=1e-6)
    assert_allclose(found.loc[usable, f"p({yes} | Tradition + Security)"], p[:, 1, 1], atol=1e-6)
    mixed = 0.75 * p[:, 0] + 0.25 * p[:, 2]
    assert_allclose(found.loc[usable, [f"p_mix({no})", f"p_mix({yes})"]], mixed, atol=1e-6)
    score = model.disagreement(texts, asked[:2])
    assert_allclose(found.loc[usable, "disagreement"], score, atol=1e-6)
    assert found.loc[5].isna().all()
    assert len(found.columns) == 4 + 4 + 1
    # What came is there as it came, but for formulas in CSV.
    carried = [text if text.strip() else "" for text in read_table(written)["comment"].fillna("")]
    expected_texts = [guarded(t) if out in ("csv", "tsv") else t for t in TEXTS]
    assert carried == [text if text.strip() else "" for text in expected_texts]
    assert list(read_table(written)["id"]) == [f"n{i}" for i in range(8)]
    assert {path.name for path in tmp_path.iterdir()} == {
        *(path.name, written.name, f"{written.name}.most-disagreed.json")
    }


def test_every_group_by_default_and_those_disputed_most(model: Model, tmp_path: Path) -> None:
    texts = [f"{text} {i}" for i in range(4) for text in TEXTS if text.strip()]
    path = write(tmp_path / "in.csv", table([*texts, *texts]))
    done = predict_file(model, path, tmp_path / "out.csv", text=["comment"])
    found = numbers(tmp_path / "out.csv")
    groups = [re.findall(r"\| (.*)\)$", name) for name in found.columns]
    assert [g[0] for g in groups if g][::2] == list(model.group_names)
    score = model.disagreement(texts)
    order = np.argsort(-score, kind="stable")[:10]
    rows = [each["row"] - done.first_row for each in done.disputed]
    assert rows == list(order)  # each text once
    assert [each["disagreement"] for each in done.disputed] == pytest.approx(list(score[order]))
    assert json.loads(done.disputed_file.read_text(encoding="utf-8")) == done.disputed
    views = model.views([texts[order[0]]])
    level = views.p[0, :, 1]
    assert done.disputed[0]["texts"] == [texts[order[0]]]
    assert done.disputed[0]["lowest"] == {
        "perspective": model.group_names[int(level.argmin())],
        "expected": pytest.approx(float(level.min())),
    }
    assert done.disputed[0]["highest"]["expected"] == pytest.approx(float(level.max()))


def test_pairs(finished: Callable[[Task], Finished], tmp_path: Path) -> None:
    model = Model.load(finished("preference").folder / "model")
    pairs = list(zip(TEXTS[:4], TEXTS[1:4] + TEXTS[:1], strict=True))
    frame = pd.DataFrame(pairs, columns=["text_a", "text_b"])
    done = predict_file(model, write(tmp_path / "in.jsonl", frame), tmp_path / "out.jsonl")
    found = numbers(tmp_path / "out.jsonl")
    name = model.classes[1]
    expected = model.predict_proba(pairs)[:, 0, 1]
    assert_allclose(found[f"p({name})"], expected, atol=1e-6)
    assert len(done.disputed[0]["texts"]) == 2
    # The same pairs by columns of other names, turned round.
    frame.columns = pd.Index(["right", "left"])
    path = write(tmp_path / "in.csv", frame)
    predict_file(model, path, tmp_path / "out.csv", text=["left", "right"])
    turned = numbers(tmp_path / "out.csv")
    assert_allclose(turned[f"p({name})"], 1 - expected, atol=1e-6)
    with pytest.raises(InputError, match=r"reads 2 column\(s\) of text; got 1: left"):
        predict_file(model, path, tmp_path / "out.csv", text=["left"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_broke_off_goes_on(
    model: Model, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_ROWS_PER_CHUNK", 2)
    path = write(tmp_path / "in.csv", table())
    out, undisturbed = tmp_path / f"out.{kind}", tmp_path / f"undisturbed.{kind}"
    predict_file(model, path, undisturbed)
    out.write_text("of an earlier run")
    writing = exports.write_part
    written: list[Path] = []

    def stopping(part: Path, *arguments: Any, **options: Any) -> None:
        writing(part, *arguments, **options)
        written.append(part)
        if len(written) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exports, "write_part", stopping)
        with pytest.raises(KeyboardInterrupt):
            predict_file(model, path, out)
    assert out.read_text() == "of an earlier run"
    written.clear()

    def counting(part: Path, *arguments: Any, **options: Any) -> None:
        writing(part, *arguments, **options)
        written.append(part)

    monkeypatch.setattr(exports, "write_part", counting)
    done = predict_file(model, path, out)
    assert len(written) == 2
    assert_allclose(numbers(out), numbers(undisturbed), atol=1e-6)
    assert list(read_table(out)["id"]) == [f"n{i}" for i in range(8)]
    assert (done.rows, done.without_text) == (8, 1)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("change", ["table", "mix", "perspectives"])
def test_parts_of_another_run_are_not_taken_up(
    model: Model, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_ROWS_PER_CHUNK", 2)
    path = write(tmp_path / "in.csv", table())
    options: dict[str, Any] = {"perspectives": ["Security"], "mix": {"Tradition": 1}}
    with monkeypatch.context() as patch:
        patch.setattr(exports, "join", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            predict_file(model, path, tmp_path / "out.csv", **options)
    if change == "table":
        write(path, table(TEXTS[::-1]))
    elif change == "mix":
        options["mix"] = {"Tradition": 1, "Security": 1}
    else:
        options["perspectives"] = ["Security", "Tradition"]
    predict_file(model, path, tmp_path / "out.csv", **options)
    predict_file(model, path, tmp_path / "fresh.csv", **options)
    assert (tmp_path / "out.csv").read_text() == (tmp_path / "fresh.csv").read_text()


def test_two_runs_into_one_file(model: Model, tmp_path: Path) -> None:
    path = write(tmp_path / "in.csv", table())
    (tmp_path / ".out.csv.parts").mkdir()
    with (
        FileLock(tmp_path / ".out.csv.parts" / "lock"),
        pytest.raises(InputError, match=r"another run is writing .*out\.csv"),
    ):
        predict_file(model, path, tmp_path / "out.csv")
    predict_file(model, path, tmp_path / "out.csv")


def test_a_folder_of_parquet_is_predicted_as_one_table(model: Model, tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(9)]
    (tmp_path / "in").mkdir()
    for start in (0, 4):
        part = pa.table({"text": texts[start : start + 4 + (start > 0)]})
        pq.write_table(part, tmp_path / "in" / f"part-{start}.parquet")
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    for source in ("in", "in.parquet"):
        predict_file(model, tmp_path / source, tmp_path / f"{source}.csv")
    assert (tmp_path / "in.csv").read_text() == (tmp_path / "in.parquet.csv").read_text()


def test_types_of_parquet_and_json_are_kept(model: Model, tmp_path: Path) -> None:
    arrow = pa.table(
        {
            "text": ["a", None, "c"],
            "n": pa.array([1, 2**60, None], pa.int64()),
            "tags": pa.array([["x"], [], None], pa.list_(pa.string())),
            "when": pa.array([0, 1, None], pa.timestamp("ns")),
            "kind": pa.array(["p", "q", None]).dictionary_encode(),
            "raw": pa.array([b"\xff", None, b""]),
        }
    )
    pq.write_table(arrow, tmp_path / "in.parquet")
    done = predict_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert done.without_text == 1
    assert pq.read_table(tmp_path / "out.parquet").select(arrow.column_names).equals(arrow)
    predict_file(model, tmp_path / "in.parquet", tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["n"] for line in lines] == [1, 2**60, None]
    assert lines[0]["tags"] == ["x"]
    assert lines[0]["raw"] == "/w=="
    deep = {"text": "a", "deep": {"k": [1, None, "=x"]}, "score": float("nan")}
    (tmp_path / "in.jsonl").write_text(json.dumps(deep) + '\n{"text": "b", "late": true}\n')
    predict_file(model, tmp_path / "in.jsonl", tmp_path / "again.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    assert lines[0]["deep"] == deep["deep"]
    assert lines[0]["score"] is None
    assert lines[1]["late"] is True


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_without_rows(model: Model, tmp_path: Path, kind: str) -> None:
    (tmp_path / "in.csv").write_text("text\n")
    done = predict_file(model, tmp_path / "in.csv", tmp_path / f"out.{kind}")
    assert (done.rows, done.disputed) == (0, [])
    if kind != "jsonl":
        assert "disagreement" in read_table(tmp_path / f"out.{kind}").columns


def test_what_cannot_be_used(model: Model, tmp_path: Path) -> None:
    path = write(tmp_path / "in.csv", table())
    out = tmp_path / "out.csv"

    def complaint(source: Path = path, to: Path = out, **options: Any) -> str:
        with pytest.raises(InputError) as caught:
            predict_file(model, source, to, **options)
        assert not out.exists()
        assert not list(tmp_path.glob(".*"))
        return str(caught.value)

    assert "Did you mean 'Security'?" in complaint(perspectives=["Securty"])
    assert "'Nobody' is no group" in complaint(perspectives=["Security + Nobody"])
    assert "'Nobody' is no group" in complaint(mix={"Nobody": 1})
    assert "Did you mean 'comment'?" in complaint(text=["coment"])
    assert "expected .csv" in complaint(to=tmp_path / "out.xlsx")
    assert "leave out .gz" in complaint(to=tmp_path / "out.csv.gz")
    assert "is the table to predict" in complaint(to=path)
    assert "there is no file" in complaint(source=tmp_path / "im.csv")
    (tmp_path / "twice.csv").write_text("comment,x,x\na,1,2\n")
    assert "more than one column named x" in complaint(source=tmp_path / "twice.csv")
    (tmp_path / "ours.csv").write_text("comment,disagreement\na,1\n")
    assert "ours already: disagreement" in complaint(source=tmp_path / "ours.csv")
    # The last line is wrong: nothing is predicted before it is seen.
    (tmp_path / "late.jsonl").write_text('{"comment": "a"}\n' * 5 + "{")
    assert "line 6 of" in complaint(source=tmp_path / "late.jsonl")


def test_a_mix_file(tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text("Security: 2\nSecurity + Tradition: 0.5\n")
    assert read_mix(path) == {"Security": 2.0, "Security + Tradition": 0.5}
    for text, message in [
        ("Security: much", "the weight of 'Security' is 'much'"),
        ("- Security", "is no mix; expected keys such as Security: 0.5"),
        ("Security: 0", "sum to nothing"),
        ("{", "is not YAML"),
    ]:
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_mix(path)
    with pytest.raises(InputError, match="there is no mix file"):
        read_mix(tmp_path / "mxi.yaml")


def test_the_command(
    command: Command, finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    folder = finished("binary").folder / "model"
    path = write(tmp_path / "in.csv", table())
    (tmp_path / "mix.yaml").write_text("Security: 1\n")
    arguments = ("predict", folder, path, "--out", tmp_path / "out.jsonl")
    said = command(*arguments, "--mix", tmp_path / "mix.yaml", "--perspective", "Security")
    assert said.code == 0
    assert "predicting: 8 of 8" in said.err
    assert f"Predictions, 8 rows: {tmp_path / 'out.jsonl'}" in said.out
    assert "Without a text, hence without probabilities: 1 row." in said.out
    assert "disagree on most" not in said.out  # one perspective alone
    said = command(*arguments, "-q")
    assert said.err == ""
    assert "What perspectives disagree on most" in said.out
    most = json.loads((tmp_path / "out.jsonl.most-disagreed.json").read_text())
    assert f"\nRow {most[0]['row']}: " in said.out
    assert min(each["row"] for each in most) >= 2  # of a CSV file, whose row 1 is names
    assert "Did you mean 'Security'?" in refused(command(*arguments, "--perspective", "Securty"))
