"""Speed of the training loop relative to bare forward and backward passes on batches in memory.

    python Testing/Benchmarks/bench_training.py [--recipes published,starter] [--rounds 3]

The loop is the real one: slices from the cache, augmentation, soft labels, loss, optimizer. Both are interleaved in
one process, so that other load affects both; the ratio is the median over the rounds. Also prints the time of making
samples and of the optimizer, and the time of an epoch and a training extrapolated to the paper's 3650 slices. On a CPU
it then compares two choices with the baseline: keeping freed memory, and depthwise convolutions in float32. Uses a GPU
if available, and the shipped sample CT as data.
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
from SpleenSmoothSegTrainingLib.learning.fold import ComputeConfig, FoldData, FoldTraining, _RunningPhase
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
    """A fold that trains on the slices of the sample CT and validates on 16 of them."""
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
        phase = phases(recipe)[0]
        optimizer = phase.optimizer(training.network.parameters())
        running = _RunningPhase(0, phase, optimizer, scheduler=None)  # Adam's scheduler steps after each epoch only
        batches = [
            (ct.to(device, memory_format=torch.channels_last), label.to(device))
            for ct, label in training.batches.epoch(0)
        ]
        images = len(batches) * len(batches[0][0])
        training.network.train()
        bare_pass(training, *batches[0])  # warm-up

        def bare() -> None:
            for batch in batches:
                bare_pass(training, *batch)

        bares, loops = [], []
        for number in range(rounds):
            bares.append(seconds(bare, device))
            loops.append(seconds(lambda number=number: training._train_epoch(running, number), device))
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
        training_slices = PAPER_SLICES * 0.9 * 0.8  # of a fold
        epoch = training_slices * loop_s + PAPER_SLICES * 0.9 * 0.2 * validation
        print(
            f"  extrapolated to the paper's 3650 slices, all of them in each epoch: {epoch / 60:.1f} min per epoch, "
            f"{epoch * sum(Recipe().epochs) * PAPER_FOLDS / 3600:.0f} h for 5 folds of 120 epochs"
        )


def step_seconds_in_new_process(variant: str) -> float:
    """Seconds per step of the Starter's recipe in a new process, because C libraries keep their settings."""
    command = [sys.executable, __file__, STEP, variant]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=os.environ)
    return float(done.stdout.splitlines()[-1])


def time_steps(variant: str) -> None:
    if variant != "memory returned":
        keep_freed_memory()
    recipe = RECIPES["starter"].with_changes(precision="mixed" if "mixed" in variant else "auto")
    with tempfile.TemporaryDirectory() as folder:
        training = training_on_sample(recipe, Path(folder))
        if "everywhere" in variant:
            for module in training.network.modules():
                if type(module).__name__.startswith("Float32"):
                    module.__class__ = type(module).__mro__[2]
        ct, label = next(training.batches.epoch(0))
        ct = ct.contiguous(memory_format=torch.channels_last)
        training.network.train()
        bare_pass(training, ct, label)
        print(min(seconds(lambda: bare_pass(training, ct, label), training.device) for _ in range(5)))


def compare_choices(rounds: int) -> None:
    pairs = {
        "freed memory kept": ("memory kept", "memory returned"),
        "depthwise convolutions in float32, all others in bfloat16": ("mixed", "mixed everywhere"),
    }
    print("\nsteps of the starter's network on the CPU, time relative to the baseline (below 1 is faster)")
    for name, (ours, baseline) in pairs.items():
        ratio = statistics.median(
            step_seconds_in_new_process(ours) / step_seconds_in_new_process(baseline) for _ in range(rounds)
        )
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
