"""A model is a folder: ``model.json`` and one safetensors file per fold. No pickle: the folder may be untrusted.

``model.json`` holds the format version, the architecture and its parameters, the slice format, the border smoothing
used, the training data with its license, the metrics, and the sha256 of each fold.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..geometry.slices import SliceFormat
from ..io.atomic import atomic_write
from ..io.digest import sha256_of

FORMAT_VERSION = 1
CARD_NAME = "model.json"


@dataclass
class Model:
    """A loaded ensemble.

    Attributes:
        card: contents of ``model.json``.
        slice_format: format of the slices that the networks take.
        threshold: mean probability from which a voxel is foreground.
        networks: one torch module per fold, on the CPU, in evaluation mode.
    """

    card: dict
    slice_format: SliceFormat
    threshold: float
    networks: list = field(repr=False)


def load_model(
    folder: Path | str, folds: list[int] | None = None, prepare: Callable = lambda network: network
) -> Model:
    """Load the ensemble in `folder`, or only some of its `folds`.

    Args:
        folder: of the model.
        folds: their numbers; None means all.
        prepare: applied to each network before the next one is loaded, such as `inference.devices.prepare_for`.

    Raises:
        UserError: no model folder, an unreadable ``model.json`` or of another format, a missing or altered fold, an
            encoder unknown to the installed packages.
    """
    from .network import LinkNet, skip_weight_init

    folder = Path(folder)
    card = read_card(folder)
    try:
        lowest, highest = map(float, card["input"]["window_hu"])
        slice_format = SliceFormat(
            size=int(card["input"]["size"]),
            spacing=float(card["input"]["spacing_mm"]),
            window=(lowest, highest),
            channels=int(card["input"]["channels"]),
            channel_spacing=float(card["input"]["channel_spacing_mm"]),
        )
        # Nothing else is passed to the network: an untrusted card could request a download of weights.
        encoder = str(card["architecture"]["encoder"])
        decoder_reduction = int(card["architecture"]["decoder_reduction"])
        threshold = float(card["threshold"])
        if not (decoder_reduction > 0 and 0 < threshold < 1):
            raise ValueError(f"decoder_reduction {decoder_reduction}, threshold {threshold}")
        files = [(str(entry["file"]), str(entry["sha256"])) for entry in card["folds"]]
        chosen = files if folds is None else [files[fold] for fold in folds]
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f'"{folder / CARD_NAME}" is incomplete or damaged ({error!r}); '
            "copy the whole model folder again from its source."
        ) from error
    networks = []
    for name, sha256 in chosen:
        with skip_weight_init():
            network = LinkNet(encoder, slice_format.channels, decoder_reduction)
        _load_weights(network, folder, name, sha256)
        networks.append(prepare(network.eval()))
    return Model(card, slice_format, threshold, networks)


def read_card(folder: Path | str) -> dict:
    """The checked ``model.json`` of a model folder; raises UserError if it is missing or invalid."""
    path = Path(folder) / CARD_NAME
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        version = int(card["format_version"])
    except OSError as error:
        raise UserError(f'"{folder}" is not a model folder: it has no readable {CARD_NAME}; choose another.') from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(
            f'"{path}" is damaged and cannot be read; copy the whole model folder again from its source.'
        ) from error
    if version != FORMAT_VERSION:
        raise UserError(
            f'The model in "{folder}" has format {version}, but this SpleenSmoothSeg reads format {FORMAT_VERSION}; '
            "update the extension."
        )
    match card:
        case {"architecture": {"name": "linknet"}, "folds": [_, *_]}:
            return card
    raise UserError(f'"{path}" does not describe a LinkNet ensemble; choose another model folder.')


def save_model(folder: Path | str, card: dict, networks: list) -> None:
    """Write `networks` as float16 and `card` with their checksums; the folder is written completely or not at all.

    An existing model folder is replaced; any other non-empty folder is refused. Adds "format_version" and "folds" to
    the card.

    Raises:
        UserError: a weight is not finite as float16, or the folder holds other files or cannot be written.
    """
    from safetensors.torch import save

    folder = Path(folder)
    with atomic_write(folder) as temporary:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / CARD_NAME).is_file():
            raise UserError(f'"{folder}" contains files that are not a model; choose another folder for the model.')
        temporary.mkdir()
        folds = []
        for number, network in enumerate(networks):
            data = save(_float16_state(network))
            (temporary / f"fold_{number}.safetensors").write_bytes(data)
            folds.append({"file": f"fold_{number}.safetensors", "sha256": sha256_of(data)})
        card = {"format_version": FORMAT_VERSION, **card, "folds": folds}
        (temporary / CARD_NAME).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _float16_state(network) -> dict:
    import torch

    state = {}
    for name, tensor in network.state_dict().items():
        if _only_for_training(name):
            continue
        dtype = torch.float16 if tensor.is_floating_point() else tensor.dtype
        state[name] = tensor.detach().to("cpu", dtype).contiguous()
        if not torch.isfinite(state[name]).all():
            raise UserError(f'The weights "{name}" are not finite; train again with a lower learning rate.')
    return state


def _load_weights(network, folder: Path, name: str, sha256: str) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    again = "copy the whole model folder again from its source."
    if Path(name).name != name:
        raise UserError(f'"{folder / CARD_NAME}" names a fold outside its folder ("{name}"); do not use this model.')
    try:
        data = (folder / name).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: an invalid file name
        raise UserError(f'The model in "{folder}" lacks its fold "{name}"; {again}') from error
    if sha256_of(data) != sha256:
        raise UserError(f'The fold "{name}" in "{folder}" differs from its checksum; {again}')
    try:
        weights = {key: value.float() if value.is_floating_point() else value for key, value in load(data).items()}
        counters = {key: torch.tensor(0) for key in network.state_dict() if _only_for_training(key)}
        network.load_state_dict(weights | counters, assign=True)
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f'The fold "{name}" in "{folder}" does not fit its {CARD_NAME}; {again}') from error


def _only_for_training(key: str) -> bool:
    """Step counters of batch norm are not stored, because only a cumulative average would need them."""
    return key.endswith("num_batches_tracked")
