"""What the pages show is what happens: their Python runs, and the tutorial's output is real."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from mcstl import equations
from mcstl.cli import app
from mcstl.studies.study_file import Study

DOCS = Path(__file__).parents[1] / "docs"
TUTORIAL = (DOCS / "tutorial.md").read_text(encoding="utf-8")
#: Pages whose Python needs nothing but what they say and the tutorial's table.
PAGES = [
    "index.md",
    "for-researchers.md",
    "for-moderation.md",
    "for-rewards.md",
    "how-to/taxonomy.md",
    "how-to/demographics.md",
    "how-to/preferences.md",
    "how-to/no-rationales.md",
    "how-to/several-labels.md",
    "how-to/serving.md",
    "how-to/scale.md",
    "importers.md",
    "rewards.md",
    "hub.md",
    "estimator.md",
    "extending.md",
]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
BORDER = re.compile("[─━┏┓┡┩└┘┳╇┴│┃╵╷]+")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run(code: list[str]) -> dict[str, Any]:
    """Run the blocks of a page one after the other, and return what they left."""
    left: dict[str, Any] = {}
    for block in code:
        exec(compile(block, "a page", "exec"), left)
    return left


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """A folder to work in, with the tutorial's table."""
    monkeypatch.chdir(tmp_path)
    run(blocks(TUTORIAL, "python")[:1])
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # of transformers
@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, here: Path) -> None:
    code = blocks((DOCS / page).read_text(encoding="utf-8"), "python")
    assert code
    left = run(code)
    if page == "estimator.md":
        assert left["model"].predict(["Cold rain"], groups=[["B"]]).tolist() == ["good"]


def test_the_tutorial_prints_what_it_says(here: Path) -> None:
    """Every command in turn; words to the letter, numbers to what other machines round."""
    for block in blocks(TUTORIAL, "console"):
        command, expected = block.split("\n", 1)
        done = CliRunner().invoke(app, command.removeprefix("$ mcstl ").split())
        assert done.exit_code == 0, done.output
        told = [BORDER.sub(" ", text) for text in (done.output, expected)]
        words = [NUMBER.sub("#", text).split() for text in told]  # wherever lines are broken
        assert words[0] == words[1]
        numbers = [[float(n) for n in NUMBER.findall(text)] for text in told]
        np.testing.assert_allclose(numbers[0], numbers[1], atol=0.1, rtol=0.1)
        if " init " in command:
            study = here / "town.yaml"
            labels, seeds = blocks(TUTORIAL, "yaml")[0].strip().splitlines()
            text = re.sub("^# labels: .*$", labels, study.read_text(), flags=re.MULTILINE)
            study.write_text(f"{text}\n{seeds}\n")
    exec(blocks(TUTORIAL, "python")[-1], {})
    assert (here / "out" / "model" / "README.md").exists()


def test_the_study_file_is_one(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    page = (DOCS / "studies.md").read_text(encoding="utf-8")
    file.write_text(blocks(page, "yaml")[0], encoding="utf-8")
    assert "best" in [method.title for method in Study.read(file).methods]


def shown_commands(page: Path) -> list[str]:
    """The commands in a page's blocks and between its backticks, without ``mcstl``."""
    text = re.sub(r"\\\n *", " ", page.read_text(encoding="utf-8"))
    parts = re.split(r"^ *```.*$", text, flags=re.MULTILINE)  # outside, in a block, outside, ...
    line = r"^(?:\$ )?(?:\.venv/bin/)?mcstl (.+)$"
    return [
        *re.findall(line, "\n".join(parts[1::2]), re.MULTILINE),
        *re.findall(r"`mcstl ([^`]+)`", "\n".join(parts[::2])),
    ]


@pytest.mark.parametrize(
    "page", [DOCS.parent / "README.md", *DOCS.rglob("*.md")], ids=lambda path: path.stem
)
def test_the_commands_that_a_page_shows_exist(page: Path) -> None:
    for line in shown_commands(page):
        words = shlex.split(line, comments=True)
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands") and words and words[0].islower() and words[0][0] != "-":
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        known = {name for option in command.params for name in option.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_the_method_cites_the_paper_as_its_functions_do() -> None:
    cited = re.findall(
        r"^## .*\n\n.+\n\n(.+)\.\n\n::: mcstl\.equations\.(\w+)$",
        (DOCS / "method.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(cited) > 15
    for sources, name in cited:
        docstring = getattr(equations, name).__doc__
        for source in sources.split(", "):
            assert source == "CORAL" or source in docstring, name


def test_the_pages_that_are_listed_exist() -> None:
    listed = re.findall(r"[\w/-]+\.md", (DOCS / ".nav.yml").read_text(encoding="utf-8"))
    assert len(listed) > 15
    assert not [page for page in listed if not (DOCS / page).exists()]


def test_the_site_asks_nobody_for_anything() -> None:
    """No fonts, scripts or pictures of others in the configuration, and none in the pages."""
    config = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in config
    assert "extra_javascript" not in config
    script = re.findall(r"polyfills: \[(.*iframe-worker.*)\]", config)[
        0
    ]  # else the theme takes it from a CDN
    assert (DOCS / script).exists()
    for page in DOCS.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"!\[[^]]*\]\(http|<(?:script|img|iframe|link)\b", text), page
