"""The command line: arguments in, calls out, no logic.

A file per family of commands, each adding its own to `app`; what is heavy is imported by the
command that needs it.
"""

from mcstl.cli import data, groups, label, predict, reproduce, serve, study, tune  # noqa: F401
from mcstl.cli.app import app, main

__all__ = ["app", "main"]
