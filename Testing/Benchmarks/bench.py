"""Time and memory of the ensemble, next to MONAI's spleen bundle and nnU-Net on the same CT.

    python Testing/Benchmarks/bench.py            all measurements, with all patches of nnU-Net
    python Testing/Benchmarks/bench.py --quick    in under five minutes; one patch of nnU-Net, scaled

prints a table, writes bench.csv and bench.png to the folder --out, and ends with one line of JSON with the value of
every target. Each measurement runs in a separate process with the same number of threads; measurements are interleaved,
so that a temporarily slow machine affects all of them. Weights are random where only time is measured.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

TESTING = Path(__file__).resolve().parents[1]
for _folder in (str(TESTING), str(TESTING.parent / "SpleenSmoothSeg")):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

from Benchmarks import report
from Benchmarks.measure import all_threads, measured
from Benchmarks.rows import Row, planned

OUT = TESTING.parent / "results" / "bench"
QUICK_SECONDS = 200.0  # --quick starts no further round after this time; the first round is always complete


def measure(rows: list[Row], threads: int, seconds: float = float("inf")) -> dict[str, list[dict]]:
    """The outcomes of each row; rows are interleaved, and no further round starts after `seconds`."""
    outcomes = {row.name: [] for row in rows}
    started = time.perf_counter()
    for round_ in range(max((row.times for row in rows), default=0)):
        for row in rows:
            elapsed = time.perf_counter() - started
            if round_ >= row.times or (round_ and elapsed > seconds):
                continue
            outcome = measured(row.work, threads, **row.settings)
            outcomes[row.name].append(outcome)
            print(f"{elapsed:6.0f} s  {row.name}: {report.summary_of(outcome)}", file=sys.stderr, flush=True)
    return outcomes


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="in under five minutes")
    parser.add_argument(
        "--threads", type=int, default=all_threads(), help="for every measurement (default: %(default)s)"
    )
    parser.add_argument("--only", default="", help="only rows whose name contains this text")
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        made = measured("cts.prepare", options.threads, folder=folder)
        machine = measured("roofline.machine", options.threads)
        for outcome in (made, machine):
            if problem := outcome.get("failed") or outcome.get("skipped"):
                sys.exit(f"The benchmark cannot run here: {problem}.")
        rows = planned(Path(folder), made["all_cts"], machine, options.quick)
        rows = [row for row in rows if options.only in row.name]
        outcomes = measure(rows, options.threads, QUICK_SECONDS if options.quick else float("inf"))
    report.write(options.out, made["sentences"], machine, rows, outcomes)
    return 1 if any("failed" in outcome for some in outcomes.values() for outcome in some) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: nothing was written.")
