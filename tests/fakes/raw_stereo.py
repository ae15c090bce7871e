"""Unrectified pictures of a plane, as two real lenses with known distortion and bad alignment see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from depthd.cameras.calibration import StereoCalibration

Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]
SUPERSAMPLING = 3


def bad_lenses(width: int = 672, height: int = 376, fisheye: bool = False) -> StereoCalibration:
    """About a ZED's raw geometry at this size: different focal lengths, barrel distortion, a turned right
    eye.
    """
    focal = 0.54 * width
    left = np.array([[focal, 0, width * 0.507], [0, focal * 1.001, height * 0.512], [0, 0, 1]])
    right = np.array([[focal * 1.003, 0, width * 0.494], [0, focal * 1.004, height * 0.491], [0, 0, 1]])
    plain = (
        np.array([-0.042, 0.011, 0.0004, -0.0003, -0.005]),
        np.array([-0.040, 0.010, -0.0002, 0.0005, -0.004]),
    )
    round_ = np.array([-0.01, 0.004, -0.002, 0.0005]), np.array([-0.009, 0.003, -0.001, 0.0004])
    left_distortion, right_distortion = round_ if fisheye else plain
    rotation = np.asarray(cv2.Rodrigues(np.array([0.004, 0.006, -0.003]))[0])
    translation = np.array([-0.1199, 0.0006, -0.0009])
    return StereoCalibration(
        width, height, left, right, left_distortion, right_distortion, rotation, translation, fisheye
    )


def photograph(c: StereoCalibration, normal: np.ndarray, distance: float, pattern: Pattern) -> np.ndarray:
    """Both eyes side by side, uint8 (height, 2 * width, 3): the plane normal·p = distance in the left eye's
    axes, whose grey (0..1) is pattern(x, y) of the point in metres.
    """
    eyes = []
    for intrinsics, distortion, rotation, translation in (
        (c.left, c.left_distortion, np.eye(3), np.zeros(3)),
        (c.right, c.right_distortion, c.rotation, c.translation_m),
    ):
        origin, total = -rotation.T @ translation, np.zeros((c.height, c.width))
        steps = (np.arange(SUPERSAMPLING) - (SUPERSAMPLING - 1) / 2) / SUPERSAMPLING
        for dy in steps:
            for dx in steps:
                rows, columns = np.indices((c.height, c.width), np.float64)
                pixels = np.stack([columns + dx, rows + dy], -1).reshape(-1, 1, 2)
                if c.fisheye:
                    flat = cv2.fisheye.undistortPoints(pixels, intrinsics, distortion)
                else:
                    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-10)
                    flat = cv2.undistortPoints(pixels, intrinsics, distortion, criteria=criteria)
                ray = np.concatenate([flat.reshape(-1, 2), np.ones((len(pixels), 1))], 1) @ rotation
                t = (distance - normal @ origin) / (ray @ normal)
                point = origin + t[:, None] * ray
                total += pattern(point[:, 0], point[:, 1]).reshape(c.height, c.width)
        eyes.append(total / SUPERSAMPLING**2)
    grey = np.clip(np.concatenate(eyes, 1) * 255, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2)


def checkerboard(square_m: float, columns: int, rows: int) -> Pattern:
    """Centred on the axis, with a white rim. Edges are as soft as a lens draws them: sharp ones have no exact
    place on a grid of pixels, and corners would be found to a sixth of a pixel only.
    """

    def wave(t: np.ndarray) -> np.ndarray:
        return np.tanh(np.sin(np.pi * t) / (0.05 * np.pi))

    def pattern(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = x / square_m + columns / 2, y / square_m + rows / 2
        inside = (u > 0) & (u < columns) & (v > 0) & (v < rows)
        return np.where(inside, 0.5 - 0.42 * wave(u) * wave(v), 0.92)

    return pattern


def speckles(seed: int = 0, cell_m: float = 0.004) -> Pattern:
    table = np.random.default_rng(seed).random((256, 256))
    table = cv2.GaussianBlur(np.tile(table, (3, 3)), (0, 0), 1.2)[256:512, 256:512]
    table = np.clip((table - table.mean()) / table.std() * 0.22 + 0.5, 0, 1)

    def pattern(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = x / cell_m, y / cell_m
        u0, v0 = np.floor(u).astype(int), np.floor(v).astype(int)
        fu, fv = u - u0, v - v0
        corner = [table[(v0 + j) % 256, (u0 + i) % 256] for j in (0, 1) for i in (0, 1)]
        return (corner[0] * (1 - fu) + corner[1] * fu) * (1 - fv) + (corner[2] * (1 - fu) + corner[3] * fu) * fv

    return pattern


def write_zed_conf(path: Path, c: StereoCalibration, generation: str) -> Path:
    """generation "new": mode suffixes, plain TY and TZ; "suffixed": TY_X; "old": RESOLUTION_ names and
    BaseLine.
    """
    mode = {2208: "2K", 1920: "FHD", 1280: "HD", 672: "VGA"}[c.width]
    mode = f"RESOLUTION_{mode}" if generation == "old" else mode
    lines = []
    for side, k, d in (("LEFT", c.left, c.left_distortion), ("RIGHT", c.right, c.right_distortion)):
        lines += [f"[{side}_CAM_{mode}]", f"fx={k[0, 0]}", f"fy={k[1, 1]}", f"cx={k[0, 2]}", f"cy={k[1, 2]}"]
        lines += [f"{name}={value}" for name, value in zip(("k1", "k2", "p1", "p2", "k3"), d, strict=True)]
    turn = np.asarray(cv2.Rodrigues(c.rotation)[0]).ravel()
    x, y, z = c.translation_m * 1000
    suffix = f"_{mode}" if generation == "suffixed" else ""
    lines += ["[STEREO]", f"{'BaseLine' if generation == 'old' else 'Baseline'}={-x}"]
    lines += [f"TY{suffix}={y}", f"TZ{suffix}={z}"]
    lines += [f"RX_{mode}={turn[0]}", f"CV_{mode}={turn[1]}", f"RZ_{mode}={turn[2]}"]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_opencv_yaml(path: Path, c: StereoCalibration, unit_m: float = 0.001) -> Path:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.startWriteStruct("Size", cv2.FileNode_SEQ)
    storage.write("", c.width)
    storage.write("", c.height)
    storage.endWriteStruct()
    matrices = {
        "K_LEFT": c.left,
        "K_RIGHT": c.right,
        "D_LEFT": c.left_distortion,
        "D_RIGHT": c.right_distortion,
    }
    for name, matrix in {**matrices, "R": c.rotation, "T": c.translation_m / unit_m}.items():
        storage.write(name, np.asarray(matrix))
    storage.release()
    return path
