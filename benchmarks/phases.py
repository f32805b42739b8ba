"""The phases of a run: what the benchmarks of whole studies print."""

import resource
import time
from collections.abc import Callable


def peak_gib() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Phases:
    """Adds up the seconds of each phase of a process, and notes the peak of memory at its end.

    Args:
        on_end: Called with the name of a phase when it ends.
    """

    def __init__(self, on_end: Callable[[str], None] = lambda name: None) -> None:
        self.rows: dict[str, tuple[float, float, float]] = {}
        self._name, self._on_end = "starting", on_end
        self._clock, self._processor = time.perf_counter(), time.process_time()

    def begin(self, name: str) -> None:
        """End a phase and begin another, or go on with the same."""
        if name == self._name:
            return
        clock, processor = time.perf_counter(), time.process_time()
        before = self.rows.get(self._name, (0.0, 0.0, 0.0))
        self.rows[self._name] = (
            before[0] + clock - self._clock,
            before[1] + processor - self._processor,
            peak_gib(),
        )
        self._on_end(self._name)
        self._name, self._clock, self._processor = name, clock, processor

    def follow(self, what: str, done: int, total: int) -> None:
        """Begin the phase that a run says it is in: what its progress is called with."""
        if what != "methods x seeds":
            self.begin(what)

    def row(self, name: str) -> str:
        """Return a phase as a row of a Markdown table: its name, seconds and memory."""
        clock, processor, peak = self.rows[name]
        return f"| {name} | {clock:,.1f} | {processor:,.1f} | {peak:.2f} |"
