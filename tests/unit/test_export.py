"""Pictures and point clouds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthd.export import clouds
from depthd.export.panels import (
    SOURCE_COLOURS_BGR,
    DepthScale,
    comparison,
    depth_picture,
    overview,
    signed_picture,
    source_picture,
    with_depth_bar,
    with_source_legend,
)
from depthd.export.ply import VERTEX, points_of, write_ply
from depthd.frame import Camera, Source
from depthd.saved import SavedFrame

CAMERA = Camera(width=5, height=4, fx=6.0, fy=7.0, cx=2.0, cy=1.5, baseline_m=0.12)


def read_ply(path: Path) -> np.ndarray:
    """What another program sees: follows the header alone."""
    header, body = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    count = next(int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    types = {"float": "<f4", "uchar": "u1"}
    fields = [line.split()[1:] for line in lines if line.startswith("property")]
    return np.frombuffer(body, [(name, types[kind]) for kind, name in fields], count=count)


def a_frame(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    size = (CAMERA.height, CAMERA.width)
    depth_m = random.uniform(0.5, 5.0, size).astype(np.float32)
    left_bgr = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    source = random.integers(1, 6, size, dtype=np.uint8)
    return depth_m, left_bgr, source


def test_points_project_back_onto_their_pixels_with_their_colours(tmp_path: Path):
    depth_m, left_bgr, source = a_frame()
    write_ply(tmp_path / "cloud.ply", points_of(depth_m, left_bgr, source, CAMERA))
    cloud = read_ply(tmp_path / "cloud.ply")
    columns = cloud["x"] / cloud["z"] * CAMERA.fx + CAMERA.cx
    rows = cloud["y"] / cloud["z"] * CAMERA.fy + CAMERA.cy
    wanted_rows, wanted_columns = np.indices(depth_m.shape)
    np.testing.assert_allclose(columns, wanted_columns.ravel(), atol=1e-4)
    np.testing.assert_allclose(rows, wanted_rows.ravel(), atol=1e-4)
    colours = np.stack([cloud["blue"], cloud["green"], cloud["red"]], axis=1)
    np.testing.assert_array_equal(colours, left_bgr.reshape(-1, 3))
    np.testing.assert_array_equal(cloud["source"], source.ravel())


def test_pixels_without_depth_give_no_point(tmp_path: Path):
    depth_m, left_bgr, source = a_frame()
    depth_m[0, 0], depth_m[1, 2], depth_m[3, 4] = np.nan, -np.inf, np.inf
    write_ply(tmp_path / "cloud.ply", points_of(depth_m, left_bgr, source, CAMERA))
    assert len(read_ply(tmp_path / "cloud.ply")) == CAMERA.width * CAMERA.height - 3


def test_an_empty_cloud_is_a_whole_file(tmp_path: Path):
    write_ply(tmp_path / "cloud.ply", np.empty(0, VERTEX))
    assert len(read_ply(tmp_path / "cloud.ply")) == 0


@given(nearest=st.floats(0.05, 50), ratio=st.floats(1.02, 100), level=st.floats(0, 1))
def test_the_scale_goes_there_and_back(nearest: float, ratio: float, level: float):
    scale = DepthScale(nearest, nearest * ratio)
    depth_m = np.array([scale.depth_at(level)])
    assert scale.level(depth_m)[0] == pytest.approx(level, abs=1e-6)


def test_nearer_is_brighter_all_the_way():
    depth_m = np.linspace(0.5, 8.0, 200, dtype=np.float32)[None, :]
    picture = depth_picture(depth_m, DepthScale(0.5, 8.0)).astype(float)
    luminance = picture @ np.array([0.114, 0.587, 0.299])
    assert (np.diff(luminance[0]) <= 1.0).all()
    assert luminance[0, 0] - luminance[0, -1] > 100


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_a_hole_has_a_colour_that_no_depth_has(hole: float):
    levels = depth_picture(np.linspace(0.5, 8.0, 2000, dtype=np.float32)[None, :], DepthScale(0.5, 8.0))
    colours_of_depth = {tuple(colour) for colour in levels[0]}
    holes = depth_picture(np.full((24, 24), hole, np.float32), DepthScale(0.5, 8.0))
    colours_of_holes = {tuple(colour) for colour in holes.reshape(-1, 3)}
    assert len(colours_of_holes) == 2, "holes are hatched"
    assert not colours_of_holes & colours_of_depth


def test_the_sources_have_different_colours():
    assert len(set(SOURCE_COLOURS_BGR.values())) == len(Source)
    every_source = np.array([list(Source)], np.uint8)
    picture = source_picture(every_source)
    assert [tuple(int(value) for value in colour) for colour in picture[0]] == list(SOURCE_COLOURS_BGR.values())


@pytest.mark.parametrize("size", [(376, 672), (1080, 1920), (60, 80)])
def test_bars_and_legends_leave_the_map_itself_as_it_is(size: tuple[int, int]):
    random = np.random.default_rng(1)
    depth_m = random.uniform(0.5, 5.0, size).astype(np.float32)
    source = random.integers(0, 6, size, dtype=np.uint8)
    scale = DepthScale.of(depth_m)
    height, width = size
    picture = depth_picture(depth_m, scale)
    np.testing.assert_array_equal(with_depth_bar(picture, scale)[:, :width], picture)
    sources = source_picture(source)
    np.testing.assert_array_equal(with_source_legend(sources, (1 / 6,) * 6)[:height], sources)


def test_a_sign_is_told_by_colour_and_a_hole_by_hatching():
    level = np.array([[-1.0, 0.0, 1.0, -9.0, np.nan]] * 3)
    below, middle, above, far_below, hole = signed_picture(level)[1].astype(int)
    assert below[0] > below[1], "purple: more blue than green"
    assert above[2] > above[0], "orange: more red than blue"
    assert middle.min() > 240
    np.testing.assert_array_equal(far_below, below)
    assert np.ptp(hole) == 0


def test_a_comparison_shows_both_depths_on_one_scale_and_the_error():
    stereo_m = np.full((60, 80), 2.0, np.float32)
    stereo_m[:, :40] = 4.0
    mono_m = stereo_m / np.float32(1.2)
    picture = comparison(stereo_m, mono_m, limit=0.2)
    orange = signed_picture(np.array([[1.0]]))[0, 0]
    assert (picture[-30, -40] == orange).all(), "mono says 20 % nearer in inverse depth"
    assert picture.shape[1] > 3 * 80


def test_the_overview_shows_four_maps_even_where_nothing_is_known():
    height, width = 60, 80
    left_bgr = np.zeros((height, width, 3), np.uint8)
    unknown = np.full((height, width), np.nan, np.float32)
    picture = overview(left_bgr, unknown, unknown, np.zeros((height, width), np.uint8), (1.0, 0, 0, 0, 0, 0))
    assert picture.dtype == np.uint8
    assert picture.shape[0] >= 2 * height
    assert picture.shape[1] >= 2 * width


@pytest.mark.parametrize("suffix", [".ply", ".pcd"])
def test_open3d_writes_the_same_points_as_depthd_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str):
    open3d = pytest.importorskip("open3d", exc_type=ImportError, reason="Open3D is missing: pip install open3d")
    depth_m, left_bgr, source = a_frame()
    depth_m[0, 0] = np.nan
    frame = SavedFrame(CAMERA, depth_m, source, None, left_bgr)
    assert clouds.write_cloud(tmp_path / f"open3d{suffix}", frame, "fused") == depth_m.size - 1
    assert b"depthd" not in (tmp_path / f"open3d{suffix}").read_bytes()[:60]
    monkeypatch.setattr(clouds, "_open3d_wrote", lambda *_: False)
    clouds.write_cloud(tmp_path / f"own{suffix}", frame, "fused")
    theirs, own = (open3d.t.io.read_point_cloud(str(tmp_path / f"{name}{suffix}")) for name in ("open3d", "own"))
    for field in ("positions", "colors", "source"):
        np.testing.assert_array_equal(theirs.point[field].numpy(), own.point[field].numpy())
    assert len(own.point.positions) == depth_m.size - 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"open3d{suffix}", f"own{suffix}"]
