"""Initial weights of the encoder from a file."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from locations import SMALL_ENCODER
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.model.network import LinkNet
from SpleenSmoothSegTrainingLib.learning.encoderweights import load_encoder_weights
from SpleenSmoothSegTrainingLib.learning.fold import build_network
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe

pytestmark = pytest.mark.usefixtures("offline")


def encoder(channels: int = 3, name: str = SMALL_ENCODER, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return LinkNet(name, channels).encoder


def weights_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All but the counters of batch norm."""
    return {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}


@pytest.fixture(scope="module")
def given() -> dict[str, torch.Tensor]:
    """Weights of an encoder for RGB images."""
    generator = torch.Generator().manual_seed(5)
    return {key: torch.rand(value.shape, generator=generator) for key, value in weights_of(encoder()).items()}


@pytest.fixture
def put(tmp_path):
    """Writes weights to a file with that name; returns its path as text, as in a recipe."""

    def write(name: str, weights) -> str:
        path = tmp_path / name
        if name.endswith(".safetensors"):
            save_file(weights, path)
        else:
            torch.save(weights, path)
        return str(path)

    return write


def refusal(encoder: torch.nn.Module, name: str) -> str:
    """The error message; checks that the encoder is unchanged."""
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_encoder_weights(encoder, name)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".") and name in str(caught.value)
    return str(caught.value)


def has_weights(encoder: torch.nn.Module, given: dict) -> bool:
    return all(torch.equal(value, given[key]) for key, value in weights_of(encoder).items())


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_weights_are_loaded_by_name(put, given, name):
    loaded = encoder()
    load_encoder_weights(loaded, put(name, dict(reversed(given.items()))))
    assert has_weights(loaded, given)


def test_batch_norm_counters_are_optional(put, given):
    counters = {key: value for key, value in encoder().state_dict().items() if key not in given}
    assert counters
    for weights in (given, {**counters, **given}):
        loaded = encoder()
        load_encoder_weights(loaded, put("a.pth", weights))
        assert has_weights(loaded, given)


def test_weights_with_other_names_are_loaded_in_order(put, given):
    renamed = {f"features.{number}.{key[-6:]}": value for number, (key, value) in enumerate(given.items())}
    classifier = {"classifier.weight": torch.rand(1000, 8), "classifier.bias": torch.rand(1000)}
    loaded = encoder()
    load_encoder_weights(loaded, put("a.pth", {**renamed, **classifier}))
    assert has_weights(loaded, given)


def test_half_precision_weights_are_loaded_as_float32(put, given):
    loaded = encoder()
    load_encoder_weights(loaded, put("a.safetensors", {key: value.half() for key, value in given.items()}))
    assert has_weights(loaded, {key: value.half().float() for key, value in given.items()})
    assert {value.dtype for value in weights_of(loaded).values()} == {torch.float32}


@pytest.mark.parametrize("channels", [1, 5])
def test_first_layer_with_other_channels_gets_the_scaled_mean(put, given, channels):
    loaded = encoder(channels)
    load_encoder_weights(loaded, put("a.safetensors", given))
    (first,) = [key for key, value in weights_of(loaded).items() if value.shape != given[key].shape]
    weight = weights_of(loaded)[first]
    assert weight.shape[1] == channels
    for channel in range(channels):
        torch.testing.assert_close(weight[:, channel], given[first].mean(1) * 3 / channels)
    gray = torch.rand(2, 1, 32, 32)
    in_colors = torch.nn.functional.conv2d(gray.expand(-1, 3, -1, -1), given[first])
    torch.testing.assert_close(torch.nn.functional.conv2d(gray.expand(-1, channels, -1, -1), weight), in_colors)
    rest = {key: value for key, value in weights_of(loaded).items() if key != first}
    assert all(torch.equal(value, given[key]) for key, value in rest.items())


def test_build_network_loads_the_weights_of_the_recipe(put, given):
    recipe = Recipe(encoder=SMALL_ENCODER, encoder_weights=put("a.pth", given), channels=3)
    assert has_weights(build_network(recipe).encoder, given)


def test_weights_in_an_installed_package_are_found_without_importing_it(tmp_path, given, monkeypatch):
    package = tmp_path / "site" / "some_weights_of_ours"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('it is not run')")
    torch.save(given, package / "models" / "a.pth")
    monkeypatch.syspath_prepend(str(package.parent))
    loaded = encoder()
    load_encoder_weights(loaded, "some_weights_of_ours/models/a.pth")
    assert has_weights(loaded, given)
    assert "some_weights_of_ours" not in sys.modules


# Errors.


@pytest.mark.parametrize(
    "name", ["", ".", "nowhere.pth", "no_such_package/a.pth", "torch/nowhere.pth", "torch", "/nowhere/a.pth", "a b/c"]
)
def test_missing_weights_raise_an_error(name):
    assert "check the path, or install the package" in refusal(encoder(), name)


def drop_last(given):
    return dict(list(given.items())[:-1])


def other_shape(given):
    last = list(given)[-1]
    return {**given, last: given[last][:-1]}


def of_two_colors(given):
    first = next(iter(given))
    return {**given, first: given[first][:, :2]}


@pytest.mark.parametrize("change", [drop_last, other_shape, of_two_colors])
@pytest.mark.parametrize("rename", [False, True], ids=["by-name", "by-order"])
def test_weights_of_another_encoder_raise_an_error(put, given, change, rename):
    weights = {f"x{key}" if rename else key: value.clone() for key, value in change(given).items()}
    assert "belong to another encoder; choose that encoder" in refusal(encoder(), put("a.pth", weights))


def test_weights_of_a_larger_encoder_raise_an_error(put):
    larger = weights_of(encoder(name="tu-mobilenetv3_small_100"))
    assert "another encoder" in refusal(encoder(), put("a.pth", larger))


class Bomb:
    """Creates a file when unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_code_is_not_executed(put, tmp_path):
    assert "cannot be read" in refusal(encoder(), put("a.pth", {"weight": Bomb(tmp_path / "exploded")}))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "content", [{"state_dict": {}, "epoch": 3}, {}, [1, 2], 5, None, {"epoch": 3}, {3: torch.ones(2)}], ids=str
)
def test_file_without_weights_raises_an_error(put, content):
    refusal(encoder(), put("a.pth", content))


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * 200])
def test_damaged_file_raises_an_error(put, given, name, damage):
    path = Path(put(name, given))
    path.write_bytes(damage(path.read_bytes()))
    assert "cannot be read; download the file again" in refusal(encoder(), str(path))


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_flipped_bytes_raise_only_user_errors(put, given, name):
    path = Path(put(name, given))
    data = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    loaded = encoder()
    for at in torch.randint(min(len(data), 3000), (40,), generator=generator).tolist():
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        try:
            load_encoder_weights(loaded, str(path))
        except UserError as error:
            assert "\n" not in str(error)
