"""The matcher is accurate on surfaces it can see, and says honestly what it does not know."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthd.cameras.matcher import MINIMUM_DEPTH_M, StereoMatcher, default_maximum_disparity
from depthd.cameras.virtual import ZED_2I
from depthd.cameras.world.render import Renderer
from depthd.cameras.world.solids import Light, Material, Pose, Scene, Solid, box, quad
from depthd.config import MatcherConfig
from depthd.errors import UsageError
from depthd.frame import Camera

MOTORCYCLE = Path(__file__).resolve().parents[2] / "../shared/data/motorcycle"
VGA = ZED_2I["VGA"]
SPECKLE = Material(texture="speckle", tile_m=0.4)


def views(*solids: Solid, camera: Camera = VGA) -> tuple[Renderer, np.ndarray, np.ndarray]:
    scene = Scene(solids, lambda seconds: Pose((0, 0, 0)), (Light((0, 1.0, 0)),))
    renderer = Renderer(scene, camera, 0)
    left = np.zeros((camera.height, camera.width, 3), np.uint8)
    right = np.zeros_like(left)
    renderer.render(0, 0, left, right)
    renderer.close()
    return renderer, left, right


def noise_pair(camera: Camera, disparity: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A flat scene at a whole disparity: the right picture is the left one, moved."""
    wide = np.random.default_rng(seed).integers(0, 255, (camera.height, camera.width + disparity, 3), np.uint8)
    wide = cv2.GaussianBlur(wide, (3, 3), 0)
    return wide[:, : camera.width].copy(), wide[:, disparity:].copy()


@pytest.mark.parametrize("downscale", [1, 2])
@pytest.mark.parametrize("yaw", [-0.5, 0.0, 0.5])
def test_a_rendered_plane_is_found_within_one_percent(yaw, downscale):
    renderer, left, right = views(quad((0, 0, 1.0), 12, 12, SPECKLE, yaw=yaw))
    depth = StereoMatcher(VGA, MatcherConfig(downscale=downscale)).depth_m(left, right)
    error = np.abs(depth / renderer.left.depth_m - 1)
    near = np.isfinite(depth) & (renderer.left.depth_m < 1.5)
    assert near.sum() > 0.3 * near.size
    assert np.median(error[near]) < 0.01 * (1 if downscale == 1 else 1.5)
    assert np.percentile(error[near], 90) < 0.03 * downscale


def test_the_band_that_only_the_left_eye_sees_has_no_depth():
    _, left, right = views(quad((0, 0, 1.0), 12, 12, SPECKLE))
    disparity = round(VGA.disparity_per_inverse_depth)
    depth = StereoMatcher(VGA, MatcherConfig()).depth_m(left, right)
    assert np.isnan(depth[:, : disparity - 1]).mean() > 0.95
    assert np.isfinite(depth[:, disparity + 5 : disparity + 60]).mean() > 0.95, "no column beyond it is lost"


def test_what_a_near_surface_hides_from_the_right_eye_has_no_depth():
    wall, board = quad((0, 0, 2.0), 20, 20, SPECKLE), box((0, 0, 0.8), (0.4, 0.4, 0.02), SPECKLE, "board")
    renderer, left, right = views(wall, board)
    depth = StereoMatcher(VGA, MatcherConfig()).depth_m(left, right)
    from depthd.cameras.sensor import left_only

    hidden = left_only(renderer.left.depth_m, renderer.right.depth_m, VGA)
    hidden[:, : round(VGA.disparity_per_inverse_depth / 0.75)] = False
    assert hidden.sum() > 500
    assert np.isnan(depth[hidden]).mean() > 0.8


def test_a_surface_nearer_than_the_range_is_called_too_near_and_nothing_else_is():
    wall, board = (
        quad((0, 0, 2.5), 20, 20, SPECKLE),
        box((0.1, 0, 0.45), (0.25, 0.25, 0.02), SPECKLE, "board"),
    )
    renderer, left, right = views(wall, board)
    matcher = StereoMatcher(VGA, MatcherConfig(maximum_disparity_px=48))
    depth = matcher.depth_m(left, right)
    truth = VGA.disparity_per_inverse_depth / renderer.left.depth_m > matcher.maximum_disparity_px
    called = np.isneginf(depth)
    assert called[truth].mean() > 0.5
    assert truth[called].mean() > 0.9


def test_a_far_surface_is_too_far_and_not_metres():
    left, right = noise_pair(VGA, 0)
    depth = StereoMatcher(VGA, MatcherConfig()).depth_m(left, right)
    assert np.isposinf(depth).mean() > 0.95


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 40), st.floats(0, 60), st.integers(0, 1000))
def test_depth_counts_the_offset_of_the_principal_points(disparity, doffs, seed):
    camera = Camera(160, 40, 150.0, 150.0, 80.0, 20.0, 0.2, doffs)
    left, right = noise_pair(camera, disparity, seed)
    depth = StereoMatcher(camera, MatcherConfig(maximum_disparity_px=64, speckle_size_px=0)).depth_m(left, right)
    inner = depth[5:-5, disparity + 8 : -8]
    expected = camera.disparity_per_inverse_depth / (disparity + doffs)
    assert np.median(inner[np.isfinite(inner)]) == pytest.approx(expected, rel=0.02)


def test_enlarging_invents_no_value_between_a_near_and_a_far_surface():
    wall, board = quad((0, 0, 3.0), 20, 20, SPECKLE), box((0, 0, 0.9), (0.5, 0.5, 0.02), SPECKLE, "board")
    _, left, right = views(wall, board)
    matcher = StereoMatcher(VGA, MatcherConfig(downscale=4))
    depth = matcher.depth_m(left, right)
    small = matcher._reduced_depth_m
    between = np.isfinite(depth) & (depth > 1.3) & (depth < 2.0)
    between_small = np.isfinite(small) & (small > 1.3) & (small < 2.0)
    assert between.mean() <= between_small.mean() * 1.5 + 1e-4
    assert np.isfinite(depth).mean() == pytest.approx(np.isfinite(small).mean(), abs=0.02)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 90), st.integers(1, 50), st.integers(1, 4), st.integers(0, 99))
def test_any_size_of_any_picture_gives_a_map_of_that_size(width, height, downscale, seed):
    camera = Camera(width, height, 60.0, 60.0, width / 2, height / 2, 0.12)
    rng = np.random.default_rng(seed)
    left, right = (rng.integers(0, 255, (height, width, 3), np.uint8) for _ in range(2))
    depth = StereoMatcher(camera, MatcherConfig(downscale=downscale)).depth_m(left, right)
    assert depth.shape == (height, width)
    assert depth.dtype == np.float32
    assert not (depth[np.isfinite(depth)] <= 0).any()


def test_a_covered_lens_gives_no_depth():
    black = np.zeros((VGA.height, VGA.width, 3), np.uint8)
    depth = StereoMatcher(VGA, MatcherConfig()).depth_m(black, black)
    assert np.isnan(depth).all(), "neither metres, nor a claim that all is far"


def test_loops_compile_where_there_is_no_place_to_keep_the_code():
    from depthd.cameras.compiled import compiled

    # Code without a file has no folder beside it either.
    namespace: dict = {}
    exec("def twice(x):\n    return 2 * x", namespace)
    assert compiled(namespace["twice"])(21) == 42


def test_the_default_range_reaches_the_minimum_depth():
    for camera in ZED_2I.values():
        maximum = default_maximum_disparity(camera)
        assert maximum % 16 == 0
        assert camera.disparity_per_inverse_depth / maximum <= MINIMUM_DEPTH_M


def test_a_range_wider_than_the_picture_is_an_error_that_says_so():
    with pytest.raises(UsageError, match=r"700 px.*672 px.*maximum_disparity_px"):
        StereoMatcher(VGA, MatcherConfig(maximum_disparity_px=700))


@pytest.mark.skipif(not MOTORCYCLE.is_dir(), reason="Middlebury Motorcycle is not at ../shared/data/motorcycle")
def test_motorcycle_is_matched_as_well_as_measured_before():
    left, right = (cv2.imread(str(MOTORCYCLE / f"motorcycle_{side}.png")) for side in ("left", "right"))
    truth = np.load(MOTORCYCLE / "motorcycle_disp.npz")["arr_0"]
    camera = Camera(741, 500, 994.978, 994.978, 311.193, 254.877, 0.193001, 31.086)
    depth = StereoMatcher(camera, MatcherConfig(maximum_disparity_px=80)).depth_m(left, right)
    known = np.isfinite(truth)
    found = np.isfinite(depth) & known
    error_px = np.abs(camera.disparity_per_inverse_depth / depth[found] - camera.doffs_px - truth[found])
    assert found.sum() / known.sum() > 0.88
    assert (error_px > 2).sum() / known.sum() < 0.055
    assert np.median(error_px) < 0.2
