"""The bounding box of a mask."""

import numpy as np

from SpleenSmoothSegLib.geometry.box import bounding_box


def test_bounding_box_contains_every_voxel_and_no_empty_plane():
    mask = np.zeros((5, 6, 7), bool)
    mask[1, 2, 3] = mask[3, 2, 6] = True
    assert bounding_box(mask) == np.s_[1:4, 2:3, 3:7]


def test_bounding_box_of_empty_mask_is_empty():
    assert bounding_box(np.zeros((5, 6, 7), bool)) == np.s_[0:0, 0:0, 0:0]
