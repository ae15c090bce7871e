"""Coloured point clouds as binary PLY."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depthd.frame import Array, Camera, check_array

VERTEX = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("red", "u1"),
        ("green", "u1"),
        ("blue", "u1"),
        ("source", "u1"),
    ]
)
_PLY_TYPES = {"<f4": "float", "|u1": "uchar"}


def points_of(depth_m: Array, left_bgr: Array, source: Array, camera: Camera) -> Array:
    """One `VERTEX` per pixel that has depth, in row order.

    Coordinates are in metres in the left camera's frame: x right, y down, z along the optical axis.
    """
    size = (camera.height, camera.width)
    check_array("depth_m", depth_m, np.float32, size)
    check_array("left_bgr", left_bgr, np.uint8, (*size, 3))
    check_array("source", source, np.uint8, size)
    rows, columns = np.nonzero(np.isfinite(depth_m))
    depth = depth_m[rows, columns]
    vertices = np.empty(len(rows), VERTEX)
    vertices["x"] = (columns - camera.cx) / camera.fx * depth
    vertices["y"] = (rows - camera.cy) / camera.fy * depth
    vertices["z"] = depth
    for channel, name in enumerate(("blue", "green", "red")):
        vertices[name] = left_bgr[rows, columns, channel]
    vertices["source"] = source[rows, columns]
    return vertices


def ply_bytes(vertices: Array) -> bytes:
    """Vertices of dtype `VERTEX` as binary little-endian PLY 1.0."""
    return _header(vertices) + vertices.tobytes()


def write_ply(path: Path, vertices: Array) -> None:
    """Writes vertices of dtype `VERTEX` as binary little-endian PLY 1.0."""
    with path.open("wb") as file:
        file.write(_header(vertices))
        vertices.tofile(file)


def _header(vertices: Array) -> bytes:
    check_array("vertices", vertices, VERTEX, (len(vertices),))
    properties = "".join(f"property {_PLY_TYPES[VERTEX[name].str]} {name}\n" for name in VERTEX.names or ())
    return (
        "ply\nformat binary_little_endian 1.0\n"
        "comment x right, y down, z forward, in metres; source as in depthd.frame.Source\n"
        f"element vertex {len(vertices)}\n{properties}end_header\n"
    ).encode("ascii")
