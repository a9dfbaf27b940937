"""The slice cache: content, keys, damaged entries, a full disk, and sharing between trainings."""

import hashlib
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inputs import everything_in, small_ct, write_dicom
from locations import REPOSITORY
from SpleenSmoothSegLib.border.kernels import Border, soften
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.slices import SliceFormat, axial_grid, ct_slices, label_slices
from SpleenSmoothSegLib.io.decathlon import Case
from SpleenSmoothSegTrainingLib.data import slicecache
from SpleenSmoothSegTrainingLib.data.dataset import open_dataset
from SpleenSmoothSegTrainingLib.data.slicecache import SliceCache, default_folder

CUT = SliceFormat(size=64, spacing=6.0)
NONE, SOFT = Border("none"), Border.parse("gaussian:4mm")


def same(one, other) -> bool:
    pairs = ((one.ct, other.ct), (one.label, other.label), (one.soft, other.soft))
    return one.spacing == other.spacing and all(np.array_equal(first, second) for first, second in pairs)


# Content.


def test_slices_are_on_the_network_grid(case, cache):
    slices = cache.slices(case, CUT, NONE)
    ct, label = case.read()
    grid = axial_grid(ct, CUT)
    assert slices.name == case.name and slices.spacing == (3.0, 6.0, 6.0)
    assert slices.ct.dtype == np.float16 and slices.label.dtype == bool
    np.testing.assert_array_equal(slices.ct, ct_slices(ct, grid, CUT.window).astype(np.float16))
    np.testing.assert_array_equal(slices.label, label_slices(label, grid))
    assert slices.with_spleen.tolist() == [bool(each.any()) for each in slices.label]
    assert slices.with_spleen.any()


def test_slices_keep_the_volume_of_the_label(case, cache):
    slices = cache.slices(case, SliceFormat(256, 1.5), NONE)
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(case.label)))
    assert slices.label.sum() * 1.5**2 == pytest.approx(label.sum() * 3.0**2, rel=0.03)


def test_slices_use_the_label_value_of_the_spleen(folder, case, cache):
    label = sitk.ReadImage(str(case.label))
    sitk.WriteImage(label * 7, str(case.label))
    assert cache.slices(replace(case, spleen=7), CUT, NONE).label.any()
    assert not cache.slices(replace(case, spleen=1), CUT, NONE).label.any()


@pytest.mark.parametrize("border", ["gaussian:4mm", "gaussian:4mm:3d", "svls:1px", "signed_distance:9mm:3d"])
def test_soft_label_equals_the_smoothed_label_in_float16(case, cache, border):
    slices = cache.slices(case, CUT, Border.parse(border))
    assert slices.soft.dtype == np.float16
    expected = soften(slices.label, (3.0, 6.0, 6.0), Border.parse(border))
    np.testing.assert_array_equal(slices.soft, expected.astype(np.float16))
    assert ((slices.soft > 0) & (slices.soft < 1)).any()


def test_soft_label_without_border_is_the_label(case, cache):
    slices = cache.slices(case, CUT, NONE)
    assert slices.soft is slices.label


def test_slices_are_memory_mapped(case, cache):
    slices = cache.slices(case, CUT, SOFT)
    assert all(isinstance(array, np.memmap) for array in (slices.ct, slices.label, slices.soft))
    with pytest.raises(ValueError, match="read-only"):
        slices.ct[0] = 0


# Cached entries.


def test_cached_slices_do_not_read_the_ct(case, cache, no_reading):
    first = cache.slices(case, CUT, SOFT)
    no_reading()
    assert same(cache.slices(case, CUT, SOFT), first)
    assert same(SliceCache(cache.folder, pytest.fail).slices(case, CUT, SOFT), first)


def test_another_border_does_not_read_the_ct(case, cache, no_reading):
    first = cache.slices(case, CUT, NONE)
    no_reading()
    assert np.array_equal(cache.slices(case, CUT, SOFT).label, first.label)


def test_entry_does_not_depend_on_channels(case, cache, no_reading):
    first = cache.slices(case, CUT, SOFT)
    no_reading()
    assert same(cache.slices(case, replace(CUT, channels=3, channel_spacing=2.0), SOFT), first)


def test_entry_is_the_same_for_int_and_float(case, cache, no_reading):
    cache.slices(case, CUT, NONE)
    no_reading()
    cache.slices(case, SliceFormat(size=64, spacing=6, window=(-150, 250)), NONE)


def test_renamed_file_uses_the_same_entry(folder, case, cache, no_reading):
    first = cache.slices(case, CUT, SOFT)
    image, label = folder / "other name é.nii.gz", folder / "label.nii.gz"
    case.image.rename(image)
    case.label.rename(label)
    no_reading()
    again = cache.slices(Case("other", image, label), CUT, SOFT)
    assert same(again, first) and again.name == "other"


@pytest.mark.parametrize(
    "other", [{"size": 32}, {"spacing": 5.0}, {"window": (-100.0, 250.0)}, {"window": (-150.0, 200.0)}], ids=str
)
def test_another_size_spacing_or_window_makes_another_entry(case, cache, other):
    first = cache.slices(case, CUT, SOFT)
    entries = len(list(cache.folder.glob("*.json")))
    second = cache.slices(case, replace(CUT, **other), SOFT)
    assert len(list(cache.folder.glob("*.json"))) == entries + 1
    assert not same(first, second)


def change_voxels(path: Path) -> None:
    image = sitk.ReadImage(str(path))
    image[50, 50, 4] = int(image[50, 50, 4] == 0)
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize("kind", ["image", "label"])
def test_changed_file_makes_another_entry(case, cache, kind):
    first = cache.slices(case, SliceFormat(128, 3.0), NONE)
    change_voxels(getattr(case, kind))
    second = cache.slices(case, SliceFormat(128, 3.0), NONE)
    changed, kept = ("ct", "label") if kind == "image" else ("label", "ct")
    assert not np.array_equal(getattr(first, changed), getattr(second, changed))
    assert np.array_equal(getattr(first, kept), getattr(second, kept))


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_changed_voxels_with_the_same_header_make_another_entry(folder, case, cache, suffix):
    header = folder / f"ct{suffix}"
    sitk.WriteImage(case.read_ct(), str(header))
    case = replace(case, image=header)
    text, first = header.read_bytes(), cache.slices(case, CUT, NONE)
    sitk.WriteImage(case.read_ct() + 100, str(header))
    header.write_bytes(text)
    assert cache.slices(case, CUT, NONE).ct.mean() > first.ct.mean() + 0.01


def test_renamed_dicom_files_use_the_same_entry(tmp_path, cache, no_reading):
    ct = small_ct()
    image, label = write_dicom(ct, tmp_path / "dicom"), tmp_path / "label.nii.gz"
    read = sitk.Cast(ct > 100, sitk.sitkUInt8)
    sitk.WriteImage(read, str(label))
    first = cache.slices(Case("a", image, label), CUT, NONE)
    for number, file in enumerate(sorted(image.iterdir(), reverse=True)):
        file.rename(image / f"{number:03d}")
    no_reading()
    assert same(cache.slices(Case("a", image, label), CUT, NONE), first)


def test_missing_file_raises_an_error(case, cache):
    case.label.unlink()
    with pytest.raises(UserError) as caught:
        cache.slices(case, CUT, NONE)
    assert str(case.label) in str(caught.value) and "\n" not in str(caught.value)


# Damaged entries.


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("at", [0, 90, 0.5, -1])
@pytest.mark.parametrize("pattern", ["*.ct.npy", "*.label.npy", "*.gaussian_4mm.npy", "*.json", "*.sha256"])
def test_flipped_byte_emits_a_warning_and_repairs_the_entry(case, tmp_path, pattern, at):
    warnings = []
    cache = SliceCache(tmp_path / "cache", warnings.append)
    first = cache.slices(case, CUT, SOFT)
    expected = [np.array(array) for array in (first.ct, first.label, first.soft)]
    (path,) = cache.folder.glob(pattern)
    size = path.stat().st_size
    flip(path, int(size * at) if isinstance(at, float) else min(at, size - 1))
    again = cache.slices(case, CUT, SOFT)
    for array, right in zip((again.ct, again.label, again.soft), expected, strict=True):
        np.testing.assert_array_equal(array, right)
    assert len(warnings) == 1 and "damaged" in warnings[0] and str(cache.folder) in warnings[0]
    assert "\n" not in warnings[0] and warnings[0].endswith(".")
    assert same(SliceCache(cache.folder, pytest.fail).slices(case, CUT, SOFT), again), "the entry is repaired"


def test_flipped_byte_in_the_notes_is_detected(case, tmp_path):
    cache, notes = SliceCache(tmp_path / "cache"), {"name": "b", "warnings": ["It is small."]}
    cache.add(case, CUT, case.read(), notes)
    (path,) = cache.folder.glob("*.json")
    data, found = path.read_bytes(), []
    for at in range(0, len(data), 4):
        flip(path, at)
        found.append(cache.notes(case, CUT))
        path.write_bytes(data)
    assert all(each in (None, notes) for each in found)
    assert found.count(notes) == 0
    assert cache.notes(case, CUT) == notes


@pytest.mark.parametrize("pattern", ["*.ct.npy", "*.label.npy", "*.gaussian_4mm.npy", "*.json", "*.sha256", "*"])
@pytest.mark.parametrize("damage", ["cut short", "emptied", "gone"])
def test_missing_or_truncated_files_are_written_again(case, tmp_path, pattern, damage):
    cache = SliceCache(tmp_path / "cache")
    first = cache.slices(case, CUT, SOFT)
    expected = np.array(first.soft)
    for path in cache.folder.glob(pattern):
        data = path.read_bytes()
        path.unlink()
        if damage != "gone":
            path.write_bytes(data[: len(data) // 2 if damage == "cut short" else 0])
    again = cache.slices(case, CUT, SOFT)
    np.testing.assert_array_equal(again.soft, expected)
    assert same(SliceCache(cache.folder, pytest.fail).slices(case, CUT, SOFT), again)


@pytest.mark.parametrize("largest", [0, 20_000, 40_000], ids=["nothing", "the-notes-fit", "the-label-fits"])
def test_full_disk_raises_an_error_and_leaves_no_partial_entry(case, tmp_path, largest):
    resource = pytest.importorskip("resource", reason="Windows cannot limit the size of files")
    cache = SliceCache(tmp_path / "cache", pytest.fail)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limit[1]))
    try:
        with pytest.raises(UserError, match="cannot be written .*; free up disk space") as caught:
            cache.slices(case, CUT, SOFT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "\n" not in str(caught.value)
    assert everything_in(cache.folder) == [], "the slices are larger than this disk"
    assert cache.slices(case, CUT, SOFT).label.any(), "with free space it is written"


def test_full_disk_while_writing_soft_labels_keeps_the_slices(case, cache, no_reading):
    resource = pytest.importorskip("resource", reason="Windows cannot limit the size of files")
    cache.slices(case, CUT, NONE)
    before = everything_in(cache.folder)
    no_reading()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(UserError, match="cannot be written"):
            cache.slices(case, CUT, SOFT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert everything_in(cache.folder) == before
    assert cache.slices(case, CUT, SOFT).soft.any()


# Sharing between trainings.


FILL = """
import hashlib, sys, time
from pathlib import Path
from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.geometry.slices import SliceFormat
from SpleenSmoothSegTrainingLib.data.dataset import open_dataset
from SpleenSmoothSegTrainingLib.data.slicecache import SliceCache

data, folder, name = sys.argv[1:]
cases = open_dataset(data).cases
Path(folder, name).touch()
while not Path(folder, "go").exists():
    time.sleep(0.001)
digest = hashlib.sha256()
for number in range(3):  # a new, empty cache each time
    cache = SliceCache(Path(folder, str(number)), sys.exit)
    for case in cases:
        slices = cache.slices(case, SliceFormat(64, 6.0), Border.parse("gaussian:4mm"))
        for array in (slices.ct, slices.label, slices.soft):
            digest.update(array.tobytes())
print(digest.hexdigest())
"""


def test_concurrent_processes_fill_the_same_cache_with_complete_entries(pristine, tmp_path):
    path = [str(REPOSITORY / module) for module in ("SpleenSmoothSeg", "SpleenSmoothSegTraining")]
    script = f"import sys\nsys.path[:0] = {path!r}\n{FILL}"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(pristine), str(tmp_path), name], stdout=subprocess.PIPE, encoding="utf-8"
        )
        for name in ("first", "second")
    ]
    while not all((tmp_path / name).exists() for name in ("first", "second")):
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    answers = {worker.communicate()[0] for worker in workers}
    assert [worker.returncode for worker in workers] == [0, 0]
    alone, digest = SliceCache(tmp_path / "alone"), hashlib.sha256()
    for _ in range(3):
        for case in open_dataset(pristine).cases:
            slices = alone.slices(case, CUT, SOFT)
            for array in (slices.ct, slices.label, slices.soft):
                digest.update(array.tobytes())
    assert answers == {digest.hexdigest() + "\n"}
    for number in range(3):
        assert everything_in(tmp_path / str(number)) == everything_in(tmp_path / "alone"), "no temporary files remain"


# The folder.


def test_default_folder_is_the_user_cache_or_the_environment_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("SPLEENSMOOTHSEG_CACHE", raising=False)
    monkeypatch.setattr(slicecache.sys, "platform", "linux")
    assert default_folder() == tmp_path / "xdg" / "SpleenSmoothSeg" / "slices" == SliceCache().folder
    monkeypatch.setenv("SPLEENSMOOTHSEG_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine" == SliceCache().folder
    assert SliceCache(tmp_path / "given").folder == tmp_path / "given"
