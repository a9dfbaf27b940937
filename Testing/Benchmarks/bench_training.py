"""How fast the training loop is, as a fraction of bare forward and backward passes on batches already in memory.

    python Testing/Benchmarks/bench_training.py [--recipes published,starter] [--rounds 3]

The loop is the real one: slices from the cache, augmentation, soft labels, loss, optimizer. Both run in turns in one
process, so that what else the machine does falls on both; the ratio is the median over the rounds. Then where the rest
goes, what a whole epoch costs (with validation and saving the state), and what a full-length training would: 41 volumes
with 3650 slices, as in the paper. Below that, two choices of ours beside the plain way: freed memory kept, depthwise
convolutions in full precision. Uses a GPU where there is one, and the shipped sample CT as data.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / name) for name in ("SpleenSmoothSeg", "SpleenSmoothSegTraining")]

import torch

from SpleenSmoothSegLib.inference.devices import choose_device, keep_freed_memory
from SpleenSmoothSegLib.io.decathlon import Case
from SpleenSmoothSegTrainingLib.data.prepare import slice_format
from SpleenSmoothSegTrainingLib.data.slicecache import SliceCache
from SpleenSmoothSegTrainingLib.learning.fold import ComputeConfig, FoldData, FoldTraining
from SpleenSmoothSegTrainingLib.learning.loss import dice_and_cross_entropy
from SpleenSmoothSegTrainingLib.learning.phases import phases
from SpleenSmoothSegTrainingLib.learning.precision import autocast
from SpleenSmoothSegTrainingLib.recipe.file import read_recipe
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe

SAMPLE = REPOSITORY / "SpleenSmoothSeg" / "Resources" / "SampleData"
STARTER = REPOSITORY / "SpleenSmoothSegTraining" / "Resources" / "Recipes" / "starter.toml"
RECIPES = {"published": Recipe(), "starter": read_recipe(STARTER)[0]}
PAPER_SLICES, PAPER_FOLDS = 3650, 5
STEP = "--step"


def training_on_sample(recipe: Recipe, folder: Path, workers: int = 0) -> FoldTraining:
    """A fold that learns from the sample CT's slices with spleen and as many without, and validates on some."""
    case = Case("sample", SAMPLE / "ct.nii.gz", SAMPLE / "spleen.nii.gz")
    slices = SliceCache(folder / "cache").slices(case, slice_format(recipe), recipe.border)
    part = [(slices, range(len(slices.ct)))]
    data = FoldData(0, training=part, validation=[(slices, range(16))])
    return FoldTraining(recipe, data, folder, ComputeConfig(choose_device("auto"), workers))


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(work, device: torch.device) -> float:
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def bare_pass(training: FoldTraining, ct: torch.Tensor, label: torch.Tensor) -> None:
    """Forward, loss, backward, and nothing else."""
    with autocast(training.mixed, training.device):
        logits = training.network(ct)
    training.network.zero_grad(set_to_none=True)
    dice_and_cross_entropy(logits.float(), label).backward()


def measure_recipe(name: str, recipe: Recipe, rounds: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        training = training_on_sample(recipe, Path(folder), workers)
        device = training.device
        optimizer = phases(recipe)[0].optimizer(training.network.parameters())
        batches = [
            (ct.to(device, memory_format=torch.channels_last), label.to(device))
            for ct, label in training.batches.epoch(0)
        ]
        images = len(batches) * len(batches[0][0])
        training.network.train()
        bare_pass(training, *batches[0])  # what is made once is made now

        def bare() -> None:
            for batch in batches:
                bare_pass(training, *batch)

        bares, loops = [], []
        for number in range(rounds):
            bares.append(seconds(bare, device))
            loops.append(seconds(lambda number=number: training._train_epoch(0, number, optimizer, None), device))
        samples = seconds(lambda: [training.samples[draw] for draw in training.samples.draw(1)[:images]], device)
        steps = seconds(lambda: [training._step(*batch, optimizer) for batch in batches], device)
        validation = seconds(training._validate, device) / 16
        ratio = statistics.median(bare / loop for bare, loop in zip(bares, loops, strict=True))
        bare_s, loop_s = statistics.median(bares) / images, statistics.median(loops) / images
        print(f"\n{name}: {recipe.encoder}, {recipe.image_size} x {recipe.image_size} x {recipe.channels}, {device}")
        print(f"  bare forward and backward {1 / bare_s:8.1f} images/s")
        print(f"  whole loop                {1 / loop_s:8.1f} images/s = {ratio:.2f} of it")
        print(f"  of the loop: making samples {samples / images / loop_s:.1%}, ", end="")
        print(f"optimizer and averaging {max(0.0, steps / images - bare_s) / loop_s:.1%}")
        learned = PAPER_SLICES * 0.9 * 0.8  # of a fold
        epoch = learned * loop_s + PAPER_SLICES * 0.9 * 0.2 * validation
        print(
            f"  extrapolated to the paper's 3650 slices, all of them in each epoch: {epoch / 60:.1f} min an epoch, "
            f"{epoch * sum(Recipe().epochs) * PAPER_FOLDS / 3600:.0f} h for 5 folds of 120 epochs"
        )


def steps_in_own_process(how: str) -> float:
    """Seconds of some steps of the starter in a process that does it `how`: C libraries keep their settings."""
    command = [sys.executable, __file__, STEP, how]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=os.environ)
    return float(done.stdout.splitlines()[-1])


def time_steps(how: str) -> None:
    if how != "memory given back":
        keep_freed_memory()
    recipe = RECIPES["starter"].with_changes(precision="mixed" if "mixed" in how else "auto")
    with tempfile.TemporaryDirectory() as folder:
        training = training_on_sample(recipe, Path(folder))
        if "everywhere" in how:
            for module in training.network.modules():
                if type(module).__name__.startswith("Full"):
                    module.__class__ = type(module).__mro__[2]
        ct, label = next(training.batches.epoch(0))
        ct = ct.contiguous(memory_format=torch.channels_last)
        training.network.train()
        bare_pass(training, ct, label)
        print(min(seconds(lambda: bare_pass(training, ct, label), training.device) for _ in range(5)))


def compare_choices(rounds: int) -> None:
    pairs = {
        "freed memory kept": ("memory kept", "memory given back"),
        "depthwise convolutions in float32 while all else is bfloat16": ("mixed", "mixed everywhere"),
    }
    print("\nsteps of the starter's network on the CPU, time beside the plain way (less than 1 is faster)")
    for name, (ours, plain) in pairs.items():
        ratio = statistics.median(steps_in_own_process(ours) / steps_in_own_process(plain) for _ in range(rounds))
        print(f"  {name}: {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default="published,starter")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument(STEP, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        time_steps(options.step)
        return
    keep_freed_memory()
    for name in options.recipes.split(","):
        measure_recipe(name, RECIPES[name], options.rounds, options.workers)
    if not torch.cuda.is_available():
        compare_choices(options.rounds)


if __name__ == "__main__":
    main()
