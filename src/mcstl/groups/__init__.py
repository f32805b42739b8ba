"""Value groups: sets of annotations that share a perspective, by three representations (§2.1).

Every scheme is fitted on training rows by `fit_scheme` and gives any annotations their sparse
membership by `assign`.
"""

from mcstl.groups.attributes import AttributesConfig
from mcstl.groups.base import MOST_GROUPS, Group, PluginConfig, Scheme
from mcstl.groups.combined import (
    CombineConfig,
    GroupsConfig,
    IntersectConfig,
    fit_scheme,
    load_scheme,
    settled,
)
from mcstl.groups.no_groups import NoGroupsConfig
from mcstl.groups.rationale import RationaleConfig
from mcstl.groups.taxonomy import TaxonomyConfig

__all__ = [
    "MOST_GROUPS",
    "AttributesConfig",
    "CombineConfig",
    "Group",
    "GroupsConfig",
    "IntersectConfig",
    "NoGroupsConfig",
    "PluginConfig",
    "RationaleConfig",
    "Scheme",
    "TaxonomyConfig",
    "fit_scheme",
    "load_scheme",
    "settled",
]
