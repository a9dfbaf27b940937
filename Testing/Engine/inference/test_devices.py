"""Devices: usable ones, reasons for the others, and which errors are device failures.

No test needs a GPU. The errors are those that PyTorch raises; with a CUDA build and no GPU one of them is real.
"""

import pytest
import torch

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.inference import devices as devices_module
from SpleenSmoothSegLib.inference.devices import Device, choose_device, device_failure, devices

NO_GPU = "no NVIDIA GPU with a working driver was found"
NO_PROGRAMS = "this PyTorch does not support this GPU"
OLD_DRIVER = "its driver is too old for this PyTorch"
NO_KERNEL = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be"

cuda_build_without_gpu = pytest.mark.skipif(
    not torch.backends.cuda.is_built() or torch.cuda.is_available(), reason="needs a CUDA build and no GPU"
)


@pytest.fixture
def pretend(monkeypatch):
    """Sets whether PyTorch is built for "cuda" and "mps", whether they are available, and how they fail."""

    def set_up(cuda=(False, False), mps=(False, False), error: Exception | None = None) -> None:
        for name, (built, there) in {"cuda": cuda, "mps": mps}.items():
            monkeypatch.setattr(getattr(torch.backends, name), "is_built", lambda built=built: built)
            place = torch.cuda if name == "cuda" else torch.backends.mps
            monkeypatch.setattr(place, "is_available", lambda there=there: there)

        def ones(count, device):
            if error:
                raise error
            return torch.full((count,), 1.0)

        monkeypatch.setattr(torch, "ones", ones)

    return set_up


# ---- usable devices


def test_devices_gives_a_reason_for_each_unusable_device():
    listed = devices()
    assert [device.name for device in listed] == ["cuda", "mps", "cpu"]
    assert listed[-1] == Device("cpu", usable=True, reason="")
    for device in listed:
        assert device.usable == (device.reason == "")


@cuda_build_without_gpu
def test_cuda_build_without_gpu_warns_and_auto_takes_the_cpu():
    assert devices()[0] == Device("cuda", usable=False, reason=NO_GPU)
    warnings = []
    assert choose_device("auto", warnings.append).type == "cpu"
    assert warnings == [f'The device "cuda" cannot be used ({NO_GPU}); using the CPU instead, which is slower.']


def test_build_without_cuda_gives_the_reason_and_auto_takes_the_cpu_silently(pretend):
    pretend()
    cuda, mps, _ = devices()
    assert (cuda.usable, cuda.reason) == (False, "this PyTorch is built without CUDA")
    assert (mps.usable, mps.reason) == (False, "only Macs with Apple silicon have it")
    assert choose_device("auto", pytest.fail).type == "cpu"


def test_auto_takes_cuda_before_mps_before_the_cpu(pretend):
    for cuda, mps, chosen in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        pretend(cuda=(cuda, cuda), mps=(mps, mps))
        assert choose_device("auto", pytest.fail).type == chosen
        assert [device.name for device in devices() if device.usable][0] == chosen


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError(NO_KERNEL), NO_PROGRAMS),
        (RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."), OLD_DRIVER),
        (RuntimeError("something new"), 'PyTorch reports "something new"'),
    ],
)
def test_available_device_that_fails_a_sum_is_not_usable(pretend, error, reason):
    pretend(cuda=(True, True), error=error)
    assert devices()[0] == Device("cuda", usable=False, reason=reason)


def test_unavailable_device_raises_user_error_with_reason_and_alternatives(pretend):
    pretend(mps=(True, True))
    with pytest.raises(UserError) as refused:
        choose_device("cuda")
    assert str(refused.value) == (
        'The device "cuda" is not available to PyTorch here (this PyTorch is built without CUDA); '
        "choose auto or one of: mps, cpu."
    )


# ---- device failures


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of", "not enough memory"),
        ("MPS backend out of memory (MPS allocated: 8.77 GB", "not enough memory"),
        ("CUDA error: out of memory", "not enough memory"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "not enough memory"),
        (NO_KERNEL, NO_PROGRAMS),
        ("CUDA driver version is insufficient for CUDA runtime version", OLD_DRIVER),
        ("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU", NO_GPU),
        ("No CUDA GPUs are available", NO_GPU),
        ("CUDA error: an illegal memory access", 'PyTorch reports "CUDA error: an illegal memory access"'),
        ("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", 'PyTorch reports "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"'),
        (
            "The operator 'aten::x' is not currently implemented for the MPS device. If you",
            "PyTorch reports \"The operator 'aten::x' is not currently implemented for the MPS device. If you\"",
        ),
    ],
)
def test_device_failure_gives_the_reason_for_the_user(words, reason):
    assert device_failure(RuntimeError(words)) == reason


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="this PyTorch has no error of that name")
def test_accelerator_error_is_always_a_device_failure():
    assert device_failure(torch.AcceleratorError("out of order\nmore")) == 'PyTorch reports "out of order"'
    assert device_failure(torch.AcceleratorError()) == "for an unknown reason"


@pytest.mark.parametrize(
    "words",
    [
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
        "Expected all tensors to be on the same device, but found at least two devices, mps:0 and cpu!",
        "Given groups=1, weight of size [8, 1, 3, 3], expected input[4, 3, 80, 80] to have 1 channels",
        "Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to",
        "",
    ],
)
def test_other_errors_and_full_main_memory_are_not_device_failures(words):
    assert device_failure(RuntimeError(words)) is None


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_release_memory_ignores_errors_of_a_failed_device(monkeypatch, name):
    asked = []

    def fail():
        asked.append(name)
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(getattr(torch, name), "empty_cache", fail)
    devices_module.release_memory(torch.device(name))
    devices_module.release_memory(torch.device("meta"))
    assert asked == [name]
