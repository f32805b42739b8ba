"""The registry of methods: every name has its method, and the method says what it is."""

import pytest

from mcstl import methods
from mcstl._support.errors import InputError
from mcstl.methods.base import MethodConfig
from mcstl.methods.fitting import is_trained, saves_model

TRAINED = {
    *("mc-stl", "best", "none", "majority", "dawid-skene"),
    *("annotators", "heads", "shuffled"),
}


@pytest.mark.parametrize("name", methods.names())
def test_every_name_has_its_method(name: str) -> None:
    method = methods.find(name)
    assert method.name == name
    assert method.config(name=name).title == name
    assert method.is_trained == (name in TRAINED)
    assert method.saves_model <= (method.is_trained or name == "multilevel")


def test_what_is_recalibrated_leaves_no_model_and_is_not_tuned() -> None:
    plain, mended = MethodConfig(name="none"), MethodConfig(name="none", recalibrate="platt")
    assert (saves_model(plain), is_trained(plain)) == (True, True)
    assert (saves_model(mended), is_trained(mended)) == (False, False)


def test_an_unknown_method_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no method 'mcstl'; .*Did you mean 'mc-stl'\?"):
        methods.find("mcstl")
