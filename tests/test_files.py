"""Files that are whole or not there, and one kind of error where they cannot be written."""

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from mcstl._support import files
from mcstl._support.errors import InputError


def test_what_libraries_raise_becomes_an_error_that_names_the_file(tmp_path: Path) -> None:
    """A folder in the file's place stands for a disk that is full."""
    in_the_way = tmp_path / "model.safetensors"
    in_the_way.mkdir()
    tensors = {"v": torch.zeros(2)}
    with pytest.raises(SafetensorError):
        save_file(tensors, in_the_way)
    with (
        pytest.raises(OSError, match=r"cannot be written: .*directory") as caught,
        files.writing(in_the_way),
    ):
        save_file(tensors, in_the_way)
    assert caught.value.filename == str(in_the_way)
    with pytest.raises(FileNotFoundError), files.writing(in_the_way):
        (tmp_path / "nowhere" / "file").write_text("")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    files.write_text(path, "first")

    def stop(temporary: Path) -> None:
        temporary.write_text("half of the sec")
        raise InputError("no more")

    with pytest.raises(InputError), files.replacing(path) as temporary:
        stop(temporary)
    assert path.read_text() == "first"
    assert files.folder_size(tmp_path) == len("first")
    assert files.folder_size(tmp_path / "none") == 0


def in_it(folder: Path) -> str:
    return (folder / "file").read_text()


@pytest.mark.parametrize("replaces", [False, True])
def test_a_folder_is_filled_whole_or_not_at_all(tmp_path: Path, replaces: bool) -> None:
    folder = tmp_path / "a" / "made"

    def fill(text: str, error: bool = False) -> None:
        with files.new_folder(folder, replaces=replaces) as temporary:
            (temporary / "file").write_text(text)
            if error:
                raise InputError("no more")

    with pytest.raises(InputError):
        fill("half", error=True)
    assert not any((tmp_path / "a").iterdir())
    fill("first")
    fill("second")
    assert in_it(folder) == ("second" if replaces else "first")
    with pytest.raises(InputError):
        fill("half", error=True)
    assert in_it(folder) == ("second" if replaces else "first")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["made"]


def test_what_stands_in_the_way_of_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("a file")
    with pytest.raises(OSError, match="made"), files.new_folder(tmp_path / "made"):
        pass
    assert (tmp_path / "made").read_text() == "a file"


def test_flow_is_one_line_that_reads_as_it_was_written() -> None:
    value = {"by": "attributes", "attributes": ["no", "1.0", "a: b"], "size": 5}
    line = files.flow(value)
    assert "\n" not in line
    assert files.yaml().load(line) == value
