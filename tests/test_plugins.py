"""A package of somebody else's adds a data set, groups and a method, and touches nothing here."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mcstl
from mcstl import datasets
from mcstl._support import plugins
from mcstl._support.errors import InputError
from mcstl.groups import load_scheme
from mcstl.studies.study_file import Study, groups_config

CODE = """
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from mcstl.datasets import Source
from mcstl.groups import PluginConfig, Scheme
from mcstl.groups.base import make_groups, memberships


def _read(folder, task):
    words = [f"The {w} is here." for w in ("bus", "heron", "tea", "river", "old library by it")]
    texts = [words[i % 5] for i in range(120)]
    return pd.DataFrame({"text": texts, "label": [int(i % 3 == 0) for i in range(120)]})


SOURCE = Source(
    name="words", title="Words", licence="CC0", homepage="https://example.org", files=(),
    counts={}, tasks={"binary": {"no": [0], "yes": [1]}}, groups={"by": "length"}, read=_read,
)


class LengthScheme(Scheme):
    kind: ClassVar[str] = "length"

    def assign(self, annotations, encoder=None, progress=None):
        texts = annotations.frame["text"]
        return memberships([["long" if len(t) > 16 else "short"] for t in texts], self.names)


class LengthConfig(PluginConfig):
    by: Literal["length"] = "length"
    least: int = 1
    scheme: ClassVar[type[Scheme]] = LengthScheme

    def fit(self, annotations, encoder, progress):
        names = ("long", "short")
        rows = [["long" if len(t) > 16 else "short"] for t in annotations.frame["text"]]
        return LengthScheme(make_groups(memberships(rows, names), names, names, annotations), ())


def rates(train, validation, *, n_classes, seed=0):
    p = np.bincount(train.y, weights=train.w, minlength=n_classes) / train.w.sum()
    return lambda rows: np.tile(p, (len(rows), 1))
"""
POINTS = """\
[mcstl.datasets]
words = their_package:SOURCE
[mcstl.groups]
length = their_package:LengthConfig
[mcstl.methods]
rates = their_package:rates
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package, as pip leaves it: a module, and metadata with entry points."""
    site = tmp_path / "site"
    info = site / "their_package-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "their_package.py").write_text(CODE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(site))
    datasets.sources.cache_clear()
    yield info
    datasets.sources.cache_clear()
    sys.modules.pop("their_package", None)


@pytest.mark.usefixtures("cache")
def test_a_whole_study_of_what_another_package_adds(package: Path, tmp_path: Path) -> None:
    study = Study(
        data={"dataset": "words"},
        methods=["mc-stl", "rates"],
        seeds=[0],
        training={"epochs": 2},
    )
    results = mcstl.run(study, out=tmp_path / "out")
    assert [group["name"] for group in results.results["groups"]] == ["long", "short"]
    assert {run["method"] for run in results.results["runs"]} == {"mc-stl", "rates"}
    rates = results.predictions.query("method == 'rates'")
    assert rates["p_1"].nunique() == 1
    model = mcstl.Model.load(tmp_path / "out" / "model")
    assert model.group_names == ("long", "short")
    assert model.scheme is not None
    again = load_scheme(*model.scheme.state())
    data = study.load()
    np.testing.assert_array_equal(again.assign(data).toarray(), model.scheme.assign(data).toarray())


def test_what_is_said_of_what_another_package_adds(package: Path) -> None:
    assert "words" in datasets.sources()
    assert plugins.names("groups") == ["length"]
    with pytest.raises(InputError, match="by length: leest: Extra inputs"):
        groups_config({"by": "length", "leest": 3})
    with pytest.raises(
        InputError, match=r"'lenth' are not known; .*length\. Did you mean 'length'"
    ):
        groups_config({"by": "lenth"})
    combined = groups_config({"combine": [{"by": "length"}, {"by": "attributes"}]})
    assert combined.model_dump()["combine"][0] == {"by": "length", "least": 1}


def test_a_package_that_is_broken_or_there_twice_is_named(package: Path) -> None:
    (package / "entry_points.txt").write_text("[mcstl.methods]\nbad = no_such_module:fit\n")
    with pytest.raises(
        InputError, match=r"no_such_module:fit, which adds 'bad' .* cannot be loaded"
    ):
        plugins.load("methods", "bad")
    other = package.with_name("other-1.0.dist-info")
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[mcstl.methods]\nbad = other:fit\n")
    with pytest.raises(InputError, match="both add 'bad'"):
        plugins.load("methods", "bad")


def test_without_such_packages_nothing_is_added() -> None:
    kinds: tuple[plugins.Extension, ...] = ("datasets", "groups", "methods")
    assert [plugins.names(kind) for kind in kinds] == [[], [], []]
