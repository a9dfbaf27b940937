"""PyTorch's compiler is not imported with the networks, and can still be imported afterwards."""

import subprocess
import sys

import pytest
import torch

from SpleenSmoothSegLib.model.network import LinkNet, skip_weight_init
from training_data import SAMPLE

MODULE = SAMPLE.parents[1]
ENCODER = "tu-mobilenetv3_small_050"
START = f"import sys\nsys.path.insert(0, {str(MODULE)!r})\n"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", START + code], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_segmenting_does_not_import_the_compiler():
    output = run(
        "import SimpleITK as sitk\nfrom SpleenSmoothSegLib.inference.ensemble import segment_image\n"
        "from SpleenSmoothSegLib.model.folder import load_model\n"
        f"model = load_model({str(MODULE / 'Resources' / 'Models' / 'Starter')!r})\n"
        f"segment_image(sitk.ReadImage({str(SAMPLE / 'ct.nii.gz')!r})[:, :, 90:94], model, 'cpu')\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert output.split() == ["False"]


@pytest.mark.slow
def test_compiler_can_be_imported_afterwards_and_networks_train():
    output = run(
        "import torch, SpleenSmoothSegLib.model.network as network\n"
        f"linknet = network.LinkNet({ENCODER!r})\n"
        "optimizer = torch.optim.Adam(linknet.parameters())\nlinknet(torch.rand(2, 1, 64, 64)).mean().backward()\n"
        "optimizer.step()\nimport torch._dynamo\n"
        "print(hasattr(torch._dynamo, 'optimize'), torch._dynamo is sys.modules['torch._dynamo'])"
    )
    assert output.split() == ["True", "True"]


LESS = """
import contextlib, types, torch
import SpleenSmoothSegLib.model.fastimport as way

@contextlib.contextmanager
def less():
    sys.modules["torch._dynamo"] = types.ModuleType("torch._dynamo")
    try:
        yield
    finally:
        del sys.modules["torch._dynamo"]
        vars(torch).pop("_dynamo", None)

way.without_compiler, whole = less, way.without_compiler
import SpleenSmoothSegLib.model.network as network
network.without_compiler = whole
"""


@pytest.mark.slow
def test_libraries_that_need_more_of_the_compiler_import_it():
    """As other versions of these libraries may."""
    output = run(LESS + f"print(type(network.LinkNet({ENCODER!r})).__name__, 'torch._dynamo' in sys.modules)")
    assert output.split() == ["LinkNet", "True"]


@pytest.mark.slow
def test_imported_compiler_is_not_replaced():
    output = run(
        "import torch._dynamo\nbefore = torch._dynamo\nimport SpleenSmoothSegLib.model.network\n"
        "print(torch._dynamo is before is sys.modules['torch._dynamo'])"
    )
    assert output.split() == ["True"]


@pytest.mark.parametrize("encoder", [ENCODER, "resnet18", "mit_b0"])
def test_skip_weight_init_affects_only_networks_built_inside(encoder):
    torch.manual_seed(0)
    usual = LinkNet(encoder).state_dict()
    torch.manual_seed(0)
    again = LinkNet(encoder).state_dict()
    assert all(torch.equal(usual[name], again[name]) for name in usual), "the seed fixes what is drawn"
    state = torch.get_rng_state()
    with skip_weight_init():
        LinkNet(encoder)
    assert torch.equal(torch.get_rng_state(), state)
