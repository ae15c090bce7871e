"""The fusion, told in plain NumPy and float64. This file is the specification of the C and CUDA code.

A frame goes through: steady mono -> cells -> consensus -> fit -> align -> merge. Inverse depth is written rho
(1/m), and x is mono turned so that inverse depth is linear in it: rho = scale * x + shift. A *cell* is a small
square of pixels, the unit of the fit; the *grid* is a coarse lattice over the picture and over inverse depth,
the unit of the local alignment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from depthd.frame import Array, Fit, FitStatus, FusedPlanes, FusionResult, Source
from depthd.fusion.parameters import GRID_LEVELS, MonoKind, Parameters, check_planes

STRATA = 32
"""The picture is split into STRATA x STRATA parts, each of which gives one sample to the consensus."""
HYPOTHESES = 512
HYPOTHESIS_TOLERANCE = 0.12
"""Relative mono error within which a sample supports a hypothesis."""
OUTLIER_COST, IMPLAUSIBLE_COST = 0.35, 0.02
"""What a plausible sample that does not support a hypothesis costs it, a full supporter giving 1 - OUTLIER_COST; and
what one costs that the hypothesis puts where stereo cannot measure, since a line that puts all of them there would win
by saying nothing."""
FIT_ITERATIONS = 6
REFIT_ITERATIONS = 1
ALIGNMENT_ROUNDS = 3
CUT_SHARE = 0.5
"""When less of what is remembered agrees with a frame, the scene was cut."""
TUKEY_FIT = 3.0
TUKEY_ALIGNMENT = 3.5
BALANCE_BINS = 16
BALANCE_FLOOR = 0.01
MEMORY_BINS = 32
MONO_NOISE_START = 0.05
MONO_NOISE_MINIMUM = 0.01
MONO_NOISE_MAXIMUM = 0.1
SOFTENING = 0.2
"""Share of the mean inverse depth that is added to a value before mono's error is taken relative to it: the error does
not vanish with distance."""
RANGE_END = 0.98
"""Values within 2 % of the largest inverse depth measured may be the end of the sensor's range, not a
distance."""
END_FADE = 0.02
"""Trust in a cell fades over so much of that largest inverse depth before the prediction reaches it: it would begin and
end abruptly otherwise."""
MINIMUM_FILL = 0.25
"""Share of a cell's pixels that stereo must have measured."""
NODE_PRIOR, COLUMN_PRIOR, WIDE_PRIOR = 0.2, 0.3, 0.02
"""Weight, in cells, that pulls a grid node to its column, a column to its surroundings, and those to no
correction."""
WIDE_PASSES = 4
RIM_PRIOR = 0.3
BLUR_SHARE = 0.4
"""Of mono's range within a cell: so far stereo may be from it beyond the gate. At a depth edge a network is blurred and
says something between the two sides."""
SOLIDITY_DOUBLINGS, WHOLENESS_DOUBLINGS = 4, 3
"""Solidity and wholeness count with the powers 2 ** SOLIDITY_DOUBLINGS and 2 ** WHOLENESS_DOUBLINGS: a surface that has
gaps is hardly solid."""
STEADY_TOLERANCE = 0.05
"""Change of mono, relative as its error, above which it is no flicker but something that moved."""
NOISE_SPREAD, LINE_SHARE = 1.4, 0.3
"""How much larger mono's errors are in holes than where they can be measured, and what of the line's error is
left after the alignment; set on half of the scenes of benchmarks/fusion_quality.py."""
SIGMA_MINIMUM, SIGMA_MAXIMUM = 1e-4, 1e4
"""What half precision can hold with room to spare."""
ERROR_BINS, ERROR_MAXIMUM = 1024, 0.5
"""The histogram of relative errors that their median is read off."""
MEDIAN_OF_KEPT = 0.6745 * 0.95
"""Median of |u| for a standard normal u, a little smaller since outliers have been cut off."""


@dataclass
class Cells:
    """One value per cell, (rows, columns): share of measured pixels, mean and variance of stereo rho, mean x
    there, and mean and range of x of all."""

    fill: Array
    rho: Array
    variance: Array
    x: Array
    x_all: Array
    x_range: Array

    @property
    def measured(self) -> Array:
        return self.fill >= MINIMUM_FILL


class Scene(NamedTuple):
    """What a frame tells about itself, in 1/m: where stereo's range ends, and what mono's error does not fall under."""

    end: float
    softening: float

    def unit(self, predicted: Array, p: Parameters) -> Array:
        """What mono's error at an inverse depth is relative to."""
        return np.maximum(predicted, p.inverse_minimum) + self.softening


class Samples(NamedTuple):
    """Flat arrays of equal length: mono, stereo inverse depth (1/m), and weight."""

    x: Array
    rho: Array
    weight: Array


NOTHING = Samples(np.empty(0), np.empty(0), np.empty(0))


@dataclass
class Line:
    """rho = scale * x + shift; noise is mono's relative error about it. The rest judges it."""

    scale: float
    shift: float
    noise: float = MONO_NOISE_START
    inlier_share: float = 0.0
    significance: float = 0.0
    pearson_r: float = float("nan")
    value_variance: float = 0.0
    scale_variance: float = 0.0
    pivot: float = 0.0
    """The variance of a value of the line is value_variance + scale_variance * (x - pivot)², in 1/m²."""

    def at(self, x: Array) -> Array:
        return self.scale * x + self.shift


@dataclass
class Memory:
    """What a fusion remembers: binned inliers of earlier frames, the alignment's evidence, and the last good
    line.

    `line` holds over the whole picture and is what is published; `aligned` is the same after the alignment's
    turns. `x` is mono and `predicted` the cells' inverse depth (1/m) of the frame before, both without flicker.
    """

    samples: Array = field(default_factory=lambda: np.zeros((3, MEMORY_BINS)))
    evidence: Array = field(default_factory=lambda: np.zeros(1))
    line: Line | None = None
    aligned: Line | None = None
    age_frames: int = 0
    softening: float = 0.0
    x: Array = field(default_factory=lambda: np.empty((0, 0)))
    predicted: Array = field(default_factory=lambda: np.empty((0, 0)))

    def forget_scene(self) -> None:
        """After a cut: what was seen does not hold any more, the last line may."""
        self.samples, self.evidence = np.zeros((3, MEMORY_BINS)), np.zeros(1)
        self.predicted = np.empty((0, 0))


# 0. Steady mono ---------------------------------------------------------------


def mono_as_linear(mono: Array, kind: MonoKind) -> Array:
    """float64 (h, w): a quantity in which inverse depth is linear. Depth-like outputs are inverted; non-
    positive ones are unknown."""
    x = mono.astype(np.float64)
    x[~np.isfinite(x)] = np.nan
    if kind is MonoKind.RELATIVE_INVERSE:
        return x
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x > 0, 1.0 / x, np.nan)


def steady(now: Array, before: Array, unit: Array, p: Parameters) -> Array:
    """A recursive low-pass in time that takes out flicker and lets through what changes by more than flicker does: so
    nothing lags behind a motion or a cut by more than a part of STEADY_TOLERANCE, relative to `unit`."""
    if before.shape != now.shape:
        return now
    weight = p.mono_decay * tukey((before - now) / (STEADY_TOLERANCE * unit))
    return np.where(weight > 0, now + weight * (before - now), now)


def steady_mono(x: Array, memory: Memory, p: Parameters) -> Array:
    """Mono (h, w) without the network's flicker, judged by the line of the frame before."""
    line = memory.aligned
    if line is not None:
        x = steady(x, memory.x, Scene(math.inf, memory.softening).unit(line.at(x), p) / line.scale, p)
    memory.x = x
    return x


# 1. Mask and sample -----------------------------------------------------------


def upsample(small: Array, height: int, width: int) -> Array:
    """Bilinear, pixel centres at half-integers, edges repeated."""
    y, y_part = _positions(height, small.shape[0])
    x, x_part = _positions(width, small.shape[1])
    y1, x1 = np.minimum(y + 1, small.shape[0] - 1), np.minimum(x + 1, small.shape[1] - 1)
    rows = small[y] + (small[y1] - small[y]) * y_part[:, None]
    return rows[:, x] + (rows[:, x1] - rows[:, x]) * x_part


def _positions(size: int, small_size: int) -> tuple[Array, Array]:
    position = np.clip((np.arange(size) + 0.5) * (small_size / size) - 0.5, 0, small_size - 1)
    return position.astype(int), position - position.astype(int)


def measured_mask(depth_m: Array, p: Parameters) -> Array:
    """True where stereo measured a depth inside its range (so neither NaN nor an infinity)."""
    return (depth_m >= 1.0 / p.stereo_inverse_maximum) & (depth_m <= 1.0 / p.stereo_inverse_minimum)


def summarise(depth_m: Array, x: Array, p: Parameters) -> Cells:
    """Splits the picture into cells and averages each."""
    known = np.isfinite(x)
    measured = measured_mask(depth_m, p) & known
    rho = np.divide(1.0, depth_m, where=measured, out=np.zeros(x.shape))
    count, pixels = _cell_sums(measured, p), _cell_sums(np.ones(x.shape), p)
    known_count = np.maximum(_cell_sums(known, p), 1)
    safe = np.maximum(count, 1)
    mean = _cell_sums(rho, p) / safe
    return Cells(
        fill=count / pixels,
        rho=mean,
        variance=np.maximum(_cell_sums(rho * rho, p) / safe - mean * mean, 0.0),
        x=_cell_sums(np.where(measured, x, 0.0), p) / safe,
        x_all=_cell_sums(np.where(known, x, 0.0), p) / known_count,
        x_range=_cell_range(x, p),
    )


def _cell_sums(values: Array, p: Parameters) -> Array:
    return _in_cells(values, 0.0, p).sum((1, 3))


def _cell_range(x: Array, p: Parameters) -> Array:
    """Largest minus smallest known value, 0 where none is known."""
    known = np.isfinite(x)
    largest = _in_cells(np.where(known, x, -np.inf), -np.inf, p).max((1, 3))
    smallest = _in_cells(np.where(known, x, np.inf), np.inf, p).min((1, 3))
    return np.maximum(largest - smallest, 0.0)


def _in_cells(values: Array, beyond: float, p: Parameters) -> Array:
    """(rows, cell_px, columns, cell_px), filled up beyond the picture."""
    padded = np.full((p.rows * p.cell_px, p.columns * p.cell_px), beyond)
    padded[: p.height, : p.width] = values
    return padded.reshape(p.rows, p.cell_px, p.columns, p.cell_px)


def calm_of(cells: Cells, p: Parameters) -> Array:
    """How full a cell is and how little its stereo values scatter, 0 to 1; 0 where it is not measured."""
    return np.where(cells.measured, cells.fill, 0.0) / (1.0 + cells.variance / (4.0 * p.stereo_noise**2))


def sample_weights(cells: Cells, usable: Array, p: Parameters) -> Array:
    """Weight of each cell: full and calm cells more, and crowded ranges of x less, so that a far wall does
    not outvote a near hand."""
    weight = np.where(usable, calm_of(cells, p), 0.0)
    low, high = cells.x[usable].min(), cells.x[usable].max()
    span = max(high - low, 1e-12)
    bins = np.clip((cells.x - low) / span * BALANCE_BINS, 0, BALANCE_BINS - 1).astype(int)
    counts = np.bincount(bins[usable], minlength=BALANCE_BINS)
    crowding = np.maximum(counts, BALANCE_FLOOR * counts.sum()) / counts.mean()
    return weight / np.sqrt(crowding[bins])


# 2. Consensus: where to start -------------------------------------------------


def tukey(u: Array) -> Array:
    """Biweight (1 - u²)² inside the unit interval, zero outside. Beaton and Tukey, 1974."""
    return np.where(np.abs(u) < 1.0, (1.0 - u * u) ** 2, 0.0)


def scramble(value: Array) -> Array:
    """A bijection of 32-bit integers that looks random (the finaliser of MurmurHash3), so that sampling is
    deterministic."""
    value = value.astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        value = (value ^ (value >> np.uint32(shift))) * np.uint32(factor)
    return value ^ (value >> np.uint32(16))


def stratified(usable: Array) -> Array:
    """Which of the usable cells, counted row by row, stand for their part of the picture: those with the
    smallest scrambled index in it."""
    rows, columns = usable.shape
    index = np.flatnonzero(usable)
    stratum = (index // columns) * STRATA // rows * STRATA + (index % columns) * STRATA // columns
    order = np.lexsort((scramble(index), stratum))
    _, first = np.unique(stratum[order], return_index=True)
    return order[first]


def consensus(s: Samples, scene: Scene, earlier: Line | None, p: Parameters) -> Line | None:
    """The best line through two samples, judged by all, and by how much better it explains them than chance.

    Where a hypothesis puts a sample nearer than stereo can measure (`scene.end`), stereo cannot contradict it, and
    the sample does not count. So wrong values that agree with each other beyond the range do not win by their
    number. Nor does a flat line through a crowd: it explains as well the stereo of any other place.
    """
    if len(s.x) == 0:
        return None
    scale, shift = _hypotheses(s, p)
    if earlier is not None:
        scale, shift = np.append(scale, earlier.scale), np.append(shift, earlier.shift)
    good = np.isfinite(scale) & np.isfinite(shift) & (scale > 0)
    if not good.any():
        return None
    predicted = scale[good, None] * s.x + shift[good, None]
    tolerance = HYPOTHESIS_TOLERANCE * scene.unit(predicted, p) + 3.0 * p.stereo_noise
    explained = tukey((s.rho - predicted) / tolerance) - tukey((s.rho[elsewhere(s)] - predicted) / tolerance)
    support = np.where(predicted < scene.end, explained - OUTLIER_COST, -IMPLAUSIBLE_COST)
    best = int((support * s.weight).sum(1).argmax())
    return Line(float(scale[good][best]), float(shift[good][best]))


def elsewhere(s: Samples) -> Array:
    """For each sample the index of another: its stereo is what mono would be paired with by chance."""
    return scramble(np.arange(len(s.x))) % len(s.x)


def _hypotheses(s: Samples, p: Parameters) -> tuple[Array, Array]:
    trial = np.arange(HYPOTHESES)
    i, j = scramble(2 * trial) % len(s.x), scramble(2 * trial + 1) % len(s.x)
    with np.errstate(divide="ignore", invalid="ignore"):
        if p.mono_kind is MonoKind.METRIC_DEPTH:
            return s.rho[i] / s.x[i], np.zeros(HYPOTHESES)
        scale = (s.rho[j] - s.rho[i]) / (s.x[j] - s.x[i])
        return scale, s.rho[i] - scale * s.x[i]


# 3. Fit -----------------------------------------------------------------------


def fit_line(own: Samples, earlier: Samples, scene: Scene, start: Line, iterations: int, p: Parameters) -> Line:
    """Iteratively reweighted least squares with Tukey's biweight; the scale of the residual is mono's
    relative noise. A step takes the noise about the line that it begins with, so that it looks at the samples once.

    Samples of earlier frames pull the line where this frame shows nothing, but only its own samples say how
    good it is.
    """
    both = Samples(*(np.concatenate(pair) for pair in zip(own, earlier, strict=True)))
    line = start
    for _ in range(iterations):
        predicted = line.at(own.x)
        kept = own.weight * (_inlier_weight(own, scene, line, p) > 0)
        noise = relative_noise((own.rho - predicted) / scene.unit(predicted, p), kept, line.noise)
        line = _weighted_least_squares(both, _inlier_weight(both, scene, line, p), scene, line, p)
        line = replace(line, noise=noise)
    return _judged(own, scene, line, p)


def _sigma(predicted: Array, noise: float, scene: Scene, p: Parameters) -> Array:
    """One-sigma error of stereo minus mono, 1/m."""
    return np.hypot(p.stereo_noise, noise * scene.unit(predicted, p))


def _inlier_weight(s: Samples, scene: Scene, line: Line, p: Parameters) -> Array:
    predicted = line.at(s.x)
    u = (s.rho - predicted) / _sigma(predicted, line.noise, scene, p)
    return np.where(predicted < scene.end, s.weight * tukey(u / TUKEY_FIT), 0.0)


def _weighted_least_squares(s: Samples, inlier: Array, scene: Scene, line: Line, p: Parameters) -> Line:
    w = inlier / _sigma(line.at(s.x), line.noise, scene, p) ** 2
    total = w.sum()
    if not total > 0:
        return line
    if p.mono_kind is MonoKind.METRIC_DEPTH:
        return replace(line, scale=float((w * s.x * s.rho).sum() / (w * s.x * s.x).sum()), shift=0.0)
    x_mean, rho_mean = (w * s.x).sum() / total, (w * s.rho).sum() / total
    spread = (w * (s.x - x_mean) ** 2).sum()
    if not spread > 0:
        return line
    scale = (w * (s.x - x_mean) * (s.rho - rho_mean)).sum() / spread
    return replace(line, scale=float(scale), shift=float(rho_mean - scale * x_mean))


def relative_noise(error: Array, weight: Array, fallback: float) -> float:
    """Mono's noise: the weighted median of the absolute relative errors, by the scale of a normal distribution.

    The median is read off a histogram, so that a GPU needs no sorting for it. An error counts in the two bins whose
    centres it lies between, by nearness, and the median is interpolated within its bin: so it moves smoothly with
    every error.
    """
    place = np.clip(np.abs(error) * (ERROR_BINS / ERROR_MAXIMUM) - 0.5, 0.0, ERROR_BINS - 1.0)
    lower = np.minimum(place.astype(int), ERROR_BINS - 2)
    upper_part = place - lower
    counts = np.bincount(lower, weight * (1.0 - upper_part), minlength=ERROR_BINS)
    counts += np.bincount(lower + 1, weight * upper_part, minlength=ERROR_BINS)
    total = counts.sum()
    if not total > 0:
        return fallback
    cumulated = np.cumsum(counts)
    middle = int(np.searchsorted(cumulated, 0.5 * total))
    part = (0.5 * total - (cumulated[middle] - counts[middle])) / counts[middle]
    median = (middle + part) * (ERROR_MAXIMUM / ERROR_BINS)
    return float(np.clip(median / MEDIAN_OF_KEPT, MONO_NOISE_MINIMUM, MONO_NOISE_MAXIMUM))


def _judged(s: Samples, scene: Scene, line: Line, p: Parameters) -> Line:
    """Adds what tells a good line from a bad one: how many plausible samples agree, the correlation of the inliers,
    how many standard errors the scale is from zero, and the covariance."""
    inlier = _inlier_weight(s, scene, line, p)
    if not inlier.sum() > 0:
        return line
    x_mean, pearson_r = _correlation(s, inlier)
    information = inlier / _sigma(line.at(s.x), line.noise, scene, p) ** 2 * p.independent_share
    pivot = 0.0 if p.mono_kind is MonoKind.METRIC_DEPTH else x_mean
    scale_information = max((information * (s.x - pivot) ** 2).sum(), 1e-30)
    return replace(
        line,
        inlier_share=agreeing_share(s, scene, line, p),
        pearson_r=pearson_r,
        significance=float(line.scale * math.sqrt(scale_information)),
        value_variance=float(1.0 / information.sum()),
        scale_variance=float(1.0 / scale_information),
        pivot=pivot,
    )


def _correlation(s: Samples, weight: Array) -> tuple[float, float]:
    """Weighted mean of x, and Pearson's r."""
    total = weight.sum()
    x_mean, rho_mean = (weight * s.x).sum() / total, (weight * s.rho).sum() / total
    x_spread = (weight * (s.x - x_mean) ** 2).sum()
    rho_spread = (weight * (s.rho - rho_mean) ** 2).sum()
    together = (weight * (s.x - x_mean) * (s.rho - rho_mean)).sum()
    return float(x_mean), float(together / math.sqrt(max(x_spread * rho_spread, 1e-60)))


def agreeing_share(s: Samples, scene: Scene, line: Line, p: Parameters) -> float:
    """How many of the samples that could lie on the line do; 1 if there are none."""
    plausible = s.weight * (line.at(s.x) < scene.end)
    agreeing = plausible * (_inlier_weight(s, scene, line, p) > 0)
    return float(agreeing.sum() / plausible.sum()) if plausible.sum() > 0 else 1.0


def agreement(s: Samples, scene: Scene, line: Line, p: Parameters) -> float:
    """How many more samples lie on the line than by chance, as a share of those that could: Cohen's kappa, 1960. No
    choice of inliers can flatter it, and no outlier pulls it down by its distance."""
    by_chance = agreeing_share(s._replace(rho=s.rho[elsewhere(s)]), scene, line, p)
    return (agreeing_share(s, scene, line, p) - by_chance) / max(1.0 - by_chance, 1e-9)


def acceptable(line: Line, agreeing: float, p: Parameters) -> bool:
    """Whether a line may be published as a fit."""
    return (
        math.isfinite(line.scale)
        and line.scale > 0
        and line.inlier_share >= p.minimum_inlier_share
        and agreeing >= p.minimum_agreement
        and line.significance >= p.minimum_significance
    )


# 4. Memory --------------------------------------------------------------------


def remembered(memory: Memory) -> Samples:
    """The samples of earlier frames, one for each range of inverse depth that has any."""
    weight, x_sum, rho_sum = memory.samples
    seen = weight > 1e-3
    return Samples(x_sum[seen] / weight[seen], rho_sum[seen] / weight[seen], weight[seen])


def remember(memory: Memory, s: Samples, scene: Scene, line: Line, p: Parameters) -> None:
    """Ages the memory and adds this frame's inliers, binned by the octaves of inverse depth."""
    inlier = _inlier_weight(s, scene, line, p)
    bins = np.clip(level(s.rho, p) * MEMORY_BINS, 0, MEMORY_BINS - 1).astype(int)
    sums = [np.bincount(bins, inlier * v, minlength=MEMORY_BINS) for v in (np.ones_like(s.x), s.x, s.rho)]
    memory.samples = p.memory_decay * memory.samples + np.stack(sums)


def level(rho: Array, p: Parameters) -> Array:
    """Where an inverse depth lies in the published range, 0 to 1, in octaves."""
    low, high = octaves(p.inverse_minimum), octaves(p.inverse_maximum)
    return (octaves(np.clip(rho, p.inverse_minimum, p.inverse_maximum)) - low) / (high - low)


def octaves(value: Array) -> Array:
    """Octaves above 1, linear within each octave. It grows like the binary logarithm and needs no such
    function: the exponent and mantissa of a float, read as one number."""
    mantissa, exponent = np.frexp(value)
    return exponent + 2.0 * mantissa - 2.0


# 5. Align locally -------------------------------------------------------------


@dataclass
class Alignment:
    """Per cell: the correction of the line's inverse depth, in `scene.unit`; the part of it that only holds at
    a rim; the share of the latter's evidence; the relative one-sigma error of aligned mono; how solid and how whole
    stereo's surface is; and by how much mono's blur may be off (1/m)."""

    correction: Array
    rim: Array
    rim_share: Array
    sigma: Array
    solidity: Array
    wholeness: Array
    blur: Array
    noise: float
    scene: Scene


def align(
    cells: Cells, usable: Array, scene: Scene, line: Line, refit: bool, memory: Memory, p: Parameters
) -> tuple[Alignment, Line]:
    """Spreads what trusted stereo says about the line's local error into the holes.

    The error is collected on a bilateral grid (Chen, Paris and Durand, SIGGRAPH 2007) over the picture and
    over inverse depth, so that it does not leak across depth edges, and shrinks to none far from evidence.
    Line and correction take turns, since a distortion that grows across the picture also tilts the line.
    """
    still = calm_of(cells, p)
    calm = np.where(usable, still, 0.0)
    correction, noise = np.zeros(cells.x.shape), line.noise
    global_line, evidence = line, np.zeros(1)
    for round_ in range(ALIGNMENT_ROUNDS):
        error, weight, noise = _local_errors(cells, calm, scene, line, correction, noise, p)
        place = GridPlace.of(line.at(cells.x_all), p)
        evidence = np.stack([place.splat(weight * error, p), place.splat(weight, p)])
        evidence += p.alignment_decay * memory.evidence
        correction = place.sample(_smooth(evidence))
        if refit and round_ < ALIGNMENT_ROUNDS - 1:
            balanced = sample_weights(cells, usable, p)
            flat = cells.rho - correction * scene.unit(line.at(cells.x), p)
            own = Samples(cells.x[usable], flat[usable], balanced[usable])
            line = fit_line(own, NOTHING, scene, replace(line, noise=noise), REFIT_ITERATIONS, p)
            noise = line.noise
    memory.evidence = evidence
    error, weight, noise = _local_errors(cells, calm, scene, line, correction, noise, p)
    rim_weight = _binomial(weight)
    rim = _binomial(weight * (error - correction)) / (rim_weight + RIM_PRIOR)
    rim_share = rim_weight / (rim_weight + RIM_PRIOR)
    sigma = _relative_sigma(cells, scene, line, noise, global_line.noise, p)
    correction = _steady_correction(cells, scene, line, correction, rim, memory, p)
    solidity, wholeness = _binomial(still), _binomial(cells.fill)
    blur = BLUR_SHARE * line.scale * cells.x_range
    return Alignment(correction, rim, rim_share, sigma, solidity, wholeness, blur, noise, scene), line


def _steady_correction(
    cells: Cells, scene: Scene, line: Line, correction: Array, rim: Array, memory: Memory, p: Parameters
) -> Array:
    """The correction with which neither line nor alignment let the cells' depth flicker."""
    base = line.at(cells.x_all)
    unit = scene.unit(base, p)
    predicted = base + (correction + rim) * unit
    memory.predicted = steady(predicted, memory.predicted, unit, p)
    return correction + (memory.predicted - predicted) / unit


def _local_errors(
    cells: Cells, calm: Array, scene: Scene, line: Line, correction: Array, noise: float, p: Parameters
) -> tuple[Array, Array, float]:
    """Relative error of the line per cell, the trust in it, and mono's noise about the corrected line."""
    base = line.at(cells.x)
    predicted = base + correction * scene.unit(base, p)
    u = (cells.rho - predicted) / _sigma(predicted, noise, scene, p)
    plausible = calm * np.clip((scene.end - predicted) / (END_FADE * max(scene.end, 1e-12)), 0.0, 1.0)
    trusted = plausible > 0
    weight = np.where(trusted, plausible * tukey(u / TUKEY_ALIGNMENT), 0.0)
    left = (cells.rho - predicted) / scene.unit(predicted, p)
    noise = relative_noise(left[trusted], (plausible * (weight > 0))[trusted], noise)
    return np.where(trusted, (cells.rho - base) / scene.unit(base, p), 0.0), weight, noise


@dataclass
class GridPlace:
    """Where each cell lies in the alignment grid, as fractional indices: row, column, level."""

    row: Array
    column: Array
    level: Array

    @classmethod
    def of(cls, rho: Array, p: Parameters) -> GridPlace:
        row, column = np.indices(rho.shape)
        return cls((row + 0.5) / p.grid_step, (column + 0.5) / p.grid_step, level(rho, p) * (GRID_LEVELS - 1))

    def _corners(self) -> list[tuple[tuple[Array, Array, Array], Array]]:
        row, column = self.row.astype(int), self.column.astype(int)
        lower = np.minimum(self.level.astype(int), GRID_LEVELS - 2)
        parts = self.row - row, self.column - column, self.level - lower
        corners = []
        for corner in np.ndindex(2, 2, 2):
            share = np.ones(self.row.shape)
            for part, side in zip(parts, corner, strict=True):
                share = share * (part if side else 1.0 - part)
            corners.append(((row + corner[0], column + corner[1], lower + corner[2]), share))
        return corners

    def splat(self, values: Array, p: Parameters) -> Array:
        """Adds each cell's value to the eight nodes around it, by nearness."""
        grid = np.zeros((p.grid_rows, p.grid_columns, GRID_LEVELS))
        for index, share in self._corners():
            np.add.at(grid, index, values * share)
        return grid

    def sample(self, grid: Array) -> Array:
        """Trilinear interpolation at each cell."""
        return sum(grid[index] * share for index, share in self._corners())


def _smooth(evidence: Array) -> Array:
    """Correction of each node, from its own evidence, its column's, and the surroundings'."""
    wide = _blur(evidence.sum(3), WIDE_PASSES)
    wide_correction = wide[0] / (wide[1] + WIDE_PRIOR)
    near = _blur(evidence, 1)
    column = near.sum(3)
    column_correction = (column[0] + COLUMN_PRIOR * wide_correction) / (column[1] + COLUMN_PRIOR)
    node = _blur_levels(near)
    return (node[0] + NODE_PRIOR * column_correction[:, :, None]) / (node[1] + NODE_PRIOR)


def _blur(planes: Array, passes: int) -> Array:
    """[1 2 1] / 4 along rows and columns of the grid, nothing beyond its border."""
    for _ in range(passes):
        for axis in (1, 2):
            planes = _blur_axis(planes, axis)
    return planes


def _blur_levels(planes: Array) -> Array:
    return _blur_axis(planes, 3)


def _blur_axis(planes: Array, axis: int) -> Array:
    moved = np.moveaxis(planes, axis, -1)
    padded = np.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(1, 1)])
    return np.moveaxis(0.25 * padded[..., :-2] + 0.5 * padded[..., 1:-1] + 0.25 * padded[..., 2:], -1, axis)


def _binomial(plane: Array) -> Array:
    """[1 4 6 4 1] / 16 along rows and columns of cells, nothing beyond the picture."""
    plane = plane[None]
    for _ in range(2):
        for axis in (1, 2):
            plane = _blur_axis(plane, axis)
    return plane[0]


def _relative_sigma(cells: Cells, scene: Scene, line: Line, noise: float, global_noise: float, p: Parameters) -> Array:
    """Mono's noise about the aligned line, a part of that about the line alone, and the line's uncertainty, which grows
    away from its samples."""
    predicted = line.at(cells.x_all)
    mono = ((NOISE_SPREAD * noise) ** 2 + (LINE_SHARE * global_noise) ** 2) * scene.unit(predicted, p) ** 2
    of_line = line.value_variance + line.scale_variance * (cells.x_all - line.pivot) ** 2
    return np.sqrt(mono + of_line) / np.maximum(predicted, p.inverse_minimum)


# 6. Judge stereo and merge ----------------------------------------------------


def merge(
    depth_m: Array, x: Array, line: Line | None, alignment: Alignment | None, out: FusedPlanes, p: Parameters
) -> None:
    """Decides every pixel. Stereo that is kept is copied bit by bit. Where it is overruled, either of the two
    is wrong, and the claimed error is at least their difference."""
    measured = measured_mask(depth_m, p)
    stereo_rho = np.divide(1.0, depth_m, where=measured, out=np.full(x.shape, np.nan))
    predicted, mono_sigma, blended = predict(x, line, alignment, p)
    known = np.isfinite(predicted)
    overruled = measured & known & contradicted(stereo_rho, predicted, alignment, p)
    mono_sigma = np.where(overruled, np.hypot(mono_sigma, stereo_rho / predicted - 1.0), mono_sigma)
    kept = measured & ~overruled
    filled = known & ~kept
    source = np.full(x.shape, int(Source.INVALID))
    source[filled] = Source.MONO_HOLE
    source[filled & (depth_m < 1.0 / p.stereo_inverse_maximum)] = Source.MONO_NEAR
    source[filled & blended] = Source.BLEND
    source[filled & overruled] = Source.MONO_OVERRULED
    source[kept] = Source.STEREO
    out.source[:] = source
    out.depth_m[:] = np.nan
    out.depth_m[filled] = 1.0 / predicted[filled]
    out.depth_m[kept] = depth_m[kept]
    sigma = np.where(kept, p.stereo_noise / stereo_rho, np.where(filled, mono_sigma, np.nan))
    out.sigma[:] = np.clip(sigma, SIGMA_MINIMUM, SIGMA_MAXIMUM)


def predict(x: Array, line: Line | None, alignment: Alignment | None, p: Parameters) -> tuple[Array, Array, Array]:
    """Aligned mono as inverse depth, its relative sigma, and where it is bent to the rim of a hole. NaN
    without a fit."""
    if line is None or alignment is None:
        return np.full(x.shape, np.nan), np.full(x.shape, np.nan), np.zeros(x.shape, bool)
    correction = spread(alignment.correction + alignment.rim, p)
    base = line.at(x)
    predicted = np.clip(base + correction * alignment.scene.unit(base, p), p.inverse_minimum, p.inverse_maximum)
    return predicted, repeat(alignment.sigma, p), repeat(alignment.rim_share, p) >= 0.5


def spread(plane: Array, p: Parameters) -> Array:
    """Values of cells to pixels, bilinear between cell centres."""
    full = upsample(plane, p.rows * p.cell_px, p.columns * p.cell_px)
    return full[: p.height, : p.width]


def repeat(plane: Array, p: Parameters) -> Array:
    """Values of cells to all their pixels."""
    return np.repeat(np.repeat(plane, p.cell_px, 0), p.cell_px, 1)[: p.height, : p.width]


def contradicted(stereo_rho: Array, predicted: Array, alignment: Alignment | None, p: Parameters) -> Array:
    """Stereo that differs from aligned mono by more than both can explain.

    A solid surface, whole and calm, that stereo sees nearer is hard to overrule: matchers err in islands and at edges,
    while networks miss whole objects. One that it sees farther is a little harder to overrule where it is whole. Both
    are where mono is blurred.
    """
    if alignment is None:
        return np.zeros(predicted.shape, bool)
    sigma = _sigma(predicted, alignment.noise, alignment.scene, p)
    gate = np.maximum(p.gate_sigmas * sigma, p.gate_minimum * predicted)
    solidity = repeat(alignment.solidity, p) ** 2**SOLIDITY_DOUBLINGS
    wholeness = repeat(alignment.wholeness, p) ** 2**WHOLENESS_DOUBLINGS
    near_gate = (p.near_claim_factor + p.solid_claim_factor * solidity) * gate
    far_gate = (p.far_claim_factor + p.whole_claim_factor * wholeness) * gate
    blur = repeat(alignment.blur, p)
    nearer_by = stereo_rho - predicted
    return (nearer_by < -far_gate - blur) | (nearer_by > near_gate + blur)


# The steps in their order -----------------------------------------------------


class ReferenceFusion:
    """See depthd.fusion.base.Fusion. Slow and readable."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.memory = Memory()

    def reset(self) -> None:
        self.memory = Memory()

    def fuse(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> FusionResult:
        p, memory = self.parameters, self.memory
        check_planes(stereo_depth_m, mono, out, p)
        x = upsample(steady_mono(mono_as_linear(mono, p.mono_kind), memory, p), p.height, p.width)
        cells = summarise(stereo_depth_m, x, p)
        end = RANGE_END * cells.rho[cells.measured].max(initial=0.0)
        usable = cells.measured & (cells.rho < end)
        if usable.any():
            memory.softening = SOFTENING * float(cells.rho[usable].mean())
        scene = Scene(end, memory.softening)
        own = self._samples(cells, usable)
        status = self._update_line(own, self._fresh_line(own, usable, scene), scene)
        alignment = None
        if status is FitStatus.FITTED and memory.line is not None:
            alignment, memory.aligned = align(cells, usable, scene, memory.line, True, memory, p)
        elif status is FitStatus.HELD and memory.aligned is not None:
            alignment, _ = align(cells, usable, scene, memory.aligned, False, memory, p)
        merge(stereo_depth_m, x, memory.aligned, alignment, out, p)
        return self._result(status, int(usable.sum()), out)

    def _samples(self, cells: Cells, usable: Array) -> Samples:
        if not usable.any():
            return NOTHING
        weight = sample_weights(cells, usable, self.parameters)
        return Samples(cells.x[usable], cells.rho[usable], weight[usable])

    def _fresh_line(self, own: Samples, usable: Array, scene: Scene) -> Line | None:
        """The line of this frame, if it is good enough to be published."""
        p, memory = self.parameters, self.memory
        chosen = Samples(*(plane[stratified(usable)] for plane in own))
        start = consensus(chosen, scene, memory.line, p)
        if start is None:
            return None
        if agreeing_share(remembered(memory), scene, start, p) < CUT_SHARE:
            memory.forget_scene()
        line = fit_line(own, remembered(memory), scene, start, FIT_ITERATIONS, p)
        if not acceptable(line, agreement(chosen, scene, line, p), p):
            return None
        remember(memory, own, scene, line, p)
        return line

    def _update_line(self, own: Samples, fresh: Line | None, scene: Scene) -> FitStatus:
        """A new line; or the last one until it is too old, unless this frame speaks against it; or none."""
        p, memory = self.parameters, self.memory
        if fresh is not None:
            memory.line, memory.age_frames = fresh, 0
            return FitStatus.FITTED
        memory.age_frames += 1
        if memory.age_frames > p.maximum_age_frames:
            memory.line = memory.aligned = None
        if memory.line is None or agreeing_share(own, scene, memory.line, p) < p.minimum_inlier_share:
            return FitStatus.UNFIT
        return FitStatus.HELD

    def _result(self, status: FitStatus, samples: int, out: FusedPlanes) -> FusionResult:
        line = self.memory.line
        if line is None or status is FitStatus.UNFIT:
            line = Line(math.nan, math.nan, math.nan)
        fit = Fit(
            scale=line.scale,
            shift=line.shift,
            residual=line.noise,
            inlier_share=line.inlier_share,
            pearson_r=line.pearson_r,
            sample_count=samples,
            age_frames=self.memory.age_frames,
            status=status,
        )
        pixels = np.bincount(out.source.ravel(), minlength=len(Source))
        return FusionResult(fit, tuple(int(n) for n in pixels))
