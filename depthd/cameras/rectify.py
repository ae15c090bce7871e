"""Makes rows of two unrectified pictures correspond."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthd.cameras.calibration import StereoCalibration
from depthd.frame import Camera

ZERO_DISPARITY = 1024
"""OpenCV's CALIB_ZERO_DISPARITY, which version 5 leaves out of its type stubs."""


class Rectifier:
    """Maps are built once, in fixed point (1/32 px), in which OpenCV remaps fastest.

    `camera` is the calibration of the rectified pictures; it has another focal length and centre than the
    file.
    """

    def __init__(self, calibration: StereoCalibration) -> None:
        c = calibration
        size = (c.width, c.height)
        rectify: Any = cv2.fisheye.stereoRectify if c.fisheye else cv2.stereoRectify
        maps: Any = cv2.fisheye.initUndistortRectifyMap if c.fisheye else cv2.initUndistortRectifyMap
        eyes = (c.left, c.left_distortion, c.right, c.right_distortion)
        # Both models take the same flag: equal centres in both eyes.
        flags = {"flags": ZERO_DISPARITY, "balance" if c.fisheye else "alpha": 0.0}
        left_turn, right_turn, left_new, right_new, *_ = rectify(
            *eyes, size, c.rotation, c.translation_m.reshape(3, 1), **flags
        )
        self._left = _fixed_point(maps(c.left, c.left_distortion, left_turn, left_new, size, cv2.CV_32FC1))
        self._right = _fixed_point(maps(c.right, c.right_distortion, right_turn, right_new, size, cv2.CV_32FC1))
        self.camera = Camera(
            width=c.width,
            height=c.height,
            fx=float(left_new[0, 0]),
            fy=float(left_new[1, 1]),
            cx=float(left_new[0, 2]),
            cy=float(left_new[1, 2]),
            # The new right projection holds -fx * baseline.
            baseline_m=float(-right_new[0, 3] / right_new[0, 0]),
            doffs_px=float(right_new[0, 2] - left_new[0, 2]),
        )

    def left(self, raw: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        cv2.remap(raw, *self._left, cv2.INTER_LINEAR, dst=out)

    def right(self, raw: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        cv2.remap(raw, *self._right, cv2.INTER_LINEAR, dst=out)


def _fixed_point(maps: tuple[Any, Any]) -> tuple[Any, Any]:
    first, second = cv2.convertMaps(*maps, cv2.CV_16SC2)
    return first, second
