"""One measurement in a separate process, so that measurements do not affect each other.

    python Testing/Benchmarks/child.py peers.monai '{"ct": "standard.mha", "precision": "fp32"}'

prints one line of JSON: the function's result and the process's peak memory, or the reason for a missing result.
"""

import importlib
import json
import sys
import traceback
from pathlib import Path

TESTING = Path(__file__).resolve().parents[1]
for _folder in (str(TESTING), str(TESTING.parent / "SpleenSmoothSeg")):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

from Benchmarks.measure import Skip, peak_gb


def main(work: str, settings: str) -> None:
    module, function = work.split(".")
    try:
        outcome = getattr(importlib.import_module(f"Benchmarks.{module}"), function)(**json.loads(settings))
        outcome = {"peak_gb": peak_gb()} | outcome
    except ModuleNotFoundError as error:
        outcome = {"skipped": f"{error.name} is not installed"}
    except Skip as reason:
        outcome = {"skipped": str(reason)}
    except Exception:
        outcome = {"failed": traceback.format_exc().splitlines()[-1]}
    print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
