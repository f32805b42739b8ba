"""Downloads over real HTTP from a local server that behaves well, or badly in several ways."""

import hashlib
import re
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from mcstl import datasets
from mcstl._support.errors import InputError
from mcstl.datasets import download
from mcstl.datasets.download import Download

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
GIT = f"git:{hashlib.sha1(b'blob 300000%b' % bytes(1) + CONTENT).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `cut` lists after how many bytes the next connections break off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cut: list[int] = []
        self.ranges = True
        self.content = CONTENT
        self.asked: list[str | None] = []

    def url(self, path: str = "file.bin") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.path == "/broken":
            return self.send_error(500)
        if self.path != "/file.bin":
            return self.send_error(404)
        whole = self.server.content
        start = int(re.findall(r"\d+", asked)[0]) if asked and self.server.ranges else 0
        if start >= len(whole):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(whole)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(whole) - start))
        self.end_headers()
        end = start + self.server.cut.pop(0) if self.server.cut else len(whole)
        self.wfile.write(whole[start:end])
        self.close_connection = True
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


POPQUORN = datasets.sources()["popquorn"]


def fetch(server: Server, folder: Path, checksum: str = SHA, path: str = "file.bin") -> Path:
    return download.fetch(Download("a/raw.csv", server.url(path), checksum), folder, POPQUORN)


@pytest.mark.parametrize("checksum", [SHA, GIT])
def test_a_file_arrives_whole_and_is_not_fetched_twice(
    server: Server, tmp_path: Path, checksum: str
) -> None:
    told: list[tuple[str, int, int]] = []
    one = Download("a/raw.csv", server.url(), checksum)
    path = download.fetch(one, tmp_path, POPQUORN, lambda *step: told.append(step))
    assert path == tmp_path / "a" / "raw.csv"
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["raw.csv"]
    assert told[-1] == ("raw.csv (KiB)", 292, 292)
    assert len(told) > 2
    assert download.fetch(one, tmp_path, POPQUORN) == path
    assert server.asked == [None]


def test_a_broken_connection_is_taken_up_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.cut = [100_000, 70_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=170000-"]


def test_the_next_command_goes_on_where_the_last_one_gave_up(
    server: Server, tmp_path: Path
) -> None:
    server.cut = [1000] * 5
    with pytest.raises(InputError, match=r"broke off after 5,000 bytes .* goes on from there"):
        fetch(server, tmp_path)
    assert not (tmp_path / "a" / "raw.csv").exists()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=5000-"


def test_a_server_that_cannot_resume_starts_anew(server: Server, tmp_path: Path) -> None:
    server.cut, server.ranges = [100_000], False
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_already_whole(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "a" / ".raw.csv.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    # A part of something longer than the file has become is thrown away.
    (tmp_path / "a" / "raw.csv").unlink()
    part.write_bytes(CONTENT + b"more")
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"?"
    for _ in range(2):  # nothing of it is left to go on from
        with pytest.raises(InputError, match=r"not the file that was expected .another checksum"):
            fetch(server, tmp_path)
    assert server.asked == [None, None]
    assert list((tmp_path / "a").iterdir()) == []


def test_another_file_in_the_folder_is_left_alone(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a" / "raw.csv"
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(InputError, match=r"is not the source's file .*; remove it"):
        fetch(server, tmp_path)
    assert path.read_text() == "mine"
    assert server.asked == []


@pytest.mark.parametrize(
    ("path", "message", "asked"),
    [("gone", r"answers 404 \(Not Found\)", 1), ("broken", "answers 500", 5)],
)
def test_what_a_server_refuses_is_told_with_a_way_out(
    server: Server, tmp_path: Path, path: str, message: str, asked: int
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        fetch(server, tmp_path, path=path)
    assert f"by hand and put it into {tmp_path / 'a'}" in str(caught.value)
    assert POPQUORN.homepage in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == asked


def test_no_network_names_the_file_and_its_folder(server: Server, tmp_path: Path) -> None:
    server.server_close()
    with pytest.raises(
        InputError, match=r"cannot be reached \(.*\): is there a network\?"
    ) as caught:
        fetch(server, tmp_path)
    assert f"Or get raw.csv from {POPQUORN.homepage} by hand" in str(caught.value)
    assert str(tmp_path / "a") in str(caught.value)


def test_get_takes_all_files_of_a_data_set(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [Download(f"{name}.csv", server.url(), SHA) for name in ("one", "two")]
    known = {"popquorn": ("", tuple(files)), "d3code": ("popquorn", (files[0],))}
    monkeypatch.setattr(download, "downloads", lambda: known)
    monkeypatch.delenv("MCSTL_DATA", raising=False)
    with pytest.raises(InputError, match="give --data-dir"):
        download.get("popquorn")
    found = download.get("d3code", tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "popquorn/one.csv",
        "popquorn/two.csv",
        "d3code/one.csv",
    ]


def test_what_takes_consent_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="accept the licence at the homepage") as caught:
        download.get("vp-rights", tmp_path)
    assert f"put full/*.csv into {tmp_path / 'valueprism'}" in str(caught.value)
    with pytest.raises(InputError, match="comes with mcstl"):
        download.get("simulated", tmp_path)
    with pytest.raises(InputError, match="Did you mean 'popquorn'"):
        download.get("popcorn", tmp_path)


def test_every_data_set_can_be_downloaded_or_says_how_else() -> None:
    for name, source in datasets.sources().items():
        if not source.files:
            continue
        assert (name in download.downloads()) != bool(source.gated), name
        for each in download.downloads().get(name, ("", ()))[1]:
            assert each.url.startswith("https://")
            assert re.fullmatch("sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", each.checksum)
        files = [Path(each.file) for each in download.downloads().get(name, ("", ()))[1]]
        for pattern in source.files if files else ():
            whole = any(file.match(pattern) for file in files)
            assert whole or any(parent.match(pattern) for file in files for parent in file.parents)


def test_real_files_have_the_checksums(data_dir: Path) -> None:
    seen = 0
    for name, (_, wanted) in download.downloads().items():
        folder = datasets.data_folder(datasets.sources()[name], data_dir)
        for each in wanted:
            if (folder / each.file).exists():
                # A server that is asked would fail: these are right as they are.
                assert download.fetch(each, folder, datasets.sources()[name]) == folder / each.file
                seen += 1
    assert seen >= 12
    archive = data_dir / "ukpconvarg1" / "UKPConvArg1-full-XML.tar.gz"
    named = {Path(d.file).name: d.checksum for d in download.downloads()["ukpconvarg1"][1]}
    with tarfile.open(archive) as members:
        for member in filter(tarfile.TarInfo.isfile, members):
            content = members.extractfile(member)
            assert content is not None
            name = subprocess.run(
                ["git", "hash-object", "--stdin"],
                input=content.read(),
                capture_output=True,
                check=True,
            ).stdout.decode()
            assert named.pop(Path(member.name).name) == f"git:{name.strip()}"
    assert not named
