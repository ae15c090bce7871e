"""Stands in for cv2.VideoCapture on a V4L2 device: modes that it has, a queue of frames, and a cable that can
be pulled.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import cv2
import numpy as np


class Device:
    """What is behind /dev/videoN. A frame comes every `period_s`; grey level of the n-th is n % 256."""

    def __init__(self, modes: tuple[tuple[int, int], ...], period_s: float = 0.005) -> None:
        self.modes, self.period_s = modes, period_s
        self.plugged = True
        self.hangs = threading.Event()
        self.released = threading.Event()
        self.opened = 0

    def capture(self, _path: Any, _api: int = 0) -> Capture:
        return Capture(self)


class Capture:
    def __init__(self, device: Device) -> None:
        self._device = device
        self._wish = dict.fromkeys((cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), 0.0)
        self._size = device.modes[0]
        self._count = 0
        self._open = device.plugged
        device.opened += self._open

    def isOpened(self) -> bool:
        return self._open

    def set(self, key: int, value: float) -> bool:
        """Like the driver: a size that it does not have becomes one that it has, and no error."""
        if key in self._wish:
            self._wish[key] = value
            wish = tuple(int(v) for v in self._wish.values())
            self._size = wish if wish in self._device.modes else self._device.modes[0]
        return True

    def get(self, key: int) -> float:
        sizes = dict(zip(self._wish, self._size, strict=True))
        return float(sizes.get(key, 200.0 if key == cv2.CAP_PROP_FPS else 0.0))

    def read(self) -> tuple[bool, Any]:
        if self._device.hangs.is_set():
            self._device.released.wait(20)
        time.sleep(self._device.period_s)
        if not self._device.plugged:
            return False, None
        picture = np.full((self._size[1], self._size[0], 3), self._count % 256, np.uint8)
        self._count += 1
        return True, picture

    def release(self) -> None:
        self._device.opened -= self._open
        self._open = False
