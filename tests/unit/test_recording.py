"""Recordings play in order at their pace, and each kind of bad file ends in one line that says what to do."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depthd.cameras import open_camera
from depthd.cameras.base import EndOfRecording
from depthd.cameras.camera_file import camera_json, load_camera, load_depth, load_pair
from depthd.config import RecordingCameraConfig
from depthd.errors import UsageError
from depthd.frame import Camera

SIZE = (12, 20)
GOOD = {"width": 20, "height": 12, "fx": 30.0, "fy": 30.0, "cx": 9.5, "cy": 5.5, "baseline": 120.0}


def picture(level: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((*size, 3), level, np.uint8)


def write_camera(folder: Path, **changes: object) -> Path:
    path = folder / "camera.json"
    path.write_text(json.dumps({key: value for key, value in {**GOOD, **changes}.items() if value != "absent"}))
    return path


def beside(folder: Path, count: int) -> None:
    for k in range(count):
        # Numbers without leading zeros: 2 comes before 10.
        cv2.imwrite(str(folder / f"left_{k + 1}.png"), picture(10 * k))
        cv2.imwrite(str(folder / f"right_{k + 1}.png"), picture(10 * k + 5))
        np.save(folder / f"depth_{k + 1}.npy", np.full(SIZE, k + 1, np.float32))


def in_folders(folder: Path, count: int) -> None:
    for side, offset in (("left", 0), ("right", 5)):
        (folder / side).mkdir()
        for k in range(count):
            cv2.imwrite(str(folder / side / f"{k + 1:06d}.png"), picture(10 * k + offset))
    (folder / "depth").mkdir()
    for k in range(count):
        np.save(folder / "depth" / f"{k + 1:06d}.npy", np.full(SIZE, k + 1, np.float32))


def recording(folder: Path, **changes: object) -> RecordingCameraConfig:
    return RecordingCameraConfig(**{"path": folder, "real_time": False, "loop": False, **changes})


@pytest.mark.parametrize("layout", [beside, in_folders])
def test_both_layouts_play_in_the_order_of_their_numbers(tmp_path, layout):
    write_camera(tmp_path)
    layout(tmp_path, 12)
    camera = open_camera(recording(tmp_path, right=True))
    assert camera.camera == Camera(20, 12, 30.0, 30.0, 9.5, 5.5, 0.12)
    for k in range(12):
        frame = camera.grab().check()
        assert (frame.index, frame.left_bgr[0, 0, 0], frame.right_bgr[0, 0, 0]) == (k, 10 * k, 10 * k + 5)
        assert (frame.depth_m == k + 1).all()
    with pytest.raises(EndOfRecording):
        camera.grab()
    camera.close()
    camera.close()


def write_video(path: Path, count: int, width: int = 40) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 25, (width, SIZE[0]))
    for k in range(count):
        writer.write(np.hstack([picture(10 * k, (12, width // 2)), picture(10 * k + 5, (12, width // 2))]))
    writer.release()


def test_a_side_by_side_video_plays_with_the_camera_file_beside_it(tmp_path):
    write_camera(tmp_path)
    write_video(tmp_path / "walk.mkv", 6)
    camera = open_camera(recording(tmp_path / "walk.mkv"))
    for k in range(6):
        frame = camera.grab().check()
        assert frame.depth_m is None
        assert (frame.index, frame.left_bgr[0, 0, 0], frame.right_bgr[0, 0, 0]) == (k, 10 * k, 10 * k + 5)
    with pytest.raises(EndOfRecording):
        camera.grab()
    camera.close()
    looped = open_camera(recording(tmp_path / "walk.mkv", loop=True))
    assert [looped.grab().left_bgr[0, 0, 0] for _ in range(8)] == [0, 10, 20, 30, 40, 50, 0, 10]
    looped.close()
    timed = open_camera(recording(tmp_path / "walk.mkv", real_time=True))
    assert timed.period_s == pytest.approx(1 / 25)
    timed.close()


def test_a_video_of_another_size_than_its_camera_file_is_an_error(tmp_path):
    write_camera(tmp_path)
    write_video(tmp_path / "walk.mkv", 2, width=80)
    with pytest.raises(UsageError, match="is 80x12, but two pictures of the camera file are 40x12"):
        open_camera(recording(tmp_path / "walk.mkv"))
    (tmp_path / "text.mkv").write_text("not a video")
    with pytest.raises(UsageError, match=r"text\.mkv is not a video"):
        open_camera(recording(tmp_path / "text.mkv"))


def test_depth_may_come_compressed(tmp_path):
    write_camera(tmp_path)
    beside(tmp_path, 1)
    (tmp_path / "depth_1.npy").unlink()
    np.savez_compressed(tmp_path / "depth_1.npz", depth=np.full(SIZE, 3.5, np.float32))
    assert (open_camera(recording(tmp_path)).grab().depth_m == 3.5).all()


def test_the_right_picture_is_read_only_where_somebody_needs_it(tmp_path):
    write_camera(tmp_path)
    beside(tmp_path, 2)
    (tmp_path / "depth_2.npy").unlink()
    (tmp_path / "right_1.png").write_text("not a picture")
    camera = open_camera(recording(tmp_path))
    with_depth, to_be_matched = camera.grab().check(), camera.grab().check()
    assert with_depth.right_bgr is None
    assert (to_be_matched.right_bgr == 15).all()
    with pytest.raises(UsageError, match=r"right_1\.png is not a picture"):
        open_camera(recording(tmp_path, right=True)).grab()


def test_a_left_picture_that_is_read_alone_is_of_the_cameras_size_too(tmp_path):
    write_camera(tmp_path, width=10, height=6)
    beside(tmp_path, 1)
    with pytest.raises(UsageError, match=r"left_1\.png is 20x12, but the camera file is for 10x6"):
        open_camera(recording(tmp_path)).grab()


def test_a_single_pair_loops_for_ever(tmp_path):
    write_camera(tmp_path)
    cv2.imwrite(str(tmp_path / "left.png"), picture(1))
    cv2.imwrite(str(tmp_path / "right.png"), picture(2))
    camera = open_camera(recording(tmp_path, loop=True))
    frames = [camera.grab() for _ in range(5)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert all(frame.right_bgr[0, 0, 0] == 2 and frame.depth_m is None for frame in frames)


def test_in_real_time_frames_come_at_their_period(tmp_path):
    write_camera(tmp_path)
    beside(tmp_path, 3)
    camera = open_camera(recording(tmp_path, loop=True, real_time=True, fps=50))
    start = time.monotonic()
    frames = [camera.grab() for _ in range(6)]
    assert time.monotonic() - start >= 0.099
    assert all((b.captured_ns - a.captured_ns) % 20_000_000 == 0 for a, b in itertools.pairwise(frames))


def test_a_camera_file_elsewhere_is_used(tmp_path):
    folder, other = tmp_path / "pictures", tmp_path / "calibration"
    folder.mkdir()
    other.mkdir()
    beside(folder, 1)
    camera = open_camera(recording(folder, camera_file=write_camera(other, doffs=3.5)))
    assert camera.camera.doffs_px == 3.5


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.floats(1, 5000),
    st.floats(-50, 5000),
    st.floats(0.001, 2),
    st.floats(-50, 50),
)
def test_a_camera_file_comes_back_as_it_was_written(tmp_path, width, height, focal, centre, baseline, doffs):
    camera = Camera(width, height, focal, focal * 1.01, centre, centre / 2, baseline, doffs)
    path = tmp_path / "camera.json"
    path.write_text(camera_json(camera))
    back = load_camera(path)
    assert back.baseline_m == pytest.approx(camera.baseline_m, rel=1e-12)
    assert (back.width, back.height, back.fx, back.fy, back.cx, back.cy, back.doffs_px) == (
        camera.width,
        camera.height,
        camera.fx,
        camera.fy,
        camera.cx,
        camera.cy,
        camera.doffs_px,
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fx": "absent", "baseline": "absent"}, "lacks fx, baseline"),
        ({"fx": "wide"}, "fx in .* is 'wide'; give fx as a number"),
        ({"fx": None}, "fx in .* is None; give fx as a number"),
        ({"fx": True}, "fx in .* is True"),
        ({"cy": float("nan")}, "cy in .* is nan; give cy as a finite number"),
        ({"cy": float("inf")}, "cy in .* is inf; give cy as a finite number"),
        ({"baseline": 0}, "baseline in .* is 0; give a baseline above 0 in mm"),
        ({"baseline": -120.0}, "baseline in .* is -120.0; give a baseline above 0 in mm"),
        ({"width": 0}, "width in .* is 0"),
        ({"height": 12.5}, "height in .* is 12.5; give height as whole pixels"),
        ({"focal": 3}, "unknown keys: focal"),
    ],
)
def test_a_wrong_value_in_a_camera_file_is_named(tmp_path, changes, words):
    with pytest.raises(UsageError, match=words):
        load_camera(write_camera(tmp_path, **changes))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{width: 3}", "is not JSON"),
        (b"", "is not JSON"),
        (b"[1, 2]", "no JSON object"),
        (b"\xff\xfe{}", "is not JSON"),
    ],
)
def test_a_camera_file_that_is_no_json_object_is_an_error(tmp_path, content, words):
    path = tmp_path / "camera.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        load_camera(path)


def test_a_missing_camera_file_is_an_error(tmp_path):
    with pytest.raises(UsageError, match=r"camera\.json cannot be read \(No such file"):
        load_camera(tmp_path / "camera.json")


def test_bad_pictures_are_named(tmp_path):
    camera = load_camera(write_camera(tmp_path))
    good, small, text = tmp_path / "good.png", tmp_path / "small.png", tmp_path / "text.png"
    cv2.imwrite(str(good), picture(3))
    cv2.imwrite(str(small), picture(3, (6, 10)))
    text.write_text("not a picture")
    with pytest.raises(UsageError, match=r"there is no picture .*none\.png"):
        load_pair(good, tmp_path / "none.png", camera)
    with pytest.raises(UsageError, match=r"text\.png is not a picture"):
        load_pair(text, good, camera)
    with pytest.raises(UsageError, match=r"good\.png is 20x12, but .*small\.png is 10x6"):
        load_pair(good, small, camera)
    with pytest.raises(UsageError, match=r"small\.png is 10x6, but the camera file is for 20x12"):
        load_pair(small, small, camera)


def test_bad_depth_maps_are_named(tmp_path):
    camera = load_camera(write_camera(tmp_path))
    np.save(tmp_path / "double.npy", np.zeros(SIZE))
    np.save(tmp_path / "small.npy", np.zeros((3, 4), np.float32))
    np.savez(tmp_path / "archive.npz", np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32))
    (tmp_path / "text.npy").write_text("metres")
    (tmp_path / "empty.npy").write_text("")
    for name, words in {
        "double.npy": "float64",
        "small.npy": r"\(3, 4\)",
        "archive.npz": "an archive of several",
        "text.npy": "is not a .npy file",
        "empty.npy": "is not a .npy file",
        "none.npy": "cannot be read",
    }.items():
        with pytest.raises(UsageError, match=words):
            load_depth(tmp_path / name, camera)


@pytest.mark.parametrize("value", [0.0, -1.0, -0.0])
def test_depth_that_is_not_above_zero_is_an_error_and_every_kind_of_hole_is_none(tmp_path, value):
    camera = load_camera(write_camera(tmp_path))
    depth_m = np.ones(SIZE, np.float32)
    depth_m[0, :3] = np.nan, -np.inf, np.inf
    np.save(tmp_path / "depth.npy", depth_m)
    np.testing.assert_array_equal(load_depth(tmp_path / "depth.npy", camera), depth_m)
    depth_m[1, 1] = value
    np.save(tmp_path / "depth.npy", depth_m)
    with pytest.raises(UsageError, match="values of 0 or less"):
        load_depth(tmp_path / "depth.npy", camera)


def test_a_folder_that_is_no_recording_says_what_it_lacks(tmp_path):
    with pytest.raises(UsageError, match=r"no recording folder .*nowhere"):
        open_camera(recording(tmp_path / "nowhere"))
    write_camera(tmp_path)
    with pytest.raises(UsageError, match=r"no picture pair .*left_000001\.png"):
        open_camera(recording(tmp_path))
    cv2.imwrite(str(tmp_path / "left_7.png"), picture(1))
    with pytest.raises(UsageError, match=r"left_7\.png has no right picture; add .*right_7\.png"):
        open_camera(recording(tmp_path))
