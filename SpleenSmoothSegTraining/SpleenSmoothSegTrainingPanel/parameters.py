"""The user's choices in the panel, as a parameter node that is saved with the scene."""

import enum

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from SpleenSmoothSegPanels.shared.device import Device

from .choices import TrainingChoices


class Recipe(enum.Enum):
    """Source of the training settings; names as in ``TrainingChoices.recipe``."""

    published = 0
    starter = 1
    custom = 2

    def label(self) -> str:
        return {
            Recipe.published: _("Published recipe"),
            Recipe.starter: _("Starter recipe"),
            Recipe.custom: _("Custom recipe file"),
        }[self]

    def explanation(self) -> str:
        return {
            Recipe.published: _("The recipe of the paper, with all epochs; needs a GPU."),
            Recipe.starter: _("The recipe of the included Starter model, which trains on a CPU."),
            Recipe.custom: _("A TOML file with options of train.py, such as the recipe.toml of an earlier training."),
        }[self]


@parameterNodeWrapper
class TrainingParameters:
    trainingDataset: str = ""
    trainingOut: str = ""
    trainingRecipe: Recipe = Recipe.published
    trainingRecipeFile: str = ""
    trainingBorder: str = ""  # "" is that of the recipe
    trainingCompare: bool = False
    trainingDevice: Device = Device.auto
    trainingEpochs: str = ""
    trainingFolds: str = ""
    trainingOptions: str = ""


def readChoices(parameters: TrainingParameters) -> TrainingChoices:
    return TrainingChoices(
        dataset=parameters.trainingDataset,
        out=parameters.trainingOut,
        recipe=parameters.trainingRecipe.name,
        recipeFile=parameters.trainingRecipeFile,
        border=parameters.trainingBorder,
        isCompared=parameters.trainingCompare,
        device=parameters.trainingDevice.name,
        epochs=parameters.trainingEpochs,
        folds=parameters.trainingFolds,
        options=parameters.trainingOptions,
    )


def storeChoices(parameters: TrainingParameters, choices: TrainingChoices) -> None:
    with slicer.util.NodeModify(parameters):
        parameters.trainingDataset, parameters.trainingOut = choices.dataset, choices.out
        parameters.trainingRecipe = Recipe[choices.recipe]
        parameters.trainingRecipeFile = choices.recipeFile
        parameters.trainingBorder, parameters.trainingCompare = choices.border, choices.isCompared
        parameters.trainingDevice = Device[choices.device]
        parameters.trainingEpochs, parameters.trainingFolds = choices.epochs, choices.folds
        parameters.trainingOptions = choices.options
