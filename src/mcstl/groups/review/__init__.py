"""Review of groups by people: summaries, the choice of K, and validation by experts."""
