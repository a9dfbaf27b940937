"""Output files: content as read by Slicer and others, and no partial files on errors."""

import re

import numpy as np
import pytest
import SimpleITK as sitk

from inputs import everything_in, small_disk
from phantoms import SOME_DIRECTIONS, SOME_ORIENTATIONS, in_ellipsoid, phantom
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import same_grid
from SpleenSmoothSegLib.io.writing import OUTPUT_SUFFIXES, atomic_writes, write_image, write_mask

CENTER, RADII = (30.0, -40.0, 500.0), (20.0, 12.0, 16.0)


def mask(**grid) -> sitk.Image:
    grid = {"extent": 60.0, "spacing": (2.0, 3.0, 5.0), "center": (34.0, -44.0, 502.0), **grid}
    return phantom(lambda points: in_ellipsoid(points, CENTER, RADII).astype(np.uint8), **grid)


@pytest.fixture(params=[*SOME_DIRECTIONS, *SOME_ORIENTATIONS])
def any_mask(request) -> sitk.Image:
    """A mask on many grids, including left-handed ones."""
    if request.param in SOME_DIRECTIONS:
        return mask(direction=SOME_DIRECTIONS[request.param])
    return sitk.DICOMOrient(mask(), request.param)


def test_seg_nrrd_has_spleen_name_color_and_terminology(tmp_path):
    import slicerio

    write_mask(mask(), tmp_path / "spleen.seg.nrrd")
    segmentation = slicerio.read_segmentation(str(tmp_path / "spleen.seg.nrrd"))
    (segment,) = segmentation["segments"]
    assert segment["name"] == "Spleen"
    assert np.round(np.array(segment["color"]) * 255).tolist() == [157, 108, 162]
    assert segment["terminology"]["type"] == ["SCT", "78961009", "Spleen"]
    assert segment["terminology"]["category"] == ["SCT", "123037004", "Anatomical Structure"]
    assert segmentation["containedRepresentationNames"] == ["Binary labelmap"]


def test_seg_nrrd_header_has_the_fields_that_slicer_reads(tmp_path):
    import nrrd

    image = mask()
    write_mask(image, tmp_path / "spleen.seg.nrrd")
    header = nrrd.read_header(str(tmp_path / "spleen.seg.nrrd"))
    assert header["space"] == "left-posterior-superior"
    assert header["type"] in ("uint8", "unsigned char")
    assert header["Segment0_ID"] == header["Segment0_Name"] == "Spleen"
    assert header["Segment0_LabelValue"] == "1"
    assert header["Segmentation_MasterRepresentation"] == "Binary labelmap"
    columns, rows, slices = image.GetSize()
    assert header["Segment0_Extent"] == f"0 {columns - 1} 0 {rows - 1} 0 {slices - 1}"
    entry = header["Segment0_Tags"]
    assert entry.startswith("TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list~")
    assert "~SCT^78961009^Spleen~" in entry


@pytest.mark.parametrize("suffix", [".seg.nrrd", *OUTPUT_SUFFIXES, ".SEG.NRRD"])
def test_write_mask_round_trip_in_every_format(tmp_path, any_mask, suffix):
    write_mask(any_mask, tmp_path / f"spleen{suffix}")
    read = sitk.ReadImage(str(tmp_path / f"spleen{suffix}"))
    assert same_grid(read, any_mask)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(any_mask))


def test_slicerio_reads_seg_nrrd_at_the_correct_position(tmp_path, any_mask):
    import slicerio

    write_mask(any_mask, tmp_path / "spleen.seg.nrrd")
    segmentation = slicerio.read_segmentation(str(tmp_path / "spleen.seg.nrrd"))
    inside = np.argwhere(segmentation["voxels"] == 1)
    points = np.c_[inside, np.ones(len(inside))] @ segmentation["ijkToLPS"].T
    np.testing.assert_allclose(points.mean(axis=0)[:3], CENTER, atol=0.6)


def test_write_mask_of_empty_mask(tmp_path):
    write_mask(mask() * 0, tmp_path / "spleen.seg.nrrd")
    assert not sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "spleen.seg.nrrd"))).any()


def test_write_image_keeps_float_values(tmp_path):
    probability = sitk.Cast(mask(), sitk.sitkFloat32) * 0.3
    write_image(probability, tmp_path / "p.nii.gz")
    read = sitk.ReadImage(str(tmp_path / "p.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(probability))


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".nrrd", ".nii", ".mha", ".nii.gz"])
def test_uncompressed_file_has_equal_content(tmp_path, suffix):
    small, large = tmp_path / f"small{suffix}", tmp_path / f"large{suffix}"
    write_mask(mask(), small)
    write_mask(mask(), large, compressed=False)
    one, other = (sitk.ReadImage(str(path)) for path in (small, large))
    assert sitk.Hash(one) == sitk.Hash(other)
    assert same_grid(one, other)
    is_larger = large.stat().st_size > max(small.stat().st_size, mask().GetNumberOfPixels())
    assert is_larger == (suffix in (".seg.nrrd", ".nrrd", ".mha"))


@pytest.mark.parametrize("end", [".png", "", ".dcm", ".mhd", ".nhdr", ".NII.GZ", ".MHA"])
def test_unsupported_suffix_raises_user_error(tmp_path, end):
    with pytest.raises(UserError, match=r"has an unsupported suffix; use .seg.nrrd or .nii.gz"):
        write_mask(mask(), tmp_path / f"spleen{end}")
    assert not everything_in(tmp_path)


# ---- atomic_writes


def test_atomic_writes_appear_together(tmp_path):
    paths = [tmp_path / "new" / name for name in ("a.txt", "b.txt")]
    with atomic_writes(paths) as temporary:
        for path in paths:
            temporary[path].write_text(path.name)
            assert not path.exists()
    assert [path.read_text() for path in paths] == ["a.txt", "b.txt"]
    assert everything_in(tmp_path) == ["new", "new/a.txt", "new/b.txt"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_atomic_writes_remove_files_and_folders_on_error(tmp_path, error):
    paths = [tmp_path / "new" / "deep" / name for name in ("a.txt", "b.txt")]
    with pytest.raises((error, UserError)), atomic_writes(paths) as temporary:
        temporary[paths[0]].write_text("half")
        raise error
    assert not everything_in(tmp_path)


def test_atomic_writes_keep_existing_files_on_error(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    paths = [tmp_path / "a.txt", tmp_path / "new" / "b.txt"]
    with pytest.raises(ValueError), atomic_writes(paths) as temporary:
        temporary[paths[0]].write_text("new")
        raise ValueError
    assert everything_in(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


# ---- full disk


@pytest.mark.parametrize("kilobytes", [4, 16, 64])
@pytest.mark.parametrize("suffix", OUTPUT_SUFFIXES)
def test_write_image_on_full_disk_raises_in_every_format(tmp_path, capfd, suffix, kilobytes):
    """ITK's NIfTI writer does not report it."""
    noise = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(40, 40, 40)))
    with small_disk(tmp_path / "disk", f"size={kilobytes}k") as disk:
        with pytest.raises(OSError, match="disk is full"):
            write_image(noise, disk / f"noise{suffix}")
        with pytest.raises(UserError, match=r"cannot be written \(the disk is full\)"):  # noqa: SIM117
            with atomic_writes([disk / "new" / f"noise{suffix}"]) as temporary:
                write_image(noise, next(iter(temporary.values())))
        assert everything_in(disk) == [f"noise{suffix}"]
    assert capfd.readouterr() == ("", "")


def test_write_mask_on_full_disk_raises_user_error(tmp_path):
    speckled = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 2, (80, 80, 80), np.uint8))
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(UserError, match=re.compile("no space left", re.I)):  # noqa: SIM117
            with atomic_writes([disk / "spleen.seg.nrrd"]) as temporary:
                write_mask(speckled, temporary[disk / "spleen.seg.nrrd"])
        assert not everything_in(disk)


def test_write_image_to_read_only_folder_raises(tmp_path):
    with small_disk(tmp_path / "disk", "ro") as disk, pytest.raises(OSError, match="read-only"):
        write_image(mask(), disk / "mask.nii.gz")


# ---- in Slicer's own libraries


@pytest.mark.slicer
@pytest.mark.parametrize("compressed", [True, False])
def test_slicer_reads_seg_nrrd_with_name_color_terminology_and_position(tmp_path, any_mask, compressed):
    pytest.importorskip("slicerio", reason="needs slicerio, which writes the file")
    slicer = pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
    import vtk

    from slicer_scene import new_scene, segment_center

    write_mask(any_mask, tmp_path / "spleen.seg.nrrd", compressed)
    scene = new_scene()
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "spleen.seg.nrrd"))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert storage.ReadData(node) == 1
    (segment_id,) = node.GetSegmentation().GetSegmentIDs()
    segment = node.GetSegmentation().GetSegment(segment_id)
    assert segment.GetName() == "Spleen"
    assert np.round(np.array(segment.GetColor()) * 255).tolist() == [157, 108, 162]
    entry = vtk.mutable("")
    assert segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
    assert "~SCT^78961009^Spleen~" in str(entry)
    np.testing.assert_allclose(segment_center(node, segment_id) * [-1, -1, 1], CENTER, atol=0.6)
