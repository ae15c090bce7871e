"""Is a plane a plane, a sphere a sphere, and a metre a metre? What `depthd evaluate` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from depthd.errors import DepthdError, UsageError
from depthd.frame import Array, Source
from depthd.geometry import Plane, Sphere, fit_plane, fit_sphere, points_of
from depthd.inprocess import take_frames
from depthd.saved import SavedFrame

if TYPE_CHECKING:
    from depthd.config import Config

FEWEST_POINTS = 50
OUTLIER_SIGMAS = 4.0
SPOT_PX = 5
"""A distance is read as the median over a spot of this side."""


@dataclass(frozen=True)
class Region:
    """A rectangle of the picture, in pixels."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Region:
        """'x,y,width,height'. Raises UsageError."""
        try:
            x, y, width, height = (int(part) for part in text.split(","))
        except ValueError:
            raise UsageError(f"{text!r} is no region", "write x,y,width,height in pixels, as 300,200,120,80") from None
        if min(x, y) < 0 or min(width, height) < 1:
            raise UsageError(f"the region {text} is empty or outside", "write x,y,width,height in pixels")
        return cls(x, y, width, height)

    def of(self, plane: Array) -> Array:
        """The part of a (height, width, ...) array. Raises UsageError where it leaves the picture."""
        height, width = plane.shape[:2]
        if self.x + self.width > width or self.y + self.height > height:
            raise UsageError(f"the region leaves the picture of {width}x{height} px", "give one inside it")
        return plane[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class ShapeReport:
    """residual_m: (height, width) of the region, NaN where depth is unknown; rms_m without outliers."""

    shape: Plane | Sphere
    residual_m: Array
    rms_m: float
    outlier_share: float
    points: int


def fit_shape(frame: SavedFrame, region: Region, kind: str, which: str) -> ShapeReport:
    """Fits a 'plane' or 'sphere' to a region of the 'fused' or 'stereo' depth. Raises DepthdError."""
    points = region.of(points_of(frame.depth_of(which), frame.camera))
    known = points[np.isfinite(points[..., 2])]
    if len(known) < FEWEST_POINTS:
        raise DepthdError(
            f"the region has depth in {len(known)} pixels only", "choose a larger one, or the fused depth"
        )
    shape = fit_plane(known) if kind == "plane" else fit_sphere(known)
    if shape is None:
        raise DepthdError("no sphere fits the region", "choose a region on a sphere")
    residual = shape.residual_m(points)
    flat = residual[np.isfinite(residual)]
    sigma = 1.4826 * float(np.median(np.abs(flat)))
    inlier = np.abs(flat) <= OUTLIER_SIGMAS * max(sigma, 1e-6)
    rms = float(np.sqrt(np.mean(flat[inlier] ** 2)))
    return ShapeReport(shape, residual, rms, 1.0 - float(inlier.mean()), len(flat))


def describe_shape(report: ShapeReport) -> list[str]:
    """Lines for the terminal."""
    shape = report.shape
    if isinstance(shape, Plane):
        x, y, z = shape.normal
        lines = [
            f"plane: normal ({x:+.4f}, {y:+.4f}, {z:+.4f}), {shape.tilt_degrees:.2f} degrees from the image plane",
            f"distance from the camera {shape.distance_m:.4f} m",
        ]
    else:
        x, y, z = shape.centre
        lines = [
            f"sphere: radius {1e3 * shape.radius_m:.1f} mm (diameter {2e3 * shape.radius_m:.1f} mm)",
            f"centre ({x:+.4f}, {y:+.4f}, {z:+.4f}) m",
        ]
    return [
        *lines,
        f"RMS {1e3 * report.rms_m:.2f} mm over {report.points} points, {100 * report.outlier_share:.1f} % outliers",
    ]


def residual_picture(frame: SavedFrame, region: Region, report: ShapeReport) -> Array:
    """uint8 BGR: the picture in grey, the region coloured from -3 RMS (purple) to +3 RMS (orange)."""
    import cv2

    from depthd.export.panels import signed_picture

    grey = cv2.cvtColor(cv2.cvtColor(frame.picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    level = report.residual_m / (3 * max(report.rms_m, 1e-9))
    coloured = signed_picture(level)
    part = region.of(grey)
    part[np.isfinite(level)] = coloured[np.isfinite(level)]
    cv2.rectangle(
        grey,
        (region.x, region.y),
        (region.x + region.width - 1, region.y + region.height - 1),
        (255, 255, 255),
        1,
    )
    return grey


def residual_close_up(frame: SavedFrame, region: Region, report: ShapeReport) -> Array:
    """`residual_picture` with no more around the region than half its size."""
    picture = residual_picture(frame, region, report)
    across, down = region.width // 2, region.height // 2
    rows = slice(max(region.y - down, 0), region.y + region.height + down)
    return picture[rows, max(region.x - across, 0) : region.x + region.width + across]


@dataclass(frozen=True)
class DistanceReading:
    """What 'fused' or 'stereo' depth says at a spot, beside what was measured there; found_mm is None where unknown."""

    which: str
    found_mm: float | None
    true_mm: float

    @property
    def error_mm(self) -> float | None:
        return None if self.found_mm is None else self.found_mm - self.true_mm

    def __str__(self) -> str:
        if self.found_mm is None or self.error_mm is None:
            return f"{self.which}: unknown there"
        percent = 100 * self.error_mm / self.true_mm
        return f"{self.which}: {self.found_mm:.1f} mm, error {self.error_mm:+.1f} mm ({percent:+.2f} %)"


def read_distance(frame: SavedFrame, at: tuple[int, int], true_mm: float) -> list[DistanceReading]:
    """Of each depth that the frame has, at a pixel whose distance along the optical axis the user has measured.

    Raises UsageError for a pixel outside.
    """
    x, y = at
    height, width = frame.depth_m.shape
    if not (0 <= x < width and 0 <= y < height):
        raise UsageError(f"{x},{y} is outside the picture of {width}x{height} px", "give a pixel inside it")
    half = SPOT_PX // 2
    spot = (slice(max(y - half, 0), y + half + 1), slice(max(x - half, 0), x + half + 1))
    readings = []
    for which in ("fused", "stereo") if frame.stereo_depth_m is not None else ("fused",):
        depth_m = frame.depth_of(which)[spot]
        known = depth_m[np.isfinite(depth_m)]
        readings.append(DistanceReading(which, 1e3 * float(np.median(known)) if known.size else None, true_mm))
    return readings


def distance_lines(frame: SavedFrame, at: tuple[int, int], true_mm: float) -> list[str]:
    """`read_distance` for the terminal, and what depthd claims of that pixel."""
    lines = [str(reading) for reading in read_distance(frame, at, true_mm)]
    x, y = at
    if frame.sigma is not None and frame.source is not None:
        source = Source(int(frame.source[y, x])).name.lower()
        lines.append(f"source {source}, claimed one-sigma error {100 * float(frame.sigma[y, x]):.2f} %")
    return lines


@dataclass(frozen=True)
class TruthRow:
    """Errors against exact depth of the pixels of one source. Relative to the truth; a well-made sigma
    has 68 % within.
    """

    name: str
    share: float
    median_error: float
    mean_error: float
    within_sigma: float


def against_truth(config: Config, frames: int) -> list[TruthRow]:
    """Fused depth of the virtual camera against its exact depth. Raises UsageError for another camera."""
    from depthd.cameras.virtual import VirtualCamera

    errors: dict[str, list[Array]] = {"all": [], **{source.name.lower(): [] for source in Source}}
    within: dict[str, list[Array]] = {name: [] for name in errors}
    for taken in take_frames(config, frames):
        if not isinstance(taken.source, VirtualCamera):
            raise UsageError("only the virtual camera knows the truth", "use --set camera.kind=virtual")
        truth = taken.source.ground_truth_m
        planes = taken.planes
        known = np.isfinite(truth) & np.isfinite(planes.depth_m)
        error = np.abs(planes.depth_m[known] / truth[known] - 1.0)
        inside = error <= planes.sigma[known].astype(np.float32)
        source = planes.source[known]
        errors["all"].append(error)
        within["all"].append(inside)
        for one in Source:
            errors[one.name.lower()].append(error[source == one])
            within[one.name.lower()].append(inside[source == one])
    total = sum(len(part) for part in errors["all"])
    rows = []
    for name, parts in errors.items():
        error = np.concatenate(parts) if parts else np.empty(0)
        if len(error):
            inside = float(np.concatenate(within[name]).mean())
            rows.append(TruthRow(name, len(error) / total, float(np.median(error)), float(error.mean()), inside))
    return rows
