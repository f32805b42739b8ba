"""HTML pages from the templates of a room."""

from collections.abc import Callable
from typing import Any

import jinja2


def environment(room: str, **filters: Callable[..., Any]) -> jinja2.Environment:
    """Return where the pages of a `room`, as ``mcstl.reporting``, have their templates.

    Every text in a page is escaped.
    """
    found = jinja2.Environment(
        loader=jinja2.PackageLoader(room),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= filters
    return found
