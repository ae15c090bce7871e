"""The frame seen from elsewhere: a new viewpoint, and a swaying animation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from depthd.errors import DepthdError
from depthd.files import written_whole
from depthd.frame import Array, Camera
from depthd.geometry import points_of
from depthd.saved import SavedFrame

PICTURES = 36
PICTURE_MS = 60
WIDEST_PX = 640


def seen_from(frame: SavedFrame, eye_m: Array, target_m: Array) -> Array:
    """uint8 BGR of the camera's size, from a camera at `eye_m` that looks at `target_m`; black where nothing
    is seen.

    Points are drawn as squares as large as a pixel becomes, nearest last.
    """
    camera = frame.camera
    points = points_of(frame.depth_m, camera).reshape(-1, 3)
    known = np.isfinite(points[:, 2])
    colours = frame.picture.reshape(-1, 3)[known]
    points = (points[known] - eye_m) @ _looking(eye_m, target_m).T
    ahead = points[:, 2] > 0.05
    points, colours = points[ahead], colours[ahead]
    order = np.argsort(-points[:, 2])
    points, colours = points[order], colours[order]
    columns = np.rint(points[:, 0] / points[:, 2] * camera.fx + camera.cx).astype(int)
    rows = np.rint(points[:, 1] / points[:, 2] * camera.fy + camera.cy).astype(int)
    return _splatted(columns, rows, colours, camera)


def _splatted(columns: Array, rows: Array, colours: Array, camera: Camera) -> Array:
    picture = np.zeros((camera.height, camera.width, 3), np.uint8)
    # Neighbours first and the point itself last, so that no neighbour's edge covers what was hit.
    for right, down in ((1, 1), (0, 1), (1, 0), (0, 0)):
        x, y = columns + right, rows + down
        inside = (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
        picture[y[inside], x[inside]] = colours[inside]
    return picture


def _looking(eye_m: Array, target_m: Array) -> Array:
    """Rotation whose rows are the new camera's right, down and forward."""
    forward = (target_m - eye_m) / np.linalg.norm(target_m - eye_m)
    right = np.cross(np.array([0.0, 1.0, 0.0]), forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def middle_of(frame: SavedFrame) -> Array:
    """The point that the animation turns round: the median depth on the optical axis."""
    known = frame.depth_m[np.isfinite(frame.depth_m)]
    if known.size == 0:
        raise DepthdError("this frame has no depth", "take another one")
    return np.array([0.0, 0.0, float(np.median(known))])


def write_gif(path: Path, frame: SavedFrame, sway_degrees: float) -> None:
    """An endless animation that sways by `sway_degrees` to each side. Raises DepthdError."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise DepthdError("animations need Pillow", "pip install 'depthd[viz]'") from None
    small = _shrunk(frame)
    target = middle_of(small)
    pictures = []
    for i in range(PICTURES):
        angle = math.radians(sway_degrees) * math.sin(2 * math.pi * i / PICTURES)
        lift = 0.4 * math.radians(sway_degrees) * math.cos(2 * math.pi * i / PICTURES)
        eye = target + target[2] * np.array([math.sin(angle), -math.sin(lift), -math.cos(angle)])
        picture = seen_from(small, eye, target)
        pictures.append(Image.fromarray(picture[..., ::-1]).quantize(128))
    with written_whole(path) as part:
        pictures[0].save(part, format="GIF", save_all=True, append_images=pictures[1:], duration=PICTURE_MS, loop=0)


def _shrunk(frame: SavedFrame) -> SavedFrame:
    """At most WIDEST_PX wide: an animation of full size has tens of megabytes."""
    step = -(-frame.camera.width // WIDEST_PX)
    if step == 1:
        return frame
    import cv2

    depth_m = np.ascontiguousarray(frame.depth_m[step // 2 :: step, step // 2 :: step])
    height, width = depth_m.shape
    picture = cv2.resize(frame.picture, (width, height), interpolation=cv2.INTER_AREA)
    return SavedFrame(frame.camera.scaled_to(width, height), depth_m, left_bgr=picture)
