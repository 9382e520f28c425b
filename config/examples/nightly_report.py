"""A program that takes its time, for background.toml.

`nightly_report.py make MONTH [SECONDS]` writes the report of a month into the folder reports beside
this file, `nightly_report.py show MONTH` prints it; exit status 1 where there is none.
"""

import json
import sys
import time
from pathlib import Path

what, month, *rest = sys.argv[1:]
path = Path(__file__).parent / "reports" / f"{month}.json"
if what == "make":
    time.sleep(float(rest[0]) if rest else 2)
    path.parent.mkdir(exist_ok=True)
    # Whoever reads it meanwhile finds all of it, or nothing.
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps({"month": month, "orders": 17}))
    whole.replace(path)
elif not path.exists():
    sys.exit(f"no report of {month} yet")
print(path.read_text())
