"""Calibration and pictures from files, checked: each kind of bad file ends in one clear line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthd.errors import UsageError
from depthd.frame import Camera

KEYS = ("width", "height", "fx", "fy", "cx", "cy", "baseline")
"""camera.json: sizes, focal lengths and centre in pixels, baseline in mm; optional `doffs` in pixels."""


def load_camera(path: Path) -> Camera:
    """Reads a camera.json. Raises UsageError."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"the camera file {path} cannot be read ({error.strerror or error})", "give a camera.json"
        ) from error
    except ValueError as error:
        raise UsageError(f"the camera file {path} is not JSON ({error})", f"write {_EXAMPLE}") from error
    if not isinstance(values, dict):
        raise UsageError(f"the camera file {path} holds no JSON object", f"write {_EXAMPLE}")
    missing = [key for key in KEYS if key not in values]
    if missing:
        raise UsageError(f"the camera file {path} lacks {', '.join(missing)}", f"write {_EXAMPLE}")
    unknown = sorted(set(values) - {*KEYS, "doffs"})
    if unknown:
        raise UsageError(f"the camera file {path} has unknown keys: {', '.join(unknown)}", "remove them")
    numbers = {key: _number(path, key, values[key]) for key in values}
    for key in ("width", "height", "fx", "fy", "baseline"):
        if numbers[key] <= 0:
            raise UsageError(f"{key} in {path} is {values[key]}", f"give a {key} above 0{_UNITS.get(key, '')}")
    for key in ("width", "height"):
        if numbers[key] != int(numbers[key]):
            raise UsageError(f"{key} in {path} is {values[key]}", f"give {key} as whole pixels")
    return Camera(
        width=int(numbers["width"]),
        height=int(numbers["height"]),
        fx=numbers["fx"],
        fy=numbers["fy"],
        cx=numbers["cx"],
        cy=numbers["cy"],
        baseline_m=numbers["baseline"] / 1000,
        doffs_px=numbers.get("doffs", 0.0),
    )


def camera_json(camera: Camera) -> str:
    """The text of the camera.json that `load_camera` reads back."""
    values: dict[str, float] = {
        "width": camera.width,
        "height": camera.height,
        "fx": camera.fx,
        "fy": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "baseline": camera.baseline_m * 1000,
    }
    if camera.doffs_px:
        values["doffs"] = camera.doffs_px
    return json.dumps(values) + "\n"


def load_picture(path: Path) -> NDArray[np.uint8]:
    """uint8 (height, width, 3) BGR. Raises UsageError."""
    if not path.is_file():
        raise UsageError(f"there is no picture {path}", "check the path")
    picture: Any = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise UsageError(f"{path} is not a picture that OpenCV can read", "give a PNG or JPEG file")
    return picture


def load_pair(left: Path, right: Path, camera: Camera) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Left and right picture of this camera, uint8 (height, width, 3) BGR. Raises UsageError."""
    pictures = load_picture(left), load_picture(right)
    sizes = [f"{picture.shape[1]}x{picture.shape[0]}" for picture in pictures]
    if sizes[0] != sizes[1]:
        raise UsageError(f"{left} is {sizes[0]}, but {right} is {sizes[1]}", "give two pictures of the same size")
    return _of_camera(left, pictures[0], camera), pictures[1]


def load_left(path: Path, camera: Camera) -> NDArray[np.uint8]:
    """The left picture alone, as `load_pair`. Raises UsageError."""
    return _of_camera(path, load_picture(path), camera)


def load_depth(path: Path, camera: Camera) -> NDArray[np.float32]:
    """float32 (height, width) in metres from a .npy file, or the only array of a .npz; NaN, -inf and +inf as
    in depthd.frame. Raises UsageError.
    """
    try:
        depth = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UsageError(
            f"the depth map {path} cannot be read ({error.strerror or error})", "check the path"
        ) from error
    except (ValueError, EOFError) as error:
        raise UsageError(f"{path} is not a .npy file", "give a float32 array as numpy.save writes it") from error
    wanted = (camera.height, camera.width)
    if isinstance(depth, np.lib.npyio.NpzFile) and len(depth.files) == 1:
        depth = depth[depth.files[0]]
    if not isinstance(depth, np.ndarray) or depth.dtype != np.float32 or depth.shape != wanted:
        found = f"{depth.dtype} {depth.shape}" if isinstance(depth, np.ndarray) else "an archive of several arrays"
        raise UsageError(f"the depth map {path} is {found}", f"give float32 {wanted} in metres")
    if ((depth <= 0) & (depth != -np.inf)).any():
        raise UsageError(
            f"the depth map {path} has values of 0 or less",
            "mark missing depth with NaN (unmatched), -inf (too near) or inf (too far)",
        )
    return depth


def _of_camera(path: Path, picture: NDArray[np.uint8], camera: Camera) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise UsageError(
            f"{path} is {width}x{height}, but the camera file is for {camera.width}x{camera.height}",
            "give the camera file of these pictures",
        )
    return picture


def _number(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{key} in {path} is {value!r}", f"give {key} as a number")
    if not math.isfinite(value):
        raise UsageError(f"{key} in {path} is {value}", f"give {key} as a finite number")
    return float(value)


_EXAMPLE = '{"width": 672, "height": 376, "fx": 267.0, "fy": 267.0, "cx": 339.9, "cy": 193.2, "baseline": 120.0}'
_UNITS = {"baseline": " in mm"}
