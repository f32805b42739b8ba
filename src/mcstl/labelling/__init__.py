"""Labelling: which values of a taxonomy a rationale appeals to, by three ways."""
