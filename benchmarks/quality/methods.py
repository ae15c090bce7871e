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
    try:
        model = RANSACRegressor(LinearRegression(), max_trials=1000, random_state=0).fit(mono[:, None], rho)
    except ValueError:  # no consensus in any trial
        return raw_stereo(case)
    line = _depth(float(model.estimator_.coef_[0]), float(model.estimator_.intercept_), x)
    near = np.isfinite(case.stereo_depth_m) & (case.stereo_depth_m < 5.0)
    return Result(np.where(near, case.stereo_depth_m, line))


def least_squares(case: Case) -> Result:
    """As the global stage of VI-Depth (Wofk et al., 2023)."""
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


NEIGHBOURS, NEIGHBOUR_STEP_PX = 5, 4


def weighted_neighbours(case: Case) -> Result:
    """Each hole pixel gets the line through its nearest measured pixels, weighted by nearness: the pixel-level metric
    alignment of Prior Depth Anything (Wang et al., 2025), without its network. The k nearest are sought on a grid of
    every fourth pixel; a line that does not rise, or rises off the range, gives way to their mean ratio."""
    from scipy.spatial import cKDTree

    x, _, _ = _samples(case)
    measured = np.isfinite(case.stereo_depth_m)
    rows, columns = (
        NEIGHBOUR_STEP_PX * part for part in np.nonzero(measured[::NEIGHBOUR_STEP_PX, ::NEIGHBOUR_STEP_PX])
    )
    hole = np.argwhere(~measured)
    if len(rows) < NEIGHBOURS or len(hole) == 0:
        return Result(case.stereo_depth_m)
    distance, nearest = cKDTree(np.stack([rows, columns], 1)).query(hole, NEIGHBOURS)
    mono, rho = x[rows, columns][nearest], 1.0 / case.stereo_depth_m[rows, columns][nearest].astype(float)
    weight = 1.0 / distance
    total = weight.sum(1)
    mono_mean, rho_mean = (weight * mono).sum(1) / total, (weight * rho).sum(1) / total
    spread = (weight * (mono - mono_mean[:, None]) ** 2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (weight * (mono - mono_mean[:, None]) * (rho - rho_mean[:, None])).sum(1) / spread
        ratio = rho_mean / mono_mean
    at_hole = x[~measured]
    filled = rho_mean + np.where((scale > 0) & (scale < 10 * ratio), scale, ratio) * (at_hole - mono_mean)
    depth_m = case.stereo_depth_m.copy()
    depth_m[~measured] = 1.0 / np.clip(filled, 1.0 / FARTHEST_M, 10.0)
    return Result(depth_m)


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
    "weighted kNN": weighted_neighbours,
    "depthd": depthd,
}
