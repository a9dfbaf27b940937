"""The recipe is data: every number of a training in one place, written beside its results.

Published numbers are from Groza, Huet, Boujemaa, "Mask uncertainty regularization to improve machine learning-based
medical image segmentation". What the paper does not state is a choice of ours and is marked so; what goes beyond the
paper is off.
"""

import dataclasses
from dataclasses import asdict, dataclass, fields

from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError


def _number(default, words: str, lowest: float, highest: float):
    return dataclasses.field(default=default, metadata={"words": words, "bounds": (lowest, highest)})


def _choice(default: str, words: str, *choices: str):
    return dataclasses.field(default=default, metadata={"words": words, "choices": choices})


def _words(default, words: str):
    return dataclasses.field(default=default, metadata={"words": words})


@dataclass(frozen=True)
class Recipe:
    """One training. Lengths are in mm, rates per step of the optimizer.

    Each field is an option of train.py and a key of its TOML files; `words` of its metadata is what --help says of it.
    Raises UserError for a value that no training can have.
    """

    # Network. Published: LinkNet with an se_resnext50 backbone.
    encoder: str = _words("se_resnext50_32x4d", "any encoder of segmentation-models-pytorch, published")
    encoder_weights: str = _words(
        "none",
        "what the encoder starts from: none (random; nothing is fetched), imagenet (downloads what "
        "segmentation-models-pytorch offers), or a file of weights; PACKAGE/FILE is one in an installed Python package",
    )
    decoder_reduction: int = _number(4, "by how much a decoder block narrows its channels, a quarter in LinkNet", 1, 64)

    # Slices. Not stated in the paper.
    image_size: int = _number(256, "rows and columns of a slice", 64, 1024)
    spacing: float = _number(1.5, "mm of a pixel; with 256 pixels 384 mm, which hold the organs of a trunk", 0.1, 20)
    window: tuple[float, float] = _words((-150.0, 250.0), "lowest and highest HU that the network sees: soft tissue")
    channels: int = _number(1, "slices the network sees at once: 1, or 3, 5 ... with neighbors below and above", 1, 31)
    channel_spacing: float = _number(5.0, "mm from one of these to the next", 0.1, 100)

    # Border smoothing. Published as the idea; its kernel, width and probability are not stated.
    border: str = _words(
        "gaussian:1.5mm",
        "soft border of the training labels: none, or KERNEL:WIDTH such as gaussian:1.5mm, box:3px, svls:1px, "
        "boundary_uncertainty:1px, signed_distance:4mm; with :3d it reaches across slices",
    )
    border_probability: float = _number(1.0, "part of the training samples whose label is smoothed", 0, 1)

    # Split. Published: train : test = 9 : 1, the train part in 5 folds; whether by slice or by volume is not stated.
    split_by: str = _choice(
        "volume",
        "volume: no patient is on both sides; slice: slices of one patient may be, as the paper may have done",
        "volume",
        "slice",
    )
    fold_count: int = _number(5, "folds of the ensemble, published", 2, 100)
    test_part: float = _number(0.1, "part of the data kept for the test, published; --test names cases instead", 0, 0.9)

    augmentation: str = _words(
        "published",
        "published (turns+tones: rotations by 90 degrees, flips, transpose; brightness, contrast, gamma), none, or "
        "some of these with + between, of which all but the first two are ours: turns, tones, body (small shifts, "
        "turns, scalings in place of flips), intensity (wider than tones), organ (the spleen's own brightness), noise, "
        "thickness (distance of the channels)",
    )

    # Phases, published: Adam with ReduceLROnPlateau, then SGD with a cyclic rate.
    epochs: tuple[int, int] = _words((100, 20), "length of the two phases, published")
    adam_rate: float = _number(1e-4, "initial learning rate of phase 1, published", 1e-12, 1)
    plateau_patience: int = _number(10, "epochs without a better validation Dice until the rate falls", 0, 100_000)
    plateau_factor: float = _number(0.5, "by which it falls then", 1e-6, 0.9999)
    sgd_base_rate: float = _number(5e-7, "lowest learning rate of phase 2, published", 1e-12, 1)
    sgd_max_rate: float = _number(1e-3, "highest learning rate of phase 2, published", 1e-12, 1)
    sgd_momentum: float = _number(0.9, "momentum of phase 2", 0, 0.9999)
    sgd_cycle_epochs: int = _number(4, "epochs of a cycle, half of it up and half of it down", 1, 100_000)

    # Batches. Not stated.
    batch_size: int = _number(16, "slices of a step, over all processes", 2, 4096)
    empty_slices: float = _number(
        1000.0, "slices without spleen drawn each epoch, per slice with spleen; 1000 takes all", 0, 1000
    )
    precision: str = _choice(
        "auto",
        "mixed computes in bfloat16 where that is safe; auto: where the device is faster so",
        "auto",
        "mixed",
        "full",
    )

    # Beyond the paper, off.
    averaging: float = _number(
        0.0, "decay per step of an exponential moving average of the weights; 0 is off", 0, 0.9999
    )
    clip_gradient: float = _number(0.0, "largest norm of the gradient; 0 is off", 0, 1e6)

    threshold: float = _number(0.5, "probability from which a voxel is spleen", 0.01, 0.99)
    seed: int = _number(0, "fixes splits, first weights, drawing and augmentation", 0, 2**31)

    def __post_init__(self):
        for field in fields(self):
            _check(field, getattr(self, field.name))
        Border.parse(self.border)
        if min(self.epochs) < 0 or max(self.epochs) > 100_000 or sum(self.epochs) == 0:
            raise UserError(f"The recipe's epochs are {list(self.epochs)}; give two lengths, such as 100,20.")
        if self.sgd_base_rate > self.sgd_max_rate:
            raise UserError("The recipe's sgd_base_rate is above its sgd_max_rate; exchange them.")
        if not -100_000 <= self.window[0] < self.window[1] <= 100_000:  # also where one is no number
            raise UserError(f"The recipe's window {list(self.window)} is none; give the lower HU first.")
        if self.channels % 2 == 0:
            raise UserError(f"The recipe's channels are {self.channels}; give an odd number, such as 1 or 3.")

    def with_changes(self, **changes) -> "Recipe":
        """A copy with those of `changes` that are not None."""
        return dataclasses.replace(self, **{name: value for name, value in changes.items() if value is not None})

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Recipe":
        """The recipe of `as_dict`, also after a round trip through JSON or TOML; raises UserError for unknown names."""
        known = {field.name: field for field in fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise UserError(f'The recipe holds "{unknown[0]}", which this version does not know; remove it.')
        return cls(**{name: _tuple_if_list(value) for name, value in values.items()})


def _check(field: dataclasses.Field, value) -> None:
    if not _fits(value, field.default):
        raise UserError(f"The recipe's {field.name} is {value!r}; give something like {field.default!r}.")
    lowest, highest = field.metadata.get("bounds", (value, value))
    if not lowest <= value <= highest:
        raise UserError(f"The recipe's {field.name} is {value!r}; give {lowest:.10g} to {highest:.10g}.")
    if value not in (choices := field.metadata.get("choices", (value,))):
        raise UserError(f"The recipe's {field.name} is {value!r}; give one of: {', '.join(choices)}.")


def _fits(value, default) -> bool:
    """Whether a value is of the type of the default; a whole number is a float, too."""
    if isinstance(value, bool):
        return False
    if isinstance(default, tuple):
        return isinstance(value, tuple) and len(value) == len(default) and all(map(_fits, value, default))
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))


def _tuple_if_list(value):
    return tuple(value) if isinstance(value, list) else value
