"""The registry of methods: every name has its method, and the method says what it is."""

import pytest

from mcstl import methods
from mcstl._support.errors import InputError
from mcstl.methods.base import MethodConfig
from mcstl.studies.build_model import method_of_model
from mcstl.studies.study_file import Study

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


def test_what_is_recalibrated_leaves_no_model() -> None:
    plain, mended = MethodConfig(name="none"), MethodConfig(name="none", recalibrate="platt")
    data = {"dataset": "simulated"}
    assert method_of_model(Study(data=data, methods=[mended, plain])) == plain
    assert method_of_model(Study(data=data, methods=[mended])) is None


def test_an_unknown_method_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no method 'mcstl'; .*Did you mean 'mc-stl'\?"):
        methods.find("mcstl")
