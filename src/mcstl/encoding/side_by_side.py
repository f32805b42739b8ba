"""Several encoders side by side: embeddings, and views of n-grams that are fitted here."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mcstl._support import files
from mcstl._support.arrays import BoolArray, Float32Array
from mcstl._support.errors import InputError, brief, listed
from mcstl._support.progress import Progress, silent
from mcstl.encoding.encoders import (
    FINE_TUNED_FILE,
    PAPER_ENCODER,
    Encoder,
    fine_tuned_folder,
    load_encoder,
    text_key,
)
from mcstl.encoding.ngrams import NGRAMS, NgramEncoder, check_directions

_TENSORS = "ngrams.safetensors"


class SideBySideEncoder(Encoder):
    """The vectors of several encoders in a row.

    Args:
        members: The encoders, in order; none of them has been trained further.

    Attributes:
        name: The names of the members, joined by " + ".
        fingerprint: A hash of theirs.
        members: As given.
    """

    # Not Encoder's: it has neither weights nor a cache of its own.
    def __init__(self, members: Sequence[Encoder]) -> None:
        self.members = tuple(members)
        self.name = " + ".join(member.name for member in members)
        marks = "\0".join(member.fingerprint for member in members)
        self.fingerprint = text_key(marks).hex()
        self._truncated: set[bytes] = set()
        self._keep = True

    def __reduce__(self) -> tuple[Any, ...]:
        return SideBySideEncoder, (self.members,)

    @cached_property
    def folder(self) -> Path:  # type: ignore[override]
        """A folder that says which encoders these are, with what was fitted here."""
        folder = fine_tuned_folder() / f"side-by-side-{self.fingerprint}"
        if not folder.exists():
            _write(folder, self.name, self.members)
        return folder

    def forgetful(self) -> "SideBySideEncoder":
        """See `Encoder.forgetful`.

        Returns:
            Encoders that keep nothing of any text.
        """
        copy = SideBySideEncoder([member.forgetful() for member in self.members])
        copy._keep = False
        return copy

    @property
    def dimension(self) -> int:
        """The length of a vector, the sum of the members'."""
        return sum(member.dimension for member in self.members)

    @property
    def backend(self) -> str:
        """See `Encoder.backend`."""
        return " + ".join(member.backend for member in self.members)

    def encode_with_cuts(
        self, texts: Sequence[str], progress: Progress = silent
    ) -> tuple[Float32Array, BoolArray]:
        """See `Encoder.encode_with_cuts`; a text is cut where any member cuts it."""
        vectors, cuts = zip(
            *(member.encode_with_cuts(texts, progress) for member in self.members), strict=True
        )
        cut: BoolArray = np.any(cuts, axis=0)
        if self._keep:
            keys = (text_key(text) for text, is_long in zip(texts, cut, strict=True) if is_long)
            self._truncated.update(keys)
        return np.hstack(vectors), cut

    def encode_uncached(self, texts: Sequence[str]) -> Float32Array:
        """See `Encoder.encode_uncached`."""
        return np.hstack([member.encode_uncached(texts) for member in self.members])


def first_embedding(names: Sequence[str]) -> str:
    """Find which of several encoders forms groups by rationale.

    Args:
        names: Names of encoders.

    Returns:
        The first that is no view of n-grams, by default the paper's.
    """
    return next((name for name in names if name not in NGRAMS), PAPER_ENCODER)


def members_for(names: Sequence[str], first: Encoder, train_texts: Sequence[str]) -> list[Encoder]:
    """Load, or fit to training texts, the encoders that shall stand side by side.

    Args:
        names: Their names.
        first: That of `first_embedding`, which is loaded already.
        train_texts: The texts that views of n-grams are fitted to.

    Returns:
        The encoders, in the order of their names.

    Raises:
        InputError: One cannot be had, or is named twice.
    """
    if not names or len({*names}) < len(names):
        raise InputError(f"encoder: name one or several different ones; got {listed(names)}")

    def member(name: str) -> Encoder:
        if name in NGRAMS:
            return NgramEncoder.fit(name, train_texts)
        return first if name == first_embedding(names) else load_encoder(name)

    return [member(name) for name in names]


def load_saved(folder: Path) -> Encoder:
    """Load the encoder that was saved with a model.

    Args:
        folder: The folder, as `SideBySideEncoder.folder` or that of an encoder trained further.

    Returns:
        The encoder.

    Raises:
        InputError: It cannot be read, or a member cannot be had.
    """
    try:
        made = json.loads((folder / FINE_TUNED_FILE).read_text(encoding="utf-8"))
        names = made.get("members")
        if names is None:
            return load_encoder(str(folder))
        path = folder / _TENSORS
        fitted = _read(path) if path.exists() else {}
        members: list[Encoder] = []
        for name in map(str, names):
            if name in fitted:
                check_directions(name, fitted[name])
                members.append(NgramEncoder(name, fitted[name]))
            else:
                members.append(load_encoder(name))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"the encoder in {folder} cannot be read: {brief(error, 100)}") from error
    return SideBySideEncoder(members)


def _read(path: Path) -> dict[str, Float32Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _write(folder: Path, name: str, members: Sequence[Encoder]) -> None:
    from safetensors.numpy import save

    with files.new_folder(folder) as temporary:
        made = {"name": name, "members": [member.name for member in members]}
        files.write_text(temporary / FINE_TUNED_FILE, json.dumps(made, indent=1))
        fitted = {each.name: each.directions for each in members if isinstance(each, NgramEncoder)}
        if fitted:
            (temporary / _TENSORS).write_bytes(save(fitted))
