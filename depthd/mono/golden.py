"""The golden check: an engine must give what ONNX Runtime gives for the same model, or it is not trusted.

Three fixed pictures go through the model in float32 in ONNX Runtime once, when the engine is built; the maps
are stored beside the engine, and its own output is compared with them after the build and at every start.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthd.frame import Array
from depthd.mono.model import Model
from depthd.mono.preprocess import Preprocessor

LARGEST_ERROR = {"fp32": 1e-3, "fp16": 2e-2}
"""Relative L2 distance that each precision may be off."""
SMALLEST_DIFFERENCE = 1e-2
"""Relative L2 distance below which the maps of two different pictures count as the same."""


@dataclass(frozen=True)
class GoldenResult:
    """What the check found; `failure` is empty if the engine is right."""

    worst_error: float
    failure: str


def golden_inputs(model: Model, height: int, width: int) -> list[Array]:
    """The three pictures as the network takes them: float32 (1, 3, height, width)."""
    inputs = []
    for picture in golden_pictures(height, width):
        preprocessor = Preprocessor(model.card, height, width, height, width)
        inputs.append(preprocessor.run(picture))
    return inputs


def golden_pictures(height: int, width: int) -> list[Array]:
    """Three uint8 (height, width, 3) pictures that every machine makes bit by bit alike: integers only.

    A chequered floor with boxes standing on it, overlapping disks, and coarse noise over a ramp.
    """
    rows, columns = np.mgrid[0:height, 0:width].astype(np.int64)
    return [
        _floor(rows, columns, height, width),
        _disks(rows, columns, height, width),
        _noise(rows, columns, height),
    ]


def reference_maps(model: Model, height: int, width: int, threads: int = 0) -> list[Array]:
    """What ONNX Runtime gives for the golden inputs, float32 (h, w) each. Raises DepthdError."""
    from depthd.mono.onnx import run_once

    return run_once(model, golden_inputs(model, height, width), threads)


def save_maps(path: Path, maps: list[Array]) -> None:
    """Writes the maps; the caller renames the file into place."""
    with path.open("wb") as file:
        np.savez_compressed(file, *maps)


def load_maps(path: Path) -> list[Array]:
    """Reads what `save_maps` wrote. Raises ValueError or OSError."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[name] for name in stored.files]
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from None


def check(infer: Callable[[Array], Array], inputs: list[Array], expected: list[Array], precision: str) -> GoldenResult:
    """Runs the engine on the golden inputs and compares. `infer` may reuse its output array."""
    found = [np.array(infer(one), np.float32).reshape(want.shape) for one, want in zip(inputs, expected, strict=True)]
    return compare(found, expected, precision)


def compare(found: list[Array], expected: list[Array], precision: str) -> GoldenResult:
    """Judges an engine's maps: finite, near the expected ones, and different for different pictures."""
    if not all(np.isfinite(one).all() for one in found):
        return GoldenResult(float("nan"), "it gives values that are not finite")
    errors = [relative_distance(one, want) for one, want in zip(found, expected, strict=True)]
    worst = max(errors)
    if worst > LARGEST_ERROR[precision]:
        return GoldenResult(
            worst,
            f"it is off by {worst:.2g} (relative L2) where {precision} may be {LARGEST_ERROR[precision]:g}",
        )
    for first, second in ((0, 1), (1, 2), (2, 0)):
        must_differ = relative_distance(expected[first], expected[second]) > SMALLEST_DIFFERENCE
        if must_differ and relative_distance(found[first], found[second]) <= SMALLEST_DIFFERENCE:
            return GoldenResult(worst, "it gives the same map for different pictures")
    return GoldenResult(worst, "")


def relative_distance(found: Array, expected: Array) -> float:
    """|found - expected| / |expected|, Euclidean; infinite where expected is zero and found is not."""
    size = float(np.linalg.norm(expected.astype(np.float64)))
    distance = float(np.linalg.norm(found.astype(np.float64) - expected))
    return distance / size if size else (0.0 if distance == 0.0 else float("inf"))


def _floor(rows: Array, columns: Array, height: int, width: int) -> Array:
    horizon = height // 3
    below = np.maximum(rows - horizon, 1)
    depth = 64 * height // below
    across = (columns - width // 2) * depth // max(width, 1)
    tiles = ((across // 8 + depth // 24) % 2) * 90 + 80
    wall = 200 - rows * 60 // height
    grey = np.where(rows > horizon, tiles, wall)
    picture = np.stack([grey, grey * 7 // 8, grey * 3 // 4], axis=-1)
    for index, (left, top, side) in enumerate(((10, 40, 18), (45, 50, 26), (76, 36, 14))):
        inside = (columns * 100 // width >= left) & (columns * 100 // width < left + side)
        inside &= (rows * 100 // height >= top) & (rows * 100 // height < top + 2 * side)
        shade = 60 + 40 * index + (columns * 100 // width - left) * 3
        picture[inside] = np.stack([shade, 255 - shade, shade // 2], axis=-1)[inside]
    return np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8))


def _disks(rows: Array, columns: Array, height: int, width: int) -> Array:
    picture = np.zeros((height, width, 3), np.int64) + np.array([90, 70, 50])
    for index in range(12):
        centre_row = height * (13 + 37 * index % 89) // 100
        centre_column = width * (7 + 53 * index % 97) // 100
        radius = min(height, width) * (6 + index) // 60
        squared = (rows - centre_row) ** 2 + (columns - centre_column) ** 2
        shade = 255 - squared * 150 // max(radius * radius, 1)
        colour = np.stack([shade, shade * (5 + index % 4) // 9, shade * (9 - index % 5) // 9], axis=-1)
        inside = squared < radius * radius
        picture[inside] = colour[inside]
    return np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8))


def _noise(rows: Array, columns: Array, height: int) -> Array:
    """A hash of the coarse position: random generators may change between versions of NumPy."""
    channels = []
    for channel in range(3):
        mixed = (rows // 6) * 73_856_093 ^ (columns // 6) * 19_349_663 ^ (channel + 1) * 83_492_791
        channels.append((mixed >> 5) % 96 + rows * 150 // height)
    return np.ascontiguousarray(np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8))
