"""What every page shares: its look, its figures, and that nothing in it is loaded or run.

Styles and figures are inside a page, and its own content security policy forbids the rest. Every
text is escaped: texts under study may contain HTML.
"""

import base64
import re
from pathlib import Path
from typing import NamedTuple

import jinja2
from matplotlib.figure import Figure

from mcstl._support import pages
from mcstl.evaluation import metrics
from mcstl.models.card import people
from mcstl.reporting import plots


class Picture(NamedTuple):
    """A figure for wide and narrow screens, as data URIs."""

    wide: str
    narrow: str
    alt: str


def picture(stem: Path, wide: Figure, narrow: Figure, alt: str) -> Picture:
    """Write ``stem.png`` and ``stem.svg`` and return the figure for a page."""
    return Picture(data_uri(plots.save(wide, stem)), data_uri(plots.to_svg(narrow)), alt)


def data_uri(svg: str) -> str:
    """Return an SVG as the address of an image."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def slug(text: str) -> str:
    """Return a name for a file, as ``none-platt`` for "none + platt"."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "other"


def environment() -> jinja2.Environment:
    """Return where templates come from, with `number` and `count` for numbers or a dash."""
    return pages.environment("mcstl.reporting", number=_number, count=_count, people=people)


def _number(value: float | None, digits: int = 3) -> str:
    return metrics.rounded(value, digits).replace("-", "−" if value is not None else "–")


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
