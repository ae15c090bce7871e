"""Keeps a camera: OPENING -> RUNNING -> LOST -> OPENING.

A lost camera is opened again ever more slowly, from FIRST_PAUSE_S to LONGEST_PAUSE_S, so that a dead one
costs nothing; but at once when a device is plugged in, so that a camera that is back delivers again within a
second. One that opens and fails again and again counts as the same loss: pauses begin anew only after
STEADY_S of frames.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import fields
from enum import Enum

from depthd.cameras.base import CameraLost, CameraSource
from depthd.frame import Camera

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
LONGEST_BLIND_PAUSE_S = 0.5
"""Where no device appearing would tell that the camera is back: a stream from the network, a file."""
LOOK_S = 0.05
STEADY_S = 2.0
DEVICE_FOLDERS = ("/sys/bus/usb/devices", "/sys/class/video4linux")


class LinkState(Enum):
    OPENING = "opening"
    RUNNING = "running"
    LOST = "lost"


class CameraLink:
    """open_source opens the camera or raises CameraLost; every other error passes through.

    tell(state, why) hears every change, before what it announces is done: LOST is followed by a pause,
    OPENING by a call of open_source, which may block or never return. has_device: attached devices are
    watched in pauses. wait, attached and clock are those of the system, except in tests.
    """

    def __init__(
        self,
        open_source: Callable[[], CameraSource],
        tell: Callable[[LinkState, str], None],
        has_device: bool = True,
        wait: Callable[[float], object] = time.sleep,
        attached: Callable[[], frozenset[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_source, self._tell = open_source, tell
        self._wait, self._attached, self._clock = wait, attached or attached_devices, clock
        self._longest_s = LONGEST_PAUSE_S if has_device else LONGEST_BLIND_PAUSE_S
        self._pause_s = FIRST_PAUSE_S
        self._running_since: float | None = None
        self.reconnects = 0

    def open(self) -> CameraSource:
        """Returns an open camera, however long that takes."""
        while True:
            before = self._attached()
            self._tell(LinkState.OPENING, "")
            try:
                source = self._open_source()
            except CameraLost as lost:
                self._tell(LinkState.LOST, str(lost))
                self._pause(before)
                continue
            self._running_since = self._clock()
            self._tell(LinkState.RUNNING, source.description)
            return source

    def reopen(self, source: CameraSource, why: str) -> CameraSource:
        """Gives back a camera that was lost and returns it opened again."""
        if self._running_since is not None and self._clock() - self._running_since >= STEADY_S:
            self._pause_s = FIRST_PAUSE_S
        self._running_since = None
        before = self._attached()
        self._tell(LinkState.LOST, why)
        # What is lost may also fail to close; it is gone either way.
        with contextlib.suppress(CameraLost):
            source.close()
        self._pause(before)
        opened = self.open()
        self.reconnects += 1
        return opened

    def _pause(self, attached_before: frozenset[str]) -> None:
        left_s = self._pause_s
        self._pause_s = min(2 * self._pause_s, self._longest_s)
        while left_s > 0:
            step_s = min(LOOK_S, left_s)
            self._wait(step_s)
            left_s -= step_s
            if self._attached() - attached_before:
                self._pause_s = FIRST_PAUSE_S
                return


def changes(before: Camera, now: Camera) -> list[str]:
    """One text a field of the calibration that differs: 'fx 267.1 -> 267.4'."""
    return [
        f"{field.name} {getattr(before, field.name):g} -> {getattr(now, field.name):g}"
        for field in fields(Camera)
        if getattr(before, field.name) != getattr(now, field.name)
    ]


def attached_devices() -> frozenset[str]:
    """Names of the USB and video devices that the kernel shows."""
    names: set[str] = set()
    for folder in DEVICE_FOLDERS:
        with contextlib.suppress(OSError):
            names.update(os.listdir(folder))
    return frozenset(names)
