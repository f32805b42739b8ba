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
from mcstl.evaluation.tables import rounded
from mcstl.groups.small_groups import shown_people
from mcstl.reporting import plots


class Picture(NamedTuple):
    """A figure for wide and narrow screens.

    Attributes:
        wide: The figure for wide screens, as a data URI.
        narrow: The figure for narrow screens, as a data URI.
        alt: What it shows, for those who do not see it.
    """

    wide: str
    narrow: str
    alt: str


def picture(stem: Path, wide: Figure, narrow: Figure, alt: str) -> Picture:
    """Write ``stem.png`` and ``stem.svg`` and make the figure ready for a page.

    Args:
        stem: The path of the files without their endings.
        wide: The figure for wide screens, which is written.
        narrow: The figure for narrow screens.
        alt: What it shows, for those who do not see it.

    Returns:
        The figure for a page.
    """
    return Picture(data_uri(plots.save(wide, stem)), data_uri(plots.to_svg(narrow)), alt)


def data_uri(svg: str) -> str:
    """Turn an SVG into the address of an image.

    Args:
        svg: The text of the SVG.

    Returns:
        The address, which holds the image itself.
    """
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def slug(text: str) -> str:
    """Turn a text into a name for a file, as ``none-platt`` for "none + platt".

    Args:
        text: Any text.

    Returns:
        Its letters and digits in lower case, joined by hyphens.
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "other"


def headed(page: str) -> str:
    """Write into every cell of a page's tables what stands above it, for narrow screens.

    Args:
        page: The page; the first row of each table is its headings.

    Returns:
        The page, whose cells have an attribute ``data-heading``.
    """
    return re.sub(r"<table>.*?</table>", _headed_table, page, flags=re.DOTALL)


def _headed_table(table: re.Match[str]) -> str:
    head, tag, body = table[0].partition("<tbody>")
    cells = re.findall(r"<th\b[^>]*>(.*?)</th>", head, flags=re.DOTALL)
    headings = [re.sub(r"<small.*|<[^>]*>", "", cell, flags=re.DOTALL).strip() for cell in cells]
    rows = []
    for row in body.split("</tr>"):
        places = iter(headings[row.count("<th") :])
        rows.append(re.sub(r"<td\b", lambda _: f'<td data-heading="{next(places)}"', row))  # noqa: B023
    return head + tag + "</tr>".join(rows)


def environment() -> jinja2.Environment:
    """Load the templates of pages.

    Returns:
        Their environment, with filters for counts, people and rounded numbers or a dash.
    """
    return pages.environment("mcstl.reporting", number=_number, count=_count, people=shown_people)


def _number(value: float | None, digits: int = 3) -> str:
    return rounded(value, digits).replace("-", "−" if value is not None else "–")


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
