"""The device that computes: its combo box, and the query which devices PyTorch can use on this computer."""

import enum
import logging
from collections.abc import Callable
from pathlib import Path

from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError

from .childprocess import ChildProcess


class Device(enum.Enum):
    """Devices by the names that the command lines take."""

    auto = 0
    cpu = 1
    cuda = 2
    mps = 3

    def label(self) -> str:
        return {
            Device.auto: _("Automatic"),
            Device.cpu: _("CPU"),
            Device.cuda: _("CUDA (NVIDIA GPU)"),
            Device.mps: _("MPS (Mac with Apple silicon)"),
        }[self]


class DeviceChoice:
    """A combo box over ``Device``, filled by ``connectGui``, and a label that gives the reason for disabled items.

    Args:
        comboBox: QComboBox; its items are in the order of ``Device``.
        label: QLabel beneath it.
    """

    def __init__(self, comboBox, label):
        self._comboBox, self._label = comboBox, label
        self._devices = []

    def isKnown(self) -> bool:
        """Whether ``setDevices`` was called."""
        return bool(self._devices)

    def setDevices(self, devices: list[dict]) -> None:
        """Enable the usable ones of a list of {"name", "usable", "reason"}."""
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
        unknown = _("GPUs can be selected once PyTorch has reported them.")
        self._label.text = "\n".join(reasons) if self._devices else unknown


class DeviceQuery:
    """Finds the devices that PyTorch can use, in a child process.

    Args:
        script: ``segment.py``, or another script with its ``--devices`` option.
        python: the program that runs it, on the PATH.
    """

    def __init__(self, script: Path, python: str):
        self._script, self._python = script, python
        self._child = ChildProcess(self._onEvent, onEnd=lambda: None)
        self._onDevices = None

    def start(self, onDevices: Callable[[list[dict]], None]) -> None:
        """Begin, and return at once; without effect while a query runs.

        ``onDevices`` is called once with a list of {"name", "usable", "reason"}, but not if the query fails, and not
        after ``stop``.
        """
        if self._child.isRunning():
            return
        self._onDevices = onDevices
        try:
            self._child.start(self._script, ["--devices"], self._python)
        except UserError as error:  # the panel's button reports it when it is needed
            logging.info(str(error))

    def stop(self) -> None:
        self._child.stop()

    def _onEvent(self, event: dict) -> None:
        if event["event"] == "devices":
            self._onDevices(event["devices"])
