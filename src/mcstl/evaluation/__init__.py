"""What is measured of predictions: the paper's metrics and what goes beyond them; no torch.

Annotations of one item share its difficulty, its wording and often its prediction, so they are not
independent. Everything here that speaks of chance therefore draws whole items (or whole people),
never single annotations: intervals by a bootstrap over clusters, the test of multicalibration by
random signs per item. How well both keep what they promise is measured by benchmarks/coverage.py
and shown in docs/uncertainty.md.
"""

from mcstl.evaluation.agreement import annotation_agreement, krippendorff_alpha, label_entropy
from mcstl.evaluation.audit import audit_study
from mcstl.evaluation.calibration import (
    Multicalibration,
    ReliabilityDiagram,
    ecce,
    ece,
    multicalibration,
    reliability,
    smooth_ece,
)
from mcstl.evaluation.comparison import compare_studies, same_test_rows
from mcstl.evaluation.hard_labels import accuracies, error_rates
from mcstl.evaluation.intervals import (
    ClusterBy,
    Resampled,
    ReweightedMetrics,
    bootstrap,
    interval,
    paired_differences,
)
from mcstl.evaluation.predictions import (
    Predictions,
    check_probabilities,
    membership_matrix,
    predictions_by_method,
)
from mcstl.evaluation.soft_labels import soft_label_scores
from mcstl.evaluation.summaries import group_names, paired, summarise, summarise_groups
from mcstl.evaluation.tables import results_table

__all__ = [
    "ClusterBy",
    "Multicalibration",
    "Predictions",
    "ReliabilityDiagram",
    "Resampled",
    "ReweightedMetrics",
    "accuracies",
    "annotation_agreement",
    "audit_study",
    "bootstrap",
    "check_probabilities",
    "compare_studies",
    "ecce",
    "ece",
    "error_rates",
    "group_names",
    "interval",
    "krippendorff_alpha",
    "label_entropy",
    "membership_matrix",
    "multicalibration",
    "paired",
    "paired_differences",
    "predictions_by_method",
    "reliability",
    "results_table",
    "same_test_rows",
    "smooth_ece",
    "soft_label_scores",
    "summarise",
    "summarise_groups",
]
