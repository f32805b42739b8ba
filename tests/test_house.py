"""The shape of the project: who imports whom, what stays unloaded, and no trace of a machine."""

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mcstl
from house_rules import poorly_documented, too_long, too_many_parameters

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src" / "mcstl"

#: A file imports only from rooms above its own; a package is one room.
HOUSE = (
    "equations",
    "_support",
    "data",
    "datasets",
    "encoding",
    "labelling",
    "groups",
    "models",
    "evaluation",
    "methods",
    "studies",
    "reporting",
    "reproduce",
    "serving",
    "rewards",
    "cli",
)
HEAVY = ("torch", "transformers", "sentence_transformers", "sklearn", "matplotlib")
FILES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    """The room of a file: its module, or the package that it is in; "" for the front door."""
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imported(code: str, package: str) -> Iterator[str]:
    """Dotted names of all that `code`, a module of `package`, imports, inside functions too."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def dotted(path: Path) -> str:
    """The name by which a file is imported."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    package = ".".join(path.relative_to(SOURCE.parent).parts[:-1])
    return set(imported(path.read_text(encoding="utf-8"), package))


def rooms_in(names: set[str]) -> set[str]:
    """The rooms among imported names; what the front door passes on is from the room behind it."""
    parts = [name.split(".") for name in names]
    inside = {part[1] for part in parts if part[0] == "mcstl" and len(part) > 1}
    return {mcstl._HOME.get(name, name).split(".")[0] for name in inside} - {"__version__"}


def violations(own: str, names: set[str]) -> set[str]:
    """Rooms that `own` must not import: those at or below it, and those that are not listed."""
    above = HOUSE[: HOUSE.index(own)] if own else HOUSE
    return rooms_in(names) - {own, *above}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_one_way(path: Path) -> None:
    own = room(path)
    assert own in ("", *HOUSE), f"{own} has no place in the house: add it to the list"
    assert not violations(own, imports_of(path))


@pytest.mark.parametrize(
    ("own", "code", "expected"),
    [
        ("studies", "from mcstl.reporting import page", {"reporting"}),
        ("studies", "def f():\n    import mcstl.reporting.plots as p", {"reporting"}),
        ("studies", "from mcstl import reporting, data, __version__", {"reporting"}),
        ("groups", "from .. import models", {"models"}),
        ("models", "from mcstl import Study, run", {"studies"}),
        ("studies", "from ..models.model import Model", set()),
        ("models", "from mcstl.unheard import x", {"unheard"}),
        ("groups", "from ..equations import f", set()),
        ("groups", "from .taxonomy import f\nfrom mcstl.groups.rationale import g", set()),
        ("", "from mcstl._support.errors import InputError", set()),
    ],
)
def test_the_check_of_imports_sees_every_form(own: str, code: str, expected: set[str]) -> None:
    package = f"mcstl.{own}".removesuffix(".")
    assert violations(own, set(imported(code, package))) == expected


@pytest.mark.parametrize("own", ["evaluation", "reporting"])
def test_those_who_only_count_or_draw_see_no_network(own: str) -> None:
    networks = {"torch", "mcstl.models.model", "mcstl.models.training", "mcstl.studies.run"}
    paths = [path for path in FILES if room(path) == own]
    for name in set().union(*map(imports_of, paths)):
        assert not any(name == one or name.startswith(f"{one}.") for one in networks), name
    assert not loaded_by(*map(dotted, paths)) & networks


def test_the_top_level_is_the_rooms() -> None:
    names = {path.name for path in SOURCE.iterdir()} - {"__pycache__"}
    rooms = {f"{name}.py" if name == "equations" else name for name in HOUSE}
    assert names == rooms | {"__init__.py", "py.typed"}
    assert len(names) <= 18


def test_no_import_goes_in_a_circle() -> None:
    # The front door is no part of it: it names every room to type checkers and imports none.
    modules = {dotted(path): path for path in FILES if room(path)}
    arrows = {}
    for name, path in modules.items():
        found = {each if each in modules else each.rpartition(".")[0] for each in imports_of(path)}
        arrows[name] = found & set(modules) - {name}
    graphlib.TopologicalSorter(arrows).prepare()  # raises CycleError


def test_only_the_command_line_parses_arguments() -> None:
    parsers = {"typer", "argparse", "click"}
    for path in FILES:
        if room(path) != "cli":
            assert not {name.split(".")[0] for name in imports_of(path)} & parsers, path


def loaded_by(*modules: str) -> set[str]:
    """Names of the modules that importing `modules` in a new process loads."""
    code = f"import {', '.join(modules)}, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["mcstl", "mcstl.data.annotations", "mcstl.studies.first_study", "mcstl.cli"]
)
def test_importing_loads_nothing_heavy(module: str) -> None:
    assert not loaded_by(module) & set(HEAVY)


def test_front_door_leads_to_rooms_of_the_house() -> None:
    homes = {home.split(".")[0] for home in mcstl._HOME.values()}
    assert homes | set(mcstl._MODULES) <= set(HOUSE)
    assert set(mcstl.__all__) == {"__version__", *mcstl._HOME, *mcstl._MODULES}
    typed = {name for name in imports_of(SOURCE / "__init__.py") if name.startswith("mcstl.")}
    passed_on = {f"mcstl.{home}.{name}" for name, home in mcstl._HOME.items()}
    assert typed == passed_on | {f"mcstl.{name}" for name in mcstl._MODULES}


@pytest.mark.parametrize(
    "rule",
    [
        too_many_parameters,
        too_long,
        poorly_documented,
    ],
)
def test_every_file_keeps_the_rules(rule: Callable[[Path], list[str]]) -> None:
    offenders = [line for path in FILES for line in rule(path)]
    assert not offenders, "\n" + "\n".join(offenders)


SAMPLE = '''
class Base:
    """Hold a number.

    Attributes:
        x: A number.
    """

    x: int
    {field}

    def f(self, a: int, *rest: int, b: int = 3, **options: int) -> int:
        """Add.

        Args:
            a: A number.
            *rest: More: as many as there are.
            {argument}
            **options: What else there is.

        {returns}:
            The sum.
        """
        return a

    @property
    def half(self) -> int:
        """Half of it."""


class Derived(Base):
    """Hold a number."""

    def f(self, a, *rest, b=3, **options) -> int:
        """{see}."""


def _private(a, b, c, d, e, f, g, h{more}):
    def inner(x): ...


{after}
'''
GOOD = {
    "field": "_hidden: int = 0",
    "argument": "b: A number.",
    "returns": "Returns",
    "see": "See `Base.f`",
    "more": "",
    "after": "",
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"field": "y: int = 0"}, ["Base: Attributes: lacks y"]),
        ({"argument": ""}, ["Base.f: Args: lacks b"]),
        ({"argument": "c: A number."}, ["Base.f: Args: lacks b", "Base.f: Args: names c"]),
        ({"returns": "Answers"}, ["Base.f: no Returns"]),
        ({"see": "Add"}, ["Derived.f: Args: lacks a, rest, b, options", "Derived.f: no Returns"]),
        ({"more": ", i"}, ["_private has 9 parameters"]),
        ({"after": "x = 1  # one\n\n" * 389}, []),
        ({"after": "x = 1  # one\n\n" * 390}, ["401 lines of code"]),
    ],
)
def test_the_rules_are_seen_to_be_broken(
    changes: dict[str, str], expected: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "file.py"
    file.write_text(SAMPLE.format(**GOOD | changes))
    broken = [
        line for rule in (too_many_parameters, too_long, poorly_documented) for line in rule(file)
    ]
    assert len(broken) == len(expected)
    assert all(part in line for part, line in zip(expected, broken, strict=True)), broken


def project_files() -> Iterator[Path]:
    """Every text file of the project that is not made by a tool."""
    folders = ("src", "tests", "benchmarks", "examples", "studies", "docs", ".ci", ".github")
    made = {"__pycache__", "node_modules"}
    # In a worktree of git .git is a file, which says where the repository is.
    yield from (path for path in PROJECT.iterdir() if path.is_file() and path.name != ".git")
    for folder in folders:
        for path in (PROJECT / folder).rglob("*"):
            if path.is_file() and not made & set(path.parts):
                yield path


TRACES = {
    "a path of one machine": re.compile(
        r"(?<![\w.~:$}/-])/(?:work|home|root|Users|mnt)/\w|\b[A-Z]:\\Users\b|\.library\b"
    ),
    "the host of a package registry": re.compile(
        r"pypi\.org|pythonhosted|artifactory|jfrog|devpi|index-url|conda\.anaconda|registry\.npmjs"
    ),
}


def traces(text: str) -> list[str]:
    return [what for what, pattern in TRACES.items() if pattern.search(text)]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = {
        str(path.relative_to(PROJECT)): what
        for path in project_files()
        if path != Path(__file__)
        and (what := traces(path.read_bytes().decode("utf-8", errors="ignore")))
    }
    assert not found


def test_no_file_refers_to_a_page_that_is_not_here() -> None:
    """The design is described in CONTRIBUTING.md and docs/, and nowhere else."""
    found = [
        str(path.relative_to(PROJECT))
        for path in project_files()
        if path != Path(__file__)
        and re.search(r"\bDESIGN\b", path.read_bytes().decode("utf-8", errors="ignore"))
    ]
    assert not found


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ('open("/home/me/data.csv")', 1),
        ("cd /work/main", 1),
        (r"C:\Users\me", 1),
        ("pip install --index-url https://x", 1),
        ("https://example.org/home/me and ../work/main and src/root/x", 0),
    ],
)
def test_the_check_for_traces_finds_them(text: str, n: int) -> None:
    assert len(traces(text)) == n
