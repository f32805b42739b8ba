"""Several processes that share every training step, by Accelerate, with the result of one.

Under ``accelerate launch`` each process has all rows, whose texts may be memory-mapped, and works
on its part of every step. What is not a sum over rows, the groups' calibration term of Eq. 2 and 4,
is taken on the predictions of the whole step, which the processes exchange; gradients are summed.
So nothing depends on the number of processes but the rounding of sums.
"""

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from mcstl._support.errors import need_extra


class Processes:
    """The processes that train together, seen from one: `rank` of `count`, 0 of 1 if alone."""

    def __init__(self, accelerator: Any = None) -> None:
        self._accelerator = accelerator
        self.rank = accelerator.process_index if accelerator else 0
        self.count = accelerator.num_processes if accelerator else 1

    @classmethod
    def started(cls) -> "Processes":
        """Return the processes that ``accelerate launch`` or ``torchrun`` started with this one."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        with need_extra("distributed"):
            from accelerate import Accelerator
        gpu = torch.cuda.is_available()
        if not dist.is_initialized():
            store, rank, count = next(rendezvous("env://"))
            # torchrun keeps one store when it starts killed processes again; under a name of their
            # own they do not find the addresses of the dead.
            store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
            backend = "nccl" if gpu else "gloo"
            dist.init_process_group(backend, store=store, rank=rank, world_size=count)
        return cls(Accelerator(cpu=not gpu))

    @property
    def device(self) -> torch.device:
        """Where this process computes: its own GPU, or the CPU."""
        if self._accelerator:
            return self._accelerator.device  # type: ignore[no-any-return]
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def part(self, n: int, rank: int | None = None) -> slice:
        """Return which of a step's `n` rows are those of process `rank`, or of this one.

        >>> Processes().part(5)
        slice(0, 5, None)
        """
        rank = self.rank if rank is None else rank
        return slice(n * rank // self.count, n * (rank + 1) // self.count)

    def whole(self, own: Tensor, n: int) -> Tensor:
        """Return the (n, ...) values of all processes' rows."""
        if self.count == 1:
            return own
        most = -(-n // self.count)
        padded = own.new_zeros(most, *own.shape[1:])
        padded[: len(own)] = own
        parts = self._accelerator.gather(padded).split(most)
        rows = (self.part(n, rank) for rank in range(self.count))
        return torch.cat(
            [part[: row.stop - row.start] for part, row in zip(parts, rows, strict=True)]
        )

    def summed(self, own: Tensor) -> Tensor:
        """Return the sum of all processes' values."""
        return self._accelerator.reduce(own, "sum") if self.count > 1 else own

    def agreed(self, number: float) -> float:
        """Return the first process's `number`, so that all decide alike on unlike machines."""
        if self.count == 1:
            return number
        own = torch.tensor([number], dtype=torch.float64, device=self.device)
        return float(self._accelerator.gather(own)[0])
