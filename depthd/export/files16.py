"""Depth as 16-bit PNG in millimetres, as most tools for depth pictures read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depthd.errors import UsageError
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


def write_depth(path: Path, depth_m: Array) -> None:
    """.npy: float32 metres; .png: 16-bit millimetres. Raises DepthdError."""
    if path.suffix not in (".npy", ".png"):
        raise UsageError(f"{path} is neither .npy nor .png", "name a file of one of these")
    with written_whole(path) as part:
        if path.suffix == ".npy":
            np.save(part, depth_m)
        else:
            part.write_bytes(depth_png(depth_m))
