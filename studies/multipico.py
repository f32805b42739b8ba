"""The English part of MultiPICo's dev file as a table: python studies/multipico.py DATA FOLDER.

FOLDER, outside this one, gets ``multipico-en.csv`` and beside it the study that reads it.
"""

import json
import shutil
import sys
from pathlib import Path

from mcstl.data.exports import write_table
from mcstl.studies.study_file import Study

STUDY = Path(__file__).with_suffix(".yaml")

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data_dir, folder = Path(sys.argv[1]), Path(sys.argv[2])
    frame = Study(data={"dataset": "lewidi-mp"}).load(data_dir).frame
    source = data_dir / "lewidi" / "MP" / "MP_dev.json"
    entries = json.loads(source.read_text(encoding="utf-8"))
    english = frame["item"].isin(
        {f"dev-{k}" for k, entry in entries.items() if entry["lang"] == "en"}
    )
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "multipico-en.csv"
    write_table(frame[english].drop(columns=["row", "flipped"]), out)
    shutil.copy(STUDY, folder)
    print(f"{english.sum():,} annotations of {frame[english]['item'].nunique():,} items in {out}")
    print(f"next: mcstl run {folder / STUDY.name} --split annotator --out OUT")
