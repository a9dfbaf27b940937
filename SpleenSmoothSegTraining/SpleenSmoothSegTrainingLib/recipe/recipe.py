"""The recipe is data: every number of a training in one place, saved with its results.

Published numbers are from Groza, Huet, Boujemaa, "Mask uncertainty regularization to improve machine learning-based
medical image segmentation". Comments mark our choices where the paper states nothing. Options beyond the paper are off
by default.
"""

import dataclasses
from dataclasses import dataclass, fields

from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError


def _number(default, help: str, lowest: float, highest: float):
    return dataclasses.field(default=default, metadata={"help": help, "bounds": (lowest, highest)})


def _choice(default: str, help: str, *choices: str):
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


def _option(default, help: str):
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Recipe:
    """All settings of one training. Lengths are in mm, learning rates per optimizer step.

    Each field is an option of train.py and a key of its TOML files; `help` in its metadata is the text for --help.
    Raises UserError for an invalid value.
    """

    # Network. Published: LinkNet with an se_resnext50 backbone.
    encoder: str = _option(
        "se_resnext50_32x4d", "encoder of the network, published; any of segmentation-models-pytorch"
    )
    encoder_weights: str = _option(
        "none",
        "initial encoder weights: none (random), imagenet (downloaded by segmentation-models-pytorch), or a file of "
        "weights, which may be PACKAGE/FILE in an installed Python package",
    )
    decoder_reduction: int = _number(4, "factor by which a decoder block reduces its channels; 4 in LinkNet", 1, 64)

    # Slices. Not stated in the paper.
    image_size: int = _number(256, "rows and columns of a slice", 64, 1024)
    spacing: float = _number(
        1.5, "pixel size in mm; 256 pixels of 1.5 mm cover 384 mm, enough for the organs of the trunk", 0.1, 20
    )
    window: tuple[float, float] = _option(
        (-150.0, 250.0), "CT window: lowest and highest HU; the default is for soft tissue"
    )
    channels: int = _number(1, "slices per network input: 1, or an odd number to add neighbors below and above", 1, 31)
    channel_spacing: float = _number(5.0, "distance in mm between the slices of an input", 0.1, 100)

    # Border smoothing. Published as the idea; its kernel, width and probability are not stated.
    border: Border = _option(
        Border("gaussian", 1.5, "mm"),
        "border smoothing of the training labels: none, or KERNEL:WIDTH such as gaussian:1.5mm, box:3px, svls:1px, "
        "boundary_uncertainty:1px, signed_distance:4mm; append :3d to smooth through-plane too",
    )
    border_probability: float = _number(1.0, "fraction of the training samples whose label is smoothed", 0, 1)

    # Split. Published: train : test = 9 : 1, the train part in 5 folds; whether by slice or by volume is not stated.
    split_by: str = _choice(
        "volume",
        "volume: a patient is on one side of a split only; slice: may be on both sides, as perhaps in the paper",
        "volume",
        "slice",
    )
    fold_count: int = _number(5, "number of folds in the ensemble, published", 2, 100)
    test_part: float = _number(
        0.1, "fraction of the data kept for the test, published; use --test to name the cases instead", 0, 0.9
    )

    augmentation: str = _option(
        "published",
        "published (= flips+brightness), none, or several joined by +: flips (rotations by 90 degrees, flips, "
        "transpose), brightness (brightness, contrast, gamma), body (small shifts, rotations and scalings instead of "
        "flips), intensity (stronger than brightness), organ (brightness of the spleen), noise, thickness (distance "
        "between channels); all but flips and brightness are ours",
    )

    # Phases, published: Adam with ReduceLROnPlateau, then SGD with a cyclic learning rate.
    epochs: tuple[int, int] = _option((100, 20), "epochs of the two phases, Adam and SGD, published")
    adam_rate: float = _number(1e-4, "initial learning rate of phase 1, published", 1e-12, 1)
    plateau_patience: int = _number(
        10, "epochs without a better validation Dice before the learning rate is reduced", 0, 100_000
    )
    plateau_factor: float = _number(0.5, "factor of that reduction", 1e-6, 0.9999)
    sgd_base_rate: float = _number(5e-7, "lowest learning rate of phase 2, published", 1e-12, 1)
    sgd_max_rate: float = _number(1e-3, "highest learning rate of phase 2, published", 1e-12, 1)
    sgd_momentum: float = _number(0.9, "momentum of phase 2", 0, 0.9999)
    sgd_cycle_epochs: int = _number(4, "epochs per learning rate cycle, half up and half down", 1, 100_000)

    # Batches. Not stated.
    batch_size: int = _number(16, "slices per optimizer step, over all processes", 2, 4096)
    empty_slices: float = _number(
        1000.0, "slices without spleen used per epoch, per slice with spleen; 1000 uses all", 0, 1000
    )
    precision: str = _choice(
        "auto",
        "mixed: bfloat16 where safe; full: float32; auto: mixed on devices where it is faster",
        "auto",
        "mixed",
        "full",
    )

    # Beyond the paper, off.
    averaging: float = _number(
        0.0, "decay per step of an exponential moving average of the weights; 0 is off", 0, 0.9999
    )
    clip_gradient: float = _number(0.0, "maximum gradient norm; 0 is off", 0, 1e6)

    threshold: float = _number(0.5, "lowest probability of a voxel labeled as spleen", 0.01, 0.99)
    seed: int = _number(0, "random seed of splits, initial weights, sampling and augmentation", 0, 2**31)

    def __post_init__(self):
        for field in fields(self):
            _check(field, getattr(self, field.name))
        if min(self.epochs) < 0 or max(self.epochs) > 100_000 or sum(self.epochs) == 0:
            raise UserError(
                f"The recipe's epochs are {list(self.epochs)}; give the lengths of two phases, such as 100,20."
            )
        if self.sgd_base_rate > self.sgd_max_rate:
            raise UserError("The recipe's sgd_base_rate is above its sgd_max_rate; swap them.")
        if not -100_000 <= self.window[0] < self.window[1] <= 100_000:  # also False for NaN
            raise UserError(f"The recipe's window {list(self.window)} is invalid; give the lower HU first.")
        if self.channels % 2 == 0:
            raise UserError(f"The recipe's channels are {self.channels}; give an odd number, such as 1 or 3.")

    def with_changes(self, **changes) -> "Recipe":
        """A copy with those of `changes` that are not None."""
        return dataclasses.replace(self, **{name: value for name, value in changes.items() if value is not None})

    def as_dict(self) -> dict:
        """The fields by name, the border as text, for JSON and TOML."""
        return {**vars(self), "border": str(self.border)}

    @classmethod
    def from_dict(cls, values: dict) -> "Recipe":
        """Inverse of `as_dict`, also after a round trip through JSON or TOML; raises UserError for unknown names."""
        known = {field.name: field for field in fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise UserError(f'The recipe has the unknown key "{unknown[0]}"; remove it.')
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        if isinstance(values.get("border"), str):
            values["border"] = Border.parse(values["border"])
        return cls(**values)


def _check(field: dataclasses.Field, value) -> None:
    if not _fits(value, field.default):
        example = f'"{field.default}"' if isinstance(field.default, str | Border) else repr(field.default)
        raise UserError(f"The recipe's {field.name} is {value!r}; give a value such as {example}.")
    if bounds := field.metadata.get("bounds"):
        lowest, highest = bounds
        if not lowest <= value <= highest:
            raise UserError(f"The recipe's {field.name} is {value!r}; give {lowest:.10g} to {highest:.10g}.")
    if value not in (choices := field.metadata.get("choices", (value,))):
        raise UserError(f"The recipe's {field.name} is {value!r}; give one of: {', '.join(choices)}.")


def _fits(value, default) -> bool:
    """Whether a value has the type of the default; an int is accepted as a float."""
    if isinstance(value, bool):
        return False
    if isinstance(default, tuple):
        return isinstance(value, tuple) and len(value) == len(default) and all(map(_fits, value, default))
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))
