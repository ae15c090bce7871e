"""The ZED camera against a stand-in SDK that enforces the facts of versions 4.2 and 5.2."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from depthd.cameras import open_camera, zed_sdk
from depthd.cameras.base import CameraLost, EndOfRecording
from depthd.cameras.virtual import ZED_2I
from depthd.cameras.zed import FRAMES_IN_FLIGHT
from depthd.config import ZedCameraConfig
from depthd.errors import DepthdError, UsageError
from tests.fakes import pyzed
from tests.fakes.pyzed.personality import build
from tests.fakes.pyzed.world import World, shots, write_svo

SDKS = ("4.2", "5.2")


@pytest.fixture(params=SDKS)
def sdk(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def world(sdk: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    monkeypatch.setitem(sys.modules, "pyzed", pyzed)
    monkeypatch.setitem(sys.modules, "pyzed.sl", build(sdk, world))
    monkeypatch.setattr(pyzed, "sl", sys.modules["pyzed.sl"], raising=False)
    yield world
    world.released.set()


def zed(**changes: object) -> ZedCameraConfig:
    return ZedCameraConfig(**{"resolution": "VGA", "fps": 0, **changes})


def test_pictures_depth_and_calibration_are_those_of_the_camera(world):
    camera = open_camera(zed(right=True))
    expected = shots("VGA", world.scene)
    for k in range(4):
        frame = camera.grab().check()
        assert frame.index == k
        np.testing.assert_array_equal(frame.left_bgr, expected[k % 3].left_bgr)
        np.testing.assert_array_equal(frame.right_bgr, expected[k % 3].right_bgr)
        near = expected[k % 3].depth_m < 0.3
        np.testing.assert_array_equal(frame.depth_m[~near], expected[k % 3].depth_m[~near])
        assert np.isneginf(frame.depth_m[near]).all()
    assert camera.camera == ZED_2I["VGA"]
    assert camera.period_s == pytest.approx(0.01)
    assert "ZED2i 30000001" in camera.description
    camera.close()
    camera.close()
    assert world.open_now == 0


def test_depth_is_in_metres_and_keeps_its_three_kinds_of_holes(world):
    world.scene = "too_near"
    camera = open_camera(zed(minimum_depth_m=0.5, maximum_depth_m=3.0))
    depth = camera.grab().depth_m
    camera.close()
    finite = depth[np.isfinite(depth)]
    assert 0.5 <= finite.min() < 0.6
    assert 2.5 < finite.max() <= 3.0
    assert np.isnan(depth).any()
    assert np.isneginf(depth).any()
    assert np.isposinf(depth).any()


def test_frames_in_flight_are_not_written_over(world):
    camera = open_camera(zed())
    held = [camera.grab() for _ in range(FRAMES_IN_FLIGHT)]
    expected = shots("VGA", world.scene)
    for k, frame in enumerate(held):
        np.testing.assert_array_equal(frame.left_bgr, expected[k].left_bgr)
    camera.close()


def test_what_the_sdk_hands_over_as_bgr_is_not_copied(world, sdk):
    camera = open_camera(zed())
    frame = camera.grab()
    mats = camera._mats[camera._slot]
    assert frame.depth_m is mats.depth.data
    assert (frame.left_bgr is mats.left.data) == (sdk == "5.2")
    camera.close()


def test_captured_time_is_on_the_monotonic_clock(world):
    camera = open_camera(zed())
    before = time.monotonic_ns()
    frame = camera.grab()
    assert before - 1_000_000 <= frame.captured_ns <= time.monotonic_ns()
    assert abs(frame.picture_clock_ns - time.time_ns()) < 1_000_000_000
    camera.close()


def test_frames_that_the_sdk_dropped_leave_a_gap_in_the_index(world):
    camera = open_camera(zed())
    assert camera.grab().index == 0
    world.dropped += 3
    assert camera.grab().index == 4
    camera.close()


def test_every_parameter_reaches_the_sdk(world):
    camera = open_camera(
        zed(
            depth_mode="ULTRA",
            stabilization=7,
            self_calibration=False,
            exposure_percent=33,
            gain_percent=44,
            confidence_threshold=60,
            texture_confidence_threshold=70,
            fill=True,
            gpu=1,
            open_timeout_s=2.5,
        )
    )
    init, runtime = camera._zed._init, camera._runtime
    assert init.depth_mode.name == "ULTRA"
    assert (init.depth_stabilization, init.camera_disable_self_calib, init.sdk_gpu_id) == (7, True, 1)
    assert (init.open_timeout_sec, init.async_grab_camera_recovery) == (2.5, True)
    assert init.coordinate_units.name == "METER"
    assert init.enable_image_validity_check is True
    assert (runtime.confidence_threshold, runtime.texture_confidence_threshold) == (60, 70)
    assert runtime.enable_fill_mode is True
    assert world.settings == {"EXPOSURE": 33, "GAIN": 44}
    camera.close()


def test_a_camera_is_chosen_by_serial_index_or_stream(world):
    world.cameras = {11: "ZED2", 22: "ZED_M"}
    for config, serial in ((zed(serial=22), 22), (zed(index=1), 22), (zed(stream="10.0.0.1:30000"), 11)):
        camera = open_camera(config)
        assert camera.description.endswith(str(serial))
        camera.close()
    with pytest.raises(CameraLost, match="no ZED delivers frames"):
        open_camera(zed(serial=33))
    with pytest.raises(UsageError, match=r"camera\.serial and camera\.index are both set"):
        open_camera(zed(serial=22, index=1))
    for stream in ("10.0.0.1:port", ":30000", "10.0.0.1:99999"):
        with pytest.raises(UsageError, match="give ip:port"):
            open_camera(zed(stream=stream))


# ---- SVO


def test_an_svo_file_plays_to_its_end_or_loops(world, tmp_path):
    svo = write_svo(tmp_path / "walk.svo2", frames=5)
    camera = open_camera(zed(svo=svo))
    frames = [camera.grab() for _ in range(5)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert frames[1].picture_clock_ns - frames[0].picture_clock_ns == 33_333_333
    assert abs(frames[4].captured_ns - time.monotonic_ns()) < 1_000_000_000, "the recording is years old"
    with pytest.raises(EndOfRecording):
        camera.grab()
    camera.close()
    looped = open_camera(zed(svo=svo, loop=True))
    assert [looped.grab().index for _ in range(12)] == list(range(12))
    looped.close()


def test_an_svo_file_can_begin_later(world, tmp_path):
    svo = write_svo(tmp_path / "walk.svo2", frames=5)
    camera = open_camera(zed(svo=svo, start_frame=3))
    np.testing.assert_array_equal(camera.grab().left_bgr, shots("VGA", world.scene)[0].left_bgr)
    camera.grab()
    with pytest.raises(EndOfRecording):
        camera.grab()
    camera.close()
    with pytest.raises(UsageError, match=r"has 5 frames; set camera.start_frame below 5, not 9"):
        open_camera(zed(svo=svo, start_frame=9))
    assert world.open_now == 0


def test_a_bad_svo_file_is_named(world, tmp_path):
    with pytest.raises(UsageError, match=r"there is no SVO file .*none\.svo"):
        open_camera(zed(svo=tmp_path / "none.svo"))
    broken = tmp_path / "broken.svo2"
    broken.write_text("?")
    with pytest.raises(DepthdError, match=r"cannot be read .INVALID_SVO_FILE"):
        open_camera(zed(svo=broken))


# ---- faults


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"plugged": False}, "no ZED delivers frames .CAMERA_NOT_DETECTED"),
        ({"rebooting": True}, "restarting .CAMERA_REBOOTING"),
        ({"held_by_another": True}, "another process holds the ZED"),
        ({"low_bandwidth": True}, "bandwidth is too low"),
    ],
)
def test_a_camera_that_may_come_back_is_lost_not_wrong(world, fault, words):
    for name, value in fault.items():
        setattr(world, name, value)
    with pytest.raises(CameraLost, match=words):
        open_camera(zed())
    assert world.open_now == 0


@pytest.mark.parametrize("fault", ["plugged", "rebooting", "CAMERA_FAILED_TO_SETUP", "FAILURE"])
def test_a_camera_lost_while_running_can_be_opened_again(world, fault):
    camera = open_camera(zed())
    camera.grab()
    if fault == "plugged":
        world.plugged = False
    elif fault == "rebooting":
        world.rebooting = True
    else:
        world.faults[world.grabs + 1] = fault
    with pytest.raises(CameraLost):
        camera.grab()
    camera.close()
    world.plugged, world.rebooting = True, False
    again = open_camera(zed())
    assert again.grab().check().index == 0
    again.close()


def test_a_stream_whose_server_is_gone_is_lost(world):
    camera = open_camera(zed(stream="10.0.0.1"))
    camera.grab()
    world.stream_up = False
    with pytest.raises(CameraLost):
        camera.grab()
    camera.close()
    with pytest.raises(CameraLost, match="stream's server is gone"):
        open_camera(zed(stream="10.0.0.1"))


def test_corrupted_frames_are_skipped_but_not_for_ever(world):
    camera = open_camera(zed())
    world.faults = {2: "CORRUPTED_FRAME", 3: "CORRUPTED_FRAME"}
    assert [camera.grab().index for _ in range(3)] == [0, 1, 2]
    assert world.grabs == 5
    world.faults = {world.grabs + k: "CORRUPTED_FRAME" for k in range(1, 30)}
    with pytest.raises(CameraLost, match="only corrupted frames"):
        camera.grab()
    camera.close()


def test_a_code_that_the_python_package_does_not_know_is_a_lost_camera(world):
    camera = open_camera(zed())
    world.faults = {1: 77}
    with pytest.raises(CameraLost):
        camera.grab()
    camera.close()


def test_a_warning_at_opening_is_no_error(world):
    world.opens_with = "CONFIGURATION_FALLBACK"
    camera = open_camera(zed())
    camera.grab()
    camera.close()


def test_a_resolution_that_the_camera_does_not_have_names_those_it_has(world):
    with pytest.raises(UsageError, match=r"does not deliver HD1200 .*HD2K, HD1080, HD720, VGA"):
        open_camera(zed(resolution="HD1200"))
    with pytest.raises(UsageError, match=r"VGA at 120 frames/s.*lower camera.fps"):
        open_camera(zed(fps=120))
    world.cameras = {5: "ZED_X"}
    with pytest.raises(UsageError, match=r"does not deliver HD720 .*HD1200, HD1080, SVGA"):
        open_camera(zed(resolution="HD720"))
    assert world.open_now == 0


def test_members_that_the_version_lacks_are_named(world, sdk):
    if sdk == "4.2":
        with pytest.raises(
            UsageError, match=r"depth_mode is NEURAL_LIGHT, which .* does not have; choose one of .*ULTRA"
        ):
            open_camera(zed(depth_mode="NEURAL_LIGHT"))
        with pytest.raises(UsageError, match="resolution is HD1536"):
            open_camera(zed(resolution="HD1536"))
        with pytest.raises(UsageError, match=r"camera.memory is gpu, which needs ZED SDK 5"):
            open_camera(zed(memory="gpu"))
    else:
        open_camera(zed(depth_mode="NEURAL_LIGHT")).close()


def test_a_calibration_that_changed_is_seen_after_reopening(world):
    camera = open_camera(zed())
    before = camera.camera
    camera.close()
    world.focal_scale = 1.01
    camera = open_camera(zed())
    assert camera.camera.fx == pytest.approx(1.01 * before.fx)
    camera.close()


def test_a_grab_that_never_comes_back_leaves_the_rest_of_the_process_running(world):
    """The camera cannot help here; the watchdog outside must be able to see it."""
    camera = open_camera(zed())
    world.faults = {1: "hang"}
    hanging = threading.Thread(target=camera.grab, daemon=True)
    hanging.start()
    hanging.join(0.2)
    assert hanging.is_alive()
    world.released.set()
    hanging.join(5)
    assert not hanging.is_alive()
    camera.close()


# ---- the SDK itself


def test_a_missing_sdk_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "pyzed", None)
    monkeypatch.setitem(sys.modules, "pyzed.sl", None)
    with pytest.raises(DepthdError, match=r"get_python_api\.py.*uvc"):
        open_camera(zed())


def test_every_code_of_both_versions_has_an_outcome_and_a_line():
    for version in SDKS:
        for code in build(version, World()).ERROR_CODE:
            assert zed_sdk.outcome(code) in zed_sdk.Outcome
            what, remedy = zed_sdk.meaning(code)
            assert code.name in what
            assert remedy
