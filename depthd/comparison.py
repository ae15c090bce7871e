"""Stereo beside fitted mono, sample by sample: what the live page plots and `depthd compare` judges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthd.frame import Array, Fit, FitStatus


@dataclass(frozen=True)
class Samples:
    """Pixels that stereo measured, on a regular grid. All arrays have one length.

    x: mono, turned so that inverse depth is linear in it. stereo: inverse depth of stereo, 1/m. rows,
    columns: px.
    """

    x: Array
    stereo: Array
    rows: Array
    columns: Array

    def __len__(self) -> int:
        return len(self.x)

    def predicted(self, fit: Fit) -> Array:
        """Inverse depth that the fit gives each sample, 1/m."""
        return fit.scale * self.x + fit.shift

    def residual(self, fit: Fit) -> Array:
        """Fitted mono's relative error against stereo: > 0 where mono says nearer."""
        return self.predicted(fit) / self.stereo - 1.0


def linear_mono(mono: Array, kind: str) -> Array:
    """Mono so that inverse depth is linear in it: depth-like outputs are inverted. NaN where unknown."""
    mono = np.asarray(mono, np.float32)
    if kind == "relative_inverse":
        return np.where(np.isfinite(mono), mono, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isfinite(mono) & (mono > 0), 1.0 / mono, np.nan)


def kind_of(mono: Array, stereo_depth_m: Array) -> str:
    """What a network's output means where nobody says it: depth grows with depth, inverse depth falls."""
    samples = sample(stereo_depth_m, mono, "relative_inverse", 2000)
    if len(samples) < 10 or np.ptp(samples.x) == 0:
        return "relative_inverse"
    mono_rank, stereo_rank = (np.argsort(np.argsort(values)) for values in (samples.x, samples.stereo))
    return "relative_inverse" if np.corrcoef(mono_rank, stereo_rank)[0, 1] >= 0 else "metric_depth"


def sample(stereo_depth_m: Array, mono: Array, kind: str, count: int) -> Samples:
    """About `count` measured pixels on a regular grid. stereo_depth_m, mono: float32, sizes may differ."""
    height, width = stereo_depth_m.shape
    step = max(1, int(np.sqrt(height * width / count)))
    rows, columns = (
        grid.ravel()
        for grid in np.meshgrid(np.arange(step // 2, height, step), np.arange(step // 2, width, step), indexing="ij")
    )
    depth_m = stereo_depth_m[rows, columns]
    # Pixel centres at half-integers, as in Camera.scaled_to.
    mono_rows = np.minimum(((rows + 0.5) * mono.shape[0] / height).astype(int), mono.shape[0] - 1)
    mono_columns = np.minimum(((columns + 0.5) * mono.shape[1] / width).astype(int), mono.shape[1] - 1)
    x = linear_mono(mono[mono_rows, mono_columns], kind)
    known = np.isfinite(depth_m) & (depth_m > 0) & np.isfinite(x)
    return Samples(x[known].astype(np.float64), 1.0 / depth_m[known].astype(np.float64), rows[known], columns[known])


def fitted_depth_m(mono: Array, kind: str, fit: Fit) -> Array:
    """float32 depth of fitted mono, of mono's size; NaN where nothing is fitted or inverse depth is not
    positive.
    """
    inverse = fit.scale * linear_mono(mono, kind) + fit.shift
    if fit.status is FitStatus.UNFIT:
        return np.full(inverse.shape, np.nan, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(inverse > 0, 1.0 / inverse, np.nan).astype(np.float32)
