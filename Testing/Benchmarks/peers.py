"""Measurements of MONAI and nnU-Net on the same CT, with their published settings and random weights.

Measured from the CT in memory to the mask on the CT's grid, one network each. Reading, importing and building the
network are excluded, as for SpleenSmoothSeg.
"""

import math
from itertools import product

import numpy as np
import SimpleITK as sitk

from Benchmarks.measure import Clock
from Benchmarks.roofline import dtype, gflop, watch

# MONAI's model zoo, spleen_ct_segmentation, configs/inference.json
MONAI_SPACING, MONAI_WINDOW, MONAI_ROI, MONAI_BATCH, MONAI_OVERLAP = (1.5, 1.5, 2.0), (-57, 164), (96, 96, 96), 4, 0.5

# nnU-Net v2's plan of Task09_Spleen, 3d_fullres (slice, row, column); HU: percentiles 0.5 and 99.5, mean, deviation
NNUNET_SPACING, NNUNET_PATCH, NNUNET_STEP = (1.60001, 0.792969, 0.792969), (64, 192, 160), 0.5
NNUNET_HU = (-42.0, 176.0, 93.1926, 40.7837)


def monai_network():
    from monai.networks.nets import UNet

    return UNet(3, 1, 2, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2, norm="batch")


def monai(ct: str, precision: str = "fp32", device: str = "cpu") -> dict:
    """MONAI's spleen bundle with MONAI's own transforms and sliding window."""
    import torch
    from monai.data import MetaTensor
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import (
        Activationsd,
        AsDiscreted,
        Compose,
        EnsureChannelFirstd,
        EnsureTyped,
        Invertd,
        Orientationd,
        ScaleIntensityRanged,
        Spacingd,
    )

    from slicer_scene import ijk_to_ras

    image = sitk.ReadImage(ct)
    network = monai_network().eval().to(device)
    shapes = watch([network])
    low, high = MONAI_WINDOW
    before = Compose(
        [
            EnsureChannelFirstd("image", channel_dim="no_channel"),
            Orientationd("image", axcodes="RAS"),
            Spacingd("image", pixdim=MONAI_SPACING, mode="bilinear"),
            ScaleIntensityRanged("image", a_min=low, a_max=high, b_min=0, b_max=1, clip=True),
            EnsureTyped("image", device=device),
        ]
    )
    after = Compose(
        [
            Activationsd("pred", softmax=True),
            Invertd("pred", transform=before, orig_keys="image", nearest_interp=False, to_tensor=True),
            AsDiscreted("pred", argmax=True),
        ]
    )
    inferer = SlidingWindowInferer(MONAI_ROI, MONAI_BATCH, MONAI_OVERLAP)
    clock = Clock()
    with torch.inference_mode():
        clock.stage("Preparing")
        voxels = sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float32)
        data = before({"image": MetaTensor(voxels, affine=ijk_to_ras(image))})
        clock.stage("Network")
        with torch.autocast(device, dtype(precision), enabled=precision != "fp32"):
            data["pred"] = inferer(data["image"][None], network)[0].float()
        if device == "cuda":
            torch.cuda.synchronize()
        clock.stage("Resampling to the CT's grid")
        mask = after(data)["pred"].cpu()
    assert mask.shape[1:] == image.GetSize()
    return clock.stop() | {
        "gflop": gflop(monai_network, shapes),
        "units": f"{sum(s[0] * n for s, n in shapes.items())} windows",
    }


def nnunet_network():
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    return PlainConvUNet(
        input_channels=1,
        n_stages=6,
        features_per_stage=(32, 64, 128, 256, 320, 320),
        conv_op=torch.nn.Conv3d,
        kernel_sizes=((1, 3, 3), *[(3, 3, 3)] * 5),
        strides=((1, 1, 1), (1, 2, 2), *[(2, 2, 2)] * 4),
        n_conv_per_stage=(2,) * 6,
        num_classes=2,
        n_conv_per_stage_decoder=(2,) * 5,
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


def nnunet(ct: str, patches: int | None = None, precision: str = "fp32", device: str = "cpu") -> dict:
    """One fold of nnU-Net 3d_fullres without mirroring; computes `patches` patches and scales the time to all.

    Resampling is by SimpleITK, linear and of one channel, which is faster than nnU-Net's.
    """
    import torch
    from scipy.ndimage import gaussian_filter

    image = sitk.ReadImage(ct)
    network = nnunet_network().eval().to(device)
    shapes = watch([network])
    center = np.zeros(NNUNET_PATCH, np.float32)
    center[tuple(side // 2 for side in NNUNET_PATCH)] = 1
    weight = torch.from_numpy(gaussian_filter(center, [side / 8 for side in NNUNET_PATCH], mode="constant"))
    weight = (weight / weight.max()).clamp(min=1e-4).to(device)
    clock = Clock()
    with torch.inference_mode():
        clock.stage("Preparing")
        grid = _grid_of(image, NNUNET_SPACING[::-1])
        low, high, mean, deviation = NNUNET_HU
        resampled = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, low, sitk.sitkFloat32)
        voxels = torch.from_numpy((sitk.GetArrayFromImage(resampled).clip(low, high) - mean) / deviation)
        shape = voxels.shape
        padding = [max(0, side - length) for side, length in zip(NNUNET_PATCH, shape, strict=True)]
        voxels = torch.nn.functional.pad(voxels, [0, padding[2], 0, padding[1], 0, padding[0]]).to(device)
        logits, weights = torch.zeros_like(voxels), torch.zeros_like(voxels)
        corners = list(product(*patch_corners(voxels.shape)))
        clock.stage("Network")
        for corner in corners[:patches]:
            place = tuple(slice(start, start + side) for start, side in zip(corner, NNUNET_PATCH, strict=True))
            with torch.autocast(device, dtype(precision), enabled=precision != "fp32"):
                background, spleen = network(voxels[place][None, None])[0].float()
            logits[place] += (spleen - background) * weight
            weights[place] += weight
        if device == "cuda":
            torch.cuda.synchronize()
        clock.stage("Resampling to the CT's grid")
        logits /= weights.clamp(min=1e-4)
        prediction = sitk.GetImageFromArray(logits[: shape[0], : shape[1], : shape[2]].cpu().numpy())
        prediction.CopyInformation(grid)
        mask = sitk.Resample(prediction, image, sitk.Transform(), sitk.sitkLinear, -1.0) > 0
    assert mask.GetSize() == image.GetSize()
    done = sum(shapes.values())
    measured = clock.stop() | {"gflop": gflop(nnunet_network, shapes), "units": f"{len(corners)} patches"}
    return scaled(measured, "Network", done, len(corners), "patches")


def scaled(measured: dict, stage: str, done: int, whole: int, units: str) -> dict:
    """The measurement extrapolated from `done` to `whole` units of work in `stage`, with a remark."""
    if done == whole:
        return measured
    stages = measured["stages"] | {stage: measured["stages"][stage] * whole / done}
    return measured | {
        "stages": stages,
        "seconds": sum(stages.values()),
        "gflop": measured["gflop"] * whole / done,
        "scaled": f"measured on {done} of {whole} {units}",
    }


def patch_corners(shape: tuple[int, ...]) -> list[list[int]]:
    """Start of nnU-Net's patches along each axis: evenly spaced, at most half a patch apart."""
    corners = []
    for length, side in zip(shape, NNUNET_PATCH, strict=True):
        steps = math.ceil((length - side) / (side * NNUNET_STEP))
        corners.append([round(i * (length - side) / steps) for i in range(steps + 1)] if steps else [0])
    return corners


def _grid_of(image: sitk.Image, spacing: tuple[float, float, float]) -> sitk.Image:
    """An empty image of the same extent with voxels of `spacing`."""
    size = [round(n * old / new) for n, old, new in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetDirection(image.GetDirection())
    first = [(new / old - 1) / 2 for old, new in zip(image.GetSpacing(), spacing, strict=True)]
    grid.SetOrigin(image.TransformContinuousIndexToPhysicalPoint(first))
    return grid
