"""A saved model over a table of any size, over sharded tables, and behind HTTP."""

from mcstl.serving.batching import Limits

__all__ = ["Limits"]
