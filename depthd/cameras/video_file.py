"""Frames of a video file, paced like the camera that recorded it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthd.cameras.base import CameraLost, EndOfRecording
from depthd.cameras.pacing import Pacing
from depthd.errors import UsageError

DEFAULT_FPS = 30.0


class VideoFile:
    """In real time, frames that nobody takes in time are left out, as a camera would. fps: where the file
    says none, or 0. Raises UsageError for a file that is no video, EndOfRecording at its end unless it loops.
    """

    def __init__(self, path: Path, real_time: bool, loop: bool, fps: float = 0.0) -> None:
        self._path, self._loop = path, loop
        self._video: Any = cv2.VideoCapture(str(path))
        if not self._video.isOpened():
            raise UsageError(f"{path} is not a video that OpenCV can read", "give another file")
        self.size = tuple(int(self._video.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        """Width and height of the whole picture."""
        self.pacing = Pacing(self._video.get(cv2.CAP_PROP_FPS) or fps or DEFAULT_FPS, real_time)
        self.period_s = self.pacing.period_s
        self._next = 0

    def read(self) -> tuple[int, int, NDArray[np.uint8]]:
        """Waits until a frame is due: its index, when it was due (CLOCK_MONOTONIC, ns), and the whole
        picture.
        """
        index, captured_ns = self.pacing.next_frame()
        while self._next <= index:
            self._advance(self._video.grab)
        whole, picture = self._video.retrieve()
        if not whole:
            raise CameraLost(f"{self._path} has a frame that cannot be decoded", "record it again")
        return index, captured_ns, picture

    def close(self) -> None:
        self._video.release()

    def _advance(self, grab: Callable[[], bool]) -> None:
        if not grab():
            if not self._loop or self._next == 0:
                raise EndOfRecording(f"{self._path} has ended")
            self._video.set(cv2.CAP_PROP_POS_FRAMES, 0)
            if not grab():
                raise EndOfRecording(f"{self._path} cannot be played again")
        self._next += 1
