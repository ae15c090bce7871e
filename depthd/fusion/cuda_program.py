"""What the CUDA fusion is compiled from, and the tables it reads. Needs no GPU."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from depthd.frame import Array
from depthd.fusion.parameters import GRID_COLUMNS, Parameters
from depthd.fusion.reference import WIDE_PASSES
from depthd.paths import KERNELS_DIR

BLOCKS = 16
"""Of the fit; what one cluster can hold at most."""
THREADS = 512
MERGE_THREADS = CELL_THREADS = 256
MEMORY_BLOCKS = 32
STRIP_GRID_ROWS_LIMIT = 8
"""More would not fit into a block's shared memory; only pictures far higher than wide need it."""

PLACE = np.dtype([("index", "i4"), ("part", "f4")])
SETTINGS_FIELDS = (
    "stereo_noise", "stereo_inverse_minimum", "stereo_inverse_maximum", "inverse_minimum", "inverse_maximum",
    "gate_sigmas", "gate_minimum", "far_claim_factor", "near_claim_factor", "memory_decay", "alignment_decay",
    "minimum_inlier_share", "minimum_agreement", "minimum_significance", "independent_share",
)  # fmt: skip
SETTINGS = np.dtype(
    [(name, "f8") for name in SETTINGS_FIELDS] + [("maximum_age_frames", "i4"), ("mono_kind", "i4")]
)
LINE_FIELDS = (
    "scale", "shift", "noise", "inlier_share", "agreement", "significance", "pearson_r", "value_variance",
    "scale_variance", "pivot",
)  # fmt: skip
RESULT = np.dtype(
    [(name, "f8") for name in LINE_FIELDS]
    + [(name, "i4") for name in ("status", "sample_count", "age_frames", "unused")]
    + [("pixels_per_source", "u4", (6,)), ("padding", "u4", (2,))]
)


def source(folder: Path = KERNELS_DIR) -> str:
    """kernels/fusion.cu as one text, every file it includes put in its place. So the text alone says what is compiled."""
    return _inlined(folder / "fusion.cu", folder)


def _inlined(path: Path, folder: Path) -> str:
    text = path.read_text().replace("#pragma once\n", "")
    return re.sub(r'^#include "(.+)"$', lambda found: _inlined(folder / found[1], folder), text, flags=re.M)


def defines(p: Parameters, cluster: bool) -> tuple[str, ...]:
    """The sizes that are constants of the compiled program."""
    values = {
        "WIDTH": p.width,
        "HEIGHT": p.height,
        "CELL_PX": p.cell_px,
        "COLUMNS": p.columns,
        "ROWS": p.rows,
        "GRID_ROWS": p.grid_rows,
        "BLOCKS": BLOCKS,
        "THREADS": THREADS,
        "CLUSTER": int(cluster),
        "STRIP_GRID_ROWS": strip_grid_rows(p),
    }
    return tuple(f"-D{name}={value}" for name, value in values.items())


def strip_grid_rows(p: Parameters) -> int:
    """Rows of nodes that the cells of one block touch, at most."""
    count = p.rows * p.columns
    per_block = -(-count // BLOCKS)
    rows = [
        (min(first, count - 1) // p.columns, min(first + per_block - 1, count - 1) // p.columns)
        for first in range(0, BLOCKS * per_block, per_block)
    ]
    nodes = [(_node(first, p), _node(last, p) + 1) for first, last in rows]
    return max(last - first + 1 for first, last in nodes)


def _node(row: int, p: Parameters) -> int:
    return int((row + 0.5) / p.grid_step)


def cell_grid(p: Parameters) -> int:
    """Blocks of the kernel fusion_cells; the span of a block is that of kernels/cuda/cells.cuh."""
    span = CELL_THREADS // p.cell_px if p.cell_px < CELL_THREADS else 1
    return p.rows * -(-p.columns // span)


def merge_grid(p: Parameters) -> int:
    """Blocks of the kernel fusion_merge; the span of a block is that of kernels/cuda/merge.cuh."""
    span = 4 if p.cell_px >= 64 else (256 // p.cell_px + 3) // 4 * 4
    return MEMORY_BLOCKS + p.rows * -(-p.columns // span)


def places(size: int, small_size: int) -> Array:
    """PLACE (size,): where the centres of `size` pixels lie between those of `small_size`, edges repeated."""
    position = np.clip((np.arange(size) + 0.5) * (small_size / size) - 0.5, 0, small_size - 1)
    return _as_places(position)


def _as_places(position: Array) -> Array:
    table = np.empty(len(position), PLACE)
    table["index"] = position.astype(int)
    table["part"] = position - position.astype(int)
    return table


def tables(p: Parameters) -> bytes:
    """`Tables` of kernels/cuda/state.cuh."""
    grid_x = _as_places((np.arange(p.columns) + 0.5) / p.grid_step)
    grid_y = _as_places((np.arange(p.rows) + 0.5) / p.grid_step)
    wide = (_wide_taps(GRID_COLUMNS + 1), _wide_taps(p.grid_rows))
    return b"".join(table.tobytes() for table in (grid_x, grid_y, *wide))


def _wide_taps(count: int) -> Array:
    """float32 (count, 2 * WIDE_PASSES + 1): what each place takes of its neighbours in WIDE_PASSES passes of [1 2 1] / 4, with
    nothing beyond the ends at any pass."""
    reach = WIDE_PASSES
    taps = np.zeros((count, 2 * reach + 1), np.float32)
    window = 4 * reach + 1
    for place in range(count):
        first = max(0, place - 2 * reach)
        line = np.zeros(min(count, first + window) - first)
        line[place - first] = 1.0
        for _ in range(reach):
            padded = np.pad(line, 1)
            line = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
        for tap in range(-reach, reach + 1):
            if 0 <= place + tap < count:
                taps[place, tap + reach] = line[place + tap - first]
    return taps


def settings(p: Parameters) -> Array:
    """SETTINGS (): what may change without another program."""
    record = np.zeros((), SETTINGS)
    for name in SETTINGS.names or ():
        record[name] = getattr(p, name)
    return record


def largest_sample_sum(p: Parameters) -> float:
    """The histogram's 32-bit counts must hold all weights of one block: WEIGHT_UNITS in kernels/cuda/reductions.cuh."""
    return math.ceil(p.rows * p.columns / BLOCKS) * 2.5
