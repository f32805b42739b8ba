"""What is measured of predictions: the paper's metrics and what goes beyond them; no torch.

Annotations of one item share its difficulty, its wording and often its prediction, and those of
one person their habits, so they are not independent. Everything here that speaks of chance
therefore counts items and people, never single annotations. How well intervals and tests keep what
they promise is measured by benchmarks/coverage.py and shown in docs/uncertainty.md.
"""

from mcstl.evaluation.agreement import annotation_agreement, krippendorff_alpha, label_entropy
from mcstl.evaluation.audit import audit_study
from mcstl.evaluation.calibration import ReliabilityDiagram, ecce, ece, reliability, smooth_ece
from mcstl.evaluation.comparison import compare_studies, same_test_rows
from mcstl.evaluation.hard_labels import accuracies, error_rates
from mcstl.evaluation.intervals import DrawnBy, Estimates, Sample, Spread, spread
from mcstl.evaluation.multicalibration import Multicalibration, multicalibration
from mcstl.evaluation.predictions import (
    Predictions,
    check_probabilities,
    membership_matrix,
    predictions_by_method,
)
from mcstl.evaluation.soft_labels import label_set_scores, soft_label_scores
from mcstl.evaluation.summaries import (
    group_names,
    paired,
    split_overlap,
    summarise,
    summarise_groups,
)
from mcstl.evaluation.tables import results_table
from mcstl.evaluation.uncertainty import (
    Uncertainty,
    differences_of,
    measured_once,
    uncertainty,
)

__all__ = [
    "DrawnBy",
    "Estimates",
    "Multicalibration",
    "Predictions",
    "ReliabilityDiagram",
    "Sample",
    "Spread",
    "Uncertainty",
    "accuracies",
    "annotation_agreement",
    "audit_study",
    "check_probabilities",
    "compare_studies",
    "differences_of",
    "ecce",
    "ece",
    "error_rates",
    "group_names",
    "krippendorff_alpha",
    "label_entropy",
    "label_set_scores",
    "measured_once",
    "membership_matrix",
    "multicalibration",
    "paired",
    "predictions_by_method",
    "reliability",
    "results_table",
    "same_test_rows",
    "smooth_ece",
    "soft_label_scores",
    "split_overlap",
    "spread",
    "summarise",
    "summarise_groups",
    "uncertainty",
]
