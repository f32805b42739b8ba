"""The outputs of studies -> pages that a non-programmer reads; they compute nothing."""

from mcstl.reporting.comparison import compare
from mcstl.reporting.report import render

__all__ = ["compare", "render"]
