"""Files that are either whole or not there, and YAML that reads as it was written."""

import errno
import io
import os
import re
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

#: What the kinds of YAML files look like.
_EXAMPLES = {"study": "data, groups and methods", "mix": "Security: 0.5"}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place once the block ends without error.

    A reader sees the old file or the new one, never a part: the rename is atomic, so this holds
    when the process is killed midway and when two processes write the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 (Path.replace is the same call; this one names it)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a library raises while it writes `path` into an OSError.

    Those in other languages have kinds of their own for a full disk.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"cannot be written: {first_line(error)}", str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def cache_root(folder: str | Path | None = None) -> Path:
    """Return the folder of what is kept between runs: `folder`, MCSTL_CACHE, or the user's."""
    root = folder or os.environ.get("MCSTL_CACHE") or platformdirs.user_cache_dir("mcstl")
    return Path(root).expanduser()


def folder_size(folder: Path) -> int:
    """Return the bytes of all files in `folder`, 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def yaml() -> YAML:
    """Return what reads and writes YAML 1.2; keys stay in their order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Quoting
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return yaml


def flow(value: object) -> str:
    """Return `value` as YAML on one line."""
    one = yaml()
    one.default_flow_style = True
    one.width = 1_000_000
    stream = io.StringIO()
    one.dump(value, stream)
    return stream.getvalue().removesuffix("...\n").strip("\n")


def read_yaml(path: Path, what: str = "study") -> dict[str, Any]:
    """Read a YAML 1.2 file of keys, the `what` of the messages. Raises InputError for others."""
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


def write_yaml(path: Path, fields: dict[str, Any]) -> None:
    """Write `fields` in their order, whole or not at all."""
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
