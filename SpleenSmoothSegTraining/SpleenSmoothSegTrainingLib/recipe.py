"""The recipe is data: every number of a training in one place, written beside its results.

Published numbers are from Groza, Huet, Boujemaa, "Mask uncertainty regularization to improve machine learning-based
medical image segmentation"; what the paper does not state is a choice of ours and is marked so.
"""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from SpleenSmoothSegLib.borders import Border
from SpleenSmoothSegLib.errors import UserError

_BOUNDS = {
    "decoder_reduction": (1, 64),
    "image_size": (64, 1024),
    "spacing": (0.1, 20),
    "folds": (2, 100),
    "adam_epochs": (0, 100_000),
    "adam_rate": (1e-12, 1),
    "sgd_epochs": (0, 100_000),
    "sgd_base_rate": (1e-12, 1),
    "sgd_max_rate": (1e-12, 1),
    "sgd_momentum": (0, 0.9999),
    "sgd_cycle_epochs": (1, 100_000),
    "plateau_patience": (0, 100_000),
    "plateau_factor": (1e-6, 0.9999),
    "averaging": (0, 0.9999),
    "batch_size": (2, 4096),
    "empty_slices": (0, 1000),
    "threshold": (0.01, 0.99),
    "seed": (0, 2**31),
}


@dataclass(frozen=True)
class Recipe:
    """One training. Lengths are in mm, rates per step of the optimizer.

    Raises UserError for a value that no training can have.
    """

    # Network, published; the reduction is LinkNet's own.
    encoder: str = "se_resnext50_32x4d"
    decoder_reduction: int = 4

    # What a slice looks like is not stated. 256 x 256 at 1.5 mm holds a trunk; the window spans fat to enhanced organs.
    image_size: int = 256
    spacing: float = 1.5
    window: tuple[float, float] = (-150.0, 250.0)

    # Folds are published; by volume is our choice, so that no patient is on both sides.
    folds: int = 5

    # Border smoothing is the paper's idea; its kernel and width are not stated.
    border: str = "gaussian:1.5mm"

    # "published": rotations by 90 degrees, flips, transpose, brightness, contrast, gamma.
    # "anatomical": ours; small shifts, turns and scalings in place of those that turn a patient around.
    augmentation: str = "published"

    # Phase 1 and 2, published.
    adam_epochs: int = 100
    adam_rate: float = 1e-4
    sgd_epochs: int = 20
    sgd_base_rate: float = 5e-7
    sgd_max_rate: float = 1e-3

    # Our choices, not stated.
    plateau_patience: int = 10
    plateau_factor: float = 0.5
    sgd_momentum: float = 0.9
    averaging: float = 0.0  # decay per step of an exponential moving average of the weights; 0 is off, as published
    batch_size: int = 16
    sgd_cycle_epochs: int = 4  # half of it up, half of it down
    empty_slices: float = 1.0  # slices without spleen drawn each epoch, per slice with spleen; 1000 takes all
    threshold: float = 0.5
    seed: int = 0

    def __post_init__(self):
        self._check_types()
        Border.parse(self.border)
        for name, (lowest, highest) in _BOUNDS.items():
            if not lowest <= (value := getattr(self, name)) <= highest:
                raise UserError(f"The recipe's {name} is {value!r}; give {lowest:g} to {highest:g}.")
        if self.adam_epochs + self.sgd_epochs == 0:
            raise UserError("The recipe has no epochs; give --epochs, such as 100,20.")
        if self.sgd_base_rate > self.sgd_max_rate:
            raise UserError("The recipe's sgd_base_rate is above its sgd_max_rate; exchange them.")
        if self.window[0] >= self.window[1]:
            raise UserError(f"The recipe's window {list(self.window)} is empty; give the lower HU first.")

    def _check_types(self) -> None:
        for field in fields(self):
            value, default = getattr(self, field.name), field.default
            if isinstance(default, tuple):
                fits = isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
            else:
                fits = isinstance(value, (int, float) if isinstance(default, float) else type(default))
            if not fits or isinstance(value, bool):
                raise UserError(f"The recipe's {field.name} is {value!r}; give something like {default!r}.")

    def with_changes(self, **changes) -> "Recipe":
        """A copy with those of `changes` that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Recipe":
        """The recipe of `as_dict`, also after a round trip through JSON; raises UserError for an unknown name."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UserError(f'The recipe holds "{unknown[0]}", which this version does not know; remove it.')
        if isinstance(values.get("window"), list):
            values = {**values, "window": tuple(values["window"])}
        return cls(**values)


def read_recipe_file(path: Path) -> tuple[Recipe, tuple[str, ...], dict]:
    """Recipe, names of the test cases, and words for the model's card from a TOML file; raises UserError."""
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f'The recipe "{path}" cannot be read; check the path.') from error
    except ValueError as error:
        raise UserError(f'The recipe "{path}" is no valid TOML ({error}); correct it.') from error
    recipe, test, card = content.get("recipe", {}), content.get("test", []), content.get("card", {})
    if unknown := sorted(set(content) - {"recipe", "test", "card"}):
        raise UserError(f'The recipe "{path}" holds "{unknown[0]}" outside of [recipe], [card] and test; move it.')
    if not (isinstance(recipe, dict) and isinstance(card, dict) and isinstance(test, list)):
        raise UserError(f'The recipe "{path}" needs tables [recipe] and [card] and a list test; correct it.')
    return Recipe.from_dict(recipe), tuple(map(str, test)), card
