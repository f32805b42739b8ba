"""A saved model behind HTTP: an API and a page over it, on this machine unless told otherwise."""

from mcstl.serving.answers import Answers, Limits

__all__ = ["Answers", "Limits"]
