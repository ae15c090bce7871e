"""The virtual camera's depth is exact, its two pictures agree, and a seed gives the same bytes again."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from depthd.cameras import open_camera
from depthd.cameras.sensor import DISPARITY_NOISE_PX, MAXIMUM_DEPTH_M
from depthd.cameras.virtual import ZED_2I, VirtualCamera
from depthd.cameras.world.render import Renderer, optical_to_world
from depthd.cameras.world.solids import Light, Material, Pose, Scene, Solid, capsule, ellipsoid, quad, sphere
from depthd.config import VirtualCameraConfig
from depthd.errors import UsageError
from depthd.frame import Camera

SMALL = Camera(97, 61, 60.0, 55.0, 47.3, 31.9, 0.12)
PAINT = Material((0.8, 0.7, 0.6))
TURNS = st.floats(-0.6, 0.6)


def scene_of(*solids: Solid, pose: Pose | None = None) -> Scene:
    return Scene(solids, lambda seconds: pose or Pose((0, 0, 0)), (Light((0.3, 1.0, 0.0)),), noise_levels=0.0)


def rendered(scene: Scene, camera: Camera = SMALL, threads: int = 2) -> tuple[Renderer, np.ndarray, np.ndarray]:
    renderer = Renderer(scene, camera, 0, threads)
    left = np.zeros((camera.height, camera.width, 3), np.uint8)
    right = np.zeros_like(left)
    renderer.render(0.0, 0, left, right)
    renderer.close()
    return renderer, left, right


def rays(camera: Camera) -> np.ndarray:
    """(height, width, 3) in the eye's axes, with z = 1."""
    rows, columns = np.indices((camera.height, camera.width))
    x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    return np.stack([x, y, np.ones_like(x)], -1)


@settings(deadline=None, max_examples=25)
@given(TURNS, TURNS, TURNS, TURNS, st.floats(0.5, 8.0))
def test_a_planes_depth_is_that_of_its_equation(yaw, pitch, camera_yaw, camera_pitch, distance):
    pose = Pose((0.2, -0.1, 0.3), camera_yaw, camera_pitch, 0.1)
    solid = quad((0.1, 0.2, distance), 60, 60, PAINT, yaw=yaw, pitch=pitch)
    renderer, _, _ = rendered(scene_of(solid, pose=pose))
    to_eye = np.linalg.inv(optical_to_world(pose))
    normal = to_eye[:3, :3] @ solid.frame[:3, 2]
    centre = (to_eye @ solid.frame[:, 3])[:3]
    expected = (normal @ centre) / (rays(SMALL) @ normal)
    seen = np.isfinite(renderer.left.depth_m)
    assume((expected > 0.01).any())  # else the plane is behind the eye
    assert seen.any()
    np.testing.assert_allclose(renderer.left.depth_m[seen], expected[seen], rtol=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.floats(0.8, 6.0), st.floats(0.05, 0.4))
def test_a_spheres_depth_is_the_nearer_root_of_its_equation(x, y, z, radius):
    renderer, _, _ = rendered(scene_of(sphere((x, y, z), radius, PAINT, "ball")))
    ray, centre = rays(SMALL), np.array([x, -y, z])
    a, b, c = (ray**2).sum(-1), ray @ centre, centre @ centre - radius**2
    root = b * b - a * c
    hit = root > 1e-6
    expected = (b - np.sqrt(np.maximum(root, 0))) / a
    np.testing.assert_allclose(renderer.left.depth_m[hit], expected[hit], rtol=1e-5)
    assert np.isinf(renderer.left.depth_m[root < -1e-6]).all()
    assert (renderer.left.objects[hit] == renderer.object_id("ball")).all()


def test_a_long_capsule_is_a_cylinder_and_a_round_ellipsoid_a_sphere():
    pole, _, _ = rendered(scene_of(capsule((0, -40, 3), (0, 40, 3), 0.2, PAINT)))
    row = pole.left.depth_m[int(SMALL.cy)]
    ray = rays(SMALL)[int(SMALL.cy)]
    a, b, c = ray[:, 0] ** 2 + 1, 3.0, 9 - 0.04
    root = b * b - a * c
    np.testing.assert_allclose(row[root > 1e-6], ((b - np.sqrt(np.maximum(root, 0))) / a)[root > 1e-6], rtol=1e-5)
    egg, _, _ = rendered(scene_of(ellipsoid((0.1, 0, 2), (0.3, 0.3, 0.3), PAINT)))
    ball, _, _ = rendered(scene_of(sphere((0.1, 0, 2), 0.3, PAINT)))
    np.testing.assert_array_equal(egg.left.depth_m, ball.left.depth_m)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 33), (31, 15), (1, 40), (40, 1)])
def test_every_size_is_rendered_whole(size):
    width, height = size
    camera = Camera(width, height, 20.0, 20.0, width / 2, height / 2, 0.12)
    renderer, left, _ = rendered(scene_of(quad((0, 0, 2), 100, 100, PAINT)), camera)
    np.testing.assert_allclose(renderer.left.depth_m, 2.0, rtol=1e-6)
    assert (left > 0).all()


def test_culling_loses_no_surface(room):
    """The same rays against every solid instead of a tile's candidates."""
    renderer = room._renderer
    culled = renderer.left.depth_m.copy()
    everything = np.arange(len(renderer.scene.solids), dtype=np.int16)
    seconds = room.last_index / 15
    frames, inverse = renderer._frames_at(seconds)
    eye = renderer._eye(0, seconds, frames, inverse)
    order = np.broadcast_to(everything, eye.candidates.shape)
    eye = eye._replace(
        candidates=np.ascontiguousarray(order),
        candidate_counts=np.full_like(eye.candidate_counts, len(everything)),
        nearest=np.zeros_like(eye.nearest),
    )
    from depthd.cameras.world import raycast

    raycast.cast(eye, renderer._surfaces, renderer.left, 0, renderer._tiles[0])
    np.testing.assert_array_equal(renderer.left.depth_m, culled)


class Room(VirtualCamera):
    """The default room, a frame with the hand in it already taken."""

    def __init__(self) -> None:
        super().__init__(VirtualCameraConfig(real_time=False, depth="sensor", seed=3))
        self.last_index = 60
        self._pacing._next = self.last_index
        self.frame = self.grab()


@pytest.fixture
def room():
    camera = Room()
    yield camera
    camera.close()


def test_the_right_picture_is_the_left_one_seen_from_the_baseline(room):
    camera, frame = room.camera, room.frame
    disparity = camera.disparity_per_inverse_depth / room.ground_truth_m - camera.doffs_px
    rows, columns = np.indices(disparity.shape).astype(np.float32)
    visible = ~room.left_only & ~room.mask("glass")

    def differences(shift: float) -> np.ndarray:
        warped = cv2.remap(frame.right_bgr, columns - disparity - shift, rows, cv2.INTER_LINEAR)
        return np.abs(warped.astype(int) - frame.left_bgr).max(-1)[visible]

    exact = differences(0.0)
    assert np.median(exact) <= 4, "three noisy channels differ by little"
    assert np.percentile(exact, 90) <= 16
    for shift in (-1.0, 1.0):
        assert differences(shift).mean() > 1.15 * exact.mean(), "one pixel beside, the pictures agree less"


def test_sensor_depth_has_the_three_kinds_of_holes_where_they_belong(room):
    depth, exact = room.frame.depth_m, room.behind_glass_m
    near = exact < 0.3
    assert near.mean() > 0.05, "the hand must be there"
    np.testing.assert_array_equal(np.isneginf(depth), near)
    glass = room.mask("glass")
    hidden = room.left_only & ~near & ~glass
    assert np.isnan(depth[hidden]).all()
    seen = ~room.left_only & ~near & ~glass
    assert np.isfinite(depth[seen]).all()
    noise = room.camera.disparity_per_inverse_depth * (1 / depth[seen] - 1 / exact[seen])
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(DISPARITY_NOISE_PX, rel=0.05)


def test_glass_is_near_in_truth_and_far_to_the_sensor():
    camera = VirtualCamera(VirtualCameraConfig(real_time=False, depth="sensor"))
    frame = camera.grab()
    glass = camera.mask("glass")
    seen = glass & np.isfinite(frame.depth_m)
    assert glass.sum() > 100
    assert 0.1 < 1 - seen.sum() / glass.sum() < 0.9, "some of the glass has no depth at all"
    assert np.median(frame.depth_m[seen] / camera.ground_truth_m[seen]) > 1.05
    camera.close()


def test_a_wall_beyond_the_range_is_too_far():
    from depthd.cameras.sensor import sensor_depth

    exact = np.full((20, 30), MAXIMUM_DEPTH_M + 1, np.float32)
    out = np.empty_like(exact)
    sensor_depth(exact, exact, exact, SMALL, 0.3, 1, out)
    assert np.isposinf(out).all()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    def pictures(seed: int) -> list[bytes]:
        camera = open_camera(VirtualCameraConfig(real_time=False, depth="sensor", seed=seed, scene="room"))
        frames = [camera.grab() for _ in range(2)]
        camera.close()
        return [array.tobytes() for f in frames for array in (f.left_bgr, f.right_bgr, f.depth_m)]

    first = pictures(1)
    assert pictures(1) == first
    assert all(a != b for a, b in zip(pictures(2), first, strict=True))
    assert first[0] != first[3], "the scene moves"


def test_the_number_of_threads_changes_nothing():
    scene = scene_of(quad((0, 0, 2), 9, 9, Material(texture="speckle")), sphere((0, 0, 1), 0.2, PAINT))
    one = rendered(scene, threads=1)
    three = rendered(scene, threads=3)
    np.testing.assert_array_equal(one[1], three[1])
    np.testing.assert_array_equal(one[2], three[2])


def test_every_resolution_is_as_calibrated():
    for name, camera in ZED_2I.items():
        assert camera.fx * camera.baseline_m == pytest.approx(ZED_2I["HD2K"].fx * 0.12 * camera.fx / 1068.08), name
        assert abs(camera.cx - camera.width / 2) < 0.02 * camera.width


def test_frames_that_nobody_takes_in_time_are_left_out_and_counted():
    import time

    camera = VirtualCamera(VirtualCameraConfig(fps=20, seed=0))
    first = camera.grab()
    time.sleep(0.3)
    late = camera.grab()
    assert late.index >= first.index + 5
    period_ns = round(1e9 / 20)
    assert late.captured_ns - first.captured_ns == (late.index - first.index) * period_ns
    assert camera.period_s == pytest.approx(0.05)
    camera.close()
    camera.close()


def test_frames_keep_their_contract_and_their_bytes_while_in_flight():
    camera = open_camera(VirtualCameraConfig(real_time=False, depth="sensor"))
    held = camera.grab().check()
    before = held.left_bgr.tobytes(), held.depth_m.tobytes()
    camera.grab()
    camera.grab()
    assert (held.left_bgr.tobytes(), held.depth_m.tobytes()) == before
    camera.close()


def test_an_unknown_scene_names_the_known_ones():
    with pytest.raises(UsageError, match=r"no scene 'attic'.*room"):
        VirtualCamera(VirtualCameraConfig(scene="attic"))


def test_doffs_moves_the_right_eyes_principal_point():
    wall = scene_of(quad((0, 0, 2), 40, 40, Material(texture="speckle")))
    shifted = replace(SMALL, doffs_px=7.0)
    plain_renderer, _, plain = rendered(wall)
    moved_renderer, _, moved = rendered(wall, shifted)
    assert plain.std() > 5
    np.testing.assert_array_equal(moved_renderer.left.depth_m, plain_renderer.left.depth_m)
    # Vignetting stays where the lens is.
    np.testing.assert_allclose(moved[:, 10:80].astype(int), plain[:, 3:73], atol=6)
