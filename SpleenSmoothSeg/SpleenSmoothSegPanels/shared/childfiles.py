"""The temporary files through which a CT goes to the child process and its results come back; removed in every case."""

import re
import shutil
import tempfile
import time
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError

BEGINNING = "SpleenSmoothSeg-"  # of the names of our folders
DAY = 86400  # seconds


class ChildFiles:
    """A folder that only this user can read, with the CT in it.

    Args:
        ct: the image to hand over.
        name: what the user calls it.

    Raises UserError, and leaves nothing behind, where there is no room for it.
    """

    def __init__(self, ct, name: str):
        self._name = name
        self._folder = _temporaryFolder()
        self.ct = Path(self._folder.name) / "ct.nrrd"
        self.mask = Path(self._folder.name) / "spleen.nrrd"  # where the child writes to
        try:
            _write(ct, self.ct)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        self._folder.cleanup()

    def read(self, path: Path):
        """An image that the child has written; raises UserError where it is none."""
        from SpleenSmoothSegLib.io.images import read_image

        try:
            return read_image(path)
        except UserError as error:
            raise UserError(self.withoutPaths(str(error))) from error

    def withoutPaths(self, message: str) -> str:
        """The child calls the CT by its temporary file; the user knows it by its name."""
        message = message.replace(str(self.ct), self._name)
        return re.sub(re.escape(self._folder.name) + r'[^"\n]*', _("Slicer's temporary folder"), message)


def _temporaryFolder() -> tempfile.TemporaryDirectory:
    place = Path(slicer.app.temporaryPath)
    try:
        for old in place.glob(f"{BEGINNING}*"):  # what a Slicer that crashed has left
            if time.time() - old.stat().st_mtime > DAY:
                shutil.rmtree(old, ignore_errors=True)
        return tempfile.TemporaryDirectory(prefix=BEGINNING, dir=place, ignore_cleanup_errors=True)
    except OSError as error:
        raise _noRoom() from error


def _write(ct, path: Path) -> None:
    import SimpleITK as sitk

    from SpleenSmoothSegLib.io.sitkio import silence_itk

    try:
        with silence_itk():
            sitk.WriteImage(ct, str(path), useCompression=False)
        if path.stat().st_size < sitk.GetArrayViewFromImage(ct).nbytes:  # some writers say nothing of a full disk
            raise _noRoom()
    except (RuntimeError, OSError) as error:
        raise _noRoom() from error


def _noRoom() -> UserError:
    return UserError(
        _(
            "The CT cannot be handed over, because Slicer's temporary folder is full or cannot be written to; free "
            "space there, or choose another folder in Edit > Application Settings > Modules."
        )
    )
