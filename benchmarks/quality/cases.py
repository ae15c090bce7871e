"""The frames to be fused, with the depth that they truly have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from depthd.cameras.matcher import StereoMatcher
from depthd.cameras.virtual import ZED_2I, VirtualCamera
from depthd.cameras.world.troubles import TROUBLES
from depthd.config import MatcherConfig, MonoConfig, VirtualCameraConfig
from depthd.frame import Array, Camera
from depthd.mono import open_engine

MOTORCYCLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "motorcycle"
MOTORCYCLE_CAMERA = Camera(741, 500, 994.978, 994.978, 311.193, 254.877, 0.193001)
"""Depth is 1 / disparity here: the offset of the principal points is taken as zero."""


@dataclass
class Case:
    """One frame. Depths in m; mono is relative inverse depth; the masks are (height, width) and tell hole
    classes apart.

    beyond_range: nearer than stereo can measure; left_only: the right eye does not see it.
    """

    name: str
    camera: Camera
    stereo_depth_m: Array
    mono: Array
    true_depth_m: Array
    beyond_range: Array
    left_only: Array
    left_bgr: Array

    @property
    def known(self) -> Array:
        return np.isfinite(self.true_depth_m)


def distorted(inverse: Array, seed: int, spread_px: float) -> Array:
    """A mono map as a network might give it: bent, unevenly scaled, blurred and noisy truth.

    `inverse` is scaled so that 60 is near; the constants are those of the project's fixed benchmark.
    """
    random = np.random.default_rng(seed)
    n1, n2 = (_smooth_noise(random, inverse.shape, spread_px) for _ in range(2))
    mono = 7.0 * ((inverse / 60.0) ** 0.9 * (1.0 + 0.10 * n1) + 0.04 * n2)
    mono = cv2.GaussianBlur(mono, (0, 0), 1.5)
    return (mono + random.normal(0.0, 0.028, mono.shape) + 0.5).astype(np.float32)


def _smooth_noise(random: np.random.Generator, shape: tuple[int, ...], spread_px: float) -> Array:
    noise = cv2.GaussianBlur(random.standard_normal(shape), (0, 0), spread_px, borderType=cv2.BORDER_REFLECT)
    return noise / np.abs(noise).max()


@cache
def _motorcycle() -> tuple[Array, Array, Array, Array]:
    """Left and right picture, true disparity (px, NaN unknown), and the same filled by nearest neighbours."""
    left, right = (cv2.imread(str(MOTORCYCLE / f"motorcycle_{eye}.png")) for eye in ("left", "right"))
    truth = np.load(MOTORCYCLE / "motorcycle_disp.npz")["arr_0"].astype(np.float64)
    truth[~np.isfinite(truth)] = np.nan
    known = np.isfinite(truth)
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(labels.max() + 1)
    of_label[labels[known]] = truth[known]
    return left, right, truth, np.where(known, truth, of_label[labels])


def motorcycle(range_px: int, seeds: int) -> Iterator[Case]:
    """Middlebury Motorcycle with the matcher's range capped, and distorted truth as mono."""
    left, right, truth, filled = _motorcycle()
    camera = MOTORCYCLE_CAMERA
    matcher = StereoMatcher(camera, MatcherConfig(maximum_disparity_px=range_px))
    stereo = matcher.depth_m(left, right)
    true_depth_m = (camera.disparity_per_inverse_depth / truth).astype(np.float32)
    for seed in range(seeds):
        yield Case(
            f"motorcycle {range_px} px",
            camera,
            stereo.copy(),
            distorted(filled, seed, 90.0),
            true_depth_m,
            truth > range_px,
            np.zeros(truth.shape, bool),
            left,
        )


def virtual(scene: str, frames: int, seed: int = 0) -> Iterator[Case]:
    """A scene of the virtual camera, matched; each frame with the network's mono, and with distorted truth as mono."""
    config = VirtualCameraConfig(scene=scene, seed=seed, fps=1.5, real_time=False)
    source = VirtualCamera(config)
    matcher = StereoMatcher(source.camera, MatcherConfig())
    engine = open_engine(MonoConfig())
    engine.prepare(source.camera.height, source.camera.width)
    nearest_m = source.camera.disparity_per_inverse_depth / matcher.maximum_disparity_px
    try:
        for number in range(frames):
            frame = source.grab()
            truth = source.ground_truth_m.copy()
            stereo = matcher.depth_m(frame.left_bgr, frame.right_bgr).copy()
            monos = {"network": engine.infer(frame.left_bgr).copy(), "distorted": truth_as_mono(truth, number)}
            for kind, mono in monos.items():
                yield Case(
                    f"{scene}, {kind}",
                    source.camera,
                    stereo,
                    mono,
                    truth,
                    truth < nearest_m,
                    source.left_only.copy(),
                    frame.left_bgr.copy(),
                )
    finally:
        engine.close()
        source.close()


def truth_as_mono(true_depth_m: Array, seed: int) -> Array:
    inverse = np.where(np.isfinite(true_depth_m), 1.0 / true_depth_m, 0.0)
    return distorted(60.0 * inverse / np.percentile(inverse, 98), seed, 90.0 * true_depth_m.shape[1] / 741)


def all_cases(seeds: int, frames: int, scene_seed: int) -> Iterator[Case]:
    if MOTORCYCLE.is_dir():
        for range_px in (32, 40, 48, 64):
            yield from motorcycle(range_px, seeds)
    for scene in ("room", *TROUBLES):
        yield from virtual(scene, frames, scene_seed)


__all__ = ["ZED_2I", "Case", "all_cases", "distorted", "motorcycle", "virtual"]
