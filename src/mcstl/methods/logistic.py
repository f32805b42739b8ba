"""Logistic regression on the text's vector and the groups."""

from functools import partial

from mcstl.methods.features import FeatureMethod, fit_logistic, texts_and_groups

#: Multinomial, its penalty chosen by the validation NLL.
fit = partial(fit_logistic, features=texts_and_groups)

METHOD = FeatureMethod("logistic", fit)
