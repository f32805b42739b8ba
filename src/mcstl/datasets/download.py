"""Files of registered data sets, fetched from their source: resumed, checked, whole or not there.

`downloads.yaml` beside this file says where each file is, pinned to a version, and which checksum
it has. What may not be passed on without consent is not in it; `Source.gated` says how to get it.
"""

import hashlib
import http
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from mcstl._support import files
from mcstl._support.errors import InputError, brief, did_you_mean, listed
from mcstl._support.progress import Progress, silent
from mcstl.datasets import Source, data_folder, sources

_CHUNK = 2**16
_TIMEOUT = 30.0
#: A connection that breaks is tried again this often; each try goes on where the last one ended.
_TRIES = 5
#: What goes wrong on the way, and may not go wrong again.
_BROKEN = (ConnectionError, TimeoutError, http.client.HTTPException)


@dataclass(frozen=True)
class Download:
    """A file of a data set that can be downloaded.

    Attributes:
        file: Its path below the data set's folder.
        url: Where it is, pinned to a version.
        checksum: ``sha256:`` and the SHA-256 of the content, or ``git:`` and the name that git
            gives to such a file.
    """

    file: str
    url: str
    checksum: str


@cache
def downloads() -> dict[str, tuple[str, tuple[Download, ...]]]:
    """List what can be downloaded.

    Returns:
        Per data set, the name of another one whose files it needs too ("" if none), and its own
        files. A data set without downloads is not in it.
    """
    table = files.yaml().load(Path(__file__).with_name("downloads.yaml").read_text("utf-8"))
    return {name: (entry.get("with", ""), tuple(_files_of(entry))) for name, entry in table.items()}


def _files_of(entry: dict[str, Any]) -> Iterator[Download]:
    for file, what in entry["files"].items():
        path, checksum = (what["at"], what["is"]) if isinstance(what, dict) else (file, what)
        yield Download(file, urljoin(entry["base"], path), checksum)


def get(name: str, data_dir: str | Path | None = None, progress: Progress = silent) -> list[Path]:
    """Download a registered data set into its folder; files that are there are only checked.

    Args:
        name: One of `mcstl.datasets.sources`.
        data_dir: The folder that holds a folder per data set; by default the environment variable
            MCSTL_DATA.
        progress: Called with each file's name and how much of it has come, in KiB.

    Returns:
        The files of the data set.

    Raises:
        InputError: The name is unknown, the data set has to be got by hand (the message gives the
            steps), or a file cannot be had (the message says which one and where to put it).
    """
    source = sources().get(name)
    if source is None:
        raise InputError(
            f"there is no data set {name!r}; choose from {listed(sources(), 30)}."
            f"{did_you_mean(name, sources())}"
        )
    if not source.files:
        raise InputError(f"{name} comes with mcstl: there is nothing to get")
    folder = data_folder(source, data_dir)
    if name not in downloads():
        raise InputError(
            f"{name} cannot be downloaded for you ({source.licence}). To get it, {source.gated}, "
            f"and put {listed(source.files)} into {folder}"
        )
    needed_too, wanted = downloads()[name]
    paths = get(needed_too, data_dir, progress) if needed_too else []
    return paths + [fetch(each, folder, source, progress) for each in wanted]


def fetch(download: Download, folder: Path, source: Source, progress: Progress = silent) -> Path:
    """Download one file, going on where an earlier try ended, and check it.

    Args:
        download: The file.
        folder: The data set's folder.
        source: The data set, for messages.
        progress: Called with the file's name and how much of it has come, in KiB.

    Returns:
        The file's path.

    Raises:
        InputError: It cannot be had whole and right; what has come stays for the next try.
    """
    path = folder / download.file
    if path.exists():
        if not _is_right(path, download.checksum):
            raise InputError(
                f"{path} is not the source's file (another checksum); remove it to get it anew"
            )
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    by_hand = f"Or get {path.name} from {source.homepage} by hand and put it into {path.parent}"
    for tries_left in reversed(range(_TRIES)):
        try:
            _receive(download, part, progress)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500 or not tries_left:
                raise InputError(
                    f"{download.url} answers {error.code} ({error.reason}). {by_hand}"
                ) from None
        except _BROKEN as error:
            if not tries_left:
                size = part.stat().st_size if part.exists() else 0
                raise InputError(
                    f"{download.url} broke off after {size:,} bytes ({brief(error, 60)}); the same "
                    f"command goes on from there. {by_hand}"
                ) from None
        except urllib.error.URLError as error:
            raise InputError(
                f"{download.url} cannot be reached ({brief(error.reason, 60)}): is there a "
                f"network? {by_hand}"
            ) from None
    if not _is_right(part, download.checksum):
        part.unlink()
        raise InputError(
            f"what {download.url} sent is not the file that was expected (another checksum), so "
            f"it was thrown away: the source has changed, or something on the way. {by_hand}"
        )
    os.replace(part, path)  # noqa: PTH105 (as in files.replacing)
    return path


def _receive(download: Download, part: Path, progress: Progress) -> None:
    """Append to `part` what is missing of it. Raises what urllib raises, or _BROKEN if it ends."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(download.url)  # noqa: S310 (our own list has https only)
    if done:
        request.add_header("Range", f"bytes={done}-")
    what = f"{part.name.removesuffix('.part')[1:]} (KiB)"
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # There is nothing after what we have: it is all, or of another file.
        if error.headers.get("Content-Range") != f"bytes */{done}":
            part.unlink()
            raise ConnectionError("the file has become shorter") from None
        return
    with answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        done = done if goes_on else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else 0
        with part.open("ab" if goes_on else "wb") as stream:
            while chunk := answer.read(_CHUNK):
                stream.write(chunk)
                done += len(chunk)
                progress(what, done // 1024, max(total, done) // 1024)
    if done < total:
        raise ConnectionError(f"{total - done:,} bytes are missing")


def _is_right(path: Path, checksum: str) -> bool:
    algorithm, _, expected = checksum.partition(":")
    if algorithm == "git":
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == expected
