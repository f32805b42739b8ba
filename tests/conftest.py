"""What the tests share."""

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from mcstl.data.labels import Task

if TYPE_CHECKING:
    from tiny import Finished

# As the command line does it, and before torch is imported: on a busy machine threads that spin
# while they wait made these tests ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# What is printed fits the terminal: a width that the caller's shell exports is not the test's.
os.environ.pop("COLUMNS", None)
# How long an example takes is no law: on a busy machine it is ten times as long.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets (MCSTL_DATA, else shared/data beside the repository)."""
    folder = Path(
        os.environ.get("MCSTL_DATA") or Path(__file__).parents[2] / "shared" / "data"
    ).expanduser()
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (set MCSTL_DATA)")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of encoded texts that all studies under test share, instead of the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCSTL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def finished(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Task], "Finished"]:
    """Return the finished tiny study of a task form; each is run once."""
    from tiny import finish

    return functools.cache(lambda task: finish(tmp_path_factory.mktemp(task), task))
