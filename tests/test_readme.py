"""What the README shows is what happens."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mcstl.cli import app

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block(language: str, after: str) -> str:
    """The first fenced block of a language after a phrase."""
    found = re.search(rf"```{language}\n(.*?)```", README[README.index(after) :], re.DOTALL)
    assert found
    return found.group(1)


@pytest.mark.usefixtures("cache")
def test_the_five_lines_print_what_it_says() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block("python", "## In Python"), "README.md", "exec"), {})
    numbers = [
        np.array(re.findall(r"\d\.\d*", text), dtype=float)
        for text in (printed.getvalue(), block("", "three perspectives"))
    ]
    assert len(numbers[0]) == 9
    assert numbers[0] == pytest.approx(numbers[1], abs=0.08)  # machines round in other ways


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"mcstl ([a-z]+)(?= |`|$)", README, re.MULTILINE))
    helped = CliRunner().invoke(app, ["--help"]).output
    commands = set(re.findall(r"^[│ ]+([a-z]+) ", helped, re.MULTILINE))
    assert {"init", "check", "run"} <= commands
    prose = {"learns"}
    assert named - prose <= commands
