"""Which device computes: the choice in the panel, and what PyTorch can use on this computer."""

import enum
import logging
from collections.abc import Callable
from pathlib import Path

from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError

from .childprocess import ChildProcess


class Device(enum.Enum):
    """What computes, by the names that the command lines take."""

    auto = 0
    cpu = 1
    cuda = 2
    mps = 3

    def label(self) -> str:
        return {
            Device.auto: _("Automatic"),
            Device.cpu: _("CPU"),
            Device.cuda: _("CUDA (NVIDIA graphics card)"),
            Device.mps: _("MPS (Mac with Apple chip)"),
        }[self]


class DeviceChoice:
    """A combo box over ``Device``, which ``connectGui`` has filled, and a label that says why some rest.

    Args:
        comboBox: QComboBox; its items are in the order of ``Device``.
        label: QLabel beneath it.
    """

    def __init__(self, comboBox, label):
        self._comboBox, self._label = comboBox, label
        self._devices = []

    def isKnown(self) -> bool:
        """Whether PyTorch has said what it can use."""
        return bool(self._devices)

    def take(self, devices: list[dict]) -> None:
        """Show what PyTorch has said: a list of {"name", "usable", "reason"}."""
        self._devices = devices
        self.show()

    def show(self) -> None:
        usable, reasons = {Device.auto.name, Device.cpu.name}, []
        for device in self._devices:
            if device["usable"]:
                usable.add(device["name"])
            elif device["name"] in Device.__members__:
                reasons.append(f"{device['name'].upper()}: {device['reason']}.")
        for index in range(self._comboBox.count):
            self._comboBox.model().item(index).setEnabled(list(Device)[index].name in usable)
        unknown = _("Graphics cards can be chosen once PyTorch has said that it can use them.")
        self._label.text = "\n".join(reasons) if self._devices else unknown


class DeviceQuestion:
    """Asks one question at a time.

    Args:
        script: ``segment.py``, or another script that answers ``--devices`` as it does.
        python: the program that runs it, on the PATH.
    """

    def __init__(self, script: Path, python: str):
        self._script, self._python = script, python
        self._child = ChildProcess(self._onAnswer, onEnd=lambda: None)
        self._onDevices = None

    def ask(self, onDevices: Callable[[list[dict]], None]) -> None:
        """Ask, without waiting.

        ``onDevices`` is called once with a list of {"name", "usable", "reason"}, but not where nobody can tell, and
        not after ``stop``.
        """
        if self._child.isRunning():
            return
        self._onDevices = onDevices
        try:
            self._child.start(self._script, ["--devices"], self._python)
        except UserError as error:  # the button will say so, too, to somebody who wants to know
            logging.info(str(error))

    def stop(self) -> None:
        self._child.stop()

    def _onAnswer(self, event: dict) -> None:
        if event["event"] == "devices":
            self._onDevices(event["devices"])
