"""Shapes from depth: exact on exact depth, undisturbed by outliers, and honest about where they fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthd.errors import DepthdError, UsageError
from depthd.evaluate import Region, describe_shape, distance_lines, fit_shape, residual_picture
from depthd.export.clouds import PCD_POINT, write_cloud
from depthd.export.files16 import millimetres, write_depth
from depthd.export.reproject import seen_from
from depthd.frame import Camera
from depthd.geometry import Plane, Sphere, normals_of, points_of
from depthd.saved import SavedFrame, load

CAMERA = Camera(96, 72, 90.0, 92.0, 47.5, 35.5, 0.12)
WHOLE = Region(0, 0, 96, 72)
INSIDE = Region(34, 22, 28, 28)


def rays() -> np.ndarray:
    return points_of(np.ones((CAMERA.height, CAMERA.width), np.float32), CAMERA)


def plane_depth(normal: np.ndarray, distance_m: float) -> np.ndarray:
    return (-distance_m / (rays() @ normal)).astype(np.float32)


def sphere_depth(centre: np.ndarray, radius_m: float) -> np.ndarray:
    """The near crossing of each ray with the sphere, NaN beside it."""
    ray = rays()
    a, b, c = (ray**2).sum(-1), ray @ centre, centre @ centre - radius_m**2
    with np.errstate(invalid="ignore"):
        return ((b - np.sqrt(b**2 - a * c)) / a).astype(np.float32)


def with_outliers(depth_m: np.ndarray, share: float) -> np.ndarray:
    generator = np.random.default_rng(3)
    wrong = generator.random(depth_m.shape) < share
    return np.where(wrong, depth_m * generator.uniform(1.2, 2.0, depth_m.shape), depth_m).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6), st.floats(0.3, 8.0), st.sampled_from([0.0, 0.3]))
def test_a_plane_is_found_whatever_its_tilt_and_a_third_of_outliers(
    tilt_x: float, tilt_y: float, distance_m: float, outliers: float
):
    normal = np.array([tilt_x, tilt_y, -1.0]) / math.hypot(tilt_x, tilt_y, 1.0)
    frame = SavedFrame(CAMERA, with_outliers(plane_depth(normal, distance_m), outliers))
    report = fit_shape(frame, WHOLE, "plane", "fused")
    assert isinstance(report.shape, Plane)
    np.testing.assert_allclose(report.shape.normal, normal, atol=1e-4)
    assert report.shape.distance_m == pytest.approx(distance_m, rel=1e-4)
    assert report.rms_m < 1e-4 * distance_m
    assert report.outlier_share == pytest.approx(outliers, abs=0.05)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.15, 0.3), st.floats(0.7, 1.0), st.sampled_from([0.0, 0.2]))
def test_a_sphere_is_found_with_its_radius(radius_m: float, distance_m: float, outliers: float):
    centre = np.array([0.02, -0.01, distance_m])
    frame = SavedFrame(CAMERA, with_outliers(sphere_depth(centre, radius_m), outliers))
    report = fit_shape(frame, INSIDE, "sphere", "fused")
    assert isinstance(report.shape, Sphere)
    assert report.shape.radius_m == pytest.approx(radius_m, rel=2e-3)
    np.testing.assert_allclose(report.shape.centre, centre, atol=2e-3)
    assert "radius" in describe_shape(report)[0]


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6))
def test_normals_of_a_plane_are_its_normal(tilt_x: float, tilt_y: float):
    normal = np.array([tilt_x, tilt_y, -1.0]) / math.hypot(tilt_x, tilt_y, 1.0)
    found = normals_of(plane_depth(normal, 2.0), CAMERA)
    np.testing.assert_allclose(found[4:-4, 4:-4], np.broadcast_to(normal, found[4:-4, 4:-4].shape), atol=2e-3)


def test_normals_do_not_reach_over_a_depth_edge():
    depth_m = np.full((72, 96), 1.0, np.float32)
    depth_m[:, 48:] = 3.0
    depth_m[10, 10] = np.nan
    found = normals_of(depth_m, CAMERA)
    np.testing.assert_allclose(found[20, 40:56], np.broadcast_to([0, 0, -1], (16, 3)), atol=1e-3)
    assert np.isnan(found[10, 10]).all()


def test_an_empty_region_is_told_in_one_line():
    frame = SavedFrame(CAMERA, np.full((72, 96), np.nan, np.float32))
    with pytest.raises(DepthdError, match="0 pixels"):
        fit_shape(frame, WHOLE, "plane", "fused")
    with pytest.raises(UsageError, match="leaves the picture"):
        fit_shape(frame, Region(90, 0, 10, 10), "plane", "fused")
    for wrong in ("1,2,3", "a,b,c,d", "-1,0,5,5", "0,0,0,5"):
        with pytest.raises(UsageError):
            Region.parse(wrong)


def test_a_measured_distance_is_compared_with_fused_and_stereo():
    depth_m = np.full((72, 96), 0.76, np.float32)
    stereo_m = np.full((72, 96), -np.inf, np.float32)
    lines = distance_lines(SavedFrame(CAMERA, depth_m, stereo_depth_m=stereo_m), (50, 40), 750.0)
    assert lines[0] == "fused: 760.0 mm, error +10.0 mm (+1.33 %)"
    assert lines[1] == "stereo: unknown there"
    with pytest.raises(UsageError):
        distance_lines(SavedFrame(CAMERA, depth_m), (96, 0), 750.0)


def test_the_residual_picture_is_coloured_in_the_region_alone():
    frame = SavedFrame(CAMERA, with_outliers(plane_depth(np.array([0.0, 0.0, -1.0]), 2.0), 0.1))
    picture = residual_picture(frame, INSIDE, fit_shape(frame, INSIDE, "plane", "fused"))
    coloured = picture.max(axis=2) != picture.min(axis=2)
    assert INSIDE.of(coloured).any()
    INSIDE.of(coloured)[...] = False
    assert not coloured.any()


def test_the_frame_seen_from_its_own_camera_is_the_frame():
    generator = np.random.default_rng(0)
    left = generator.integers(0, 256, (72, 96, 3), np.uint8)
    frame = SavedFrame(CAMERA, plane_depth(np.array([0.1, 0.0, -1.0]), 2.0), left_bgr=left)
    np.testing.assert_array_equal(seen_from(frame, np.zeros(3), np.array([0.0, 0.0, 2.0])), left)


def test_millimetres_are_rounded_and_the_unknown_is_zero(tmp_path):
    depth_m = np.array([[0.7504, 1.9996, np.nan, np.inf, -np.inf, 70.0]], np.float32)
    assert millimetres(depth_m).tolist() == [[750, 2000, 0, 0, 0, 0]]
    with pytest.raises(UsageError):
        write_depth(tmp_path / "depth.tiff", depth_m)


def test_a_cloud_holds_the_points_of_the_chosen_depth(tmp_path):
    depth_m = plane_depth(np.array([0.0, 0.0, -1.0]), 2.0)
    stereo_m = depth_m.copy()
    stereo_m[:10] = -np.inf
    left = np.full((72, 96, 3), (10, 20, 30), np.uint8)
    frame = SavedFrame(CAMERA, depth_m, left_bgr=left, stereo_depth_m=stereo_m)
    assert write_cloud(tmp_path / "full.pcd", frame, "fused") == 72 * 96
    assert write_cloud(tmp_path / "stereo.ply", frame, "stereo") == 62 * 96
    header, points = (tmp_path / "full.pcd").read_bytes().split(b"DATA binary\n", 1)
    assert b"POINTS 6912\n" in header
    point = np.frombuffer(points, PCD_POINT)[0]
    assert [point["x"], point["y"], point["z"]] == pytest.approx(points_of(depth_m, CAMERA)[0, 0].tolist())
    assert point["rgb"] == 0x1E140A
    with pytest.raises(UsageError):
        write_cloud(tmp_path / "full.obj", frame, "fused")


def test_what_is_no_saved_frame_is_told_in_one_line(tmp_path):
    np.savez(tmp_path / "frame.npz", depth=np.ones((2, 2)))
    (tmp_path / "text.npz").write_text("no archive")
    for path in (tmp_path, tmp_path / "frame.npz", tmp_path / "text.npz", tmp_path / "absent.npz"):
        with pytest.raises(UsageError, match="no saved frame"):
            load(path)
