"""A study: its file, the one protocol, its results, and what chooses from them."""
