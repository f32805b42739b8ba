"""How long the start takes: python benchmarks/startup.py.

Processor seconds (user and system) of new processes, medians of several; the clock is beside them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python, nothing imported": "",
    "import mcstl": "import mcstl",
    "mcstl --help": "import sys; sys.argv = ['mcstl', '--help']; import mcstl.cli as c; c.main()",
}


def spent(code: str) -> tuple[float, float]:
    """Return the processor seconds of a new Python that runs `code`, and the clock's."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    clock, after = time.perf_counter() - start, os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system, clock


def main() -> None:
    """Print one Markdown row per command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    chosen = parser.parse_args()
    print("| command | processor s | clock s |\n| --- | --- | --- |")
    for what, code in COMMANDS.items():
        processor, clock = zip(*(spent(code) for _ in range(chosen.times)), strict=True)
        print(f"| {what} | {statistics.median(processor):.2f} | {statistics.median(clock):.2f} |")


if __name__ == "__main__":
    main()
