"""Logistic regression on the groups alone: what membership tells of the label without the text.

In preference either text may be shown first, so groups that tell the label have learned it from
something else, as rationales that name the preferred side.
"""

from functools import partial

from mcstl.methods.features import FeatureMethod, fit_logistic, groups_alone

METHOD = FeatureMethod("groups-only", partial(fit_logistic, features=groups_alone))
