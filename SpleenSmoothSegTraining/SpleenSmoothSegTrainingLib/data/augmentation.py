"""Augmentation of training slices, CT and soft label together. Validation and test are never augmented.

An augmentation is one or more of the groups below joined by "+", or "published", or "none".
"""

import os
from collections.abc import Callable

# albumentations checks PyPI for a newer version at import unless this is set.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import cv2
import numpy as np

from SpleenSmoothSegLib.errors import UserError

PUBLISHED = "flips+brightness"
ORGAN_HU, MOTTLE_HU = 70.0, 60.0  # difference between contrast phases; stripes of the arterial phase
MAX_DISTANCE_FACTOR = 1.6  # by which the distance between channels is multiplied or divided at most


class Augmentation:
    """Random changes of one training sample; the same seed gives the same result in any process.

    Args:
        name: "published", "none", or groups joined by "+".
        window_hu: width of the HU window that the values 0 to 1 of a slice stand for.

    Raises:
        UserError: unknown group.
    """

    def __init__(self, name: str, window_hu: float = 400.0):
        groups = [] if name == "none" else name.replace("published", PUBLISHED).split("+")
        if unknown := [group for group in groups if group not in (*_STEPS, "organ", "thickness")]:
            known = ", ".join(("published", "none", *_STEPS, "organ", "thickness"))
            raise UserError(f'Unknown augmentation "{unknown[0]}"; choose from: {known}.')
        self.steps = albumentations.Compose([step for group in groups for step in _STEPS.get(group, list)()])
        self._organ_hu = ORGAN_HU / window_hu if "organ" in groups else 0.0
        self._mottle_hu = MOTTLE_HU / window_hu
        self._moves_channels = "thickness" in groups

    def channel_distance(self, seed: int) -> float:
        """The factor by which the distance between the channels of this sample is multiplied."""
        generator = np.random.default_rng((seed, 1))
        if not self._moves_channels or generator.random() < 0.5:
            return 1.0
        return float(MAX_DISTANCE_FACTOR ** generator.uniform(-1, 1))

    def __call__(self, ct: np.ndarray, label: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Augment a CT, float32 (channel, row, column) in [0, 1], and its soft label (row, column) in [0, 1]."""
        if self._organ_hu:
            ct = self._change_organ(ct, label, np.random.default_rng((seed, 2)))
        if not self.steps.transforms:
            return ct, label
        self.steps.set_random_seed(seed)
        augmented = self.steps(image=np.ascontiguousarray(np.moveaxis(ct, 0, -1)), mask=label)
        image = augmented["image"]  # OpenCV drops the axis of a single channel
        image = image[..., None] if image.ndim == 2 else image
        return np.ascontiguousarray(np.moveaxis(image, -1, 0)), augmented["mask"]

    def _change_organ(self, ct: np.ndarray, label: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Brighten or darken the spleen relative to the rest, as contrast phases do, evenly or in stripes."""
        if generator.random() < 0.4:
            return ct
        change = np.full(label.shape, generator.uniform(-self._organ_hu, self._organ_hu), np.float32)
        if generator.random() < 0.5:
            points = generator.integers(8, 40, 2)  # stripes and spots of 5 to 50 mm
            coarse = generator.normal(0, generator.uniform(0, self._mottle_hu), points).astype(np.float32)
            change += cv2.resize(coarse, label.shape[::-1], interpolation=cv2.INTER_CUBIC)
        return np.clip(ct + change * label, 0, 1)


def _flips() -> list:
    """Groza et al.: random 90 degree rotations, horizontal and vertical flips, transpose.

    The paper gives no probabilities: here and in `_brightness` they are the defaults of albumentations.
    """
    return [
        albumentations.RandomRotate90(),
        albumentations.HorizontalFlip(),
        albumentations.VerticalFlip(),
        albumentations.Transpose(),
    ]


def _brightness() -> list:
    """Groza et al.: brightness, contrast, gamma; ranges are the defaults of albumentations."""
    return [albumentations.RandomBrightnessContrast(), albumentations.RandomGamma()]


def _body() -> list:
    """Ours: shifts, rotations and scaling as between two patients; sometimes any rotation, as of a prone patient."""
    common = {
        "scale": (0.75, 1.3),
        "translate_percent": (-0.1, 0.1),
        "shear": (-5, 5),
        "interpolation": cv2.INTER_LINEAR,
        "mask_interpolation": cv2.INTER_LINEAR,
    }
    return [
        albumentations.OneOf(
            [
                albumentations.Affine(rotate=(-15, 15), p=0.9, **common),
                albumentations.Affine(rotate=(-180, 180), p=0.1, **common),
            ],
            p=0.95,
        )
    ]


def _intensity() -> list:
    """Ours: wider ranges than the published ones, for other contrast phases and scanners."""
    return [
        albumentations.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.35, p=0.8),
        albumentations.RandomGamma(gamma_limit=(65, 150)),
    ]


def _noise() -> list:
    """Ours: noise, blur and coarse pixels, as from other scanners, doses and reconstruction kernels."""
    return [
        albumentations.GaussNoise(std_range=(0.01, 0.08), p=0.3),
        albumentations.OneOf(
            [
                albumentations.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 1.2)),
                albumentations.Downscale(scale_range=(0.4, 0.9)),
            ],
            p=0.3,
        ),
    ]


_STEPS: dict[str, Callable[[], list]] = {
    "flips": _flips,
    "brightness": _brightness,
    "body": _body,
    "intensity": _intensity,
    "noise": _noise,
}
