"""What is in a model directory, and what is refused: it may come from anybody.

Nothing in one is run. JSON and safetensors are only read, no file is opened that is none, and no
more memory is taken than the files themselves fill.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcstl import __version__
from mcstl._support.errors import InputError, brief, listed

if TYPE_CHECKING:
    from torch import Tensor

#: The version of the model directory; raised when its meaning changes.
SCHEMA = 1
#: All that a model directory has.
FILES = ("config.json", "model.safetensors", "README.md")
#: Where it has the weights of an encoder that was trained further, and what is in there.
ENCODER = "encoder"
ENCODER_FILES = (f"{ENCODER}/*.json", f"{ENCODER}/*.safetensors", f"{ENCODER}/*.txt")
#: Larger ones are no model of ours: a million groups have embeddings of 1.5 GiB.
_MOST_BYTES = {"config.json": 2**29, "model.safetensors": 2**34, "README.md": 2**24}

#: Predictions from larger ones could overflow.
_LARGEST_WEIGHT = 1e6


def check_replaceable(folder: Path) -> None:
    """Raise InputError if saving to `folder` would delete anything but a model of ours."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; choose another name for the model's folder")
    names = {path.name for path in folder.iterdir()}
    try:
        # Many a program has a config.json.
        config = json.loads((folder / "config.json").read_text(encoding="utf-8")) if names else {}
        has_all = {"config.json", "model.safetensors"} <= names <= {*FILES, ENCODER}
        ours = has_all and {"schema", "mcstl"} <= {*config}
    except (OSError, ValueError, TypeError):
        ours = False
    if names and not ours:
        raise InputError(f"{folder} is not empty and holds no model; choose another folder")


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json. Raises InputError if it is none of ours, or of another schema."""
    path = folder / "config.json"
    if not path.exists():
        raise InputError(f"{folder} holds no model (no config.json); give a folder that save wrote")
    content = _read_bytes(path)
    try:
        config: dict[str, Any] = json.loads(content)
        schema = config["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not the config of a model of mcstl: {error}") from error
    if schema != SCHEMA:
        wrote = brief(config.get("mcstl", "unknown"))
        raise InputError(
            f"the model in {folder} has schema {brief(schema)}; this mcstl ({__version__}) reads "
            f"schema {SCHEMA}. Use the version that wrote it: {wrote}"
        )
    return config


def check_form(config: Mapping[str, Any]) -> None:
    """Raise ValueError if sizes are none, or if classes or groups are not names, each once."""
    for name, size in config["network"].items():
        least = 0 if name == "n_groups" else 1
        if type(size) is int and size < least:
            raise ValueError(f"its {name} is {size}")
    found = {"classes": config["classes"]}
    if config["scheme"]:
        found["groups"] = [group["name"] for group in config["scheme"]["groups"]]
    for what, names in found.items():
        is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not is_list or len(set(names)) < len(names):
            raise ValueError(f"its {what} are not distinct names: {brief(names)}")


def without_left_out(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scheme's state without the names of groups that were too small to be learnt.

    Such a name is what few people answered, and nobody asked for it to leave.
    """
    inner: dict[str, Any] = {}
    if "members" in state:
        inner["members"] = [*map(without_left_out, state["members"])]
    if state.get("first"):
        inner["first"] = without_left_out(state["first"])
    return {**state, "left_out": [], **inner}


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Read model.safetensors. Raises InputError if it is not whole or has numbers that are none."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        # Not mapped into memory: a file that is cut while it is read would end the process.
        tensors = load(_read_bytes(path))
    except (SafetensorError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read: {brief(error, 200)}") from error
    floats = {name: t for name, t in tensors.items() if t.is_floating_point()}
    if bad := [name for name, t in floats.items() if not t.isfinite().all()]:
        raise InputError(f"{path} has numbers that are not finite in {listed(bad)}")
    network = {name: t for name, t in floats.items() if name.startswith("network.")}
    if bad := [name for name, t in network.items() if (t.abs() > _LARGEST_WEIGHT).any()]:
        raise InputError(f"{path} has numbers that no training gives in {listed(bad)}")
    return tensors


def read_card(folder: Path) -> str:
    """Read README.md, "" where there is none. Raises InputError if it is no text."""
    path = folder / "README.md"
    if not path.exists():
        return ""
    try:
        return _read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read: it is not UTF-8") from error


def _read_bytes(path: Path) -> bytes:
    """Read a file; a pipe, a device or a link to one would never end."""
    if not path.is_file():
        why = "it is no file" if path.exists() else "it is not there"
        raise InputError(f"{path} cannot be read: {why}")
    most = _MOST_BYTES[path.name]
    if path.stat().st_size > most:
        raise InputError(f"{path} cannot be read: it is larger than {most / 2**20:,.0f} MiB")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
