"""OpenVINO in bfloat16 and int8 compared with PyTorch, for the Starter and the network of the paper.

    python Testing/Benchmarks/bench_engines.py

prints the time per slice relative to PyTorch, the time to prepare a network, and the Dice of the masks against
--exhaustive. The results are the reason why OpenVINO is not used. Needs the packages openvino and, for int8, nncf.
"""

import dataclasses
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

TESTING = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTING), str(TESTING.parent / "SpleenSmoothSeg")]

from Benchmarks.cts import every_ct
from Benchmarks.ours import STARTER, random_model
from SpleenSmoothSegLib.geometry.slices import axial_grid, ct_slices, with_neighbors
from SpleenSmoothSegLib.inference.devices import keep_freed_memory, prepare_for
from SpleenSmoothSegLib.inference.ensemble import Options, segment_image
from SpleenSmoothSegLib.io.images import read_image
from SpleenSmoothSegLib.metrics.overlap import measure_overlap
from SpleenSmoothSegLib.model.folder import Model, load_model
from SpleenSmoothSegLib.model.fused import fused

CALIBRATING_SLICES = 40  # of each of the first three CTs
TIMES = 8  # repetitions; the best counts


class OpenVino(torch.nn.Module):
    """A network computed by OpenVINO; `quantize` changes OpenVINO's model before it is compiled."""

    def __init__(self, network: torch.nn.Module, example: torch.Tensor, quantize: Callable = lambda model: model):
        import openvino

        super().__init__()
        with torch.no_grad():
            model = openvino.convert_model(network, example_input=example)
        model.reshape([-1, *example.shape[1:]])
        options = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        self._request = openvino.Core().compile_model(quantize(model), "CPU", options).create_infer_request()

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._request.infer({0: slices.numpy()})[0].copy())


def calibrated(model: Model) -> Callable:
    """A function that quantizes a network to int8, calibrated on slices of three CTs."""
    import nncf

    stacks = []
    for path in every_ct()[:3]:
        ct = read_image(path)
        grid = axial_grid(ct, model.slice_format)
        slices = ct_slices(ct, grid, model.slice_format.window)
        some = np.linspace(0, len(slices) - 1, CALIBRATING_SLICES).astype(int)
        step = model.slice_format.channel_spacing / grid.spacing[2]
        stacks += [stack[None] for stack in with_neighbors(slices, some, model.slice_format.channels, step)]
    return lambda network: nncf.quantize(network, nncf.Dataset(stacks), subset_size=len(stacks))


def seconds_per_slice(network: torch.nn.Module, slices: torch.Tensor) -> float:
    taken = []
    with torch.inference_mode():
        for _ in range(TIMES + 1):
            start = time.perf_counter()
            network(slices)
            taken.append(time.perf_counter() - start)
    return min(taken[1:]) / len(slices)


def lowest_dice(model: Model, exhaustive: Model) -> float:
    cts = [read_image(path) for path in every_ct()]
    return min(
        measure_overlap(
            segment_image(ct, model, "cpu").mask, segment_image(ct, exhaustive, "cpu", Options(exhaustive=True)).mask
        ).dice
        for ct in cts
    )


def prepared(make: Callable, networks: list) -> tuple[list, float]:
    """Each network prepared by `make`, and the total seconds."""
    start = time.perf_counter()
    return [make(network) for network in networks], time.perf_counter() - start


def main() -> None:
    if importlib.util.find_spec("openvino") is None:
        sys.exit("OpenVINO is not installed; run pip install openvino nncf.")
    keep_freed_memory()
    with_int8 = importlib.util.find_spec("nncf") is not None
    starter, paper = load_model(STARTER, prepare=fused), random_model(1, 256, fused)
    for name, model, batch in (("starter", starter, 8), ("paper's network", paper, 4)):
        slice_format = model.slice_format
        slices = torch.rand(batch, slice_format.channels, slice_format.size, slice_format.size)
        engines = {"OpenVINO bf16": lambda network, slices=slices: OpenVino(network, slices)}
        if with_int8:
            quantize = calibrated(model)
            engines["OpenVINO int8"] = lambda network, slices=slices, q=quantize: OpenVino(network, slices, q)
        made = {engine: prepared(make, model.networks) for engine, make in engines.items()}
        networks = load_model(STARTER, prepare=prepare_for(torch.device("cpu"))).networks
        ours = (networks if name == "starter" else random_model(1, 256, prepare_for(torch.device("cpu"))).networks)[0]
        ours, dtype = ours.to(memory_format=torch.channels_last), next(ours.parameters()).dtype
        base = seconds_per_slice(ours, slices.to(dtype, memory_format=torch.channels_last))
        print(f"{name}: PyTorch in {dtype} {1000 * base:.1f} ms per slice")
        for engine, (networks, seconds) in made.items():
            took = seconds_per_slice(networks[0], slices)
            print(f"  {engine}: {took / base:.2f} of that time; {seconds / len(networks):.1f} s to prepare a network")
            if name == "starter":
                fast = dataclasses.replace(model, networks=[network.eval() for network in networks])
                print(f"    lowest Dice against --exhaustive: {lowest_dice(fast, load_model(STARTER)):.4f}")


if __name__ == "__main__":
    main()
