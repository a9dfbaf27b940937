"""A model folder: written atomically, checked when loaded, safe even if untrusted."""

import hashlib
import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from locations import REPOSITORY, SMALL_ENCODER
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.slices import SliceFormat
from SpleenSmoothSegLib.inference.ensemble import segment_image
from SpleenSmoothSegLib.model.folder import FORMAT_VERSION, load_model, read_card, save_model
from SpleenSmoothSegLib.model.network import LinkNet

pytestmark = pytest.mark.usefixtures("offline")

SLICE = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def change(model_folder):
    """Rewrite the card with `value` at a path such as "input.size", or without that key if no value is given."""

    def write(path: str, *value) -> Path:
        card = json.loads((model_folder / "model.json").read_text())
        *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
        entry = card
        for key in parents:
            entry = entry[key]
        if value:
            entry[last] = value[0]
        else:
            del entry[last]
        (model_folder / "model.json").write_text(json.dumps(card))
        return model_folder

    return write


def refused(folder: Path, match: str, folds=None) -> None:
    with pytest.raises(UserError, match=match) as raised:
        load_model(folder, folds)
    assert str(raised.value).endswith(".")
    assert "\n" not in str(raised.value)


def put_fold(folder: Path, data: bytes, number: int = 0) -> None:
    """Replace a fold and its checksum, as an attacker would."""
    (folder / f"fold_{number}.safetensors").write_bytes(data)
    card = json.loads((folder / "model.json").read_text())
    card["folds"][number]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "model.json").write_text(json.dumps(card))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Round trip.


def test_saved_model_loads_with_float16_precision(model_folder, small_networks, small_card):
    model = load_model(model_folder)
    assert model.slice_format == SliceFormat(size=64, spacing=6.0, window=(-150.0, 250.0))
    assert model.threshold == 0.5
    assert {name: model.card[name] for name in small_card} == small_card
    assert len(model.networks) == 2
    for loaded, saved in zip(model.networks, small_networks, strict=True):
        assert not loaded.training
        state = loaded.state_dict()
        for name, tensor in saved.state_dict().items():
            assert state[name].dtype == tensor.dtype
            if tensor.is_floating_point():
                torch.testing.assert_close(state[name], tensor.half().float(), rtol=0, atol=0, msg=name)
        with torch.inference_mode():
            torch.testing.assert_close(loaded(SLICE), saved(SLICE), rtol=0.01, atol=0.01)


def test_weights_are_stored_as_float16(model_folder):
    weights = load_file(model_folder / "fold_0.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    parameters = sum(tensor.numel() for tensor in weights.values())
    assert (model_folder / "fold_0.safetensors").stat().st_size < 2 * parameters + 50_000


def test_integer_buffers_are_not_stored_as_float16(small_card, tmp_path):
    network = LinkNet(SMALL_ENCODER)
    network.register_buffer("table", torch.tensor([70_001, 2049]))
    save_model(tmp_path / "model", small_card, [network])
    assert load_file(tmp_path / "model" / "fold_0.safetensors")["table"].tolist() == [70_001, 2049]


def test_loaded_model_is_saved_with_equal_bytes(model_folder, tmp_path):
    model = load_model(model_folder)
    save_model(tmp_path / "again", model.card, model.networks)
    assert files(tmp_path / "again") == files(model_folder)


def test_single_folds_can_be_loaded(model_folder):
    (alone,), both = load_model(model_folder, folds=[1]).networks, load_model(model_folder).networks
    with torch.inference_mode():
        torch.testing.assert_close(alone(SLICE), both[1](SLICE))


def test_card_has_format_folds_and_checksums_and_keeps_unicode(small_networks, small_card, tmp_path):
    save_model(tmp_path / "model", {**small_card, "description": "Großmutters Milz – 脾臓"}, small_networks[:1])
    card = read_card(tmp_path / "model")
    data = (tmp_path / "model" / "fold_0.safetensors").read_bytes()
    assert card["format_version"] == FORMAT_VERSION == 1
    assert card["folds"] == [{"file": "fold_0.safetensors", "sha256": hashlib.sha256(data).hexdigest()}]
    assert card["description"] == "Großmutters Milz – 脾臓"


def test_model_folder_with_spaces_and_accents_is_loaded(small_networks, small_card, tmp_path):
    folder = tmp_path / "mes modèles & $1" / "rate"
    save_model(str(folder), small_card, small_networks[:1])
    assert len(load_model(str(folder)).networks) == 1


# Several slices as channels.


@pytest.fixture
def three_channels(small_card, tmp_path) -> tuple[Path, LinkNet]:
    """A model folder of one fold with three channels, and its network."""
    torch.manual_seed(0)
    network = LinkNet(SMALL_ENCODER, in_channels=3).eval()
    seen = {**small_card["input"], "channels": 3, "channel_spacing_mm": 4.5}
    card = {**small_card, "architecture": {**small_card["architecture"], "in_channels": 3}, "input": seen}
    save_model(tmp_path / "three", card, [network])
    return tmp_path / "three", network


def test_model_of_three_channels_is_saved_and_loaded(three_channels):
    folder, network = three_channels
    model = load_model(folder)
    assert model.slice_format == SliceFormat(64, 6.0, (-150.0, 250.0), channels=3, channel_spacing=4.5)
    stack = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model.networks[0](stack), network(stack), rtol=0.01, atol=0.01)


def test_model_of_three_channels_segments(three_channels, sample_ct):
    ct = sample_ct[:, :, 60:66]
    assert segment_image(ct, load_model(three_channels[0]), "cpu").mask.GetSize() == ct.GetSize()


@pytest.mark.parametrize("key", ["channels", "channel_spacing_mm"])
def test_card_without_channels_raises_user_error(model_folder, key):
    card = json.loads((model_folder / "model.json").read_text())
    del card["input"][key]
    (model_folder / "model.json").write_text(json.dumps(card))
    refused(model_folder, "is incomplete or damaged")


def test_shipped_models_load():
    cards = list((REPOSITORY / "SpleenSmoothSeg" / "Resources" / "Models").glob("*/model.json"))
    assert cards and all(load_model(card.parent, folds=[0]).networks for card in cards)


def test_weights_for_other_channels_raise_user_error(three_channels, change):
    refused(change("input.channels", 3), "does not fit its model.json")
    card = json.loads((three_channels[0] / "model.json").read_text())
    card["input"]["channels"] = 1
    (three_channels[0] / "model.json").write_text(json.dumps(card))
    refused(three_channels[0], "does not fit its model.json")


# Invalid models.


def test_folder_without_card_raises_user_error(tmp_path):
    refused(tmp_path, "is not a model folder: it has no readable model.json; choose another")
    refused(tmp_path / "nowhere", "is not a model folder")


def test_file_in_place_of_model_folder_raises_user_error(tmp_path):
    (tmp_path / "file").write_text("text")
    refused(tmp_path / "file", "is not a model folder")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"not json", b"\xff\xfe\x00garbage", b"[]", b"3", b"null", b'"model"', b"{}", b"[" * 100_000]
    + [b'{"format_version": "new"}', b'{"format_version": null}', b'{"format_version": Infinity}'],
    ids=lambda text: repr(text[:30]),
)
def test_damaged_card_raises_user_error(model_folder, text):
    (model_folder / "model.json").write_bytes(text)
    refused(model_folder, r"model\.json\" is damaged and cannot be read; copy the whole model folder again")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("architecture", "linknet"),
        ("architecture", ["linknet"]),
        ("architecture", None),
        ("architecture.name", "unet"),
        ("folds", []),
        ("folds", {}),
        ("folds", 5),
        ("folds", "fold_0.safetensors"),
    ],
)
def test_card_of_another_architecture_raises_user_error(change, path, value):
    refused(change(path, value), "does not describe a LinkNet ensemble; choose another model folder")


@pytest.mark.parametrize("path", ["architecture", "folds"])
def test_card_without_network_or_folds_raises_user_error(change, path):
    refused(change(path), "does not describe a LinkNet ensemble")


@pytest.mark.parametrize(
    "path",
    ["input", "input.size", "input.spacing_mm", "input.window_hu", "threshold", "architecture.encoder"]
    + ["architecture.decoder_reduction", "folds.0.file", "folds.1.sha256"],
)
def test_incomplete_card_names_the_missing_key(change, path):
    lost = path.split(".")[-1]
    refused(change(path), f"model.json\" is incomplete or damaged .*'{lost}'.*; copy the whole model folder again")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("input", [64, 6.0]),
        ("input", None),
        ("input.size", "large"),
        ("input.size", 0),
        ("input.size", 10**9),
        ("input.size", float("inf")),
        ("input.spacing_mm", None),
        ("input.spacing_mm", -1),
        ("input.spacing_mm", float("nan")),
        ("input.window_hu", 5),
        ("input.window_hu", [250, -150]),
        ("input.window_hu", [0, 1, 2]),
        ("input.channels", 2),
        ("input.channels", 0),
        ("input.channels", 33),
        ("input.channels", "three"),
        ("input.channels", None),
        ("input.channel_spacing_mm", 0),
        ("input.channel_spacing_mm", float("nan")),
        ("input.channel_spacing_mm", None),
        ("threshold", "half"),
        ("threshold", 0),
        ("threshold", float("nan")),
        ("architecture.decoder_reduction", 0),
        ("architecture.decoder_reduction", {}),
        ("folds.0", "fold_0.safetensors"),
        ("folds.0", None),
    ],
)
def test_card_with_an_invalid_value_raises_user_error(change, path, value):
    refused(change(path, value), "is incomplete or damaged .*; copy the whole model folder again")


def test_newer_format_raises_user_error_with_the_remedy(change):
    newer = FORMAT_VERSION + 1
    words = f"has format {newer}, but this SpleenSmoothSeg reads format {FORMAT_VERSION}; update"
    refused(change("format_version", newer), words)


def test_unknown_encoder_raises_user_error_with_the_remedy(change):
    refused(change("architecture.encoder", "resnet_of_2031"), 'needs the encoder "resnet_of_2031", which .* update')


@pytest.mark.parametrize("value", [None, 18, ["resnet18"], ""])
def test_encoder_that_is_not_a_name_raises_user_error(change, value):
    refused(change("architecture.encoder", value), "needs the encoder")


def test_missing_fold_raises_user_error_with_its_name(model_folder):
    (model_folder / "fold_1.safetensors").unlink()
    refused(model_folder, 'lacks its fold "fold_1.safetensors"; copy the whole model folder again')


def test_missing_fold_that_is_not_loaded_is_ignored(model_folder):
    (model_folder / "fold_1.safetensors").unlink()
    assert len(load_model(model_folder, folds=[0]).networks) == 1


@pytest.mark.parametrize("at", [0, 5, 3000, -1])
def test_altered_byte_raises_user_error(model_folder, at):
    data = bytearray((model_folder / "fold_1.safetensors").read_bytes())
    data[at] ^= 1
    (model_folder / "fold_1.safetensors").write_bytes(data)
    refused(model_folder, 'fold "fold_1.safetensors" .* differs from its checksum')


def test_truncated_fold_raises_user_error(model_folder):
    data = (model_folder / "fold_0.safetensors").read_bytes()
    (model_folder / "fold_0.safetensors").write_bytes(data[:1000])
    refused(model_folder, "differs from its checksum")


def test_weights_of_another_network_raise_user_error(model_folder, small_card, tmp_path):
    other = tmp_path / "other"
    save_model(other, {**small_card}, [LinkNet(SMALL_ENCODER, decoder_reduction=2)])
    put_fold(model_folder, (other / "fold_0.safetensors").read_bytes())
    refused(model_folder, 'fold "fold_0.safetensors" .* does not fit its model.json')


def test_fold_without_a_weight_raises_user_error(model_folder, tmp_path):
    weights = load_file(model_folder / "fold_0.safetensors")
    weights.pop("head.weight")
    save_file(weights, tmp_path / "less.safetensors")
    put_fold(model_folder, (tmp_path / "less.safetensors").read_bytes())
    refused(model_folder, "does not fit")


# Untrusted models.


class Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_pickle_named_safetensors_raises_user_error_without_unpickling(model_folder, tmp_path, writer):
    fuse = tmp_path / "exploded"
    if writer == "pickle":
        data = pickle.dumps(Bomb(fuse))
    else:
        torch.save({"head.weight": Bomb(fuse)}, tmp_path / "bomb")
        data = (tmp_path / "bomb").read_bytes()
    put_fold(model_folder, data)
    refused(model_folder, "does not fit")
    assert not fuse.exists()


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"], ids=repr)
def test_fold_of_random_bytes_raises_user_error(model_folder, data):
    put_fold(model_folder, data)
    refused(model_folder, "does not fit")


@pytest.mark.parametrize("name", ["../model/fold_0.safetensors", "/etc/hostname", "sub/fold_0.safetensors"])
def test_fold_outside_the_folder_raises_user_error(change, name):
    refused(change("folds.0.file", name), "names a fold outside its folder")


@pytest.mark.parametrize("name", ["..", ".", "", "fold\0", "f" * 300])
def test_fold_with_an_invalid_file_name_raises_user_error(change, name):
    refused(change("folds.0.file", name), "outside its folder|lacks its fold")


def test_card_cannot_request_a_download_of_weights(change):
    """The fixture `offline` fails this test if anything connects to the network."""
    change("architecture.encoder_weights", "imagenet")
    assert len(load_model(change("architecture.encoder", SMALL_ENCODER)).networks) == 2
    refused(change("architecture.encoder", "tu-hf-hub:timm/resnet18.a1_in1k"), "needs the encoder")


# Atomic writing.


def test_existing_model_is_replaced_completely(model_folder, small_networks, small_card):
    save_model(model_folder, {**small_card, "name": "New"}, small_networks[:1])
    assert sorted(files(model_folder)) == ["fold_0.safetensors", "model.json"]
    assert read_card(model_folder)["name"] == "New"


@pytest.mark.parametrize("fold", [0, 1])
def test_nan_weights_raise_user_error_and_keep_the_old_model(model_folder, small_card, fold):
    before = files(model_folder)
    networks = [LinkNet(SMALL_ENCODER) for _ in range(2)]
    networks[fold].head.weight.data[0, 0] = 1e30  # infinite as float16
    with pytest.raises(UserError, match='weights "head.weight" are not finite'):
        save_model(model_folder, small_card, networks)
    assert files(model_folder) == before
    assert [path.name for path in model_folder.parent.iterdir()] == ["model"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file sizes")
@pytest.mark.parametrize("existing", [True, False])
def test_failed_write_leaves_no_files_and_keeps_the_old_model(small_networks, small_card, tmp_path, existing):
    import resource

    folder = tmp_path / "model"
    if existing:
        save_model(folder, small_card, small_networks[:1])
    before = files(folder) if existing else None
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))  # smaller than a fold: writing fails
    try:
        with pytest.raises(UserError, match="cannot be written .*; free up disk space or choose another location"):
            save_model(folder, small_card, small_networks)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == (["model"] if existing else [])
    assert not existing or files(folder) == before


def test_card_that_is_not_json_leaves_no_files(small_networks, small_card, tmp_path):
    with pytest.raises(TypeError):
        save_model(tmp_path / "model", {**small_card, "metrics": {1, 2}}, small_networks)
    assert list(tmp_path.iterdir()) == []


def test_folder_with_other_files_raises_user_error(small_networks, small_card, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.docx").write_text("ten years")
    with pytest.raises(UserError, match="contains files that are not a model; choose another folder"):
        save_model(home, small_card, small_networks)
    assert sorted(files(home)) == ["thesis.docx"]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_empty_folder_is_replaced_by_the_model(small_networks, small_card, tmp_path):
    (tmp_path / "model").mkdir()
    save_model(tmp_path / "model", small_card, small_networks)
    assert len(load_model(tmp_path / "model").networks) == 2
