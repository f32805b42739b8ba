"""MC-STL with annotators as random effects within their groups (docs/people.md)."""

from dataclasses import replace

from mcstl.methods.base import Prepared
from mcstl.methods.network import NetworkMethod
from mcstl.models.examples import Examples
from mcstl.models.people import PeopleNetwork


class McStlPeople(NetworkMethod):
    """The network that learns groups and, within them, the annotators who have training rows."""

    name = "mc-stl-people"
    needs = "annotator"
    network = PeopleNetwork

    def _examples(self, prepared: Prepared, seed: int) -> Examples:
        return replace(prepared.examples, annotators=prepared.annotators)


METHOD = McStlPeople()
