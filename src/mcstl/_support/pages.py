"""HTML pages from the templates of a room."""

from collections.abc import Callable
from typing import Any

import jinja2


def environment(room: str, **filters: Callable[..., Any]) -> jinja2.Environment:
    """Make the environment in which a room's page templates are rendered; it escapes every text.

    Args:
        room: The package that holds the folder ``templates``, such as "mcstl.reporting".
        filters: Functions that templates may call, by name.

    Returns:
        The environment.
    """
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(room),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= filters
    return made
