"""The wheel: pure Python, whole, and installed into a fresh environment it works."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
CODE = """
import mcstl, pathlib
assert "site-packages" in mcstl.__file__, mcstl.__file__
data = mcstl.datasets.load("simulated", annotations=300)
model = mcstl.fit(data, groups={"by": "taxonomy", "min_size": 20}, training={"epochs": 1})
model.save("model")
print(mcstl.Model.load("model").predict_proba(["Tea is served."]).shape)
"""


@pytest.mark.system
def test_a_wheel_installs_and_works(tmp_path: Path) -> None:
    """Built by pip, then installed beside the packages that are here, without the project."""
    run = {"check": True, "capture_output": True, "text": True, "timeout": 900}
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(PROJECT)], **run)  # type: ignore[call-overload]
    wheel = next(tmp_path.glob("*.whl"))
    assert re.fullmatch(r"mcstl-[\d.]+-py3-none-any\.whl", wheel.name)
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if re.search(r'[:*?"<>|\\]|\.so$|\.pyd$', name)]
    assert len({name.casefold() for name in names}) == len(names)  # disks that know no case
    sources = {
        str(path.relative_to(PROJECT / "src"))
        for path in (PROJECT / "src" / "mcstl").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources <= set(names)
    environment = tmp_path / "fresh"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], **run)  # type: ignore[call-overload]
    python = next(environment.glob("[bS]*/python*"))
    site = next(p for p in environment.rglob("site-packages") if p.is_dir())
    theirs = next(p for p in map(Path, sys.path) if (p / "torch").is_dir())
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, **run)  # type: ignore[call-overload]
    (site / "theirs.pth").write_text(str(theirs))
    isolated = [str(python), "-I", "-c", CODE]
    done = subprocess.run(isolated, cwd=tmp_path, **run)  # type: ignore[call-overload]
    assert done.stdout.strip() == "(1, 1, 3)"
