"""Whether a sphere is seen as a sphere and a plane as a plane, where half of their stereo is missing."""

from __future__ import annotations

import numpy as np

from depthd.cameras.matcher import StereoMatcher
from depthd.cameras.virtual import VirtualCamera
from depthd.config import MatcherConfig, VirtualCameraConfig
from depthd.frame import Array, Camera
from quality.cases import Case, truth_as_mono
from quality.methods import METHODS

SPHERE_SCENE, SPHERE_RADIUS_M = "mirror_floor", 0.25
FRAMES, FPS = 5, 1.5


def shape_scores(seed: int) -> dict[str, dict[str, float]]:
    """Method -> column. sphere_radius: relative error of the best sphere's radius; sphere_rms, plane_rms: distance to
    the best sphere or plane over the distance to the camera; normal_deg: tilt of the best plane."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
    for case, inside in _cases(SPHERE_SCENE, "sphere", seed):
        for name, method in METHODS.items():
            rows[name].append(_sphere(case, method(case).depth_m, inside))
    for case, inside in _cases("one_plane", "wall", seed):
        hole = inside & ~np.isfinite(case.stereo_depth_m)
        for name, method in METHODS.items():
            rows[name].append(_plane(case, method(case).depth_m, hole))
    return {
        name: {column: _mean([row[column] for row in found if column in row]) for column in COLUMNS}
        for name, found in rows.items()
    }


COLUMNS = ("sphere_radius", "sphere_rms", "plane_rms", "normal_deg")


def _mean(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _cases(scene: str, thing: str, seed: int) -> list[tuple[Case, Array]]:
    """Frames with distorted truth as mono. Stereo is missing in a rectangle of half its width and height."""
    source = VirtualCamera(VirtualCameraConfig(scene=scene, seed=seed, fps=FPS, real_time=False))
    matcher = StereoMatcher(source.camera, MatcherConfig())
    cases = []
    try:
        for number in range(FRAMES):
            frame = source.grab()
            truth, inside = source.ground_truth_m.copy(), source.mask(thing).copy()
            stereo = matcher.depth_m(frame.left_bgr, frame.right_bgr).copy()
            rows, columns = (np.percentile(place, (25, 75)).astype(int) for place in np.nonzero(inside))
            stereo[slice(*rows), slice(*columns)] = np.nan
            nothing = np.zeros(truth.shape, bool)
            mono = truth_as_mono(truth, number)
            cases.append((Case(thing, source.camera, stereo, mono, truth, nothing, nothing, frame.left_bgr), inside))
    finally:
        source.close()
    return cases


def _points(camera: Camera, depth_m: Array, where: Array) -> Array:
    rows, columns = np.nonzero(where & np.isfinite(depth_m))
    z = depth_m[rows, columns].astype(float)
    return np.stack([(columns - camera.cx) / camera.fx * z, (rows - camera.cy) / camera.fy * z, z], 1)


def _sphere(case: Case, depth_m: Array, inside: Array) -> dict[str, float]:
    points = _points(case.camera, depth_m, inside)
    if len(points) < 100:
        return {}
    centre, radius = _best_sphere(points)
    away = np.linalg.norm(points - centre, axis=1) - radius
    distance = np.linalg.norm(points, axis=1).mean()
    return {
        "sphere_radius": abs(radius / SPHERE_RADIUS_M - 1.0),
        "sphere_rms": float(np.sqrt((away**2).mean()) / distance),
    }


def _best_sphere(points: Array) -> tuple[Array, float]:
    """|p|² = 2 c·p + (r² - |c|²), by least squares."""
    matrix = np.column_stack([2.0 * points, np.ones(len(points))])
    *centre, rest = np.linalg.lstsq(matrix, (points**2).sum(1), rcond=None)[0]
    return np.array(centre), float(np.sqrt(max(rest + np.dot(centre, centre), 0.0)))


def _plane(case: Case, depth_m: Array, hole: Array) -> dict[str, float]:
    points, true_points = _points(case.camera, depth_m, hole), _points(case.camera, case.true_depth_m, hole)
    if len(points) < 100:
        return {}
    (normal, away), (true_normal, _) = _best_plane(points), _best_plane(true_points)
    distance = np.linalg.norm(points, axis=1).mean()
    cosine = min(abs(float(normal @ true_normal)), 1.0)
    return {
        "plane_rms": float(np.sqrt((away**2).mean()) / distance),
        "normal_deg": float(np.degrees(np.arccos(cosine))),
    }


def _best_plane(points: Array) -> tuple[Array, Array]:
    centred = points - points.mean(0)
    normal = np.linalg.svd(centred, full_matrices=False)[2][2]
    return normal, centred @ normal
