"""How calm filled depth is in time, and how soon it follows a cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from depthd import fusion
from depthd.cameras.matcher import StereoMatcher
from depthd.cameras.virtual import VirtualCamera
from depthd.config import FusionConfig, MatcherConfig, MonoConfig, VirtualCameraConfig
from depthd.frame import Array, FusedPlanes
from depthd.fusion.base import Fusion
from depthd.mono import open_engine
from quality.cases import Case, truth_as_mono

FRAMES, SETTLED = 60, 10
"""Frames of a sequence, and how many of them are not counted."""
STANDING_STILL = 1e9
"""Frames a second: the scene stands still, and only the sensor's noise is another in each frame."""
COLUMNS = (
    "flicker", "without_memory", "ratio",
    "fit_flicker", "fit_without_memory", "fit_ratio",
    "lag_frames", "first_after_cut",
)  # fmt: skip


def calm_scores(scenes: tuple[str, ...], seed: int) -> dict[str, dict[str, float]]:
    """Scene -> column. flicker: median over static hole pixels of the relative standard deviation of depth in time;
    the same of a fit without memory, and their ratio. The same again with one and the same mono in all frames, so that
    only the fit can flicker. After a cut from the scene before: the frames until the error is
    at most 1.1 times that of a fusion that has seen nothing else, and the first frame's error over that."""
    scores = {}
    for mono in ("network", "distorted"):
        before: list[Case] = []
        for scene in scenes:
            frames = list(_still(scene, mono, seed))
            scores[f"{scene}, {mono}"] = _flicker(frames) | (_cut(before, frames) if before else {})
            before = frames
    return scores


def _still(scene: str, mono: str, seed: int) -> Iterator[Case]:
    config = VirtualCameraConfig(scene=scene, seed=seed, fps=STANDING_STILL, real_time=False)
    source = VirtualCamera(config)
    matcher, engine = StereoMatcher(source.camera, MatcherConfig()), open_engine(MonoConfig())
    engine.prepare(source.camera.height, source.camera.width)
    try:
        for number in range(FRAMES):
            frame = source.grab()
            truth = source.ground_truth_m.copy()
            nothing = np.zeros(truth.shape, bool)
            stereo = matcher.depth_m(frame.left_bgr, frame.right_bgr).copy()
            given = engine.infer(frame.left_bgr).copy() if mono == "network" else _noisy(truth, number)
            yield Case(scene, source.camera, stereo, given, truth, nothing, nothing, frame.left_bgr)
    finally:
        engine.close()
        source.close()


def _noisy(truth: Array, number: int) -> Array:
    """Distorted truth whose distortion stays, with another noise in each frame."""
    noise = np.random.default_rng(number).normal(0.0, 0.028, truth.shape)
    return (truth_as_mono(truth, 0) + noise).astype(np.float32)


def _fusion(case: Case, **changes: float) -> Fusion:
    return fusion.create(FusionConfig(**changes), case.camera, "relative_inverse")  # type: ignore[arg-type]


def _fused(engine: Fusion, case: Case) -> Array:
    planes = FusedPlanes.empty(case.camera.height, case.camera.width)
    engine.fuse(case.stereo_depth_m, case.mono, planes)
    return planes.depth_m


def _flicker(frames: list[Case]) -> dict[str, float]:
    hole = ~np.any([np.isfinite(case.stereo_depth_m) for case in frames], axis=0) & frames[0].known
    if hole.sum() < 100:
        return {}
    still_mono = [replace(case, mono=frames[0].mono) for case in frames]
    values = {}
    for prefix, given in (("", frames), ("fit_", still_mono)):
        ours = _deviation(given, hole, {})
        alone = _deviation(given, hole, {"mono_decay": 0.0, "memory_decay": 0.0, "alignment_decay": 0.0})
        flicker, without = f"{prefix}flicker", f"{prefix}without_memory"
        values |= {flicker: ours, without: alone, f"{prefix}ratio": ours / alone}
    return values


def _deviation(frames: list[Case], hole: Array, changes: dict[str, float]) -> float:
    engine = _fusion(frames[0], **changes)
    depths = np.log([_fused(engine, case)[hole] for case in frames][SETTLED:])
    return float(np.nanmedian(depths.std(0)))


def _cut(before: list[Case], after: list[Case]) -> dict[str, float]:
    engine = _fusion(before[0])
    for case in before:
        _fused(engine, case)
    fresh = _fusion(after[0])
    ratios = np.array([_error(_fused(engine, case), case) / _error(_fused(fresh, case), case) for case in after[:10]])
    good = np.flatnonzero(ratios <= 1.1)
    return {"lag_frames": float(good[0]) if len(good) else float("inf"), "first_after_cut": float(ratios[0])}


def _error(depth_m: Array, case: Case) -> float:
    return float(np.nanmean(np.abs(depth_m / case.true_depth_m - 1.0)[case.known]))
