"""What every camera is to the pipeline."""

from __future__ import annotations

from typing import Protocol

from depthd.errors import DepthdError
from depthd.frame import Camera, StereoFrame


class CameraLost(DepthdError):
    """The camera stopped delivering; opening it again may help."""


class EndOfRecording(Exception):
    """A recording that does not loop has no more frames."""


class CameraSource(Protocol):
    """An open camera. Every file in this folder offers one, and `open_camera` chooses by configuration."""

    @property
    def camera(self) -> Camera:
        """Calibration at the delivered size."""

    @property
    def description(self) -> str:
        """For logs and the shared-memory header, for example 'virtual VGA seed 0'."""

    @property
    def period_s(self) -> float:
        """Seconds between frames in real time; 0 where frames come as fast as they are taken."""

    def grab(self) -> StereoFrame:
        """Waits for the next frame. Raises CameraLost or EndOfRecording."""

    def close(self) -> None:
        """Gives everything back. May be called twice."""
