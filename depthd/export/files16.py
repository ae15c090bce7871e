"""Depth as 16-bit PNG in millimetres, as most tools for depth pictures read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depthd.files import written_whole
from depthd.frame import Array

FARTHEST_M = 65.535


def millimetres(depth_m: Array) -> Array:
    """float32 metres -> uint16 mm, rounded; 0 where depth is unknown, not positive, or beyond 65.535 m."""
    known = np.isfinite(depth_m) & (depth_m > 0) & (depth_m <= FARTHEST_M)
    return np.rint(np.where(known, depth_m, 0.0) * 1e3).astype(np.uint16)


def depth_png(depth_m: Array) -> bytes:
    """The bytes of the PNG."""
    import cv2

    return bytes(cv2.imencode(".png", millimetres(depth_m), [cv2.IMWRITE_PNG_COMPRESSION, 2])[1])


def write_depth_png(path: Path, depth_m: Array) -> None:
    """Raises DepthdError."""
    with written_whole(path) as part:
        part.write_bytes(depth_png(depth_m))
