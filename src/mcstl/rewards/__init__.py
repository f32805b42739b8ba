"""A preference model as a reward: a function for TRL, and a Hugging Face classifier.

Both give r = o(e + V) / t of chosen groups, so that the difference of two rewards is the logit of
P(the first is preferred), as the model was calibrated (§2.4).
"""

from mcstl.rewards.function import RewardFunction, score_texts

__all__ = ["RewardFunction", "score_texts"]
