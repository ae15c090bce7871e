"""Random frames with the troubles that a fusion must decide: holes, a blind zone, wrong values, distorted mono."""

from __future__ import annotations

import numpy as np

from depthd.config import FusionConfig
from depthd.frame import Array, Camera
from depthd.fusion.parameters import MonoKind, Parameters, make_parameters


def parameters_for(
    width: int, height: int, kind: MonoKind = MonoKind.RELATIVE_INVERSE, config: FusionConfig | None = None
) -> Parameters:
    focal_px = max(width, 300)
    camera = Camera(width, height, focal_px, focal_px, width / 2, height / 2, 0.12)
    return make_parameters(config or FusionConfig(), camera, kind)


def random_frame(
    rng: np.random.Generator, width: int, height: int, kind: MonoKind = MonoKind.RELATIVE_INVERSE
) -> tuple[Array, Array]:
    """Stereo depth, float32 (height, width), and mono, float32, about 7/10 of that size."""
    y, x = np.mgrid[:height, :width] / max(width, height)
    rho = 0.3 + 0.2 * np.sin(9 * x + rng.uniform(0, 6)) * np.cos(7 * y + rng.uniform(0, 6))
    for _ in range(6):
        left, top, size = rng.uniform(0, 1), rng.uniform(0, height / width), rng.uniform(0.05, 0.3)
        rho[(abs(x - left) < size / 2) & (abs(y - top) < size / 2)] = rng.uniform(0.1, 1.5)
    stereo = (1.0 / np.clip(rho + rng.normal(0, 0.004, rho.shape), 0.03, None)).astype(np.float32)
    hole = rng.random(rho.shape)
    stereo[hole < 0.1] = np.nan
    stereo[(hole > 0.1) & (hole < 0.12)] = np.inf
    stereo[rho > 1.2] = -np.inf
    stereo[:, : width // 20] = np.nan
    wrong = (abs(x - 0.7) < 0.06) & (abs(y - 0.2) < 0.06)
    stereo[wrong] = rng.uniform(5, 30)
    mono_height, mono_width = max(1, height * 7 // 10), max(1, width * 7 // 10)
    rows = (np.arange(mono_height) * height // mono_height)[:, None]
    columns = np.arange(mono_width) * width // mono_width
    distorted = rho[rows, columns] * (1 + 0.06 * np.sin(5 * x[rows, columns] + rng.uniform(0, 6)))
    return stereo, _as_mono(distorted, kind)


def _as_mono(rho: Array, kind: MonoKind) -> Array:
    if kind is MonoKind.METRIC_DEPTH:
        return (0.8 / rho).astype(np.float32)
    if kind is MonoKind.RELATIVE_DEPTH:
        return (1.0 / (0.9 * rho + 0.02)).astype(np.float32)
    return ((rho - 0.05) * 3.0).astype(np.float32)
