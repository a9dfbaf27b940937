"""The card of a trained model: ``model.json`` without the folds and their checksums."""

import platform
from importlib.metadata import PackageNotFoundError, version

from ..data.dataset import Dataset
from ..data.splits import Splits
from ..recipe.recipe import Recipe

PACKAGES = ("torch", "segmentation-models-pytorch", "timm", "albumentations", "SimpleITK", "numpy")


def model_card(
    recipe: Recipe, dataset: Dataset, splits: Splits, text: dict, folds: list[int], devices: list[str]
) -> dict:
    """Metadata of a model for users and for programs that load it.

    Args:
        recipe: of the training.
        dataset: the training data.
        splits: what each fold held out, and the test part.
        text: "name", "description", "data_license" and "command" (which started the training), each optional.
        folds: numbers of the trained folds.
        devices: names of the devices that trained them.
    """
    some = (
        f"{recipe.fold_count} folds"
        if len(folds) == recipe.fold_count
        else f"{len(folds)} of {recipe.fold_count} folds"
    )
    return {
        "name": text.get("name", f"{dataset.name} ensemble"),
        "description": text.get("description", f"Ensemble of {some} trained on {dataset.name}."),
        "architecture": {
            "name": "linknet",
            "encoder": recipe.encoder,
            "in_channels": recipe.channels,
            "decoder_reduction": recipe.decoder_reduction,
        },
        "input": {
            "size": recipe.image_size,
            "spacing_mm": recipe.spacing,
            "window_hu": list(recipe.window),
            "channels": recipe.channels,
            "channel_spacing_mm": recipe.channel_spacing,
        },
        "threshold": recipe.threshold,
        "border_smoothing": str(recipe.border),
        "training": {
            "recipe": recipe.as_dict(),
            "splits": splits.to_json(),
            "folds": folds,
            "data": {
                "name": dataset.name,
                "description": dataset.description,
                "license": text.get("data_license", dataset.license or "not stated"),
            },
            "device": ", ".join(devices),
            "command": text.get("command", ""),
            "versions": {"python": platform.python_version(), **{package: _version(package) for package in PACKAGES}},
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # Slicer's own build of SimpleITK has no metadata
        return "unknown"
