"""Points, normals, planes and spheres from depth. Coordinates: metres, x right, y down, z along the
optical axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depthd.frame import Array, Camera

TRIALS = 300
TUKEY = 4.685
"""Tukey's biweight constant for 95 % efficiency with normal errors."""
MAD_TO_SIGMA = 1.4826
REFINEMENTS = 20
SMALLEST_SIGMA_M = 1e-6


@dataclass(frozen=True)
class Plane:
    """normal: unit vector towards the camera; distance_m: of the plane from the camera's centre."""

    normal: Array
    distance_m: float

    def residual_m(self, points: Array) -> Array:
        """Signed distance of (n, 3) points from the plane, > 0 towards the camera."""
        return points @ self.normal + self.distance_m

    @property
    def tilt_degrees(self) -> float:
        """Angle between the plane and the image plane."""
        return math.degrees(math.acos(min(1.0, abs(float(self.normal[2])))))


@dataclass(frozen=True)
class Sphere:
    """centre: (3,) metres."""

    centre: Array
    radius_m: float

    def residual_m(self, points: Array) -> Array:
        """Signed distance of (n, 3) points from the surface, > 0 outside."""
        return np.linalg.norm(points - self.centre, axis=-1) - self.radius_m


def points_of(depth_m: Array, camera: Camera) -> Array:
    """(height, width) depth -> float64 (height, width, 3); NaN where depth is unknown."""
    height, width = depth_m.shape
    depth = np.where(np.isfinite(depth_m), depth_m, np.nan).astype(np.float64)
    u = (np.arange(width) - camera.cx) / camera.fx
    v = (np.arange(height) - camera.cy) / camera.fy
    return np.stack([u[None, :] * depth, v[:, None] * depth, depth], axis=-1)


def normals_of(depth_m: Array, camera: Camera, window_px: int = 5) -> Array:
    """float32 (height, width, 3) unit normals towards the camera, NaN where depth is unknown.

    From the gradient of inverse depth, which is constant on a plane: for n . X = d, 1/z = (n . (u, v, 1)) /
    d. The
    gradient is smoothed over `window_px`; across depth edges it stays in what is less than 5 % away.
    """
    import cv2

    known = np.isfinite(depth_m) & (depth_m > 0)
    rho = np.where(known, 1.0 / np.where(known, depth_m, 1.0), 0.0)
    gradients = [_gradient_within(rho, known, axis) for axis in (1, 0)]
    for i, (gradient, weight) in enumerate(gradients):
        size = (window_px, window_px)
        total = cv2.blur(weight.astype(np.float64), size)
        gradients[i] = (cv2.blur(gradient * weight, size) / np.maximum(total, 1e-9), weight)
    height, width = depth_m.shape
    u = (np.arange(width) - camera.cx)[None, :]
    v = (np.arange(height) - camera.cy)[:, None]
    across, down = gradients[0][0], gradients[1][0]
    normal = np.stack([across * camera.fx, down * camera.fy, rho - across * u - down * v], axis=-1)
    normal = -normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    return np.where(known[..., None], normal, np.nan).astype(np.float32)


def _gradient_within(rho: Array, known: Array, axis: int) -> tuple[Array, Array]:
    """Central difference per pixel where both neighbours belong to one surface, and where that is so."""
    before, after = np.roll(rho, 1, axis), np.roll(rho, -1, axis)
    near = known & np.roll(known, 1, axis) & np.roll(known, -1, axis)
    near &= np.abs(after - before) < 0.1 * rho
    edge: list[slice | int] = [slice(None), slice(None)]
    for end in (0, -1):
        edge[axis] = end
        near[tuple(edge)] = False
    return np.where(near, 0.5 * (after - before), 0.0), near


def fit_plane(points: Array) -> Plane:
    """(n, 3) points, n >= 3 -> the plane that half of them at least agree with."""

    def solve(chosen: Array, weights: Array) -> Plane | None:
        total = weights.sum()
        centre = (weights[:, None] * chosen).sum(axis=0) / total
        spread = (weights[:, None] * (chosen - centre)).T @ (chosen - centre)
        normal = np.linalg.eigh(spread)[1][:, 0]
        if normal @ centre > 0:
            normal = -normal
        return Plane(normal, float(-normal @ centre))

    return _robust(points, 3, solve)  # type: ignore[return-value]


def fit_sphere(points: Array) -> Sphere:
    """(n, 3) points, n >= 4 -> the sphere that half of them at least agree with."""

    def solve(chosen: Array, weights: Array) -> Sphere | None:
        # |X|^2 = 2 c . X + (r^2 - |c|^2): linear in c and the constant. Pratt, SIGGRAPH 1987, names it
        # algebraic.
        middle = chosen.mean(axis=0)
        local = chosen - middle
        root = np.sqrt(weights)[:, None]
        left = np.hstack([2 * local, np.ones((len(local), 1))]) * root
        answer, _, rank, _ = np.linalg.lstsq(left, (local**2).sum(axis=1) * root[:, 0], rcond=None)
        squared = answer[3] + answer[:3] @ answer[:3]
        if rank < 4 or squared <= 0:
            return None
        return _geometric(Sphere(answer[:3] + middle, float(np.sqrt(squared))), chosen, weights)

    return _robust(points, 4, solve)  # type: ignore[return-value]


def _geometric(sphere: Sphere, points: Array, weights: Array) -> Sphere:
    """One Gauss-Newton step on the distances from the surface, which the algebraic fit only approximates."""
    away = points - sphere.centre
    distance = np.linalg.norm(away, axis=1)
    slopes = np.hstack([-away / distance[:, None], -np.ones((len(points), 1))])
    weighted = slopes * weights[:, None]
    step, *_ = np.linalg.lstsq(weighted.T @ slopes, -weighted.T @ (distance - sphere.radius_m), rcond=None)
    if len(points) <= 4 or sphere.radius_m + step[3] <= 0:
        return sphere
    return Sphere(sphere.centre + step[:3], float(sphere.radius_m + step[3]))


def _robust(
    points: Array, fewest: int, solve: Callable[[Array, Array], Plane | Sphere | None]
) -> Plane | Sphere | None:
    """Least median of squares (Rousseeuw, 1984) over small samples, then reweighting with Tukey's
    biweight.
    """
    generator = np.random.default_rng(0)
    looked_at = points[:: max(1, len(points) // 2000)]
    best, least = None, np.inf
    for _ in range(TRIALS):
        chosen = points[generator.choice(len(points), fewest, replace=False)]
        shape = solve(chosen, np.ones(fewest))
        if shape is None:
            continue
        median = float(np.median(np.abs(shape.residual_m(looked_at))))
        if median < least:
            best, least = shape, median
    for _ in range(REFINEMENTS if best is not None else 0):
        assert best is not None
        residual = best.residual_m(points)
        sigma = max(MAD_TO_SIGMA * float(np.median(np.abs(residual))), SMALLEST_SIGMA_M)
        weights = np.clip(1 - (residual / (TUKEY * sigma)) ** 2, 0, None) ** 2
        best = solve(points[weights > 0], weights[weights > 0]) or best
    return best
