"""Point clouds in the two formats that other tools read: PLY and PCD, both binary.

Open3D writes them where it is installed, and the small writers here where it is not: the same points with the same
fields in the same order.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from depthd.errors import UsageError
from depthd.export.ply import points_of, write_ply
from depthd.files import written_whole
from depthd.frame import Array
from depthd.saved import SavedFrame

PCD_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("source", "u1")])


def write_cloud(path: Path, frame: SavedFrame, which: str) -> int:
    """Writes the 'fused' or 'stereo' cloud in the format of the suffix; returns its points.

    Raises DepthdError.
    """
    if path.suffix not in (".ply", ".pcd"):
        raise UsageError(f"{path} is neither .ply nor .pcd", "name a file of one of these")
    depth_m = np.where(np.isfinite(frame.depth_of(which)), frame.depth_of(which), np.float32(np.nan))
    vertices = points_of(depth_m, frame.picture, frame.sources, frame.camera)
    with written_whole(path) as part:
        if len(vertices) and _open3d_wrote(part, vertices):
            pass
        elif path.suffix == ".ply":
            write_ply(part, vertices)
        else:
            part.write_bytes(pcd_bytes(vertices))
    return len(vertices)


def _open3d_wrote(part: Path, vertices: Array) -> bool:
    """False where Open3D is not installed, or cannot write there."""
    try:
        open3d: Any = import_module("open3d").t
    except ImportError:
        return False
    cloud = open3d.geometry.PointCloud()
    cloud.point.positions = np.stack([vertices[name] for name in ("x", "y", "z")], axis=1)
    cloud.point.colors = np.stack([vertices[name] for name in ("red", "green", "blue")], axis=1)
    cloud.point.source = np.ascontiguousarray(vertices["source"])[:, None]
    return bool(open3d.io.write_point_cloud(str(part), cloud))


def pcd_bytes(vertices: Array) -> bytes:
    """Vertices of dtype `VERTEX` as binary PCD 0.7, as the Point Cloud Library documents it; rgb packed
    in 32 bits.
    """
    points = np.empty(len(vertices), PCD_POINT)
    for name in ("x", "y", "z", "source"):
        points[name] = vertices[name]
    red, green, blue = (vertices[name].astype(np.uint32) for name in ("red", "green", "blue"))
    points["rgb"] = (red << 16) | (green << 8) | blue
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z rgb source\nSIZE 4 4 4 4 1\n"
        f"TYPE F F F U U\nCOUNT 1 1 1 1 1\nWIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
        f"POINTS {len(points)}\nDATA binary\n"
    )
    return header.encode("ascii") + points.tobytes()
