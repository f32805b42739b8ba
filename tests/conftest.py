"""What the tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets (MCSTL_DATA, else shared/data beside the repository)."""
    folder = Path(
        os.environ.get("MCSTL_DATA") or Path(__file__).parents[2] / "shared" / "data"
    ).expanduser()
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (set MCSTL_DATA)")
    return folder
