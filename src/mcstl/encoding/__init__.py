"""Texts to vectors: encoders and their cache, the backends that compute them, and fine-tuning."""
