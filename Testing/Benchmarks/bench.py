"""How long the ensemble takes and how much memory it needs, beside MONAI's spleen bundle and nnU-Net on the same CT.

    python Testing/Benchmarks/bench.py            everything, nnU-Net's patches one and all
    python Testing/Benchmarks/bench.py --quick    in under five minutes; nnU-Net by one patch, scaled

prints a table, writes it as bench.csv and bench.png into the folder --out, and ends with one line of JSON that holds
the figure of every aim. Each measurement runs in a process of its own with the same number of threads; those that are
compared take turns, so that a machine that is slower for a while is so for all. Weights are random where only time
counts: the work is the same.
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
QUICK_SECONDS = 200.0  # after which --quick begins no second round; the first one is always done


def measure(rows: list[Row], threads: int, seconds: float = float("inf")) -> dict[str, list[dict]]:
    """What each row's measurements returned; rows take turns, and no later round begins after so many seconds."""
    outcomes = {row.name: [] for row in rows}
    started = time.perf_counter()
    for turn in range(max((row.times for row in rows), default=0)):
        for row in rows:
            over = time.perf_counter() - started
            if turn >= row.times or (turn and over > seconds):
                continue
            outcome = measured(row.work, threads, **row.settings)
            outcomes[row.name].append(outcome)
            print(f"{over:6.0f} s  {row.name}: {report.in_a_word(outcome)}", file=sys.stderr, flush=True)
    return outcomes


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="in under five minutes")
    parser.add_argument("--threads", type=int, default=all_threads(), help="of every side (default: %(default)s)")
    parser.add_argument("--only", default="", help="only the rows whose name holds this")
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        made = measured("cts.prepare", options.threads, folder=folder)
        machine = measured("roofline.machine", options.threads)
        for outcome in (made, machine):
            if trouble := outcome.get("failed") or outcome.get("skipped"):
                sys.exit(f"Nothing can be measured here: {trouble}.")
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
