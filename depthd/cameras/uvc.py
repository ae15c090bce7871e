"""A USB camera without any SDK: a ZED's two eyes side by side, another stereo camera, or a webcam."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthd.cameras.base import CameraLost
from depthd.cameras.calibration import load_calibration
from depthd.cameras.rectify import Rectifier
from depthd.cameras.video_file import VideoFile
from depthd.config import Resolution, UvcCameraConfig
from depthd.errors import UsageError
from depthd.frame import Camera, StereoFrame

log = logging.getLogger(__name__)

ZED_MODES: dict[Resolution, tuple[int, int, tuple[int, ...]]] = {
    "HD2K": (4416, 1242, (15,)),
    "HD1080": (3840, 1080, (15, 30)),
    "HD720": (2560, 720, (15, 30, 60)),
    "VGA": (1344, 376, (15, 30, 60, 100)),
}
"""Width and height of both eyes together, and the frame rates that a ZED offers there; over USB 2 only
VGA.
"""
FRAMES_IN_FLIGHT = 3
WEBCAM_FOCAL_PER_WIDTH = 1.0
"""Where nothing is known of a lens; depth is relative then anyway."""


class UvcCamera:
    """Takes pictures from a V4L2 device or from a video file of one, and rectifies them by the calibration.

    With a calibration, frames carry both pictures and the matcher makes depth of them. Without one, or with a
    webcam, frames carry the left picture and an unknown depth (NaN everywhere), and `camera.baseline_m` is 0:
    only relative depth can come of that, and the log says so. Arrays are written again FRAMES_IN_FLIGHT grabs
    later. Raises UsageError for what the configuration has wrong, CameraLost where the device is not there or
    is held.
    """

    def __init__(self, config: UvcCameraConfig) -> None:
        self._config = config
        width, height = _wanted_size(config)
        self._capture: _Live | VideoFile
        if Path(config.device).is_file():
            self._capture = VideoFile(Path(config.device), config.real_time, config.loop, config.fps)
        else:
            self._capture = _Live(config, width, height)
        try:
            self._prepare(*self._capture.size)
        except BaseException:
            self._capture.close()
            raise

    def _prepare(self, width: int, height: int) -> None:
        stereo = self._config.layout == "side_by_side"
        if stereo and width % 2:
            raise UsageError(
                f"{self._config.device} gives pictures {width} px wide, which are not two",
                "set camera.layout to mono",
            )
        eye = (width // 2 if stereo else width, height)
        self._rectifier = None
        path = _calibration_path(self._config) if stereo and not self._config.raw else None
        if path is not None:
            unit = {"mm": 0.001, "m": 1.0}[self._config.calibration_unit]
            self._rectifier = Rectifier(load_calibration(path, *eye, unit))
            self._camera = self._rectifier.camera
        else:
            focal = WEBCAM_FOCAL_PER_WIDTH * eye[0]
            self._camera = Camera(*eye, focal, focal, (eye[0] - 1) / 2, (eye[1] - 1) / 2, baseline_m=0.0)
            if not self._config.raw:
                log.warning("%s has no calibration: depth is relative, not in metres", self._config.device)
        shape = (FRAMES_IN_FLIGHT, eye[1], eye[0], 3)
        self._left = np.zeros(shape, np.uint8)
        self._right = np.zeros(shape, np.uint8) if self._rectifier or (stereo and self._config.raw) else None
        self._unknown = np.full((eye[1], eye[0]), np.nan, np.float32) if self._right is None else None
        self._slot = 0

    @property
    def camera(self) -> Camera:
        return self._camera

    @property
    def description(self) -> str:
        kind = "rectified" if self._rectifier else "raw" if self._config.raw else "relative only"
        return f"uvc {self._config.device} {self._camera.width}x{self._camera.height} {kind}"

    @property
    def period_s(self) -> float:
        return self._capture.period_s

    def grab(self) -> StereoFrame:
        index, captured_ns, picture = self._capture.read()
        slot = self._slot = (self._slot + 1) % FRAMES_IN_FLIGHT
        left, right = self._left[slot], None
        if self._rectifier is not None and self._right is not None:
            right = self._right[slot]
            self._rectifier.left(picture[:, : self._camera.width], left)
            self._rectifier.right(picture[:, self._camera.width :], right)
        else:
            np.copyto(left, picture[:, : self._camera.width])
            if self._right is not None:
                right = self._right[slot]
                np.copyto(right, picture[:, self._camera.width :])
        return StereoFrame(
            index=index,
            captured_ns=captured_ns,
            picture_clock_ns=captured_ns,
            camera=self._camera,
            left_bgr=left,
            right_bgr=right,
            depth_m=self._unknown,
        )

    def close(self) -> None:
        self._capture.close()


class _Live:
    """A V4L2 device, read in a thread: the driver's queue never grows old, and a read that hangs is seen."""

    def __init__(self, config: UvcCameraConfig, width: int, height: int) -> None:
        self._config = config
        self._video = self._open(width, height)
        self.size = _size(self._video)
        fps = self._video.get(cv2.CAP_PROP_FPS)
        self.period_s = 1 / fps if fps and fps > 0 else 0.0
        self._fresh = threading.Condition()
        self._latest: tuple[int, int, NDArray[np.uint8]] | None = None
        self._failed = self._stopping = False
        self._taken = -1
        self._thread = threading.Thread(target=self._keep_reading, name="uvc", daemon=True)
        self._thread.start()

    def _open(self, width: int, height: int) -> Any:
        device = self._config.device
        if not Path(device).exists() and not device.isdigit():
            raise CameraLost(f"there is no camera {device}", "plug it in; `v4l2-ctl --list-devices` names them")
        video: Any = cv2.VideoCapture(int(device) if device.isdigit() else device, cv2.CAP_V4L2)
        if not video.isOpened():
            raise CameraLost(f"{device} does not open", "see that no other process holds it, and who may read it")
        # Before the size: drivers offer sizes by format.
        video.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._config.pixel_format))
        video.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        video.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        if self._config.fps:
            video.set(cv2.CAP_PROP_FPS, self._config.fps)
        given = _size(video)
        if given != (width, height):
            has = [name for name, mode in ZED_MODES.items() if _offers(video, *mode[:2])]
            video.release()
            raise UsageError(
                f"{device} does not deliver {width}x{height}, but {given[0]}x{given[1]}",
                f"choose one of {', '.join(has)}" if has else "set camera.width and camera.height to what it has",
            )
        return video

    def _keep_reading(self) -> None:
        index = 0
        while not self._stopping:
            whole, picture = self._video.read()
            now = time.monotonic_ns()
            with self._fresh:
                if whole:
                    self._latest = (index, self._captured_ns(now), picture)
                    index += 1
                else:
                    self._failed = True
                self._fresh.notify()
                if self._failed:
                    return

    def _captured_ns(self, now_ns: int) -> int:
        """The driver stamps frames on the monotonic clock; OpenCV hands it out in milliseconds."""
        stamped = round(self._video.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        return stamped if 0 <= now_ns - stamped < 1_000_000_000 else now_ns

    def read(self) -> tuple[int, int, NDArray[np.uint8]]:
        with self._fresh:
            came = self._fresh.wait_for(self._something, self._config.frame_timeout_s)
            if self._latest is not None and self._latest[0] > self._taken:
                self._taken = self._latest[0]
                return self._latest
        why = "stopped delivering" if came else f"gave no frame for {self._config.frame_timeout_s:g} s"
        raise CameraLost(f"{self._config.device} {why}", "check cable and USB port")

    def _something(self) -> bool:
        return self._failed or (self._latest is not None and self._latest[0] > self._taken)

    def close(self) -> None:
        self._stopping = True
        self._thread.join(2 * self._config.frame_timeout_s)
        if self._thread.is_alive():
            log.error("%s: the driver does not come back from a read", self._config.device)
            return
        self._video.release()


def _wanted_size(config: UvcCameraConfig) -> tuple[int, int]:
    if (config.width is None) != (config.height is None):
        raise UsageError("only one of camera.width and camera.height is set", "set both or none")
    if config.width is not None and config.height is not None:
        return config.width, config.height
    width, height, rates = ZED_MODES[config.resolution]
    if config.fps and config.layout == "side_by_side" and config.fps not in rates:
        raise UsageError(
            f"a ZED does not deliver {config.resolution} at {config.fps} frames/s",
            f"set camera.fps to one of {', '.join(map(str, rates))}",
        )
    return (width, height) if config.layout == "side_by_side" else (width // 2, height)


def _size(video: Any) -> tuple[int, int]:
    return int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))


def _offers(video: Any, width: int, height: int) -> bool:
    video.set(cv2.CAP_PROP_FRAME_WIDTH, width)
    video.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    return _size(video) == (width, height)


def _calibration_path(config: UvcCameraConfig) -> Path | None:
    """The file named, or the only one (or the serial's) among those that the ZED tools keep."""
    if config.calibration is not None:
        return config.calibration
    found = sorted(config.settings_dir.glob(f"SN{config.serial or '*'}.conf"))
    if len(found) > 1:
        raise UsageError(
            f"{config.settings_dir} has calibrations of {len(found)} cameras",
            "set camera.serial or camera.calibration",
        )
    if config.serial is not None and not found:
        raise UsageError(
            f"there is no {config.settings_dir}/SN{config.serial}.conf",
            f"fetch it from https://calib.stereolabs.com/?SN={config.serial}",
        )
    return found[0] if found else None
