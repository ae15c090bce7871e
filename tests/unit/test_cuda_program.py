"""The CUDA program, as far as it can be examined without a GPU: it compiles, and its tables are the specification's."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
from fakes.frames import parameters_for

from depthd.fusion import cuda_program as program
from depthd.fusion.reference import WIDE_PASSES, _blur

ARCHITECTURES = {"sm_87": False, "sm_89": False, "sm_90": True, "sm_120": False}
"""And whether the fit is compiled as a cluster there."""


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_program_compiles(architecture, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    known = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True, check=True).stdout
    if architecture not in known.split():
        pytest.skip(f"this nvcc does not know {architecture}")
    text = tmp_path / "fusion.cu"
    text.write_text(program.source())
    defines = program.defines(parameters_for(1280, 720), ARCHITECTURES[architecture])
    command = [nvcc, f"-arch={architecture}", "-std=c++17", "-cubin", "-o", tmp_path / "fusion.cubin", text]
    done = subprocess.run([*command, *defines], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in (tmp_path / "fusion.cubin").read_bytes() for name in (b"fusion_cells", b"fusion_solve"))


def test_the_source_is_one_text_with_nothing_left_to_include():
    text = program.source()
    assert not re.search(r'#include "', text)
    for name in ("fusion_cells", "fusion_solve", "fusion_merge", "depthd_merge_pixel"):
        assert text.count(f"{name}(") >= 1


@pytest.mark.parametrize("count", [1, 2, 5, 18])
def test_the_wide_taps_are_the_passes_of_the_specification(count):
    line = np.random.default_rng(0).random((1, 1, count))
    taps = program._wide_taps(count)
    padded = np.pad(line[0, 0], WIDE_PASSES)
    ours = [taps[i] @ padded[i : i + 2 * WIDE_PASSES + 1] for i in range(count)]
    # The specification blurs both axes; one row alone is halved at each pass.
    np.testing.assert_allclose(ours, _blur(line, WIDE_PASSES)[0, 0] * 2**WIDE_PASSES, rtol=1e-6)


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (16383, 1), (37, 23), (1, 300), (7, 2000)])
def test_every_cell_lies_between_the_nodes_of_its_tile(size):
    p = parameters_for(*size)
    across, columns, rows = program.tiling(p)
    for cells, tiles, nodes in ((p.columns, across, columns), (p.rows, program.BLOCKS // across, rows)):
        tile = -(-cells // tiles)
        position = (np.arange(cells) + 0.5) / p.grid_step
        for first in range(0, cells, tile):
            inside = position[first : first + tile].astype(int)
            assert inside.max() + 1 - inside.min() < nodes


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (16383, 1), (37, 23), (1, 300), (4, 4)])
def test_a_node_is_told_by_all_tiles_that_have_cells_near_it(size):
    p = parameters_for(*size)
    across = program.tiling(p)[0]
    axes = zip((p.columns, p.rows), (across, program.BLOCKS // across), program.node_tiles(p), strict=True)
    for cells, tiles, near in axes:
        tile = -(-cells // tiles)
        lower = ((np.arange(cells) + 0.5) / p.grid_step).astype(int)
        told = [set() for _ in near]
        for cell, node in enumerate(lower):
            told[node].add((cell // tile, lower[cell // tile * tile]))
            told[node + 1].add((cell // tile, lower[cell // tile * tile]))
        assert [sorted(who) for who in told] == near
        for who in near:
            assert [tile for tile, _ in who] == list(range(who[0][0], who[0][0] + len(who))) if who else True


def test_settings_are_the_parameters():
    p = parameters_for(640, 360)
    record = program.settings(p)
    assert all(record[name] == getattr(p, name) for name in program.SETTINGS_FIELDS)


def test_a_result_is_read_as_its_record_says():
    random = np.random.default_rng(3)
    record = np.zeros(1, program.RESULT)
    for name in program.LINE_FIELDS:
        record[name] = random.normal()
    for name in ("status", "sample_count", "age_frames"):
        record[name] = random.integers(1000)
    record["pixels_per_source"] = random.integers(2**32, size=6)
    line, status, sample_count, age_frames, pixels = program.unpack_result(record)
    assert line == {name: record[name][0] for name in program.LINE_FIELDS}
    assert (status, sample_count, age_frames) == tuple(record[["status", "sample_count", "age_frames"]][0])
    assert pixels == tuple(record["pixels_per_source"][0])
