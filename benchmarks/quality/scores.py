"""How good a depth map is, by hole class."""

from __future__ import annotations

import numpy as np

from depthd.frame import Array, Source
from quality.cases import Case
from quality.methods import FARTHEST_M, Result

WRONG = 0.25
"""Stereo that is off by more, relative to depth, ought to be overruled."""
RIGHT = 0.01
"""Stereo that is off by less shows the step that filling makes; beside the rest, exact depth would step too."""

COLUMNS = (
    "coverage",
    "error",
    "delta",
    "near",
    "left_only",
    "unmatched",
    "wrong",
    "kept",
    "rim_step",
    "rim_right",
    "precision",
    "recall",
    "within_1",
    "within_2",
    "pearson_r",
    "residual",
)


def classes(case: Case) -> dict[str, Array]:
    """Disjoint masks of the pixels with known truth, by what is wrong with stereo there."""
    measured = np.isfinite(case.stereo_depth_m)
    with np.errstate(invalid="ignore"):
        off = np.abs(case.stereo_depth_m / case.true_depth_m - 1.0) > WRONG
    masks = {
        "near": case.beyond_range,
        "left_only": ~measured & case.left_only,
        "unmatched": ~measured,
        "wrong": measured & off,
        "kept": measured,
    }
    left = case.known.copy()
    for name, mask in masks.items():
        masks[name] = mask & left
        left &= ~mask
    return masks


def mean_where(error: Array, mask: Array) -> float:
    values = error[mask & np.isfinite(error)]
    return float(values.mean()) if values.size else np.nan


def score(case: Case, result: Result) -> dict[str, float]:
    """One value per column; NaN where a column does not apply."""
    with np.errstate(invalid="ignore"):
        error = np.abs(result.depth_m / case.true_depth_m - 1.0)
        ratio = np.maximum(result.depth_m / case.true_depth_m, case.true_depth_m / result.depth_m)
    masks = classes(case)
    scores = {
        "coverage": float(np.isfinite(result.depth_m)[case.known].mean()),
        "error": mean_where(error, case.known),
        "delta": mean_where((ratio < 1.25).astype(float), case.known & np.isfinite(ratio)),
        **{name: mean_where(error, mask) for name, mask in masks.items()},
        "rim_step": rim_step(case, result, np.inf),
        "rim_right": rim_step(case, result, RIGHT),
    }
    if result.planes is not None and result.fit is not None:
        scores |= honesty(case, result, error, masks)
        scores |= {"pearson_r": result.fit.pearson_r, "residual": result.fit.residual}
    return scores


def rim_step(case: Case, result: Result, off: float) -> float:
    """Median relative jump of depth between a measured pixel and its filled neighbour that the truth does not have; of
    measured pixels that are off by less than `off`."""
    measured = np.isfinite(case.stereo_depth_m) & (
        np.abs(result.depth_m / np.where(np.isfinite(case.stereo_depth_m), case.stereo_depth_m, np.nan) - 1) < 1e-6
    )
    with np.errstate(invalid="ignore"):
        measured &= (np.abs(case.stereo_depth_m / case.true_depth_m - 1.0) < off) | ~case.known
    hole = ~np.isfinite(case.stereo_depth_m) & np.isfinite(result.depth_m)
    with np.errstate(invalid="ignore", divide="ignore"):
        got, true = np.log(result.depth_m), np.log(np.where(case.known, case.true_depth_m, np.nan))
        steps = []
        for axis in (0, 1):
            rim = _pairs(measured, hole, axis)
            true_step = np.abs(np.diff(true, axis=axis))
            jump = np.abs(np.diff(got, axis=axis) - np.diff(true, axis=axis))
            steps.append(jump[rim & (true_step < 0.02)])
    values = np.concatenate(steps)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else np.nan


def _pairs(measured: Array, hole: Array, axis: int) -> Array:
    first, second = (slice(None, -1), slice(1, None))
    one = (first, slice(None)) if axis == 0 else (slice(None), first)
    two = (second, slice(None)) if axis == 0 else (slice(None), second)
    return (measured[one] & hole[two]) | (hole[one] & measured[two])


def honesty(case: Case, result: Result, error: Array, masks: dict[str, Array]) -> dict[str, float]:
    """Whether stereo is overruled where it is wrong, and whether errors are as large as claimed."""
    assert result.planes is not None
    measured = (case.stereo_depth_m < FARTHEST_M) & (case.stereo_depth_m > 0) & case.known  # else it claims nothing
    with np.errstate(invalid="ignore"):
        off = measured & (np.abs(case.stereo_depth_m / case.true_depth_m - 1.0) > WRONG)
    overruled = measured & (result.planes.source == Source.MONO_OVERRULED)
    filled = case.known & (result.planes.source > Source.STEREO)
    claimed = error[filled] / result.planes.sigma[filled].astype(float)
    return {
        "precision": float(off[overruled].mean()) if overruled.any() else np.nan,
        "recall": float(overruled[off].mean()) if off.any() else np.nan,
        "within_1": float((claimed < 1).mean()) if claimed.size else np.nan,
        "within_2": float((claimed < 2).mean()) if claimed.size else np.nan,
    }
