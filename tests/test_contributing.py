"""What CONTRIBUTING.md adds to every room works as it stands there: a file and a line each."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mcstl
from house_rules import poorly_documented
from mcstl import datasets, methods
from mcstl.evaluation import metrics

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mcstl.methods.features") is None,
    reason="the registry of methods is not there yet",
)
FILES = dict(re.findall(r"^```python\n# (src/\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Path]]:
    """The files of the page, imported under their names, and by name where each lies."""
    paths = {}
    for place, code in FILES.items():
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
        paths[path.stem] = path
        name = ".".join(Path(place).with_suffix("").parts[1:])
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    datasets.sources.cache_clear()
    yield paths
    datasets.sources.cache_clear()


def test_every_file_that_the_page_names_is_there() -> None:
    text = re.sub(r"^```.*?^```$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`((?:[\w.]+/)+[\w.]*|\w+\.(?:md|toml|txt|yaml))`", text))
    places = [PROJECT, PROJECT / "src", PROJECT / "src" / "mcstl"]
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    added = {Path(place).name for place in FILES} | {"haikus.csv"}
    assert len(named) > 20
    assert not [name for name in missing if Path(name).name not in added]


def test_the_files_keep_the_rules(added: dict[str, Path]) -> None:
    assert len(added) == 4
    assert not [line for path in added.values() for line in poorly_documented(path)]
    check = [sys.executable, "-m", "ruff", "check", "--config", str(PROJECT / "pyproject.toml")]
    for path in added.values():
        done = subprocess.run([*check, str(path)], capture_output=True, text=True)
        assert not done.returncode, done.stdout


@pytest.mark.usefixtures("cache")
def test_a_study_of_all_that_is_added(
    added: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {name: sys.modules[f"mcstl.{path.parent.name}.{name}"] for name, path in added.items()}
    # The lines.
    assert '`"rates": "rates"` in `_REGISTRY` of `methods/__init__.py`' in PAGE
    monkeypatch.setitem(vars(methods)["_REGISTRY"], "rates", "rates")
    assert '`"haikus"` in `_FILES` of `datasets/__init__.py`' in PAGE
    monkeypatch.setattr(datasets, "_FILES", (*datasets._FILES, "haikus"))
    assert '`"spherical": spherical_rows` in `PER_ROW` of `evaluation/metrics.py`' in PAGE
    monkeypatch.setitem(metrics.PER_ROW, "spherical", module["spherical"].spherical_rows)
    install(re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[0], tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    (tmp_path / "haikus").mkdir()
    rows = [
        {
            "poem": f"An old pond {'by the very old and mossy library of the town ' * (i % 2)}{i}",
            "moved": (i + reader) % 2,
            "reader": f"reader {reader}",
            "age": 20 + reader,
        }
        for i in range(40)
        for reader in range(3)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "haikus" / "haikus.csv", index=False)
    study = mcstl.Study(
        data={"dataset": "haikus"},
        groups={"by": "length"},
        methods=["rates", "none"],
        training={"epochs": 1},
        seeds=[0],
    )
    results = mcstl.run(study, out=tmp_path / "out", data_dir=tmp_path)
    assert {group["name"] for group in results.results["groups"]} == {"long", "short"}
    predicted = results.predictions.query("method == 'rates'")
    assert np.ptp(predicted["p_1"]) == 0
    run = next(run for run in results.results["runs"] if run["method"] == "rates")
    p = predicted[["p_0", "p_1"]].to_numpy()
    spherical = p[np.arange(len(p)), predicted["label"]] / np.linalg.norm(p, axis=1)
    assert run["metrics"]["spherical"] == pytest.approx(spherical.mean())
    assert all(0 < group["spherical"] < 1 for group in run["groups"])
    assert results.results["summary"]["rates"]["spherical"]["interval"] == "items and annotators"
    assert "spherical" in results.results["differences"]["methods"]["rates"]


def install(toml: str, folder: Path) -> None:
    """Leave the metadata with entry points that pip leaves in a folder of packages."""
    info = folder / "added-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1.0\n")
    points = tomllib.loads(toml)["project"]["entry-points"]
    lines = [
        line
        for group, named in points.items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in named.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
