"""Encoders that come as packages in pieces."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from mcstl._support.errors import InputError
from mcstl.encoding import packaged
from mcstl.encoding.encoders import load_encoder, model_folder

WEIGHTS = b"some weights"


def pieces(folder: Path, content: bytes, n: int = 3) -> list[Path]:
    """Write a file in pieces."""
    step = -(-len(content) // n)
    paths = [folder / f"model.zip.{i:03}" for i in range(1, n + 1)]
    for i, path in enumerate(paths):
        path.write_bytes(content[i * step : (i + 1) * step])
    return paths


def archive(names: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        for name, content in names.items():
            file.writestr(name, content)
    return written.getvalue()


def test_pieces_are_put_together_and_only_what_cannot_run_is_kept(tmp_path: Path) -> None:
    files = {
        "m/model.safetensors": WEIGHTS,
        "m/1_Pooling/config.json": b"{}",
        "m/run.py": b"",
        "m/pytorch_model.bin": b"",
        "m/../../out.json": b"",
    }
    cut, folder = pieces(tmp_path, archive(files)), tmp_path / "cache" / "m"
    packaged.unpack(cut, hashlib.sha256(WEIGHTS).hexdigest(), folder)
    kept = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert kept == {"model.safetensors", "1_Pooling/config.json"}
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (archive({"m/model.safetensors": b"others"}), "do not hold the original: SHA-256"),
        (archive({"m/config.json": b"{}"}), "hold no model"),
        (b"no archive at all", "hold no model"),
    ],
)
def test_what_is_not_the_original_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        packaged.unpack(pieces(tmp_path, content), "0" * 64, tmp_path / "cache" / "m")
    assert not (tmp_path / "cache" / "m").exists()


def test_a_folder_of_that_name_comes_first_and_others_are_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert packaged.packaged_folder("bert-base-uncased", tmp_path) is None
    assert packaged.hint("bert-base-uncased") == ""
    assert "pip install 'mcstl[mpnet]'" in packaged.hint("sentence-transformers/all-mpnet-base-v2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all-mpnet-base-v2").mkdir()
    (tmp_path / "all-mpnet-base-v2" / "config.json").write_text("{}")
    assert model_folder("all-mpnet-base-v2") == Path("all-mpnet-base-v2")


def test_the_packaged_encoder_is_the_original_where_it_is_installed(cache: Path) -> None:
    if packaged.packaged_folder("all-mpnet-base-v2", cache / "encoders") is None:
        pytest.skip("the extra mpnet is not installed")
    encoder = load_encoder("all-mpnet-base-v2")
    assert encoder.encode(["A text."]).shape == (1, 768)
