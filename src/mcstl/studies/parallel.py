"""Tasks that run at once, each in a process of its own, which ends when its parent does."""

import os
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any


def default_jobs() -> int:
    """Choose how many seeds run at once where nothing is said.

    Returns:
        As many as there are cores, and one on a GPU, which all would share.
    """
    import joblib
    import torch

    return 1 if torch.cuda.is_available() else int(joblib.cpu_count())


def in_processes(
    function: Callable[..., None],
    tasks: Sequence[tuple[Any, ...]],
    jobs: int,
    watch: Callable[[], None],
) -> None:
    """Call a function for every task, several at once.

    Args:
        function: What is called, a function of a module.
        tasks: The arguments of each call.
        jobs: How many processes there are.
        watch: Called in this process twice a second, as long as any task is not finished.
    """
    from joblib import Parallel, delayed

    finished = threading.Event()

    def keep_watching() -> None:
        while not finished.wait(0.5):
            watch()

    watcher = threading.Thread(target=keep_watching, daemon=True)
    watcher.start()
    try:
        # Without max_nbytes joblib maps large arrays into the workers read-only.
        Parallel(n_jobs=jobs, max_nbytes=None)(
            delayed(_call)(os.getpid(), function, task) for task in tasks
        )
    finally:
        finished.set()
        watcher.join()


def _call(parent: int, function: Callable[..., None], task: tuple[Any, ...]) -> None:
    _end_with(parent)
    warnings.simplefilter("ignore")  # as the command line does
    function(*task)


@cache
def _end_with(parent: int) -> None:
    """See that this process ends when its parent was killed, or a resumed run would have rivals.

    The parent says who it is: it may have been killed before this process asks.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
