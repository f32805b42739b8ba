"""HTML pages from the templates of this package."""

from collections.abc import Callable
from typing import Any

import jinja2


def environment(**filters: Callable[..., Any]) -> jinja2.Environment:
    """Return where pages' templates come from; every text in a page is escaped."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("mcstl"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= filters
    return found
