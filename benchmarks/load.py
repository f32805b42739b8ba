"""Clients that ask a server all at once: how many answers, errors, and how long they take.

python benchmarks/load.py http://127.0.0.1:8000 --clients 50 --seconds 120
"""

import argparse
import asyncio
import random
import time
from typing import NamedTuple

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


async def press(url: str, clients: int, seconds: float, pairs: bool = False) -> Load:
    """Let `clients` ask for one text after the other, each another one, for `seconds`."""
    took: list[float] = []
    errors: dict[str, int] = {}
    end = time.monotonic() + seconds

    async def ask(client: httpx.AsyncClient, seed: int) -> None:
        chooser = random.Random(seed)
        while time.monotonic() < end:
            words = f"{chooser.choice(_SUBJECTS)} {chooser.choice(_ENDS)}, {chooser.random()}."
            start = time.monotonic()
            try:
                texts = [[words, "Nothing."]] if pairs else [words]
                answer = await client.post(f"{url}/predict", json={"texts": texts})
                what = "" if answer.status_code == 200 else str(answer.status_code)
            except httpx.HTTPError as error:
                what = type(error).__name__
            if what:
                errors[what] = errors.get(what, 0) + 1
            else:
                took.append(time.monotonic() - start)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:
        await asyncio.gather(*(ask(client, seed) for seed in range(clients)))
    return Load(took, errors)


def main() -> None:
    """Press a server and print what came back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    given = parser.parse_args()
    load = asyncio.run(press(given.url, given.clients, given.seconds))
    print(f"{len(load.seconds):,} answers, errors: {load.errors or 'none'}")
    print(f"{len(load.seconds) / given.seconds:.1f} per second")
    for q in (0.5, 0.95, 0.99):
        print(f"p{100 * q:.0f} {load.quantile(q):.3f} s")


if __name__ == "__main__":
    main()
