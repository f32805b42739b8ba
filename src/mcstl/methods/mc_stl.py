"""MC-STL, the paper's method: one network of texts and value groups (§2)."""

from mcstl.methods.base import Prepared, RunSettings
from mcstl.methods.network import NetworkMethod
from mcstl.models.training import Fitted


class McStl(NetworkMethod):
    """The paper's network on texts and value groups."""

    name = "mc-stl"

    def trained(self, prepared: Prepared, settings: RunSettings) -> Fitted:
        """See `NetworkMethod.trained`; `best` and mc-stl itself train it once between them."""
        key = f"{settings.training.model_dump_json()} {settings.seed}"
        if key not in prepared.trained or settings.session.on_epoch is not None:
            prepared.trained[key] = super().trained(prepared, settings)
        return prepared.trained[key]


METHOD = McStl()
