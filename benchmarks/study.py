"""Where the seconds of a study go: python benchmarks/study.py --data-dir DATA.

Runs popquorn with five seeds from its files with an empty cache, one seed after the other in one
process, then the report; and prints for each phase the seconds, those of the processor, and the
peak of memory. What a method takes is the fit, the predictions and their measures, all seeds
together. Then the command line does the same with as many processes as there are cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from phases import Phases

STUDY = Path(__file__).parents[1] / "studies" / "popquorn.yaml"


def main() -> None:
    """Print a row per phase, and the wall time of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", required=True, help="folder of the real data sets")
    parser.add_argument("--methods", nargs="+", default=["mc-stl", "none", "majority", "gbm"])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MCSTL_CACHE"] = str(folder / "cache")
        phases = Phases()
        phases.begin("importing")
        from mcstl import reporting
        from mcstl._support import files
        from mcstl.studies.run import run
        from mcstl.studies.study_file import Study

        fields = {**files.read_yaml(STUDY), "methods": chosen.methods, "seeds": 5}
        files.write_yaml(folder / "study.yaml", fields)
        plan = Study.read(folder / "study.yaml")
        phases.begin("reading and grouping")
        run(plan, out=folder / "out", data_dir=chosen.data_dir, jobs=1, progress=phases.follow)
        phases.begin("report and figures")
        reporting.render(folder / "out")
        phases.begin("end")
        print("| phase | seconds | of processor | peak GiB |\n|" + " --- |" * 4)
        print("\n".join(phases.row(name) for name, row in phases.rows.items() if row[0] > 0.05))

        os.environ["MCSTL_CACHE"] = str(folder / "another cache")
        command = "import sys; from mcstl.cli import main; main()"
        options = ["run", str(folder / "study.yaml"), "--data-dir", chosen.data_dir, "--quiet"]
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", command, *options, "--out", str(folder / "again")],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        print(f"\n`mcstl run` of the same, empty cache: {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
