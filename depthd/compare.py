"""Judges how well fitted mono follows stereo, over many frames: what `depthd compare` does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from depthd.comparison import Samples, fitted_depth_m, kind_of, sample
from depthd.errors import DepthdError
from depthd.frame import Array, Fit, FitStatus, Source
from depthd.inprocess import take_frames

if TYPE_CHECKING:
    from depthd.config import Config

SAMPLES_PER_FRAME = 4000
RIM_PX = 6
RIM_STEP = 0.1
"""A relative step of stereo inverse depth between neighbours that counts as a depth edge."""
THIN_PX = 9
"""Things narrower than this are thin."""
RANGE_SHARES = (0.02, 0.98)
DEPTH_BINS = 12
FEWEST_IN_BIN = 20
MAD_TO_SIGMA = 1.4826
REGIONS = ("interior", "rim", "thin", "outside fitted range", "overruled")
"""overruled: stereo that depthd disbelieves, as on glass, mirrors and repeated patterns."""
INTERIOR, RIM, THIN, OUTSIDE, OVERRULED = range(len(REGIONS))


@dataclass(frozen=True)
class Observation:
    """One frame to judge. stereo_depth_m, mono: float32; source: uint8 or None; captured_s: seconds on
    any clock.
    """

    captured_s: float
    left_bgr: Array | None
    stereo_depth_m: Array
    mono: Array
    source: Array | None
    fit: Fit


@dataclass(frozen=True)
class Group:
    """Residuals of a group of samples, relative: median, robust standard deviation, 5th and 95th
    percentile.
    """

    count: int
    median: float
    spread: float
    low: float
    high: float

    @classmethod
    def of(cls, residual: Array) -> Group:
        if len(residual) == 0:
            return cls(0, math.nan, math.nan, math.nan, math.nan)
        median = float(np.median(residual))
        spread = MAD_TO_SIGMA * float(np.median(np.abs(residual - median)))
        low, high = (float(value) for value in np.percentile(residual, (5, 95)))
        return cls(len(residual), median, spread, low, high)


@dataclass(frozen=True)
class Judgement:
    """What the samples of all frames say.

    explained: share of the variance of stereo inverse depth that fitted mono explains (1 - residual /
    total), among
    samples within robust reach of the fit. pearson_r: of mono and stereo inverse depth, median over the
    frames.
    curvature: how much of the variance a parabola explains beyond the line, median over the frames: the test
    of the
    linear relation. Drifts are per minute, as a fraction of scale, and of the median inverse depth for the
    shift.
    """

    frames: int
    fitted_share: float
    range_m: tuple[float, float]
    explained: float
    pearson_r: float
    curvature: float
    all: Group
    by_region: dict[str, Group]
    by_depth: list[tuple[float, Group]]
    scale_drift: float
    shift_drift: float


@dataclass
class Collector:
    """Gathers samples frame by frame; keeps the last fitted frame whole for the pictures."""

    kind: str | None = None
    stereo: list[Array] = field(default_factory=list)
    residual: list[Array] = field(default_factory=list)
    region: list[Array] = field(default_factory=list)
    x: list[Array] = field(default_factory=list)
    fits: list[tuple[float, Fit]] = field(default_factory=list)
    correlations: list[tuple[float, float]] = field(default_factory=list)
    last: Observation | None = None

    def add(self, seen: Observation) -> None:
        self.kind = self.kind or kind_of(seen.mono, seen.stereo_depth_m)
        self.fits.append((seen.captured_s, seen.fit))
        if seen.fit.status is FitStatus.UNFIT:
            return
        samples = sample(seen.stereo_depth_m, seen.mono, self.kind, SAMPLES_PER_FRAME)
        if len(samples) < FEWEST_IN_BIN:
            return
        residual = samples.residual(seen.fit)
        self.x.append(samples.x)
        self.stereo.append(samples.stereo)
        self.residual.append(residual)
        self.region.append(regions_of(samples, seen, residual))
        self.correlations.append(linearity(samples, residual))
        self.last = seen

    def judge(self) -> Judgement:
        """Raises DepthdError where no frame was fitted."""
        if not self.residual:
            raise DepthdError(
                f"none of {len(self.fits)} frames has a fit of mono to stereo",
                "check with `depthd doctor`, and that stereo measures something",
            )
        stereo, residual, region = (np.concatenate(part) for part in (self.stereo, self.residual, self.region))
        overall = Group.of(residual)
        fitted = [fit.status is FitStatus.FITTED for _, fit in self.fits]
        low, high = (float(value) for value in np.quantile(1.0 / stereo, RANGE_SHARES))
        scale_drift, shift_drift = self._drifts(float(np.median(stereo)))
        return Judgement(
            frames=len(self.fits),
            fitted_share=float(np.mean(fitted)),
            range_m=(low, high),
            explained=_explained(stereo, residual, overall),
            pearson_r=float(np.median([r for r, _ in self.correlations])),
            curvature=float(np.median([gain for _, gain in self.correlations])),
            all=overall,
            by_region={name: Group.of(residual[region == i]) for i, name in enumerate(REGIONS)},
            by_depth=_by_depth(1.0 / stereo, residual, low, high),
            scale_drift=scale_drift,
            shift_drift=shift_drift,
        )

    def _drifts(self, median_stereo: float) -> tuple[float, float]:
        """Slopes per minute of scale and shift; NaN where the frames span less than two seconds."""
        known = [(at, fit) for at, fit in self.fits if fit.status is FitStatus.FITTED]
        if len(known) < 3 or known[-1][0] - known[0][0] < 2.0:
            return math.nan, math.nan
        minutes = np.array([at for at, _ in known]) / 60.0
        scale, shift = (np.array([getattr(fit, name) for _, fit in known]) for name in ("scale", "shift"))
        slopes = [float(np.polyfit(minutes - minutes[0], values, 1)[0]) for values in (scale, shift)]
        return slopes[0] / abs(float(np.median(scale))), slopes[1] / median_stereo


def picture_of(seen: Observation) -> Array:
    """uint8 BGR: stereo, fitted mono and mono's error of one frame, side by side."""
    import cv2

    from depthd.export.panels import comparison

    fitted_m = fitted_depth_m(seen.mono, kind_of(seen.mono, seen.stereo_depth_m), seen.fit)
    height, width = seen.stereo_depth_m.shape
    return comparison(seen.stereo_depth_m, cv2.resize(fitted_m, (width, height), interpolation=cv2.INTER_NEAREST))


def linearity(samples: Samples, residual: Array) -> tuple[float, float]:
    """Pearson r, and the share of the variance that a parabola explains beyond a line, without gross
    outliers.
    """
    kept = np.abs(residual - np.median(residual)) <= 5 * max(Group.of(residual).spread, 1e-6)
    x, y = samples.x[kept], samples.stereo[kept]
    total = float(np.var(y))
    if len(x) < FEWEST_IN_BIN or total == 0 or np.ptp(x) == 0:
        return math.nan, math.nan
    x = (x - x.mean()) / x.std()
    left_over = [float(np.var(y - np.polyval(np.polyfit(x, y, degree), x))) for degree in (1, 2)]
    return float(np.corrcoef(x, y)[0, 1]), (left_over[0] - left_over[1]) / total


def regions_of(samples: Samples, seen: Observation, residual: Array) -> Array:
    """uint8 per sample, an index into `REGIONS`; where several hold, the later one."""
    import cv2

    known = np.isfinite(seen.stereo_depth_m) & (seen.stereo_depth_m > 0)
    rho = np.where(known, 1.0 / np.where(known, seen.stereo_depth_m, 1.0), 0.0).astype(np.float32)
    wide = np.ones((3, 3), np.uint8)
    step = cv2.dilate(rho, wide) - cv2.erode(np.where(known, rho, np.float32(np.inf)), wide)
    edge = (np.where(np.isfinite(step), step, 0.0) > RIM_STEP * np.maximum(rho, 1e-3)) & known
    rim = cv2.dilate(edge.astype(np.uint8), np.ones((2 * RIM_PX + 1,) * 2, np.uint8)) > 0
    opened = cv2.morphologyEx(rho, cv2.MORPH_OPEN, np.ones((THIN_PX, THIN_PX), np.uint8))
    thin = known & (rho - opened > RIM_STEP * rho) & (opened > 0)
    at = samples.rows, samples.columns
    region = np.full(len(samples), INTERIOR, np.uint8)
    region[rim[at]] = RIM
    region[thin[at]] = THIN
    inlier = np.abs(residual) <= 3 * max(seen.fit.residual, 1e-3)
    if inlier.any():
        low, high = np.quantile(samples.x[inlier], (0.01, 0.99))
        region[(samples.x < low) | (samples.x > high)] = OUTSIDE
    if seen.source is not None:
        region[seen.source[at] == Source.MONO_OVERRULED] = OVERRULED
    return region


def _explained(stereo: Array, residual: Array, overall: Group) -> float:
    kept = np.abs(residual - overall.median) <= 5 * max(overall.spread, 1e-6)
    error = (residual * stereo)[kept]
    total = float(np.var(stereo[kept]))
    return 1.0 - float(np.mean(error**2)) / total if total > 0 else math.nan


def _by_depth(depth_m: Array, residual: Array, low: float, high: float) -> list[tuple[float, Group]]:
    """Linear bins of depth, in metres at their middle, those with enough samples."""
    edges = np.linspace(low, high, DEPTH_BINS + 1)
    bins = np.digitize(depth_m, edges)
    return [
        (float(edges[i - 1 : i + 1].mean()), Group.of(residual[bins == i]))
        for i in range(1, DEPTH_BINS + 1)
        if (bins == i).sum() >= FEWEST_IN_BIN
    ]


def summary_of(judged: Judgement) -> list[str]:
    """What a person can act on, the most important line first."""
    low, high = judged.range_m
    lines = [
        f"mono explains {100 * max(judged.explained, 0.0):.0f} % of stereo "
        f"between {low:.2g} and {high:.2g} m; residual {100 * judged.all.spread:.1f} %"
    ]
    if not math.isnan(judged.shift_drift):
        lines[0] += f"; shift drifts {100 * abs(judged.shift_drift):.1f} % per minute"
    lines += list(_advice(judged))
    return lines


def _advice(judged: Judgement) -> Iterator[str]:
    low, high = judged.range_m
    if judged.fitted_share < 0.95:
        yield f"only {100 * judged.fitted_share:.0f} % of the frames were fitted: the log says why"
    if high < 2 * low:
        yield "the range of depths is narrow: look at near and far things in turn, with more --frames"
    if judged.explained < 0.5:
        yield "mono does not follow stereo here: check the model's kind of output, and the calibration"
    if judged.curvature > 0.02:
        yield (
            f"the relation is bent (a parabola explains {100 * judged.curvature:.1f} % more): "
            "the model's card may name the wrong kind of output"
        )
    if judged.all.spread > 0.08:
        yield "the residual is large: try a larger model, or a larger mono.short_side_px"
    if abs(judged.all.median) > 0.03:
        word = "nearer" if judged.all.median > 0 else "farther"
        yield (
            f"mono is {100 * abs(judged.all.median):.1f} % {word} than stereo in the middle: outliers lean to one side"
        )
    known = {name: group for name, group in judged.by_region.items() if group.count >= FEWEST_IN_BIN}
    worst = max(known, key=lambda name: abs(known[name].median) + known[name].spread, default=None)
    if worst not in (None, "interior"):
        group = known[str(worst)]
        error = f"{100 * group.median:+.1f} % ± {100 * group.spread:.1f} %"
        yield f"worst at: {worst} ({error}, {group.count} samples)"


def observe_shared_memory(name: str, frames: int) -> Iterator[Observation]:
    """The next frames of a running daemon. Raises DepthdError where it does not publish what is compared."""
    from depthd.shm.errors import Overwritten
    from depthd.shm.reader import open_reader

    with open_reader(name) as reader:
        count = 0
        while count < frames:
            try:
                frame = reader.wait(timeout=5.0).copy()
            except Overwritten:
                continue
            if frame.mono is None or frame.stereo_depth is None:
                raise DepthdError(
                    f"{name!r} does not publish stereo and mono",
                    "run it with --set shared_memory.planes=[left,stereo_depth,mono]",
                )
            count += 1
            yield Observation(
                frame.timestamps.captured_ns * 1e-9,
                frame.left,
                frame.stereo_depth,
                frame.mono,
                frame.source,
                frame.fit,
            )


def observe_camera(config: Config, frames: int) -> Iterator[Observation]:
    """Frames of the configured camera or recording, without a daemon."""
    for taken in take_frames(config, frames):
        frame = taken.frame
        yield Observation(
            frame.captured_ns * 1e-9,
            frame.left_bgr.copy(),
            taken.stereo_depth_m.copy(),
            taken.mono.copy(),
            taken.planes.source.copy(),
            taken.result.fit,
        )
