"""What travels through the pipeline, and what its arrays promise.

Depth is in metres along the optical axis. In stereo depth, three values say why there is none:
NaN = occluded or unmatched, -inf = nearer than the camera can measure, +inf = farther.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np

Array = Any
"""A NumPy array, or a CuPy array where the frame is on the GPU."""


class Source(IntEnum):
    """Whom a pixel's depth comes from. Values are part of the wire format (kernels/include/depthd.h)."""

    INVALID = 0
    STEREO = 1
    MONO_NEAR = 2
    """Nearer than the stereo camera can measure."""
    MONO_HOLE = 3
    """Unmatched, occluded or too far for stereo."""
    MONO_OVERRULED = 4
    """Stereo had a value, and it was rejected."""
    BLEND = 5
    """The seam at the rim of a hole."""


class FitStatus(IntEnum):
    """How far the fit of mono to stereo can be trusted."""

    UNFIT = 0
    """No usable fit: only stereo is published."""
    FITTED = 1
    """Fitted in this frame."""
    HELD = 2
    """This frame gave no fit; the last good one is used."""


@dataclass(frozen=True)
class Fit:
    """inverse_depth = scale * mono + shift, fitted robustly.

    scale: 1/m per unit of mono; shift: 1/m; residual: robust standard deviation as a fraction of the
    inverse depth; inlier_share: fraction of the samples; pearson_r: correlation of stereo inverse depth
    and mono over the inliers; age_frames: frames since it was fitted (0 = this frame).
    """

    scale: float = float("nan")
    shift: float = float("nan")
    residual: float = float("nan")
    inlier_share: float = 0.0
    pearson_r: float = float("nan")
    sample_count: int = 0
    age_frames: int = 0
    status: FitStatus = FitStatus.UNFIT


@dataclass(frozen=True)
class FusionResult:
    """What a fusion says about one frame: the fit in force, and pixels per `Source`, in its order."""

    fit: Fit
    pixels_per_source: tuple[int, ...]


@dataclass(frozen=True)
class StageTimes:
    """CLOCK_MONOTONIC nanoseconds at which a frame left each stage; 0 where the stage did not run."""

    captured_ns: int = 0
    grabbed_ns: int = 0
    matched_ns: int = 0
    inferred_ns: int = 0
    fused_ns: int = 0
    published_ns: int = 0


@dataclass(frozen=True)
class Camera:
    """A rectified pinhole stereo camera: sizes, focal lengths and centre in pixels, baseline in metres.

    doffs_px is the difference of the two principal points (Middlebury's `doffs`):
    depth = fx * baseline / (disparity + doffs).
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    baseline_m: float
    doffs_px: float = 0.0

    @property
    def disparity_per_inverse_depth(self) -> float:
        """Pixels of disparity for one 1/m of inverse depth (px·m)."""
        return self.fx * self.baseline_m

    def scaled_to(self, width: int, height: int) -> Camera:
        """The same camera delivering pictures of another size (pixel centres at half-integers)."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
            doffs_px=self.doffs_px * sx,
        )


@dataclass
class StereoFrame:
    """One grab of a stereo camera.

    left_bgr, right_bgr: uint8 (height, width, 3), rectified; right_bgr is None where the camera gives depth.
    depth_m: float32 (height, width), see the module; None until the matcher has run.
    captured_ns: CLOCK_MONOTONIC when the picture was taken; picture_clock_ns: the camera's own clock.
    """

    index: int
    captured_ns: int
    picture_clock_ns: int
    camera: Camera
    left_bgr: Array
    right_bgr: Array | None = None
    depth_m: Array | None = None

    def check(self) -> StereoFrame:
        """Raises ValueError, naming the array, unless every array keeps its contract. Returns itself."""
        size = (self.camera.height, self.camera.width)
        check_array("left_bgr", self.left_bgr, np.uint8, (*size, 3))
        if self.right_bgr is not None:
            check_array("right_bgr", self.right_bgr, np.uint8, (*size, 3))
        if self.depth_m is not None:
            check_array("depth_m", self.depth_m, np.float32, size)
        return self


@dataclass
class FusedPlanes:
    """Where a fusion writes, all (height, width): depth_m float32, NaN = unknown; source uint8, see `Source`;
    sigma float16, relative, NaN where depth is unknown.
    """

    depth_m: Array
    source: Array
    sigma: Array

    @classmethod
    def empty(cls, height: int, width: int) -> FusedPlanes:
        size = (height, width)
        return cls(np.empty(size, np.float32), np.empty(size, np.uint8), np.empty(size, np.float16))


def check_array(name: str, array: Array, dtype: Any, shape: Sequence[int]) -> None:
    """Raises ValueError, naming the array, unless it has exactly this dtype and shape."""
    if array.dtype != dtype or tuple(array.shape) != tuple(shape):
        wanted = f"{np.dtype(dtype).name} {tuple(shape)}"
        raise ValueError(f"{name} is {array.dtype} {tuple(array.shape)}, expected {wanted}")
