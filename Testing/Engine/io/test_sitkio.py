"""Suppression of ITK's own console output."""

import os
import sys

from SpleenSmoothSegLib.io.sitkio import silence_itk


def test_silence_itk_restores_stderr(capfd):
    print("before", file=sys.stderr)
    with silence_itk():
        os.write(2, b"during")
    print("after", file=sys.stderr)
    assert capfd.readouterr().err == "before\nafter\n"
