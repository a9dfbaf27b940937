"""Reading of labelmaps."""

import numpy as np
import pytest
import SimpleITK as sitk

from inputs import write
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.labels import read_label


@pytest.mark.parametrize("pixel", [sitk.sitkUInt8, sitk.sitkInt16, sitk.sitkFloat32])
def test_read_label_keeps_values_and_type(tmp_path, pixel):
    label = sitk.Cast(sitk.GetImageFromArray(np.arange(24).reshape(2, 3, 4)), pixel)
    read = read_label(write(label, tmp_path / "label.nii.gz"))
    assert read.GetPixelID() == pixel
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(label))


def test_read_label_of_fractional_values_raises_user_error(tmp_path):
    label = sitk.GetImageFromArray(np.full((2, 3, 4), 0.5, np.float32))
    with pytest.raises(UserError, match=r"fractional values; if it was resampled, use nearest neighbor\.$"):
        read_label(write(label, tmp_path / "label.nii.gz"))


def test_read_label_of_color_image_raises_user_error(tmp_path):
    label = sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3)
    with pytest.raises(UserError, match=r"color or vector image; save it as a labelmap\.$"):
        read_label(write(label, tmp_path / "label.nrrd"))
