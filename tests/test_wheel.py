"""What is published: sdist and wheel, built as for a release, and run where nothing else is."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import mcstl

PROJECT = Path(__file__).parents[1]
USER = """
import pathlib
import mcstl

assert "site-packages" in mcstl.__file__, mcstl.__file__
data = mcstl.datasets.load("simulated", annotations=300)
model = mcstl.fit(data, groups={"by": "taxonomy", "min_size": 20}, training={"epochs": 1})
model.save("model")
print(mcstl.Model.load(pathlib.Path("model")).predict_proba(["Tea is served."]).shape)
"""

pytestmark = pytest.mark.system


def run(*command: str | Path, cwd: Path, timeout: int = 1800) -> str:
    """Run a command without the project on the path; what it says if it fails is in the error."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environ |= {"MCSTL_CACHE": str(cwd / "cache")}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environ, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, PROJECT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def programs(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment with the wheel, and with what it needs in our versions."""
    folder = tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "venv", "environment", cwd=folder)
    programs = next((folder / "environment").glob("[bS]*"))
    wheel = next(built.glob("*.whl"))
    pip = (program("python", programs), "-m", "pip", "--quiet", "--disable-pip-version-check")
    constraints = PROJECT / "constraints.txt"
    run(*pip, "install", "--constraint", constraints, wheel, cwd=folder, timeout=3600)
    run(*pip, "check", cwd=folder)
    return programs


def program(name: str, programs: Path) -> str:
    found = shutil.which(name, path=str(programs))
    assert found
    return found


def test_what_is_built_may_be_published(built: Path) -> None:
    names = sorted(path.name for path in built.iterdir())
    version = mcstl.__version__
    assert names == [f"mcstl-{version}-py3-none-any.whl", f"mcstl-{version}.tar.gz"]
    twine = (sys.executable, "-m", "twine", "check", "--strict")
    assert run(*twine, *built.iterdir(), cwd=built).count("PASSED") == 2


def test_the_wheel_is_whole_and_goes_on_every_disk(built: Path) -> None:
    names = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    assert not [name for name in names if re.search(r'[:*?"<>|\\]|\.so$|\.pyd$', name)]
    assert len({name.casefold() for name in names}) == len(names)  # disks that know no case
    sources = {
        path.relative_to(PROJECT / "src").as_posix()
        for path in (PROJECT / "src" / "mcstl").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "mcstl/py.typed" in sources
    assert sources <= set(names)
    assert {name.split("/")[0] for name in names} == {
        "mcstl",
        f"mcstl-{mcstl.__version__}.dist-info",
    }


def test_the_sdist_has_what_developers_need(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    needed = {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "constraints.txt"}
    assert needed <= names
    assert {"src/mcstl/py.typed", "tests/test_wheel.py", "docs/index.md"} <= names
    assert not [name for name in names if re.match(r"\.venv|site/|demo/|out/", name)]


def test_it_runs_where_nothing_else_is(programs: Path, tmp_path: Path) -> None:
    command = program("mcstl", programs)
    assert run(command, "--version", cwd=tmp_path).strip() == f"mcstl {mcstl.__version__}"
    table = run(command, "demo", "--quiet", cwd=tmp_path)
    assert "mc-stl" in table
    assert (tmp_path / "demo" / "report.html").is_file()
    (tmp_path / "user.py").write_text(USER)
    python = program("python", programs)
    assert run(python, "user.py", cwd=tmp_path).strip() == "(1, 1, 3)"


def test_type_checkers_see_its_types(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(f"{USER}\nreveal_type(data)\nreveal_type(model)\n")
    checker = (sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "mypy")
    python = program("python", programs)
    said = run(*checker, "--python-executable", python, "user.py", cwd=tmp_path)
    assert re.findall(r'Revealed type is "([\w.]+)"', said) == [
        "mcstl.data.annotations.Annotations",
        "mcstl.models.model.Model",
    ]
