"""All benchmarks, small: python benchmarks/bench.py, or make bench; writes benchmarks/RESULTS.md.

The real data sets are those in --data-dir, else MCSTL_DATA; without them the simulation serves.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

HERE = Path(__file__).parent
#: Title, script, options, and whether it reads the real data.
PARTS: list[tuple[str, str, list[str], bool]] = [
    ("Start-up", "startup.py", [], False),
    ("Encoding", "encoding.py", ["--texts", "200", "--rounds", "3"], True),
    ("Training", "training.py", [], True),
    ("Evaluation", "audit.py", [], False),
    ("Growth", "growth.py", ["--doublings", "2"], False),
    ("Where the seconds of a study go", "study.py", [], True),
    ("A study and by hand", "pipeline.py", [], True),
    ("A sharded table", "sharded.py", ["--annotations", "100000"], False),
    ("GPU", "gpu.py", [], False),
]
_MUST_HAVE_DATA = ("pipeline.py", "study.py")


def machine() -> list[str]:
    """Say what it was measured on."""
    words = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    pairs = (line.partition(":") for line in words.splitlines())
    facts = {key.strip(): value.strip() for key, _, value in pairs}
    flags = facts.get("flags", "").split()
    units = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if os.name == "posix" else 0
    packages = ("torch", "openvino", "sentence-transformers", "scikit-learn", "numpy")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg()) if os.name == "posix" else "?"
    return [
        f"- {datetime.date.today().isoformat()}, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages),
        f"- {facts.get('model name', platform.processor())}, {os.cpu_count()} processors "
        f"({', '.join(units) or 'no vector units known'}), {pages / 2**30:.0f} GiB, GPU: {gpu}",
        f"- load average of the last 1, 5 and 15 minutes before the start: {load}",
    ]


def main() -> None:
    """Run every benchmark in a process of its own and keep what it prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=os.environ.get("MCSTL_DATA"))
    parser.add_argument("--only", nargs="+", default=[part[0] for part in PARTS])
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    chosen = parser.parse_args()
    lines = [
        "# Results of `make bench`",
        "",
        "Small runs of every benchmark, one after the other; see each script for what it measures.",
        "",
        *machine(),
    ]
    for title, script, options, reads_data in PARTS:
        if title not in chosen.only:
            continue
        if script in _MUST_HAVE_DATA and not chosen.data_dir:
            print(f"{title}: needs the real data (--data-dir)")
            continue
        given = ["--data-dir", chosen.data_dir] if reads_data and chosen.data_dir else []
        command = [sys.executable, str(HERE / script), *options, *given]
        shown = " ".join(["python", f"benchmarks/{script}", *options])
        print(f"\n## {title}\n", flush=True)
        said: list[str] = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                said.append(line.rstrip())
        if process.returncode:
            said.append(f"\nfailed with exit code {process.returncode}")
        lines += ["", f"## {title}", "", f"`{shown}`", "", *said]
    chosen.out.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print(f"\nwritten to {chosen.out}")


if __name__ == "__main__":
    main()
