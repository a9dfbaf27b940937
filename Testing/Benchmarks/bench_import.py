"""Import time without PyTorch's compiler, and load time of the Starter without weight initialization.

    python Testing/Benchmarks/bench_import.py [--rounds 5]

Each is measured in a separate process, interleaved with the baseline that has both; prints median seconds and their
ratio. PyTorch itself is imported before.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "SpleenSmoothSeg"
START = f"import contextlib, sys, time\nsys.path.insert(0, {str(MODULE)!r})\nimport torch\n"
BASELINE_LIBRARIES = (
    "import SpleenSmoothSegLib.model.fastimport as fastimport\nfastimport.without_compiler = contextlib.nullcontext\n"
)
LIBRARIES = "start = time.perf_counter()\nimport SpleenSmoothSegLib.model.network\nprint(time.perf_counter() - start)\n"
BASELINE_MODEL = "SpleenSmoothSegLib.model.network.skip_weight_init = contextlib.nullcontext\n"
MODEL = (
    "import SpleenSmoothSegLib.model.network, safetensors.torch\n{baseline}"
    "from SpleenSmoothSegLib.model.folder import load_model\n"
    f"start = time.perf_counter()\nload_model({str(MODULE / 'Resources' / 'Models' / 'Starter')!r})\n"
    "print(time.perf_counter() - start)\n"
)
PAIRS = {
    "libraries of networks": (LIBRARIES, BASELINE_LIBRARIES + LIBRARIES),
    "the starter's five folds": (MODEL.format(baseline=""), BASELINE_LIBRARIES + MODEL.format(baseline=BASELINE_MODEL)),
}


def seconds(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", START + code], check=True, capture_output=True, encoding="utf-8")
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for name, (ours, baseline) in PAIRS.items():
        taken = [(seconds(ours), seconds(baseline)) for _ in range(rounds)]
        one, other = (statistics.median(column) for column in zip(*taken, strict=True))
        ratio = statistics.median(first / second for first, second in taken)
        print(f"{name}: {one:.2f} s, baseline {other:.2f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
