"""Temporary files that carry a CT to the child process and its results back; always removed."""

import re
import shutil
import tempfile
import time
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError

PREFIX = "SpleenSmoothSeg-"  # of the folder names
DAY = 86400  # seconds


class ChildFiles:
    """A folder that only this user can read, with the CT in it.

    Args:
        ct: the image (SimpleITK) to write.
        name: of the CT in the scene, for messages.

    Raises UserError, and leaves nothing behind, if the CT cannot be written.
    """

    def __init__(self, ct, name: str):
        self._name = name
        self._folder = _temporaryFolder()
        self.ct = Path(self._folder.name) / "ct.nrrd"
        self.mask = Path(self._folder.name) / "spleen.nrrd"  # written by the child
        try:
            _write(ct, self.ct)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        self._folder.cleanup()

    def read(self, path: Path):
        """An image that the child has written; raises UserError if it cannot be read."""
        from SpleenSmoothSegLib.io.images import read_image

        try:
            return read_image(path)
        except UserError as error:
            raise UserError(self.withoutPaths(str(error))) from error

    def withoutPaths(self, message: str) -> str:
        """The message with the CT's name in place of its temporary file: users do not know that file."""
        message = message.replace(str(self.ct), self._name)
        return re.sub(re.escape(self._folder.name) + r'[^"\n]*', _("Slicer's temporary folder"), message)


def _temporaryFolder() -> tempfile.TemporaryDirectory:
    parent = Path(slicer.app.temporaryPath)
    try:
        for old in parent.glob(f"{PREFIX}*"):  # left by a Slicer that crashed
            if time.time() - old.stat().st_mtime > DAY:
                shutil.rmtree(old, ignore_errors=True)
        return tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise _noSpace() from error


def _write(ct, path: Path) -> None:
    import SimpleITK as sitk

    from SpleenSmoothSegLib.io.sitkio import silence_itk

    try:
        with silence_itk():
            sitk.WriteImage(ct, str(path), useCompression=False)
        if path.stat().st_size < sitk.GetArrayViewFromImage(ct).nbytes:  # some writers do not report a full disk
            raise _noSpace()
    except (RuntimeError, OSError) as error:
        raise _noSpace() from error


def _noSpace() -> UserError:
    return UserError(
        _(
            "The CT cannot be written to Slicer's temporary folder, which is full or read-only; free space there, or "
            "choose another folder in Edit > Application Settings > Modules."
        )
    )
