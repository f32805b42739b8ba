"""The demo: a small study of simulated annotations, and how long it takes here."""

import os
import time

from mcstl.studies.study_file import Study

#: How much more work the demo's trainings are than the trial, and how many seconds the rest takes,
#: which no second core shortens: starting, preparing, intervals and figures (measured, LOG.md).
_TRAININGS, _REST = 230, 15


def demo_study() -> Study:
    """Write the study that the demo runs.

    Returns:
        Four methods on annotations of simulated people, with two seeds.
    """
    return Study(
        name="demo",
        data={"dataset": "simulated"},
        methods=["mc-stl", "none", "majority", "logistic"],
        seeds=2,
    )


def expected_seconds(jobs: int) -> int:
    """Estimate how long the demo takes on this machine as it is now.

    A short training is timed, in time of the processor, and other programs that are at work are
    taken into account where the system counts them.

    Args:
        jobs: How many of its two seeds run at once.

    Returns:
        Seconds, to 15.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    from mcstl.models.examples import Examples
    from mcstl.models.training import Problem, TrainingConfig, fit

    random, n = np.random.default_rng(0), 4000
    examples = Examples(
        random.normal(size=(n, 384)).astype(np.float32),
        np.arange(n)[:, None],
        csr_matrix(random.random((n, 6)) < 0.3, dtype=np.float32),
        random.integers(3, size=n),
        np.ones(n, dtype=np.float32),
    )
    start = time.process_time()
    fit(examples, examples, Problem(n_classes=3), TrainingConfig(epochs=2))
    trial = time.process_time() - start
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    jobs = min(jobs, len(demo_study().seeds))
    slower = max(1.0, (busy + jobs) / (os.cpu_count() or 1))
    return max(15, 15 * round((_REST + _TRAININGS * trial / jobs) * slower / 15))
