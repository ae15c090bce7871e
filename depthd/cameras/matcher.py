"""Stereo depth for cameras that give none: OpenCV's semi-global matcher, and what its answer honestly means.

Source of the matching: H. Hirschmüller, "Stereo processing by semiglobal matching and mutual information",
2008, as in cv2.StereoSGBM, three directions.

Left-right check. OpenCV's own (disp12MaxDiff) does nothing in the three-way mode. On Middlebury Motorcycle
(741x500, 80 disparities, two cores): no check 38 ms, 5.2 % of all known pixels wrong by more than 2 px;
matching again with the eyes exchanged 78 ms, 4.0 %, but 9 % of the coverage is lost, of which seven eighths
were right; warping the left disparity into the right view and asking whether something nearer covers each
pixel there 5.1 % and under 1 ms. The last one is used: it finds what is hidden from the right eye, and leaves
doubt about the rest to the fusion.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthd.cameras.compiled import compiled
from depthd.config import MatcherConfig
from depthd.errors import UsageError
from depthd.frame import Camera

MINIMUM_DEPTH_M = 0.3
"""Sets the range of disparities where the configuration names none."""
FARTHEST_DEPTH_M = 50.0
"""Sets the lower end of the range where the principal points differ (doffs)."""
LEAST_DISPARITY_PX = 0.5
"""Below, a matcher's noise is as large as the value: too far."""
TEXTURE_REACH_PX, TEXTURE_LEVELS = 5, 10
"""A pixel has texture where grey levels within so many columns differ by so much."""
PROBE_SCALE = 4
PROBE_RANGE = 2.5
"""The probe for near surfaces looks at disparities up to this many times the range, at 1/PROBE_SCALE of the
size.
"""
_FRACTIONS = 16
"""cv2.StereoSGBM returns sixteenths of a pixel."""


class StereoMatcher:
    """Matches rectified pairs of one camera.

    Depth classes: NaN where nothing matches, where the match lies outside the right picture (the left-only
    band) or is covered by something nearer there; +inf where the disparity (with doffs) is under
    LEAST_DISPARITY_PX; -inf only on evidence of a surface nearer than the range: the best match is the last
    of the range, or nothing matches and a search at a quarter of the size finds a match beyond the range.

    With config.downscale > 1 the pair is matched at a reduced size. Depth comes back to full size as the
    nearest reduced pixel's; only where it and its neighbours lie on one surface (within half a reduced pixel
    of disparity) is it interpolated, so that no value arises between a near and a far surface.
    """

    def __init__(self, camera: Camera, config: MatcherConfig) -> None:
        self._full = camera
        self._reduced = _reduced(camera, config.downscale)
        maximum = config.maximum_disparity_px or default_maximum_disparity(camera)
        if (config.maximum_disparity_px or 0) >= camera.width:
            raise UsageError(
                f"the matcher's maximum disparity is {maximum} px, but pictures are {camera.width} px wide",
                "set matcher.maximum_disparity_px to less",
            )
        to_reduced = self._reduced.width / camera.width
        self._search = _Search(self._reduced, math.ceil(maximum * to_reduced), config)
        coarse = _reduced(camera, PROBE_SCALE)
        self._near_limit_px = (self._search.end_px + 1) / to_reduced * coarse.width / camera.width
        probe_range = min(round(self._near_limit_px * PROBE_RANGE), coarse.width * 2 // 3)
        worthwhile = probe_range > self._near_limit_px + 1 and coarse.height >= config.block_size_px
        self._probe = _Search(coarse, probe_range, config) if worthwhile else None
        self._depth_m = np.empty((camera.height, camera.width), np.float32)
        self._reduced_depth_m = np.empty((self._reduced.height, self._reduced.width), np.float32)
        self._nothing_near = np.zeros((1, 1), np.bool_)
        # Compiles, or loads what an earlier process compiled, before time counts.
        nothing = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.depth_m(nothing, nothing)

    @property
    def maximum_disparity_px(self) -> float:
        """End of the range, in pixels of the full picture: nearer surfaces have no value."""
        return self._search.end_px * self._full.width / self._reduced.width

    def depth_m(self, left_bgr: NDArray[np.uint8], right_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (height, width, 3) twice -> float32 (height, width), metres; the next call writes it
        again.
        """
        left: Any = cv2.cvtColor(left_bgr, cv2.COLOR_BGR2GRAY)
        right: Any = cv2.cvtColor(right_bgr, cv2.COLOR_BGR2GRAY)
        search = self._search
        disparity = search.disparity(left, right)
        full_size = self._reduced.width == self._full.width and self._reduced.height == self._full.height
        out = self._depth_m if full_size else self._reduced_depth_m
        metres = self._full.disparity_per_inverse_depth * self._reduced.width / self._full.width
        offset = self._full.doffs_px * self._reduced.width / self._full.width
        _to_depth(disparity, self._near(left, right), search.left_grey, search.end_px, metres, offset, out)
        if not full_size:
            _enlarge(out, metres, self._depth_m)
        return self._depth_m

    def _near(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """(h, w) at the probe's size: where something matches beyond the range."""
        if self._probe is None:
            return self._nothing_near
        return self._probe.disparity(left, right) > self._near_limit_px


class _Search:
    """One cv2.StereoSGBM at one size, with room at the sides so that no column is lost, and the left-right
    check.
    """

    def __init__(self, camera: Camera, maximum_disparity_px: int, config: MatcherConfig) -> None:
        farthest = camera.disparity_per_inverse_depth / FARTHEST_DEPTH_M - camera.doffs_px
        self._start = min(0, math.floor(farthest))
        count = -(-(maximum_disparity_px - self._start) // 16) * 16
        self.end_px = self._start + count - 1
        """The last disparity of the range."""
        self._size = (camera.width, camera.height)
        self._tolerance = config.left_right_tolerance_px
        # Penalties as OpenCV recommends: 8 and 32 times the block's area.
        area = config.block_size_px**2
        self._matcher: Any = cv2.StereoSGBM.create(
            minDisparity=self._start,
            numDisparities=count,
            blockSize=config.block_size_px,
            P1=8 * area,
            P2=32 * area,
            disp12MaxDiff=-1,
            preFilterCap=31,
            uniquenessRatio=config.uniqueness_percent,
            speckleWindowSize=config.speckle_size_px,
            speckleRange=2,
            mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
        )
        # The matcher leaves out columns whose partner could lie outside the picture, however far they really
        # are.
        self._margins = (max(self.end_px + 1, 0), max(-self._start, 0))
        padded = (camera.height, sum(self._margins) + camera.width)
        self._resized = [np.empty((camera.height, camera.width), np.uint8) for _ in range(2)]
        self._padded = [np.empty(padded, np.uint8) for _ in range(2)]
        self._sixteenths = np.empty(padded, np.int16)
        self._nearest = np.empty(camera.width, np.float32)
        self._disparity = np.empty((camera.height, camera.width), np.float32)

    @property
    def left_grey(self) -> NDArray[np.uint8]:
        """uint8 (height, width): the left picture of the last search at this size."""
        return self._padded[0][:, self._margins[0] : self._margins[0] + self._size[0]]

    def disparity(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 grey of any size -> float32 (height, width) disparity in this camera's pixels, NaN where
        none.
        """
        sizes = (self._resized, self._padded)
        for given, resized, padded in zip((left, right), *sizes, strict=True):
            picture: Any = given
            if picture.shape != resized.shape:
                picture = cv2.resize(picture, self._size, dst=resized, interpolation=cv2.INTER_AREA)
            cv2.copyMakeBorder(picture, 0, 0, *self._margins, cv2.BORDER_REPLICATE, dst=padded)
        self._sixteenths = self._matcher.compute(*self._padded, self._sixteenths)
        inside = self._sixteenths[:, self._margins[0] : self._margins[0] + self._size[0]]
        _check_left_right(inside, self._start, self._tolerance, self._nearest, self._disparity)
        return self._disparity


def default_maximum_disparity(camera: Camera) -> int:
    """Disparity of MINIMUM_DEPTH_M, rounded up to the matcher's blocks of 16, and less than the picture is
    wide.
    """
    disparity = camera.disparity_per_inverse_depth / MINIMUM_DEPTH_M - camera.doffs_px
    blocks = max(math.ceil(disparity / 16), 1)
    return max(min(blocks * 16, camera.width * 2 // 3), 1)


def _reduced(camera: Camera, divisor: int) -> Camera:
    return camera.scaled_to(max(camera.width // divisor, 1), max(camera.height // divisor, 1))


@compiled
def _check_left_right(sixteenths, start, tolerance, nearest, out):  # type: ignore[no-untyped-def]
    """Writes disparity in pixels; NaN where none, where the partner is outside the right picture, or where it
    is covered: another left pixel with a disparity larger by more than the tolerance falls on the same right
    pixel.
    """
    height, width = sixteenths.shape
    least = start * _FRACTIONS
    for row in range(height):
        nearest[:] = -np.inf
        for column in range(width):
            disparity = np.float32(sixteenths[row, column]) / np.float32(_FRACTIONS)
            partner = math.floor(column - disparity + 0.5)
            if sixteenths[row, column] < least or partner < 0 or partner >= width:
                disparity = np.float32(np.nan)
            elif disparity > nearest[partner]:
                nearest[partner] = disparity
            out[row, column] = disparity
        for column in range(width):
            disparity = out[row, column]
            if not math.isnan(disparity):
                partner = math.floor(column - disparity + 0.5)
                if nearest[partner] > disparity + tolerance:
                    out[row, column] = np.nan


@compiled
def _textured(grey, row, column):  # type: ignore[no-untyped-def]
    """Whether a row of pixels round this one shows any structure that could be matched."""
    low, high = 255, 0
    for k in range(max(column - TEXTURE_REACH_PX, 0), min(column + TEXTURE_REACH_PX + 1, grey.shape[1])):
        low, high = min(low, np.int64(grey[row, k])), max(high, np.int64(grey[row, k]))
    return high - low >= TEXTURE_LEVELS


@compiled
def _to_depth(disparity, near, grey, end, disparity_per_inverse_depth, doffs_px, out):  # type: ignore[no-untyped-def]
    """Disparity -> metres and the classes of holes; `near` is a mask of any size over the same picture."""
    height, width = disparity.shape
    for row in range(height):
        near_row = row * near.shape[0] // height
        for column in range(width):
            value = disparity[row, column]
            if math.isnan(value):
                is_near = near[near_row, column * near.shape[1] // width]
                out[row, column] = -np.inf if is_near else np.nan
            elif value >= end:
                out[row, column] = -np.inf
            elif value + doffs_px < LEAST_DISPARITY_PX:
                # A blank wall also "matches" at no disparity, and says nothing by it.
                out[row, column] = np.inf if _textured(grey, row, column) else np.nan
            else:
                out[row, column] = disparity_per_inverse_depth / (value + doffs_px)


@compiled
def _enlarge(reduced_m, disparity_per_inverse_depth, out):  # type: ignore[no-untyped-def]
    """Reduced depth -> full size: bilinear in inverse depth on one surface, the nearest pixel's value
    elsewhere.
    """
    height, width = out.shape
    rows, columns = reduced_m.shape
    for row in range(height):
        y = (row + 0.5) * rows / height - 0.5
        top = min(max(math.floor(y), 0), rows - 1)
        bottom = min(top + 1, rows - 1)
        fy = min(max(y - top, 0.0), 1.0)
        for column in range(width):
            x = (column + 0.5) * columns / width - 0.5
            left = min(max(math.floor(x), 0), columns - 1)
            right = min(left + 1, columns - 1)
            fx = min(max(x - left, 0.0), 1.0)
            nearest = reduced_m[top if fy < 0.5 else bottom, left if fx < 0.5 else right]
            out[row, column] = nearest
            a, b = 1.0 / reduced_m[top, left], 1.0 / reduced_m[top, right]
            c, d = 1.0 / reduced_m[bottom, left], 1.0 / reduced_m[bottom, right]
            spread = (max(max(a, b), max(c, d)) - min(min(a, b), min(c, d))) * disparity_per_inverse_depth
            # False for NaN; an infinite depth has inverse 0, which min() sees.
            if spread < 0.5 and min(min(a, b), min(c, d)) > 0.0 and math.isfinite(a + b + c + d):
                inverse = (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy
                out[row, column] = 1.0 / inverse
