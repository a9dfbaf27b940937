"""Initial weights of the encoder from a file, for computers without internet access."""

import importlib.util
from pathlib import Path

import torch
from torch import nn

from SpleenSmoothSegLib.errors import UserError


def find_weights(name: str) -> Path:
    """The file with that path, or PACKAGE/FILE in an installed Python package; raises UserError if there is none."""
    path = Path(name)
    if path.is_file():
        return path
    package, _, inside = path.as_posix().partition("/")
    spec = importlib.util.find_spec(package) if inside and package.isidentifier() else None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(folder, inside)).is_file():
            return found
    raise UserError(f'Encoder weights "{name}" not found; check the path, or install the package that contains them.')


def load_encoder_weights(encoder: nn.Module, name: str) -> None:
    """Load the weights of an encoder from a file (safetensors, or torch.load with weights_only).

    The file may use other names and end with a classifier: if names do not match, weights are assigned in order,
    provided that all shapes match. A first layer with another number of channels gets the mean over the file's
    channels, scaled so that its outputs keep their magnitude.

    Raises:
        UserError: the file is damaged, or its weights belong to another encoder.
    """
    path = find_weights(name)
    wanted = {key: value for key, value in encoder.state_dict().items() if not key.endswith("num_batches_tracked")}
    given = _read(path)
    if not set(wanted) <= set(given):
        given = dict(zip(wanted, given.values(), strict=False))
    fitted = {key: _fitted(value, wanted[key]) for key, value in given.items() if key in wanted}
    if set(fitted) != set(wanted) or any(value is None for value in fitted.values()):
        raise UserError(f'The weights in "{path}" belong to another encoder; choose that encoder with --encoder.')
    encoder.load_state_dict(fitted, strict=False)


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch.load raises many types for a damaged file
        raise UserError(f'The encoder weights "{path}" cannot be read; download the file again.') from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserError(f'"{path}" does not contain a plain state_dict; save only the state_dict of the encoder.')
    return {key: value for key, value in weights.items() if not str(key).endswith("num_batches_tracked")}


def _fitted(value: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor | None:
    """The weight in the wanted shape, or None if it does not fit."""
    if value.shape == wanted.shape:
        return value
    of_colors = value.ndim == 4 == wanted.ndim and value.shape[1] == 3
    if of_colors and value.shape[0] == wanted.shape[0] and value.shape[2:] == wanted.shape[2:]:
        return value.mean(1, keepdim=True).expand_as(wanted) * (3 / wanted.shape[1])
    return None
