"""Other models on the same rows: what a user would otherwise reach for."""
