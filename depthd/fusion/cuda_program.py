"""What the CUDA fusion is compiled from, and the tables it reads. Needs no GPU."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from depthd.frame import Array
from depthd.fusion.parameters import Parameters
from depthd.fusion.reference import WIDE_PASSES
from depthd.paths import KERNELS_DIR

BLOCKS = 16
"""Of the fit; what one cluster can hold at most."""
THREADS = 512
CLUSTERS = 4
"""That look for where to start, each with a part of the hypotheses; one goes on."""
CELL_THREADS = 128
STEADY_THREADS = MERGE_THREADS = POINT_THREADS = 256
STEADY_PX = 4 * STEADY_THREADS
"""Pixels of the network's map that a block takes."""
MEMORY_BLOCKS = 64
OPTIONS = ("--std=c++17", "--prec-div=false", "--prec-sqrt=false")
"""Of the compiler: divisions and roots to within two units in the last place, which is a few instructions each."""
TilesOfNodes = list[list[tuple[int, int]]]
"""For each node along one axis: the tiles that have cells near it, as (tile, its first node)."""
PLACE = np.dtype([("index", "i4"), ("part", "f4")])
SETTINGS_FIELDS = (
    "stereo_noise", "stereo_inverse_minimum", "stereo_inverse_maximum", "inverse_minimum", "inverse_maximum",
    "gate_sigmas", "gate_minimum", "far_claim_factor", "near_claim_factor", "solid_claim_factor", "whole_claim_factor",
    "mono_decay", "memory_decay", "alignment_decay", "minimum_inlier_share", "minimum_agreement",
    "minimum_significance", "independent_share",
)  # fmt: skip
SETTINGS = np.dtype([(name, "f8") for name in SETTINGS_FIELDS] + [("maximum_age_frames", "i4"), ("mono_kind", "i4")])
LINE_FIELDS = (
    "scale", "shift", "noise", "inlier_share", "significance", "pearson_r", "value_variance",
    "scale_variance", "pivot",
)  # fmt: skip
RESULT = np.dtype(
    [(name, "f8") for name in LINE_FIELDS]
    + [(name, "i4") for name in ("status", "sample_count", "age_frames", "unused")]
    + [("pixels_per_source", "u4", (6,)), ("padding", "u4", (2,))]
)


def unpack_result(record: Array) -> tuple[dict[str, float], int, int, int, tuple[int, ...]]:
    """One record RESULT: the line's numbers by name, status, sample_count, age_frames, pixels_per_source. All at once,
    which is several times as fast as field by field, on the way of every frame."""
    values = record.item()
    status, sample_count, age_frames, _, pixels, _ = values[len(LINE_FIELDS) :]
    return dict(zip(LINE_FIELDS, values, strict=False)), status, sample_count, age_frames, tuple(pixels.tolist())


def source(folder: Path = KERNELS_DIR) -> str:
    """kernels/fusion.cu as one text, every file it includes put in its place. So the text alone says what is
    compiled."""
    return _inlined(folder / "fusion.cu", folder)


def _inlined(path: Path, folder: Path) -> str:
    text = path.read_text().replace("#pragma once\n", "")
    return re.sub(r'^#include "(.+)"$', lambda found: _inlined(folder / found[1], folder), text, flags=re.M)


def defines(p: Parameters, cluster: bool) -> tuple[str, ...]:
    """The sizes that are constants of the compiled program."""
    across, grid_columns, grid_rows = tiling(p)
    tiles_across, tiles_down = node_tiles(p)
    values = {
        "WIDTH": p.width,
        "HEIGHT": p.height,
        "CELL_PX": p.cell_px,
        "COLUMNS": p.columns,
        "ROWS": p.rows,
        "GRID_COLUMNS": p.grid_columns,
        "GRID_ROWS": p.grid_rows,
        "GRID_STEP": repr(float(p.grid_step)),
        "BLOCKS": BLOCKS,
        "THREADS": THREADS,
        "CLUSTER": int(cluster),
        "TILES_ACROSS": across,
        "TILE_GRID_COLUMNS": grid_columns,
        "TILE_GRID_ROWS": grid_rows,
        "NODE_TILES_ACROSS": _most(tiles_across),
        "NODE_TILES_DOWN": _most(tiles_down),
        "CLUSTERS": CLUSTERS if cluster else 1,
    }
    return tuple(f"-D{name}={value}" for name, value in values.items())


def tiling(p: Parameters) -> tuple[int, int, int]:
    """How the cells are split among the blocks: tiles across, and the columns and rows of nodes that one
    tile's cells lie between, at most. The split with the fewest such nodes."""
    splits = []
    for across in (1, 2, 4, 8, 16):
        columns = _nodes_of_tile(p.columns, across, p.grid_step)
        rows = _nodes_of_tile(p.rows, BLOCKS // across, p.grid_step)
        splits.append((columns * rows, across, columns, rows))
    _, across, columns, rows = min(splits)
    return across, columns, rows


def _nodes_of_tile(cells: int, tiles: int, step: float) -> int:
    size = -(-cells // tiles)
    firsts = [min(first, cells - 1) for first in range(0, tiles * size, size)]
    return max(_node(min(first + size, cells) - 1, step) + 2 - _node(first, step) for first in firsts)


def node_tiles(p: Parameters) -> tuple[TilesOfNodes, TilesOfNodes]:
    """Of the columns and of the rows of nodes; a node's tiles one after the other."""
    across = tiling(p)[0]
    return (
        _tiles_of_nodes(p.columns, across, p.grid_step, p.grid_columns),
        _tiles_of_nodes(p.rows, BLOCKS // across, p.grid_step, p.grid_rows),
    )


def _tiles_of_nodes(cells: int, tiles: int, step: float, nodes: int) -> TilesOfNodes:
    size = -(-cells // tiles)
    near: TilesOfNodes = [[] for _ in range(nodes)]
    for tile in range(-(-cells // size)):
        first = _node(tile * size, step)
        for node in range(first, _node(min((tile + 1) * size, cells) - 1, step) + 2):
            near[node].append((tile, first))
    return near


def _most(tiles: TilesOfNodes) -> int:
    return max(len(near) for near in tiles)


def _as_node_tiles(tiles: TilesOfNodes) -> Array:
    """`NodeTiles` of kernels/cuda/state.cuh."""
    table = np.zeros((len(tiles), 2 + _most(tiles)), np.int32)
    for row, near in zip(table, tiles, strict=True):
        row[:2] = (near[0][0] if near else 0), len(near)
        row[2 : 2 + len(near)] = [first for _, first in near]
    return table


def _node(cell: int, step: float) -> int:
    return int((cell + 0.5) / step)


def cell_grid(p: Parameters) -> int:
    """Blocks of the kernel fusion_cells; the span of a block is that of kernels/cuda/cells.cuh."""
    span = CELL_THREADS // p.cell_px if p.cell_px < CELL_THREADS else 1
    return p.rows * -(-p.columns // span)


def merge_grid(p: Parameters) -> int:
    """Blocks of the kernel fusion_merge; the span of a block is that of kernels/cuda/merge.cuh."""
    span = 4 if p.cell_px >= 64 else min(128, (256 // p.cell_px + 3) // 4 * 4)
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
    wide = (_wide_taps(p.grid_columns), _wide_taps(p.grid_rows))
    tiles = [_as_node_tiles(near) for near in node_tiles(p)]
    return b"".join(table.tobytes() for table in (grid_x, grid_y, *tiles, *wide))


def _wide_taps(count: int) -> Array:
    """float32 (count, 2 * WIDE_PASSES + 1): what each place takes of its neighbours in WIDE_PASSES passes of
    [1 2 1] / 4, with nothing beyond the ends at any pass."""
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
