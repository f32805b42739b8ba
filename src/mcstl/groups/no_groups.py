"""No groups: for annotations of which nothing is known but, perhaps, who gave them."""

from typing import ClassVar, Literal

import numpy as np
from scipy.sparse import csr_matrix

from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder
from mcstl.groups.base import Config, Scheme


class NoGroupsConfig(Config):
    """``none``: every annotation is in no group.

    Attributes:
        by: ``none``.
    """

    by: Literal["none"] = "none"


class NoGroups(Scheme):
    """The scheme of no groups."""

    kind: ClassVar[str] = "none"

    def assign(
        self,
        annotations: Annotations,
        encoder: Encoder | None = None,
        progress: Progress = silent,
    ) -> csr_matrix:
        """See `Scheme.assign`."""
        return csr_matrix((len(annotations), 0), dtype=np.float32)
