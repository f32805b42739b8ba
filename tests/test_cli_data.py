"""`mcstl data`: what is listed, what is downloaded, what is said where it cannot be."""

import functools
import hashlib
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcstl import datasets
from mcstl._support.errors import InputError
from mcstl.cli import app
from mcstl.data.annotations import Annotations
from mcstl.data.tables import read_table
from mcstl.datasets import download
from mcstl.datasets.download import Download
from test_importers import LABEL_STUDIO, TEXT


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_list_tells_what_a_user_has_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MCSTL_DATA", raising=False)
    (tmp_path / "popquorn").mkdir()
    (tmp_path / "popquorn" / "raw_data.csv").touch()
    plain = CliRunner().invoke(app, ["data", "list"]).output
    assert "here" not in plain
    blocks = CliRunner().invoke(app, ["data", "list", "--data-dir", str(tmp_path)]).output
    by_name = {block.split(":")[0]: block for block in blocks.strip().split("\n\n")}
    assert list(by_name) == list(datasets.sources())
    for name, source in datasets.sources().items():
        for told in (source.title, source.licence, source.homepage, source.warning, source.gated):
            assert told in by_name[name]
    assert "here      yes" in by_name["popquorn"]
    assert "here      no: mcstl data get d3code" in by_name["d3code"]
    assert "here" not in by_name["simulated"]
    assert "ordinal (unsafe < unsure < safe)" in by_name["dices-990"]
    assert "attributes: [gender, age, region]" in by_name["d3code"]


def test_get_downloads_into_the_folder_of_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "raw.csv").write_bytes(b"a,b\n1,2\n")
    handler = functools.partial(Silent, directory=str(tmp_path / "server"))
    checksum = f"sha256:{hashlib.sha256(b'a,b' + bytes([10]) + b'1,2' + bytes([10])).hexdigest()}"
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/raw.csv"
        wanted = (Download("raw_data.csv", url, checksum),)
        monkeypatch.setattr(download, "downloads", lambda: {"popquorn": ("", wanted)})
        data = str(tmp_path / "data")
        done = CliRunner().invoke(app, ["data", "get", "popquorn", "--data-dir", data])
        server.shutdown()
        thread.join()
    assert done.exit_code == 0, done.output
    assert "Content warning: Offensive comments" in done.output
    assert "publish aggregate figures, never its texts" in done.output
    path = tmp_path / "data" / "popquorn" / "raw_data.csv"
    assert str(path) in done.output.replace("\n", "")
    assert path.read_bytes() == b"a,b\n1,2\n"


def test_get_says_how_to_get_what_takes_consent(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["data", "get", "vp-values", "--data-dir", str(tmp_path)])
    assert isinstance(done.exception, InputError)
    assert "accept the licence" in str(done.exception)


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet"])
def test_import_writes_a_table_that_can_be_annotated(tmp_path: Path, name: str) -> None:
    export, out = tmp_path / "export.json", tmp_path / name
    export.write_text(json.dumps(LABEL_STUDIO).replace("It is warm", "=SUM(A1)"))
    words = f"data import {export} --tool label-studio --label mood --values topics --out {out}"
    done = CliRunner().invoke(app, [*words.split(), "--rationale", "why"])
    assert done.output == (
        f"2 annotations by 2 people: {out}\nLeft out: 1 annotations that were cancelled.\n"
        f"Next: mcstl init {out}\n"
    )
    data = Annotations.read(out, labels={"bad": ["bad"], "good": ["good"]})
    assert data.frame["text"].tolist() == [TEXT, TEXT]
    assert data.labels.tolist() == [1, 0]
    assert data.frame["values"].tolist() == [["food", "comfort"], []]
    # It is read again by mcstl: the guard is for files that people open.
    assert data.frame["rationale"].tolist() == ["=SUM(A1)", ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["export.json", name])


def test_import_of_pairs_and_what_is_refused(tmp_path: Path) -> None:
    export, out = tmp_path / "export.json", tmp_path / "out.csv"
    export.write_text(json.dumps(LABEL_STUDIO))
    words = ["data", "import", str(export), "--tool", "label-studio", "--label", "better"]
    words += ["--out", str(out), "--text", "left", "--text", "right"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert list(read_table(out)) == ["item", "text_a", "text_b", "label", "annotator"]
    for more, said in (
        (["--text", "text"], "one field, or two for a pair; got 3"),
        (["--tool", "potato"], "give its data file: --items"),
        (["--label", "bettr"], "answer 'bettr' is not in.*Did you mean 'better'"),
        (["--out", str(tmp_path / "out.txt")], "out.txt is not a table"),
    ):
        with pytest.raises(InputError, match=said):
            CliRunner().invoke(app, [*words, *more], catch_exceptions=False)
