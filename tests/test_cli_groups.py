"""The commands label and groups: what they print and write, and one line for what is wrong."""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import mcstl
from mcstl import cli, datasets
from mcstl.datasets import simulated
from model_server import Mishap, serving

Command = Callable[..., tuple[int, str, str]]
KEY = "sk-very-secret"


@pytest.fixture
def command(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MCSTL_LLM_MODEL", "MCSTL_DATA"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mcstl", *map(str, arguments)])
        capsys.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def town(tmp_path: Path) -> Path:
    table = simulated.table("binary", 300).assign(values=lambda t: t["values"].map("|".join))
    table.iloc[:200].to_csv(tmp_path / "train.csv", index=False)
    table.iloc[200:].to_csv(tmp_path / "gold.csv", index=False)
    table.iloc[200:].drop(columns="values").to_csv(tmp_path / "new.csv", index=False)
    return tmp_path


def test_valueprism_gets_its_schwartz_values_by_one_command(
    command: Command, tmp_path: Path
) -> None:
    """VP + Schwartz from the raw files (A.4): the folder in, the file that the loader reads out."""
    folder, names = tmp_path / "valueprism", ["situation", "vrd", "text", "explanation", "valence"]
    (folder / "full").mkdir(parents=True)
    rows = [
        ("Feeding a cat", "Value", "Compassion", "It is kind.", "Supports"),
        ("Feeding a cat", "Right", "Right to life", "Cats live.", "Either"),
        ("Reading a diary", "Duty", "Duty to respect", "It is rude.", "Opposes"),
    ]
    for k, part in enumerate((rows[:2], rows[2:])):
        pd.DataFrame(part, columns=names).to_csv(folder / "full" / f"{k}.csv", index=False)
    options = ("--by", "llm", "--rationale", "text", "--explanation", "explanation")
    out = folder / "schwartz.csv"
    with serving(lambda text, _: '["Universalism", "Security"]' if "life" in text else "[]") as s:
        server = ("--model", "m", "--base-url", s.url)
        for _ in range(2):  # the file that is there then is none of the source's
            code, _, err = command("label", folder, *options, *server, "--out", out)
            assert code == 0, err
            sent = json.dumps(s.bodies)
    assert all(row[2] in sent and row[3] in sent and row[4] not in sent for row in rows)
    data = datasets.load("vp-schwartz", data_dir=tmp_path)
    assert len(data) == 3
    assert data.frame["values"].tolist()[1] == ["Universalism", "Security"]
    code, _, err = command("label", tmp_path, *options, *server, "--out", out)
    assert code == 2
    assert "expected a table, or the folder of a registered data set" in err


def test_label_by_a_language_model(
    command: Command, town: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(lambda text, _: '["Power"]' if len(text) % 4 else "Well: Power") as server:
        options = ("--by", "llm", "--model", "m", "--base-url", server.url)
        code, out, err = command("label", town / "new.csv", *options, "--dry-run")
        assert code == 0, err
        assert server.requests == 0
        assert "requests of about" in out
        n = int(out.split()[0])
        code, out, err = command("label", town / "new.csv", *options, "--out", town / "o.csv")
        assert code == 0, err
        assert len(server.asked) == n
        assert f"asking the language model: {n} of {n}" in err
        assert "no usable reply in 3 attempts" in out
        asked = server.requests
        command("label", town / "new.csv", *options, "--out", town / "p.csv", "-q")
        assert server.requests == asked
        assert (
            f"0 requests of about 0 tokens in all; kept from before: {n} replies."
            in command("label", town / "new.csv", *options, "--dry-run")[1]
        )
    labelled = pd.read_csv(town / "o.csv")
    assert set(labelled["values"].dropna()) == {"Power"}
    assert len(labelled) == 100
    assert KEY not in out + err
    everything = [path for path in town.rglob("*") if path.is_file()]
    assert not any(KEY in path.read_text(errors="ignore") for path in everything)
    with serving(lambda *_: Mishap(401, content=f"bad key {KEY}")) as server:
        refused = ("--by", "llm", "--model", "m2", "--base-url", server.url, "-q")
        code, out, err = command("label", town / "new.csv", *refused, "--out", town / "q.csv")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "bad key ***" in err
    assert not (town / "q.csv").exists()


def test_label_by_training_and_by_definitions(command: Command, town: Path) -> None:
    code, out, err = command(
        "label", town / "gold.csv", "--by", "trained", "--train", town / "train.csv",
        "--save", town / "labeller", "-q",
    )  # fmt: skip
    assert code == 0, err
    assert "Macro-F1 over " in out
    saved = ("--by", "trained", "--labeller", town / "labeller", "-q")
    code, out, err = command("label", town / "new.csv", *saved, "--soft", "--out", town / "o.csv")
    assert code == 0, err
    assert pd.read_csv(town / "o.csv")["values"].str.contains("=0.").any()
    code, out, err = command("label", town / "gold.csv", "--by", "embedding", "-q")
    assert code == 0, err
    assert "Macro-F1 over " in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--by", "llm"), "which language model"),
        (("--by", "llm", "--model", "m"), "which server"),
        (("--by", "trained", "--out", "x.csv"), "learns from --train TABLE"),
        (("--by", "embedding", "--dry-run"), "use --by llm"),
        (("--by", "embedding"), "where to? Give --out"),
        (("--by", "embedding", "--soft", "--out", "x.csv"), "use trained"),
        (("--by", "embedding", "--fine-tune", "1", "--out", "x.csv"), "with --by trained"),
        (("--by", "embedding", "--rationale", "reson"), "column 'reson' is not in new.csv"),
        (("--by", "embedding", "--taxonomy", "schwarz", "--out", "x.csv"), "Did you mean 'schwa"),
    ],
)
def test_what_cannot_be_labelled(
    command: Command, town: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = command("label", town / "new.csv", *arguments, "-q")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert said in err


def test_groups_from_a_look_to_agreement(command: Command, town: Path) -> None:
    study = town / "town.yaml"
    study.write_text(
        "data: {dataset: simulated, annotations: 300}\ngroups: {by: rationale, k: 3}\nseeds: 1\n"
    )
    code, out, err = command("groups", "show", study, "--out", town / "groups.html", "-q")
    assert code == 0, err
    assert out.count(" by ") == 3
    assert "town: 3 groups" in (town / "groups.html").read_text()

    code, out, err = command("groups", "compare", study, "--k", "2-3", "--out", town / "r", "-q")
    assert code == 0, err
    assert "k: auto takes " in out
    form = town / "r" / "choose-k.csv"
    form.write_text("k,chosen,who,why\n2,,,\n3,x,Dr. A,all distinct\n")
    code, out, err = command("groups", "choose", form)
    assert code == 0, err
    assert "K = 3, chosen by Dr. A: all distinct" in out
    assert json.loads((town / "r" / "choices.json").read_text())[0]["why"] == "all distinct"

    sheets = town / "sheets"
    options = ("--experts", "2", "--per-class", "6", "--shared", "2", "--out", sheets, "-q")
    code, out, err = command("groups", "review", study, *options)
    assert code == 0, err
    for path in sheets.glob("*.csv"):
        table = pd.read_csv(path, dtype=str).assign(answer="correct")
        table.loc[0, "answer"] = "wrong"
        table.to_csv(path, index=False)
    code, out, err = command("groups", "agreement", sheets)
    assert code == 0, err
    assert "18" in out
    assert "Krippendorff's alpha over 6 shared instances" in out or "no alpha" in out
    code, out, err = command("groups", "compare", study, "--k", "6-2", "--out", town / "r")
    assert (code, err.count("\n")) == (2, 1)


def test_clusters_get_names_that_appear_everywhere(command: Command, town: Path) -> None:
    study, names, fields = town / "town.yaml", town / "names.csv", "{by: rationale, k: 3%s}"
    text = (
        "data: {dataset: simulated, annotations: 300}\ngroups: %s\nseeds: 2\n"
        "methods: [mc-stl, none]\ntraining: {epochs: 2, hidden: 8}\n"
    )
    study.write_text(text % (fields % ""))
    code, out, err = command("groups", "name", study, "--out", names, "-q")
    assert code == 0, err
    assert out.count("(no name yet)") == 3
    assert pd.read_csv(names)["name"].isna().all()
    code, out, err = command("groups", "name", study, "--out", names, "--name", "2=Old ties", "-q")
    assert code == 0, err
    with serving(lambda *_: '["Care", "Own way", "Safety"]') as server:
        options = ("--llm", "--model", "m", "--base-url", server.url, "--out", names, "-q")
        code, out, err = command("groups", "name", study, *options, "--dry-run")
        assert (code, server.requests) == (0, 0), err
        code, out, err = command("groups", "name", study, *options, "--name", "2=Old ties")
        assert code == 0, err
        assert server.requests == 1
    # What was given by hand goes before what the language model says.
    assert [line.split("->")[1].strip() for line in out.splitlines()[:3]] == [
        *("Care", "Old ties", "Safety"),
    ]
    study.write_text(text % (fields % ", names: names.csv"))
    code, out, err = command("groups", "show", study, "--out", town / "groups.html", "-q")
    assert code == 0, err
    assert [line.split(":")[0] for line in out.splitlines()[:3]] == ["Care", "Old ties", "Safety"]
    assert "Old ties" in (town / "groups.html").read_text()
    code, out, err = command("groups", "review", study, "--out", town / "sheets", "-q")
    assert code == 0, err
    sheet = pd.read_csv(town / "sheets" / "sheet-1.csv")
    assert set(sheet["class"]) == {"Care", "Old ties", "Safety"}
    assert sheet["definition"].str.startswith("annotations whose rationales say").all()
    code, out, err = command("run", study, "--out", town / "out", "-q")
    assert code == 0, err
    assert "Old ties" in (town / "out" / "report.html").read_text()
    assert mcstl.Model.load(town / "out" / "model").group_names == ("Care", "Old ties", "Safety")
    predictions = pd.read_parquet(town / "out" / "predictions.parquet")
    assert set(predictions["groups"].explode()) <= {"Care", "Old ties", "Safety"}  # of both seeds
    # The study in the results has the names themselves.
    assert "Old ties" in (town / "out" / "study.yaml").read_text()
    code, out, err = command("groups", "name", study, "--out", names, "--name", "7=Care", "-q")
    assert code == 2
    assert "expected the number of a group and its name, as 1=Care" in err


def test_infer_from_the_command_line(command: Command, town: Path) -> None:
    table = simulated.table("binary", 300).drop(columns=["rationale", "values"])
    table.to_csv(town / "bare.csv", index=False)
    with serving(lambda *_: "Values order.") as server:
        options = ("--model", "m", "--base-url", server.url, "--out", town / "o.csv", "-q")
        code, out, err = command("groups", "infer", town / "bare.csv", *options, "--examples", "2")
    assert code == 0, err
    written = pd.read_csv(town / "o.csv")
    assert len(written) < 300
    assert written["inferred"].any()
    assert set(written["rationale"][written["inferred"]]) == {"Values order."}
    assert "with an inferred rationale" in out
