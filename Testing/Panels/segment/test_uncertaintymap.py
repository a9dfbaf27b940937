"""The uncertainty map as a volume node of a real scene."""

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
pytest.importorskip("PyQt5", reason="needs PyQt5, under the stand-in for Slicer's Qt side")
pytest.importorskip("psutil", reason="needs psutil, to see which processes run")

import SimpleITK as sitk
import slicer

from segment_children import SUCCEEDS
from segment_runs import ijk_to_ras, node_ids
from slicer_scene import add_linear_transform, rigid

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]


def test_uncertainty_map_lies_on_the_voxels_of_the_ct_under_its_transform(run, ct):
    ct.SetAndObserveTransformNodeID(add_linear_transform(slicer.mrmlScene, rigid((0, 30, 0), (9, 8, 7))).GetID())
    segmenting = run(SUCCEEDS)
    segmenting.start(ct)
    segmenting.wait()
    before = node_ids()

    node = segmenting.logic.uncertaintyMap()

    array = slicer.util.arrayFromVolume(node)
    assert array.shape == (20, 10, 30)  # cropped to the visible part
    assert np.allclose(array, 0.3)
    assert node.GetTransformNodeID() == ct.GetTransformNodeID()
    first = slicer.util.arrayFromVTKMatrix(ijk_to_ras(ct)) @ [30, 20, 40, 1]
    assert np.allclose(slicer.util.arrayFromVTKMatrix(ijk_to_ras(node)) @ [0, 0, 0, 1], first)
    assert node.GetSpacing() == ct.GetSpacing()
    display = node.GetDisplayNode()
    assert display.GetApplyThreshold() and 0 < display.GetLowerThreshold() < 0.3
    assert "viridis" in display.GetColorNode().GetName()
    assert segmenting.logic.uncertaintyMap() is node
    assert len(node_ids()) - len(before) <= 3  # the map, its display and perhaps its colors


def test_uncertainty_map_of_a_part_of_the_ct_lies_at_the_same_place(ct):
    from SpleenSmoothSegLib.mrml import imageFromVolumeNode
    from SpleenSmoothSegPanels.segment.uncertaintymap import UncertaintyMap

    whole = sitk.Cast(imageFromVolumeNode(ct) * 0, sitk.sitkFloat32)
    whole[30:50, 20:40, 41:44] = 0.3
    corners = []
    for image, first in ((whole, (0, 0, 0)), (whole[10:60, 15:50, 38:50], (10, 15, 38))):
        node = UncertaintyMap(image, ct, first).node()
        corners.append(slicer.util.arrayFromVTKMatrix(ijk_to_ras(node)) @ [0, 0, 0, 1])
        assert slicer.util.arrayFromVolume(node).shape == (3, 20, 20)
    assert np.allclose(*corners)


def test_no_uncertainty_map_without_a_run_or_without_its_ct(run, ct):
    segmenting = run(SUCCEEDS)
    assert not segmenting.logic.hasUncertaintyMap()
    segmenting.start(ct)
    segmenting.wait()
    assert segmenting.logic.hasUncertaintyMap()

    slicer.mrmlScene.RemoveNode(ct)

    assert segmenting.logic.uncertaintyMap() is None
