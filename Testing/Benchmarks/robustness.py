"""Robustness of a trained model to CTs unlike its training data.

    python Testing/Benchmarks/robustness.py MODEL DATASET

Every CT is measured by the folds that were not trained on it, unchanged and modified: noise, no contrast agent, thick
slices, a rotated patient; and the parts above and below the spleen, where any foreground is a false positive. The
modifications are synthetic, because no CTs of other hospitals are available.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / name) for name in ("SpleenSmoothSeg", "SpleenSmoothSegTraining")]

from SpleenSmoothSegLib.inference.devices import choose_device, prepare_for
from SpleenSmoothSegLib.inference.ensemble import segment_image
from SpleenSmoothSegLib.metrics.overlap import measure_overlap
from SpleenSmoothSegLib.metrics.shape import volume_ml
from SpleenSmoothSegLib.model.folder import Model, load_model
from SpleenSmoothSegTrainingLib.data.dataset import open_dataset
from SpleenSmoothSegTrainingLib.measuring.evaluation import splits_of_model

NOISE_HU, THICK_MM, ROTATION_DEGREES = 40.0, 10.0, 20.0
FAR_MM = 30.0  # from the spleen's tips
EMPTY = "false positive mL without spleen"


def noisy(ct: sitk.Image, label: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """With Gaussian noise of NOISE_HU standard deviation, smoothed over a voxel in each slice as by reconstruction."""
    noise = sitk.GetImageFromArray(np.random.default_rng(0).standard_normal(ct.GetSize()[::-1]).astype(np.float32))
    noise = sitk.DiscreteGaussian(noise, variance=(1.0, 1.0, 0.0), useImageSpacing=False)
    noise *= float(NOISE_HU / sitk.GetArrayViewFromImage(noise).std())
    noise.CopyInformation(ct)
    return sitk.Cast(ct, sitk.sitkFloat32) + noise, label


def without_contrast(ct: sitk.Image, label: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Contrast above 50 HU is compressed in organs and vessels, and unchanged in bone."""
    hu = np.interp(sitk.GetArrayViewFromImage(ct), (-2000, 50, 200, 400, 4000), (-2000, 50, 72, 400, 4000))
    native = sitk.GetImageFromArray(hu.astype(np.float32))
    native.CopyInformation(ct)
    return native, label


def thick(ct: sitk.Image, label: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Slices of about THICK_MM, each the mean of several."""
    factor = max(1, round(THICK_MM / ct.GetSpacing()[2]))
    ct, part = (sitk.BinShrink(sitk.Cast(image, sitk.sitkFloat32), [1, 1, factor]) for image in (ct, label))
    return ct, part >= 0.5


def rotated(ct: sitk.Image, label: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """The patient rotated by ROTATION_DEGREES about the long axis."""
    cosine, sine = np.cos(np.radians(ROTATION_DEGREES)), np.sin(np.radians(ROTATION_DEGREES))
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    turned = []
    for image in (ct, label):
        image = sitk.Image(image)
        image.SetDirection((turn @ np.reshape(image.GetDirection(), (3, 3))).ravel())
        image.SetOrigin(turn @ image.GetOrigin())
        turned.append(image)
    return tuple(turned)


CHANGES: dict[str, Callable] = {
    "unchanged": lambda ct, label: (ct, label),
    "noise": noisy,
    "no contrast": without_contrast,
    "thick": thick,
    "rotated": rotated,
}


def without_spleen(ct: sitk.Image, label: sitk.Image) -> Iterator[sitk.Image]:
    """The parts of a CT (its slices stacked along its third axis) below and above the spleen, if 5 slices or more."""
    held = np.flatnonzero(sitk.GetArrayViewFromImage(label).any(axis=(1, 2)))
    if not len(held):
        yield ct
        return
    far = int(np.ceil(FAR_MM / ct.GetSpacing()[2]))
    for part in (slice(0, max(0, held[0] - far)), slice(held[-1] + far, ct.GetDepth())):
        if len(range(*part.indices(ct.GetDepth()))) >= 5:
            yield ct[:, :, part]


def measure_robustness(model: Model, splits, numbers: list[int], cases: dict, left_out: set[str]) -> dict[str, float]:
    """Mean Dice of each change, and the total false positive volume in parts without spleen, in mL.

    Args:
        model: whose networks are the folds `numbers`, in that order.
        splits: the cases that each fold held out, and the test cases, which are measured with every fold.
        cases: the dataset's, by name.
        left_out: names of cases with wrong labels.
    """
    dice, found_ml = {name: [] for name in CHANGES}, 0.0
    for network, number in enumerate(numbers):
        alone = replace(model, networks=[model.networks[network]])
        for name in [*splits.folds[number], *splits.test]:
            if name in left_out:
                continue
            ct, label = cases[name].read()
            spleen = label == cases[name].spleen
            for change, make in CHANGES.items():
                changed, truth = make(ct, spleen)
                dice[change].append(measure_overlap(segment_image(changed, alone, "cpu").mask, truth).dice or 0.0)
            for part in without_spleen(ct, spleen):
                found_ml += volume_ml(segment_image(part, alone, "cpu").mask)
    return {change: statistics.mean(values) for change, values in dice.items()} | {EMPTY: found_ml}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--leave-out", default="", help="cases with wrong labels, separated by commas")
    options = parser.parse_args()
    model = load_model(options.model, prepare=prepare_for(choose_device("cpu")))
    splits, numbers = splits_of_model(options.model)
    cases = {case.name: case for case in open_dataset(options.dataset).cases}
    left_out = set(options.leave_out.split(","))
    measured = measure_robustness(model, splits, numbers or list(range(len(model.networks))), cases, left_out)
    print(f"| {' | '.join(measured)} |\n|{'---|' * len(measured)}")
    print(f"| {' | '.join(f'{value:.3f}' if name != EMPTY else f'{value:.1f}' for name, value in measured.items())} |")


if __name__ == "__main__":
    main()
