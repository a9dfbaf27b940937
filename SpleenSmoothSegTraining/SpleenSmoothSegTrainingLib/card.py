"""The card of a trained model: ``model.json`` without the folds and their checksums."""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from .recipe import Recipe

PACKAGES = ("torch", "segmentation-models-pytorch", "timm", "albumentations", "SimpleITK", "numpy")


def model_card(recipe: Recipe, dataset: Path, splits: dict, words: dict, device: torch.device) -> dict:
    """What a person, and a program that loads the model, must know of it.

    Args:
        recipe: of the training.
        dataset: folder in Decathlon layout.
        splits: "test" and "folds", the names of the cases held out.
        words: "name", "description" and "data_license", as far as given.
        device: on which it is trained.
    """
    description = json.loads((Path(dataset) / "dataset.json").read_text(encoding="utf-8"))
    name = str(description.get("name", "Spleen"))
    return {
        "name": words.get("name", f"{name} ensemble"),
        "description": words.get("description", f"Ensemble of {recipe.folds} folds trained on {name}."),
        "architecture": {
            "name": "linknet",
            "encoder": recipe.encoder,
            "in_channels": 1,
            "decoder_reduction": recipe.decoder_reduction,
        },
        "input": {"size": recipe.image_size, "spacing_mm": recipe.spacing, "window_hu": list(recipe.window)},
        "threshold": recipe.threshold,
        "border_smoothing": recipe.border,
        "training": {
            "recipe": recipe.as_dict(),
            "data": {
                "name": name,
                "description": str(description.get("description", "")),
                "license": words.get("data_license", description.get("licence", "not stated in dataset.json")),
                "held_out_by_fold": splits["folds"],
                "test": splits["test"],
            },
            "device": device.type,
            "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        },
    }
