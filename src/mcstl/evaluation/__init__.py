"""Intervals, multicalibration and other people's metrics: what goes beyond the paper; no torch.

Annotations of one item share its difficulty, its wording and often its prediction, so they are not
independent. Everything here that speaks of chance therefore draws whole items (or whole people),
never single annotations: intervals by a bootstrap over clusters, the test of multicalibration by
random signs per item. How well both keep what they promise is measured by benchmarks/coverage.py
and told in docs/uncertainty.md.
"""

from mcstl.evaluation.across import across, same_rows
from mcstl.evaluation.bootstrap import By, Reweighted, Values, bootstrap, interval
from mcstl.evaluation.calibration import (
    Multicalibration,
    Reliability,
    ecce,
    ece,
    multicalibration,
    reliability,
    smooth_ece,
)
from mcstl.evaluation.findings import agreement, findings, group_names, rows_of
from mcstl.evaluation.other_measures import (
    error_rates,
    krippendorff_alpha,
    label_entropy,
    personal_scores,
    soft_label_scores,
)
from mcstl.evaluation.rows import Rows, check_probabilities, membership

__all__ = [
    "By",
    "Multicalibration",
    "Reliability",
    "Reweighted",
    "Rows",
    "Values",
    "across",
    "agreement",
    "bootstrap",
    "check_probabilities",
    "ecce",
    "ece",
    "error_rates",
    "findings",
    "group_names",
    "interval",
    "krippendorff_alpha",
    "label_entropy",
    "membership",
    "multicalibration",
    "personal_scores",
    "reliability",
    "rows_of",
    "same_rows",
    "smooth_ece",
    "soft_label_scores",
]
