"""Labelling: which values a rationale appeals to, by a language model, definitions or training."""
