"""Short programs that replace train.py: they emit its events and write its files."""

EMITS = """
import csv, json, os, sys, threading, time
from pathlib import Path

words = [word for word in sys.argv[1:] if word != "--child"]
out = Path(words[1])

def emit(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)

def end_with_stdin():
    sys.stdin.read()
    os._exit(130)

os.setpgid(0, 0)
emit("started", pid=os.getpid())
threading.Thread(target=end_with_stdin, daemon=True).start()
(out.parent / "arguments.json").write_text(json.dumps(words))
"""

# Busy: does not notice that stdin has been closed.
IGNORES_STDIN = (
    EMITS.replace("threading.Thread(target=end_with_stdin, daemon=True).start()", "")
    + 'emit("progress", fraction=0.2, step="Busy", remaining_s=None)\ntime.sleep(1000)\n'
)

TRAINING_FUNCTIONS = """
def begin(folder=out, border="gaussian:1.5mm"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "splits.json").write_text("{}")
    (folder / "recipe.toml").write_text(f'border = "{border}"\\n')

def epoch(fold, number, folder=out, variant="smoothed", phase="adam"):
    row = dict(phase=phase, epoch=number, rate=1e-4, loss=0.9 / (number + 1), validation_dice=number / (number + 1),
               seconds=1.0)
    path = folder / f"fold_{fold}" / "history.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    isNew = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if isNew:
            writer.writeheader()
        writer.writerow(row)
    emit("epoch", variant=variant, fold=fold, **row)

def wait():
    while True:
        time.sleep(0.05)
"""

RUNS_FOREVER = (
    EMITS
    + TRAINING_FUNCTIONS
    + """
begin()
done = len(list(out.glob("fold_0/history.csv")))
for number in range(2 * done, 2 * done + 2):
    epoch(0, number)
emit("progress", fraction=0.25, step="Fold 0 of smoothed, epoch 2 of 8", remaining_s=7500.0)
wait()
"""
)

# Copies the model folder MODEL.
COMPLETES = (
    EMITS
    + TRAINING_FUNCTIONS
    + """
import shutil
begin()
for fold in range(2):
    for number in range(2):
        epoch(fold, number)
    epoch(fold, 0, phase="sgd")
if "--compare" in words:
    begin(out / "control", "none")
    for number in range(2):
        epoch(0, number, out / "control", "control")
shutil.copytree(MODEL, out / "model")
(out / "report.html").write_text("<h1>Report</h1>")
emit("progress", fraction=1.0, step="Writing the report", remaining_s=None)
emit("result", out=str(out), model=str(out / "model"), report=str(out / "report.html"))
"""
)


def completes_with(model) -> str:
    """A training that completes with a copy of this model folder."""
    return f"MODEL = {str(model)!r}\n" + COMPLETES
