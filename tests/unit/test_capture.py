"""`depthd capture`: what is written plays again; slow disks drop frames; full disks leave whole files."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from depthd.cameras import open_camera
from depthd.cameras.base import EndOfRecording
from depthd.cameras.camera_file import load_camera
from depthd.cli import app
from depthd.config import RecordingCameraConfig, VirtualCameraConfig, ZedCameraConfig
from depthd.errors import UsageError
from depthd.export import capture as capturing
from depthd.export.capture import QUEUE_LENGTH, CaptureOptions, FrameWriter, capture
from tests.fakes import pyzed
from tests.fakes.pyzed.personality import build
from tests.fakes.pyzed.world import World


def virtual(**changes: object) -> VirtualCameraConfig:
    return VirtualCameraConfig(**{"scene": "one_plane", "depth": "sensor", "real_time": False, **changes})


def played(path: Path) -> list:
    camera = open_camera(RecordingCameraConfig(path=path, real_time=False, loop=False, right=True))
    frames = []
    try:
        while True:
            frames.append(camera.grab().check())
    except EndOfRecording:
        return frames


def test_what_is_saved_plays_again_bit_for_bit(tmp_path):
    source = open_camera(virtual())
    report = capture(source, CaptureOptions(tmp_path / "run", save=True, count=4))
    source.close()
    assert (report.frames, report.dropped, report.missed, report.ended) == (4, 0, 0, "count reached")
    again = open_camera(virtual())
    frames = played(tmp_path / "run")
    assert len(frames) == 4
    for frame in frames:
        original = again.grab()
        np.testing.assert_array_equal(frame.left_bgr, original.left_bgr)
        np.testing.assert_array_equal(frame.right_bgr, original.right_bgr)
        np.testing.assert_array_equal(frame.depth_m, original.depth_m)
    again.close()
    assert load_camera(tmp_path / "run" / "camera.json") == source.camera


def test_a_recording_that_is_captured_again_keeps_both_pictures(tmp_path):
    source = open_camera(virtual())
    capture(source, CaptureOptions(tmp_path / "first", save=True, count=2))
    source.close()
    keys = ("kind=recording", f"path={tmp_path / 'first'}", "real_time=false", "loop=false")
    overrides = [word for key in keys for word in ("--set", f"camera.{key}")]
    assert run("--save", "-o", str(tmp_path / "second"), *overrides).exit_code == 0
    for first, second in zip(played(tmp_path / "first"), played(tmp_path / "second"), strict=True):
        np.testing.assert_array_equal(first.right_bgr, second.right_bgr)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    source = open_camera(virtual())
    with pytest.raises(UsageError, match=r"run cannot be made .Not a directory.; give another --outdir"):
        capture(source, CaptureOptions(tmp_path / "file" / "run", save=True, count=1))
    source.close()


def test_a_recorded_video_plays_again(tmp_path):
    source = open_camera(virtual(fps=20, depth="matcher"))
    report = capture(source, CaptureOptions(tmp_path, record="mp4", count=5))
    source.close()
    assert report.frames == 5
    frames = played(tmp_path / "capture.mp4")
    assert len(frames) == 5
    again = open_camera(virtual(depth="matcher"))
    assert np.abs(frames[0].left_bgr.astype(int) - again.grab().left_bgr).mean() < 4
    again.close()
    assert not list(tmp_path.glob(".*")), "nothing half-written stays"


@pytest.mark.parametrize("sdk", ["4.2", "5.2"])
def test_an_svo_recorded_from_a_zed_plays_again(monkeypatch, tmp_path, sdk):
    world = World()
    monkeypatch.setitem(sys.modules, "pyzed", pyzed)
    monkeypatch.setitem(sys.modules, "pyzed.sl", build(sdk, world))
    monkeypatch.setattr(pyzed, "sl", sys.modules["pyzed.sl"], raising=False)
    source = open_camera(ZedCameraConfig(resolution="VGA", fps=0))
    assert capture(source, CaptureOptions(tmp_path, record="svo", count=6)).frames == 6
    source.close()
    again = open_camera(ZedCameraConfig(svo=tmp_path / "capture.svo2"))
    assert [again.grab().index for _ in range(6)] == list(range(6))
    with pytest.raises(EndOfRecording):
        again.grab()
    again.close()


@pytest.mark.parametrize("sdk", ["4.2", "5.2"])
def test_raw_pictures_of_a_zed_come_without_depth_and_calibration(monkeypatch, tmp_path, sdk):
    monkeypatch.setitem(sys.modules, "pyzed", pyzed)
    monkeypatch.setitem(sys.modules, "pyzed.sl", build(sdk, World()))
    monkeypatch.setattr(pyzed, "sl", sys.modules["pyzed.sl"], raising=False)
    source = open_camera(ZedCameraConfig(resolution="VGA", fps=0, raw=True))
    capture(source, CaptureOptions(tmp_path, save=True, raw=True, grayscale=True, count=1))
    source.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["left_000001.png", "right_000001.png"]
    assert cv2.imread(str(tmp_path / "left_000001.png"), cv2.IMREAD_UNCHANGED).ndim == 2


def test_a_full_disk_ends_the_capture_and_leaves_whole_files(tmp_path):
    left = iter([10**9] * 3 + [1000] * 1000)
    source = open_camera(virtual())
    options = CaptureOptions(tmp_path, save=True, record="mp4", count=50)
    report = capture(source, options, free_bytes=lambda _: next(left))
    source.close()
    assert report.frames == 3
    assert "the disk is full" in report.ended
    assert report.dropped > 0
    assert len(played(tmp_path)) == 3
    assert len(played(tmp_path / "capture.mp4")) == 3


def test_a_write_that_fails_is_told_and_leaves_whole_files(tmp_path, monkeypatch):
    def fails(path: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    source = open_camera(virtual())
    monkeypatch.setattr(capturing.np, "save", fails)
    with pytest.raises(Exception, match=r"cannot write .*depth_000001\.npy: No space left"):
        capture(source, CaptureOptions(tmp_path, save=True, count=5))
    source.close()
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "camera.json",
        "left_000001.png",
        "right_000001.png",
    ]


def test_a_slow_disk_drops_frames_instead_of_holding_up_the_camera(tmp_path):
    hold = threading.Event()

    class Slow:
        def write(self, number: int, frame: object) -> None:
            hold.wait(10)

        def close(self) -> None: ...

    source = open_camera(virtual())
    frame = source.grab()
    writer = FrameWriter([Slow()], tmp_path, lambda _: 10**9)
    with writer:
        start = time.monotonic()
        taken = sum(writer.put(frame) for _ in range(3 * QUEUE_LENGTH))
        assert time.monotonic() - start < 5
        hold.set()
    source.close()
    assert QUEUE_LENGTH <= taken <= QUEUE_LENGTH + 1
    assert (writer.written, writer.dropped) == (taken, 3 * QUEUE_LENGTH - taken)


def test_frames_that_the_camera_missed_are_counted_and_the_rate_is_kept(tmp_path):
    source = open_camera(virtual(real_time=True, fps=50))
    report = capture(source, CaptureOptions(tmp_path, record="mp4", seconds=1.0, maximum_fps=10))
    source.close()
    assert report.ended == "time is up"
    assert 5 <= report.frames + report.dropped <= 12


def test_nothing_to_write_is_an_error(tmp_path):
    source = open_camera(virtual())
    with pytest.raises(UsageError, match="nothing to write; give --save"):
        capture(source, CaptureOptions(tmp_path))
    with pytest.raises(UsageError, match="--record is 'gif'; give mp4 or svo"):
        capture(source, CaptureOptions(tmp_path, record="gif"))
    with pytest.raises(UsageError, match="only be recorded from a ZED"):
        capture(source, CaptureOptions(tmp_path, record="svo"))
    source.close()


# ---- the command


def run(*arguments: str) -> object:
    return CliRunner().invoke(app, ["capture", *arguments])


def test_the_command_writes_what_it_says(tmp_path):
    sets = ["--set", "camera.scene=one_plane", "--set", "camera.real_time=false"]
    result = run("-o", str(tmp_path / "run"), "--count", "2", "--save", *sets)
    assert result.exit_code == 0, result.output
    assert "2 frames written, 0 dropped by the disk" in result.output
    assert len(played(tmp_path / "run")) == 2


def test_options_of_the_predecessor_are_taken_with_underscores_too(tmp_path):
    for spelling in ("--input_svo_file", "--input-svo-file"):
        result = run(spelling, str(tmp_path / "none.svo"), "-o", str(tmp_path / "out"))
        # It chose the ZED; without the SDK, or without the file, that ends in one line.
        assert result.exception is not None
        assert any(word in str(result.exception) for word in ("ZED SDK", "no SVO file"))
    for options in (
        ["--confidence_threshold", "50"],
        ["--ip_address", "10.0.0.1:30000"],
        ["--frame_rate", "5"],
    ):
        assert "No such option" not in run(*options, "--resolution", "MAX").output


def test_a_wrong_resolution_is_named():
    result = run("--resolution", "MAX")
    assert isinstance(result.exception, UsageError)
    assert "give HD2K, HD1200" in str(result.exception)


def test_ctrl_c_ends_in_whole_files(tmp_path):
    """A real process and a real signal."""
    import signal
    import subprocess

    command = [sys.executable, "-m", "depthd", "capture", "-o", str(tmp_path), "--save", "--record", "mp4"]
    command += ["--set", "camera.scene=one_plane", "--set", "camera.fps=30"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"})
    deadline = time.monotonic() + 60
    while not (tmp_path / "left_000003.png").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "stopped" in output
    written = len(played(tmp_path))
    assert written >= 3
    assert len(played(tmp_path / "capture.mp4")) == written
