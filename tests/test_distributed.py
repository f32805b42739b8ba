"""Two processes train as one does, and go on when one of them is killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mcstl.models.distributed import Processes

SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, os.environ["TESTS"])
from safetensors.torch import save_file
from mcstl.models import training
from mcstl.models.distributed import Processes
from mcstl.models.training import TrainingConfig, fit
from test_training import options_of, simulated

training._CHECKPOINT_EVERY_SECONDS = -1.0
folder, task = Path(sys.argv[1]), sys.argv[2]
train, validation = simulated(task, 200, seed=1)[0], simulated(task, 100, seed=2)[0]
# The KL term at full weight, and dropout: what is not a plain sum over rows.
config = TrainingConfig(hidden=8, epochs=4, batch_size=23, kl="mean", lambda_1=1.0)

def kill(epoch, network):
    once = folder / "killed"
    if "--kill" in sys.argv and epoch == 3 and os.environ["RANK"] == "1" and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)

fitted = fit(train, validation, config, on_epoch=kill, checkpoint=folder / "checkpoint",
             **options_of(task))
if Processes.started().rank == 0:
    save_file(fitted.network.state_dict(), folder / "network.safetensors")
"""


def run(folder: Path, task: str, launch: list[str], *options: str) -> dict[str, torch.Tensor]:
    folder.mkdir()
    (folder / "train.py").write_text(SCRIPT)
    environment = {**os.environ, "TESTS": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch, str(folder / "train.py"), str(folder), task, *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return load_file(folder / "network.safetensors")


TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]


@pytest.mark.system
@pytest.mark.parametrize("task", ["ordinal", "preference"])
def test_two_processes_train_as_one_and_survive_a_kill(task: str, tmp_path: Path) -> None:
    """The result is the single process's to 1e-5, and a kill changes nothing in it."""
    alone = run(tmp_path / "alone", task, [])
    both = run(tmp_path / "both", task, TWO)
    killed = run(tmp_path / "killed", task, TWO, "--kill")
    assert (tmp_path / "killed" / "killed").exists()
    for name, expected in alone.items():
        torch.testing.assert_close(both[name], expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(killed[name], expected, rtol=0, atol=1e-5)


class Three:
    """What Accelerate is to the second of three processes; the others' values are given."""

    process_index = 1
    num_processes = 3

    def __init__(self, others: dict[int, torch.Tensor]) -> None:
        self.others = others

    def gather(self, own: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.others[0], own, self.others[2]])


def test_every_process_has_the_values_of_all_rows() -> None:
    """Five rows in three processes: one, two and two, padded to two where they are exchanged."""
    values = torch.arange(5.0)[:, None]
    pad = torch.zeros(1, 1)
    processes = Processes(Three({0: torch.cat([values[:1], pad]), 2: values[3:]}))
    assert [processes.part(5, rank) for rank in range(3)] == [slice(0, 1), slice(1, 3), slice(3, 5)]
    torch.testing.assert_close(processes.whole(values[processes.part(5)], 5), values)


def test_alone_nothing_is_exchanged() -> None:
    alone = Processes()
    own = torch.ones(3, 2)
    assert alone.whole(own, 3) is alone.summed(own) is own
    assert (alone.rank, alone.count, alone.part(3), alone.agreed(0.5)) == (0, 1, slice(0, 3), 0.5)
