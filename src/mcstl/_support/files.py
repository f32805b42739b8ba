"""Files that are either whole or not there, and the one reader and writer of YAML."""

import errno
import io
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.representer import SafeRepresenter

from mcstl._support.errors import InputError, brief, did_you_mean, first_line

#: What to expect in each sort of YAML file, for messages.
_OPTIONS = {
    "--columns": '--columns "text: comment, label: verdict"',
    "--labels": '--labels "low: [1, 2], high: [3]"',
}
_EXAMPLES = {"study": "data, groups and methods", "mix": "Security: 0.5"}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file so that readers see the old one or the new one, never a part of it.

    The rename is atomic, so this holds when the process is killed midway and when two processes
    write the same file.

    Args:
        path: The file to write; its folder is made where it is missing.

    Yields:
        A temporary path beside `path`, which takes its place once the block ends without error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 (Path.replace is the same call; this one names it)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path, *, replaces: bool = False) -> Iterator[Path]:
    """Fill a folder so that readers see all of it, or what was there before.

    Args:
        folder: The folder; the one that it is in is made where it is missing.
        replaces: Whether it takes the place of one that is there at the end. Otherwise that one,
            which another process made in the meantime, stays.

    Yields:
        A temporary folder beside it, which gets its name once the block ends without error.
    """
    mark = f".{folder.name}.{uuid.uuid4().hex[:8]}"
    temporary, older = (folder.with_name(f"{mark}.{ending}") for ending in ("tmp", "old"))
    temporary.mkdir(parents=True)
    try:
        yield temporary
        # Two folders cannot be exchanged in one step everywhere, but nothing is deleted before the
        # new one stands: a process killed in between leaves the older one under `older`.
        if replaces and folder.is_dir():
            folder.rename(older)
        try:
            temporary.rename(folder)
        except OSError:
            if older.exists():
                older.rename(folder)
            if replaces or not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(older, ignore_errors=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a library raises while it writes a file into an OSError.

    Libraries written in other languages have exceptions of their own for a full disk.

    Args:
        path: The file, for the message.

    Returns:
        A context manager.

    Raises:
        OSError: The block raised any exception.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"cannot be written: {first_line(error)}", str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, whole or not at all.

    Args:
        path: The file to write; its folder is made where it is missing.
        text: What it holds.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def cache_root(folder: str | Path | None = None) -> Path:
    """Find the folder of what is kept between runs.

    Args:
        folder: The user's choice; by default the environment variable MCSTL_CACHE, then the
            operating system's cache folder of the user.

    Returns:
        The folder, which need not exist.
    """
    root = folder or os.environ.get("MCSTL_CACHE") or platformdirs.user_cache_dir("mcstl")
    return Path(root).expanduser()


def folder_size(folder: Path) -> int:
    """Add up the sizes of all files in a folder and below.

    Args:
        folder: A folder, which need not exist.

    Returns:
        The sum in bytes.
    """
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def yaml() -> YAML:
    """Make a reader and writer of YAML 1.2 that keeps the order of keys.

    Returns:
        A new instance, whose settings the caller may change.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Quoting
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return yaml


def flow(value: object) -> str:
    """Write a value as YAML on one line.

    Args:
        value: Mappings, lists and scalars.

    Returns:
        The line, without its end.
    """
    writer = yaml()
    writer.default_flow_style = True
    writer.width = 1_000_000
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue().removesuffix("...\n").strip("\n")


def read_yaml(path: Path, what: str = "study") -> dict[str, Any]:
    """Read a YAML 1.2 file whose top level is a mapping.

    Args:
        path: The file.
        what: What it should be, for the messages: "study" or "mix".

    Returns:
        Its keys and values.

    Raises:
        InputError: It is missing, no YAML, or no mapping of texts to values.
    """
    try:
        fields = yaml().load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.y*ml")])
        raise InputError(f"there is no {what} file {path}.{near}") from None
    except MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise InputError(f"{path} is not YAML: {brief(error.problem, 200)}{line}") from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is not YAML: {brief(error, 200)}") from error
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        keys = _EXAMPLES[what]
        raise InputError(f"{path} is no {what}; expected keys such as {keys}")
    return fields


def read_option(text: str | None, option: str) -> dict[str, Any] | None:
    """Read a mapping that was typed as an option, as a study file has it.

    Args:
        text: The mapping, with or without its braces; None for an option that was not given.
        option: The option, as ``--columns``.

    Returns:
        Its keys and values, or None.

    Raises:
        InputError: It is no mapping.

    >>> read_option("text: comment, label: verdict", "--columns")
    {'text': 'comment', 'label': 'verdict'}
    """
    if text is None:
        return None
    stripped = text.strip()
    try:
        fields = yaml().load(stripped if stripped.startswith("{") else f"{{{stripped}}}")
    except YAMLError:
        fields = None
    if not isinstance(fields, dict) or not fields or None in fields.values():
        raise InputError(
            f"{option} is written as in a study file, as {_OPTIONS[option]}; got {brief(text, 80)}"
        )
    return {str(key): value for key, value in fields.items()}


def write_yaml(path: Path, fields: dict[str, Any]) -> None:
    """Write a mapping as YAML, whole or not at all.

    Args:
        path: The file to write.
        fields: Its keys, in their order, and their values.
    """
    plain = yaml()
    plain.default_flow_style = None
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        plain.dump(fields, stream)


class _Quoting(SafeRepresenter):
    """Quotes every text that is not plain words: ruamel cannot read all that it writes bare."""

    def represent_text(self, text: str) -> Any:
        style = None if re.fullmatch(r"[\w./][\w ./=-]*", text) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Quoting.add_representer(str, _Quoting.represent_text)
