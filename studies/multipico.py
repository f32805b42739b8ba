"""The English part of MultiPICo's dev file as a table: python studies/multipico.py DATA FILE.csv.

`studies/multipico.yaml` reads it from ``multipico-en.csv`` in the folder it is run in.
"""

import json
import sys
from pathlib import Path

from mcstl.studyfile import Study

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data_dir, out = Path(sys.argv[1]), Path(sys.argv[2])
    frame = Study(data={"dataset": "lewidi-mp"}).load(data_dir).frame
    source = data_dir / "lewidi" / "MP" / "MP_dev.json"
    entries = json.loads(source.read_text(encoding="utf-8"))
    english = frame["item"].isin(
        {f"dev-{k}" for k, entry in entries.items() if entry["lang"] == "en"}
    )
    frame[english].drop(columns=["row", "flipped"]).to_csv(out, index=False)
    print(f"{english.sum():,} annotations of {frame[english]['item'].nunique():,} items in {out}")
