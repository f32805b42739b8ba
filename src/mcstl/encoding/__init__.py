"""Texts to vectors: encoders, their cache, what computes them, and training them further."""
