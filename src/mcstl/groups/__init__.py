"""Value groups: sets of annotations that share a perspective, by three representations (§2.1).

Every scheme is fitted on training rows by `fit_scheme` and gives any annotations their sparse
membership by `assign`.
"""

from mcstl.groups.base import Group, Scheme
from mcstl.groups.combined import (
    CombineConfig,
    GroupsConfig,
    IntersectConfig,
    fit_scheme,
    load_scheme,
    settled,
)
from mcstl.groups.rationale import RationaleConfig
from mcstl.groups.sociocultural import AttributesConfig
from mcstl.groups.taxonomy import TaxonomyConfig

__all__ = [
    "AttributesConfig",
    "CombineConfig",
    "Group",
    "GroupsConfig",
    "IntersectConfig",
    "RationaleConfig",
    "Scheme",
    "TaxonomyConfig",
    "fit_scheme",
    "load_scheme",
    "settled",
]
