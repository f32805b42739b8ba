"""What is in a model directory, and what is refused: it may come from anybody.

Nothing in one is run. JSON and safetensors are only read, no file is opened that is none, and no
more memory is taken than the files themselves fill.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from mcstl import __version__
from mcstl._support import files
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, brief, listed
from mcstl.groups import MOST_GROUPS

if TYPE_CHECKING:
    from torch import Tensor

    from mcstl.encoding.encoders import Encoder

#: The version of the model directory; raised when its meaning changes.
SCHEMA = 2
#: All that a model directory has.
FILES = ("config.json", "model.safetensors", "README.md")
#: The folder in it with the weights of an encoder that was trained further, and its files.
ENCODER = "encoder"
ENCODER_FILES = (f"{ENCODER}/*.json", f"{ENCODER}/*.safetensors", f"{ENCODER}/*.txt")
#: Larger ones are no model of ours: a million groups have embeddings of 1.5 GiB.
_MOST_BYTES = {"config.json": 2**29, "model.safetensors": 2**34, "README.md": 2**24}

#: Predictions from larger ones could overflow.
_LARGEST_WEIGHT = 1e6


def check_replaceable(folder: Path) -> None:
    """Check that saving to a folder would delete nothing but a model of ours.

    Args:
        folder: The folder to save to, which need not exist.

    Raises:
        InputError: If it holds anything else.
    """
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


def write_directory(
    folder: Path,
    tensors: dict[str, "Tensor"],
    config: Mapping[str, Any],
    readme: str,
    encoder: Path | None,
) -> None:
    """Write a model directory, whole or not.

    Args:
        folder: The directory; a model of ours that is there is replaced.
        tensors: All tensors of the model.
        config: What config.json holds.
        readme: The model's card.
        encoder: The folder of an encoder that was trained further; None where it is found by name.
    """
    from safetensors.torch import save_file

    with files.new_folder(folder, replaces=True) as temporary:
        file = temporary / "model.safetensors"
        with files.writing(file):
            save_file(tensors, file)
        if encoder is not None:
            shutil.copytree(encoder, temporary / ENCODER)
        files.write_text(
            temporary / "config.json", json.dumps(config, indent=1, ensure_ascii=False)
        )
        files.write_text(temporary / "README.md", readme)


def model_in(folder: Path) -> Path:
    """Find the model directory in the outputs of a study.

    Args:
        folder: A model directory, or a folder that a study wrote.

    Returns:
        The model directory.

    Raises:
        InputError: The study left no model.
    """
    if (folder / "config.json").exists() or not (folder / "results.json").exists():
        return folder
    if not (folder / "model").is_dir():
        raise InputError(
            f"{folder} holds the results of a study and no model: none of its methods leaves one, "
            "as mc-stl and best do"
        )
    return folder / "model"


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    Args:
        folder: The model directory.

    Returns:
        Its content, of this schema or of one that `upgraded` reads.

    Raises:
        InputError: If it is none of ours, or of a schema that cannot be read.
    """
    path = folder / "config.json"
    if not path.exists() and (folder / "questions.json").exists():
        raise InputError(
            f"{folder} holds a model for each of several questions; give the folder of one of them "
            f"in it, or read all with mcstl.models.questions.QuestionsModel.load"
        )
    if not path.exists():
        raise InputError(f"{folder} holds no model (no config.json); give a folder that save wrote")
    content = _read_bytes(path)
    try:
        config: dict[str, Any] = json.loads(content)
        schema = config["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not the config of a model of mcstl: {error}") from error
    if schema not in (1, SCHEMA):
        wrote = brief(config.get("mcstl", "unknown"))
        raise InputError(
            f"the model in {folder} has schema {brief(schema)}; this mcstl ({__version__}) reads "
            f"schemas 1 and {SCHEMA}. Use the version that wrote it: {wrote}"
        )
    return config


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config of schema 1 as schema 2 would have it, and others as they are.

    Schema 1 did not say of which kind a network is, nor the layer where it was the usual one.

    Args:
        config: What `read_config` returned.

    Returns:
        The config of this schema.
    """
    if config["schema"] == SCHEMA:
        return dict(config)
    people = config.get("people", [])

    def network_of(entry: Mapping[str, Any]) -> dict[str, Any]:
        if "members" in entry:
            return {**entry, "kind": "mean", "members": [*map(network_of, entry["members"])]}
        if "traits" in entry:
            kind = {"kind": "people", "annotators": len(people)}
        else:
            kind = {"kind": "product" if entry.get("form") == "product" else "mc-stl"}
        return {"layer": "normed", **entry, **kind}

    return {**config, "schema": SCHEMA, "people": people, "network": network_of(config["network"])}


def check_form(config: Mapping[str, Any]) -> None:
    """Check the sizes of a config and that its classes and groups are names, each once.

    Args:
        config: A config of this schema.

    Raises:
        ValueError: If a size is too small, or names are none or repeated.
    """
    for name, size in config["network"].items():
        least = 0 if name in ("n_groups", "annotators") else 1
        if type(size) is int and size < least:
            raise ValueError(f"its {name} is {size}")
    lists = {"classes": config["classes"]}
    if config["scheme"]:
        lists["groups"] = [group["name"] for group in config["scheme"]["groups"]]
    for what, names in lists.items():
        is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not is_list or len(set(names)) < len(names):
            raise ValueError(f"its {what} are not distinct names: {brief(names)}")


def identity_of(encoder: "Encoder") -> dict[str, str | int]:
    """Say which encoder a model needs.

    Args:
        encoder: The encoder.

    Returns:
        Its ``name``, its ``fingerprint`` and, where it tells parts of texts apart, ``parts``; its
        ``reading`` where it reads the last part alone, and ``rationale`` where it reads one.
    """
    identity: dict[str, str | int] = {"name": encoder.name, "fingerprint": encoder.fingerprint}
    if encoder.parts > 1:
        identity["parts"] = encoder.parts
    if encoder.reading == "last":
        identity["reading"] = "last"
    if encoder.rationale:
        identity["rationale"] = True
    return identity


def identity_in(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Read which encoder a model needs.

    Args:
        entry: What `identity_of` returned.

    Returns:
        Its name and its fingerprint.

    Raises:
        KeyError: It is not said.
    """
    return str(entry["name"]), str(entry["fingerprint"])


def check_identity(folder: Path, encoder: "Encoder", name: str, fingerprint: str) -> None:
    """Check that an encoder is the one that a model was trained with.

    Args:
        folder: The model directory.
        encoder: The encoder that is there.
        name: The name of the one that is needed.
        fingerprint: The fingerprint of the one that is needed.

    Raises:
        InputError: It is another.
    """
    if encoder.fingerprint != fingerprint:
        raise InputError(
            f"the model in {folder} was trained on other weights of {name!r} "
            f"(fingerprint {fingerprint}, here {encoder.fingerprint}); "
            "give the folder of the encoder it was trained with"
        )


def without_left_out(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scheme's state without the names of groups that were too small to be learnt.

    Such a name is what few people answered, and nobody asked for it to leave.

    Args:
        state: What a scheme's `state` returned.

    Returns:
        The state, and those inside it, with an empty ``left_out``.
    """
    inner: dict[str, Any] = {}
    if "members" in state:
        inner["members"] = [*map(without_left_out, state["members"])]
    if state.get("first"):
        inner["first"] = without_left_out(state["first"])
    return {**state, "left_out": [], **inner}


def under(prefix: str, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Return the tensors whose name starts with a prefix, by the rest of their names.

    Args:
        prefix: The start of the name.
        tensors: Tensors by name.

    Returns:
        Those that have it.
    """
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def population_tensors(S: csr_matrix, weights: FloatArray) -> "dict[str, Tensor]":
    """Return a population as the tensors of model.safetensors.

    Args:
        S: The distinct memberships of the training set, (P, K).
        weights: How often each occurs, (P,).

    Returns:
        The tensors by name, which `population_of` reads.
    """
    import torch

    return {
        "population.indptr": torch.from_numpy(S.indptr.astype(np.int64)),
        "population.indices": torch.from_numpy(S.indices.astype(np.int64)),
        "population.membership": torch.from_numpy(S.data.astype(np.float32)),
        "population.weights": torch.from_numpy(np.asarray(weights, dtype=np.float64)),
    }


def population_of(tensors: "Mapping[str, Tensor]", n_groups: int) -> tuple[csr_matrix, FloatArray]:
    """Read the population from the tensors of model.safetensors.

    Args:
        tensors: What `read_tensors` returned.
        n_groups: The number of groups, K.

    Returns:
        The distinct memberships of the training set, (P, K), and how often each occurs, (P,).

    Raises:
        KeyError: If a tensor is missing.
        ValueError: If the numbers are no memberships and counts, or do not fit together.
    """
    arrays = {name: tensor.numpy() for name, tensor in under("population.", tensors).items()}
    indices, indptr, weights = (arrays[name] for name in ("indices", "indptr", "weights"))
    # Models of before there was soft membership do not say it: it is 1.
    membership = arrays.get("membership", np.ones(len(indices), dtype=np.float32))
    S = csr_matrix((membership, indices, indptr), shape=(len(indptr) - 1, n_groups))
    S.check_format(full_check=True)
    if not ((membership >= 0) & (membership <= 1)).all():
        raise ValueError("the memberships of its population are no shares")
    if n_groups > MOST_GROUPS:
        raise ValueError(f"it has {n_groups:,} groups, more than {MOST_GROUPS:,}")
    if weights.shape != (S.shape[0],):
        raise ValueError("its parts do not fit together")
    if not ((weights >= 0).all() and weights.sum() > 0):
        raise ValueError("the weights of its population are no counts")
    return S, weights


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Read model.safetensors.

    Args:
        path: The file.

    Returns:
        Its tensors by name.

    Raises:
        InputError: If it is not whole, or has numbers that no training gives.
    """
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
    """Read README.md.

    Args:
        folder: The model directory.

    Returns:
        The card, "" where there is none.

    Raises:
        InputError: If it is no text.
    """
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
