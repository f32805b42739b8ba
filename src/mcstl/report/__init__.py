"""The outputs of studies -> pages that a non-programmer reads; they compute nothing."""

from mcstl.report.comparison import compare
from mcstl.report.reading import SCHEMA, Output, read_output
from mcstl.report.study import render

__all__ = ["SCHEMA", "Output", "compare", "read_output", "render"]
