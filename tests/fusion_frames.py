"""Frames with a known answer, small enough for the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthd.config import FusionConfig
from depthd.frame import Array, Camera, FusedPlanes, FusionResult
from depthd.fusion import create
from depthd.fusion.base import Fusion

SCALE, SHIFT = 0.35, 0.12
"""True inverse depth (1/m) = SCALE * mono + SHIFT."""


@dataclass
class KnownFrame:
    """True depth (m), mono in which inverse depth is linear, and stereo that starts as the truth."""

    camera: Camera
    true_depth_m: Array
    mono: Array
    stereo_depth_m: Array


def camera_of(height: int, width: int) -> Camera:
    return Camera(width, height, 0.6 * width, 0.6 * width, width / 2, height / 2, 0.12)


def known_frame(height: int = 96, width: int = 128, seed: int = 0) -> KnownFrame:
    """A slanted ground with boxes on it, 0.4 to 5 m away."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((height, width))
    mono = 0.3 + 2.0 * rows / height + 0.3 * columns / width
    for _ in range(12):
        top, left = random.integers(0, max(1, height - 8)), random.integers(0, max(1, width - 8))
        bottom, right = top + random.integers(4, height // 3 + 5), left + random.integers(4, width // 3 + 5)
        mono[top:bottom, left:right] = random.uniform(0.3, 6.0)
    depth_m = (1.0 / (SCALE * mono + SHIFT)).astype(np.float32)
    return KnownFrame(camera_of(height, width), depth_m, mono.astype(np.float32), depth_m.copy())


def fusion_of(backend: str, camera: Camera, output_kind: str = "relative_inverse", **settings: object) -> Fusion:
    """With stereo as exact as a full-size picture's: these are a tenth as wide, and so would be their
    disparities."""
    config = FusionConfig(backend=backend, **({"stereo_noise_px": 0.05} | settings))  # type: ignore[arg-type]
    return create(config, camera, output_kind)


def poisoned(camera: Camera) -> FusedPlanes:
    """Planes whose every value is one that no fusion may leave."""
    planes = FusedPlanes.empty(camera.height, camera.width)
    planes.depth_m[:], planes.source[:], planes.sigma[:] = -7.0, 255, -7.0
    return planes


def fuse(fusion: Fusion, camera: Camera, stereo_depth_m: Array, mono: Array) -> tuple[FusionResult, FusedPlanes]:
    planes = poisoned(camera)
    return fusion.fuse(stereo_depth_m, mono, planes), planes


def relative_error(depth_m: Array, true_depth_m: Array) -> Array:
    return np.abs(depth_m / true_depth_m - 1.0)
