"""Surface normals as arrays and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depthd.export.panels import write_picture
from depthd.files import written_whole
from depthd.frame import Array


def normals_picture(normals: Array) -> Array:
    """float32 (height, width, 3) -> uint8 BGR: x right is red, y up is green, towards the camera is blue."""
    red, green, blue = normals[..., 0], -normals[..., 1], -normals[..., 2]
    colours = 0.5 + 0.5 * np.stack([blue, green, red], axis=-1)
    return (255 * np.nan_to_num(colours)).astype(np.uint8)


def write_normals(path: Path, normals: Array) -> None:
    """.npy: as they are; any other suffix: a picture. Raises DepthdError."""
    with written_whole(path) as part:
        if path.suffix == ".npy":
            np.save(part, normals)
        else:
            write_picture(part, normals_picture(normals))
