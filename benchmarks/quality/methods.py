"""What depthd is compared with. Each takes a case and gives depth in m, and perhaps more planes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from depthd import fusion
from depthd.config import FusionConfig
from depthd.frame import Array, Fit, FusedPlanes
from quality.cases import Case

FARTHEST_M = 40.0


@dataclass
class Result:
    depth_m: Array
    planes: FusedPlanes | None = None
    fit: Fit | None = None


def _samples(case: Case) -> tuple[Array, Array, Array]:
    """Mono at every pixel, and mono and inverse depth where stereo has measured."""
    height, width = case.stereo_depth_m.shape
    x = cv2.resize(case.mono, (width, height)).astype(np.float64)
    measured = np.isfinite(case.stereo_depth_m)
    return x, x[measured], 1.0 / case.stereo_depth_m[measured]


def _depth(scale: float, shift: float, x: Array) -> Array:
    return (1.0 / np.maximum(scale * x + shift, 1.0 / FARTHEST_M)).astype(np.float32)


def raw_stereo(case: Case) -> Result:
    return Result(np.where(np.isfinite(case.stereo_depth_m), case.stereo_depth_m, np.nan))


def predecessor(case: Case) -> Result:
    """RANSAC as scikit-learn does it, then every finite stereo value nearer than 5 m, mono for the rest."""
    from sklearn.linear_model import LinearRegression, RANSACRegressor

    x, mono, rho = _samples(case)
    model = RANSACRegressor(LinearRegression(), max_trials=1000, random_state=0).fit(mono[:, None], rho)
    line = _depth(float(model.estimator_.coef_[0]), float(model.estimator_.intercept_), x)
    near = np.isfinite(case.stereo_depth_m) & (case.stereo_depth_m < 5.0)
    return Result(np.where(near, case.stereo_depth_m, line))


def least_squares(case: Case) -> Result:
    x, mono, rho = _samples(case)
    scale, shift = np.polyfit(mono, rho, 1)
    return Result(_filled(case, _depth(scale, shift, x)))


def robust_line(case: Case) -> Result:
    """Tukey's biweight started from least squares, then a gate of two robust sigmas."""
    x, mono, rho = _samples(case)
    scale, shift = np.polyfit(mono, rho, 1)
    for _ in range(20):
        residual = rho - (scale * mono + shift)
        sigma = 1.4826 * np.median(np.abs(residual))
        u = residual / (4.685 * sigma)
        scale, shift = np.polyfit(mono, rho, 1, w=np.where(np.abs(u) < 1, 1 - u * u, 0.0))
    line = _depth(scale, shift, x)
    far_off = np.abs(1.0 / case.stereo_depth_m - 1.0 / line) > 2.0 * sigma
    return Result(np.where(np.isfinite(case.stereo_depth_m) & ~far_off, case.stereo_depth_m, line))


def _filled(case: Case, line: Array) -> Array:
    return np.where(np.isfinite(case.stereo_depth_m), case.stereo_depth_m, line)


def depthd(case: Case) -> Result:
    """One frame alone, without memory of earlier ones."""
    planes = FusedPlanes.empty(case.camera.height, case.camera.width)
    result = fusion.create(FusionConfig(), case.camera, "relative_inverse").fuse(case.stereo_depth_m, case.mono, planes)
    return Result(planes.depth_m, planes, result.fit)


METHODS: dict[str, Callable[[Case], Result]] = {
    "raw stereo": raw_stereo,
    "predecessor": predecessor,
    "least squares": least_squares,
    "robust line": robust_line,
    "depthd": depthd,
}
