"""Clients that ask a server all at once: how many answers, errors, and how long they take.

    python benchmarks/load.py --model FOLDER                 # serves it, with its intervals
    python benchmarks/load.py --url http://127.0.0.1:8000    # a server that runs

Without either a `best` of the simulation is trained and served. Server and clients share the
machine. The memory of a server that is started here is read after a quarter of the time and at the
end.
"""

import argparse
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import numpy as np

_SUBJECTS = ("The library", "Our park", "The night bus", "The old bridge", "The market")
_ENDS = ("should stay open", "costs too much", "is for everyone", "needs a new roof", "can wait")


class Load(NamedTuple):
    """What came back: seconds per answer, and what went wrong, by kind."""

    seconds: list[float]
    errors: dict[str, int]

    def quantile(self, q: float) -> float:
        """Return the seconds within which the share q of answers came."""
        return float(np.quantile(self.seconds, q))


def press(
    url: str, clients: int, seconds: float, pairs: bool = False, interval: float | None = None
) -> Load:
    """Let `clients` ask for one text after the other, each another one, for `seconds`."""
    took: list[float] = []
    errors: dict[str, int] = {}
    end = time.monotonic() + seconds
    address = urlsplit(url)

    def ask(seed: int) -> None:
        chooser = random.Random(seed)
        # A plain connection: with a comfortable client the clients are slower than the server.
        client = HTTPConnection(address.hostname or "", address.port, timeout=60)
        while time.monotonic() < end:
            words = f"{chooser.choice(_SUBJECTS)} {chooser.choice(_ENDS)}, {chooser.random()}."
            question: dict[str, Any] = {"texts": [[words, "Nothing."]] if pairs else [words]}
            if interval is not None:
                question["interval"] = interval
            start = time.monotonic()
            try:
                headers = {"Content-Type": "application/json"}
                client.request("POST", f"{address.path}/predict", json.dumps(question), headers)
                answer = client.getresponse()
                answer.read()
                what = "" if answer.status == 200 else str(answer.status)
            except (OSError, HTTPException) as error:
                what = type(error).__name__
                client.close()
            if what:
                errors[what] = errors.get(what, 0) + 1
            else:
                took.append(time.monotonic() - start)
        client.close()

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(ask, range(clients)))
    return Load(took, errors)


def example(folder: Path) -> Path:
    """Train a `best` of the simulation; return the folder of its model."""
    import mcstl

    data = mcstl.datasets.load("simulated")
    groups = {"by": "attributes", "attributes": ["gender", "age"]}
    mcstl.fit(data, method="best", groups=groups).save(folder / "model")
    return folder / "model"


def start(
    model: Path, log: Path, environment: Mapping[str, str] = {}
) -> tuple[str, "subprocess.Popen[str]"]:
    """Serve a model on a free port; give its address and process once it is up."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = "from mcstl.cli import main; main()"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", command, "serve", str(model), "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=file,
            text=True,
            env=os.environ | environment,
        )
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"mcstl serve ended with {process.returncode}: {log.read_text()}")
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{url}/health", trust_env=False).raise_for_status()
            return url, process
        time.sleep(0.5)
    raise RuntimeError("mcstl serve did not come up")


def resident_mib(process: int) -> float:
    """Return the memory that a process has, as Linux says it."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Press a server and print what came back."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--url", help="a server that runs")
    asked.add_argument("--model", type=Path, help="the folder of a model to serve")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--no-interval", action="store_true", help="for models without intervals")
    given = parser.parse_args()
    interval = None if given.no_interval else 0.95

    def pressed(url: str, seconds: float) -> Load:
        return press(url, given.clients, seconds, interval=interval)

    memory = ""
    with contextlib.ExitStack() as stack:
        if given.url:
            load = pressed(given.url, given.seconds)
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url, process = start(given.model or example(folder), folder / "log")
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            pressed(url, given.seconds / 4)
            first = resident_mib(process.pid)
            load = pressed(url, given.seconds)
            memory = f", memory {first:,.0f} MiB, then {resident_mib(process.pid):,.0f} MiB"
    rate = len(load.seconds) / given.seconds
    print(
        f"{given.clients} clients for {given.seconds:g} s: {len(load.seconds):,} answers ", end=""
    )
    print(f"({rate:.0f} a second), errors: {load.errors or 'none'}{memory}")
    print(", ".join(f"p{100 * q:.0f} {load.quantile(q):.3f} s" for q in (0.5, 0.95, 0.99)))


if __name__ == "__main__":
    main()
