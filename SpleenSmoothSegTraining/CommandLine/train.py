"""Train SpleenSmoothSeg on labeled CTs, without a GUI.

    python train.py Task09_Spleen results
    python train.py Task09_Spleen results --compare
    python train.py Task09_Spleen results --resume
    python train.py my_labeled_cts results --border box:3px --folds 0,1 --epochs 10,2
    torchrun --nproc-per-node 4 train.py Task09_Spleen results
    Slicer --no-main-window --python-script train.py Task09_Spleen results

DATASET is a folder of labeled CTs:

{layouts}

The whole dataset is checked before the training starts. OUT receives

    recipe.toml, splits.json    all settings of the training, and the cases of each fold and of the test
    dataset_check.txt           result of the latest dataset check
    fold_0 ...                  state after the last epoch, history.csv, curve.png
    model                       the model folder for Segment Spleen
    metrics.csv                 each volume by the folds not trained on it, and test cases by the ensemble as well
    metrics_by_slice.csv, predictions
    report.html, report.md      the report
    control, sweep              with --compare and --sweep: trainings with another border, in the same layout

The defaults are the published recipe: LinkNet with se_resnext50_32x4d, five folds, 100 epochs of Adam and 20 of SGD.
An interrupted training continues with DATASET OUT --resume, with its own options, and gives the same result on the
same device. A research tool, not a medical device.
"""

import json
import shlex
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1]
# The engine is in the other module; an installed extension has both modules in one folder.
sys.path[:0] = [str(MODULE), str(MODULE.parent / "SpleenSmoothSeg")]

from SpleenSmoothSegLib.batch.console import JsonConsole, TerminalConsole, run_program
from SpleenSmoothSegLib.batch.process import exit_process, stop_on_signals


class TrainingConsole(TerminalConsole):
    """One line per epoch and per measured volume, and a progress bar with the remaining time."""

    def __init__(self, debug: bool):
        super().__init__(debug)
        self._step = ""

    def on_event(self, event: dict) -> None:
        match event:
            case {"event": "epoch"}:
                self._line(
                    f"  {event['variant']} fold {event['fold']}  {event['phase']:4s} {event['epoch'] + 1:3d}  "
                    f"rate {event['rate']:.2g}  loss {event['loss']:.4f}  "
                    f"validation Dice {event['validation_dice']:.4f}  {event['seconds']:.0f} s"
                )
            case {"event": "measured"}:
                self._line(
                    f"  {event['variant']} {event['case']} by {event['predicted_by']}: Dice {event['dice']:.4f}, "
                    f"{event['predicted_ml']:.0f} mL (label {event['label_ml']:.0f} mL)"
                )
            case {"event": "progress"}:
                self._progress(event)
            case {"event": "warning"}:
                self._line(event["message"], sys.stderr)

    def _progress(self, event: dict) -> None:
        if not getattr(sys.stderr, "isatty", bool)():  # a file, or Slicer's console
            if event["fraction"] in (0.0, 1.0) and event["step"] != self._step:
                print(event["step"], flush=True)
        else:
            self._show(event)
        self._step = event["step"]

    def _show(self, event: dict) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=100, leave=False, bar_format="{percentage:3.0f}% |{bar:30}| {desc}")
        remaining = event["remaining_s"]
        self._bar.n = round(100 * event["fraction"])
        self._bar.set_description_str(event["step"] + (f", {format_duration(remaining)} left" if remaining else ""))

    def _line(self, text: str, stream=None) -> None:
        if self._bar is None:
            print(text, file=stream or sys.stdout, flush=True)
        else:
            self._bar.write(text, file=stream or sys.stdout)

    def results(self, out: Path, results) -> None:
        self._close()
        print(f"Model folder: {results.model}\nReport: {results.report}", flush=True)
        if missing := ", ".join(map(str, results.missing_folds)):
            print(f"The model lacks fold {missing}; train it with --resume --folds all.", flush=True)


class TrainingJsonConsole(JsonConsole):
    """One event per line."""

    def on_event(self, event: dict) -> None:
        print(json.dumps(event), flush=True)

    def results(self, out: Path, results) -> None:
        model, report = str(results.model), str(results.report)
        self.event("result", out=str(out), model=model, report=report, missing_folds=results.missing_folds)


def format_duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def main(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""

    def work(console) -> int:
        from SpleenSmoothSegTrainingLib.data import dataset
        from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

        layouts = textwrap.indent(dataset.__doc__.partition("\n\n")[2].strip(), "    ")
        run = read_run(make_parser(__doc__.replace("{layouts}", layouts)), arguments)
        run = replace(run, command=shlex.join(["train.py", *arguments]))
        from SpleenSmoothSegTrainingLib.run.training import train

        try:
            results = train(run, console.on_event)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Stopped; continue from the last epoch with --resume.") from None
        if results:
            console.results(run.out, results)
        return 0

    return run_program(work, arguments, (TrainingConsole, TrainingJsonConsole))


if __name__ == "__main__":
    stop_on_signals()
    exit_process(main(sys.argv[1:]))
