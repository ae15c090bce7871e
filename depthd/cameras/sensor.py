"""Turns exact depth into what a ZED would deliver: three kinds of holes, and noise in disparity."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from depthd.cameras.compiled import compiled
from depthd.cameras.world.raycast import random_bits
from depthd.frame import Camera

DISPARITY_NOISE_PX = 0.1
"""Standard deviation of a ZED-like matcher on textured surfaces."""
MAXIMUM_DEPTH_M = 20.0
"""Default of the ZED 2i."""
GLASS_HOLE_SHARE = 0.35
"""Share of a glass surface on which the matcher finds nothing at all, in patches."""
_GLASS_PATCH_PX = 6


def sensor_depth(
    depth_m: NDArray[np.float32],
    opaque_left_m: NDArray[np.float32],
    opaque_right_m: NDArray[np.float32],
    camera: Camera,
    minimum_depth_m: float,
    key: int,
    out: NDArray[np.float32],
) -> None:
    """Writes float32 (height, width) metres into `out`: -inf nearer than minimum_depth_m, +inf beyond
    MAXIMUM_DEPTH_M, NaN where only the left eye sees. Glass gives what is behind it, or NaN in patches. Noise
    depends on `key` only.
    """
    _sensor_depth(
        depth_m,
        opaque_left_m,
        opaque_right_m,
        camera.disparity_per_inverse_depth,
        camera.doffs_px,
        minimum_depth_m,
        np.uint64(key),
        out,
    )


def left_only(
    depth_left_m: NDArray[np.float32], depth_right_m: NDArray[np.float32], camera: Camera
) -> NDArray[np.bool_]:
    """(height, width): pixels of the left picture whose surface the right eye does not see."""
    out = np.empty(depth_left_m.shape, np.bool_)
    _left_only(depth_left_m, depth_right_m, camera.disparity_per_inverse_depth, camera.doffs_px, out)
    return out


@compiled
def _hidden(depth_right_m, row, column, depth, disparity):  # type: ignore[no-untyped-def]
    """Whether the right eye sees something nearer, or nothing, in the direction of this point."""
    at = column - disparity
    if at < -0.5 or at > depth_right_m.shape[1] - 0.5:
        return True
    left = min(max(math.floor(at), 0), depth_right_m.shape[1] - 1)
    right = min(left + 1, depth_right_m.shape[1] - 1)
    # The point lies between two rays, and on a slanted surface one of them is nearer.
    return max(depth_right_m[row, left], depth_right_m[row, right]) < 0.998 * depth


@compiled
def _left_only(depth_left_m, depth_right_m, disparity_per_inverse_depth, doffs_px, out):  # type: ignore[no-untyped-def]
    height, width = depth_left_m.shape
    for row in range(height):
        for column in range(width):
            depth = depth_left_m[row, column]
            disparity = disparity_per_inverse_depth / depth - doffs_px
            out[row, column] = _hidden(depth_right_m, row, column, depth, disparity)


@compiled
def _sensor_depth(  # type: ignore[no-untyped-def]
    depth_m, opaque_left_m, opaque_right_m, disparity_per_inverse_depth, doffs_px, minimum_depth_m, key, out
):
    height, width = depth_m.shape
    low_bits = np.uint64(1023)
    # The sum of six numbers of 10 bits has this standard deviation.
    unit = DISPARITY_NOISE_PX / (1024.0 * math.sqrt(6.0 / 12.0))
    for row in range(height):
        for column in range(width):
            depth = opaque_left_m[row, column]
            disparity = disparity_per_inverse_depth / depth - doffs_px
            if depth < minimum_depth_m:
                out[row, column] = -np.inf
                continue
            if depth > MAXIMUM_DEPTH_M:
                out[row, column] = np.inf
                continue
            if _hidden(opaque_right_m, row, column, depth, disparity):
                out[row, column] = np.nan
                continue
            if depth_m[row, column] < depth:
                patch = np.uint64(row // _GLASS_PATCH_PX * width + column // _GLASS_PATCH_PX)
                if random_bits(key ^ patch) & low_bits < 1024 * GLASS_HOLE_SHARE:
                    out[row, column] = np.nan
                    continue
            bits = random_bits(key + np.uint64(row * width + column))
            total = 0
            for _ in range(6):
                total += np.int64(bits & low_bits)
                bits >>= np.uint64(10)
            noisy = disparity + (total - 3069) * unit + doffs_px
            out[row, column] = disparity_per_inverse_depth / noisy if noisy > 0.0 else np.inf
