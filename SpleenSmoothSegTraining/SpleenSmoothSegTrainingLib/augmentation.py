"""Augmentation of training slices, CT and soft label together. Validation and test are never augmented."""

import os

# albumentations asks the package index for its newest version at import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import cv2
import numpy as np

from SpleenSmoothSegLib.errors import UserError


def augmentation(name: str) -> albumentations.Compose:
    """The augmentation called "published", "anatomical" or "none"; raises UserError for another name.

    Takes ``image=`` float32 (row, column, 1) in [0, 1] and ``mask=`` float32 (row, column).
    """
    try:
        return albumentations.Compose(_AUGMENTATIONS[name]())
    except KeyError as error:
        raise UserError(f'There is no augmentation "{name}"; choose one of: {", ".join(_AUGMENTATIONS)}.') from error


def augment(transform: albumentations.Compose, ct: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One augmented slice and its label, float32 (row, column) in and out."""
    both = transform(image=ct[..., None], mask=label)
    return both["image"][..., 0], both["mask"]


def _published() -> list:
    """Groza et al.: random 90 degree rotations, horizontal and vertical flips, transpose, brightness, contrast, gamma.

    The paper gives neither probabilities nor ranges: these are albumentations' own.
    """
    return [
        albumentations.RandomRotate90(),
        albumentations.HorizontalFlip(),
        albumentations.VerticalFlip(),
        albumentations.Transpose(),
        albumentations.RandomBrightnessContrast(),
        albumentations.RandomGamma(),
    ]


def _anatomical() -> list:
    """Ours: the patient stays the right way around.

    Shifts, turns and scalings as between two patients on a table; wider ranges of brightness, contrast and gamma for
    other contrast phases; noise and blur for other scanners.
    """
    return [
        albumentations.Affine(
            scale=(0.8, 1.2),
            translate_percent=(-0.08, 0.08),
            rotate=(-15, 15),
            shear=(-5, 5),
            interpolation=cv2.INTER_LINEAR,
            mask_interpolation=cv2.INTER_LINEAR,
            p=0.9,
        ),
        albumentations.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.3, p=0.8),
        albumentations.RandomGamma(gamma_limit=(70, 140)),
        albumentations.GaussNoise(std_range=(0.01, 0.08), p=0.3),
        albumentations.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 1.0), p=0.2),
    ]


_AUGMENTATIONS = {"published": _published, "anatomical": _anatomical, "none": list}
