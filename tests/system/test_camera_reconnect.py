"""A daemon whose ZED is pulled, restarts or hangs: the same shared memory, the same reader, frames again."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import depthd
from depthd.errors import DepthdError
from depthd.frame import FitStatus
from depthd.shm.layout import CameraState
from tests.fakes.pyzed.world import write_svo
from tests.system.conftest import RunningDaemon

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).resolve().parents[2]


class ZedDaemon:
    """`depthd run` on the stand-in SDK; `change` alters the world that its camera lives in."""

    def __init__(self, name: str, folder: Path, sdk: str, *options: str) -> None:
        self._control = folder / "world.json"
        world = {"scene": "one_plane", "frame_s": 0.03, "control": str(self._control)}
        self.daemon = RunningDaemon(
            name,
            folder / "log",
            [
                "--set",
                "camera.kind=zed",
                "--set",
                "camera.resolution=VGA",
                "--set",
                "camera.self_calibration=false",
                *options,
            ],
            {
                "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "fakes"), str(ROOT)]),
                "FAKE_PYZED_SDK": sdk,
                "FAKE_PYZED_WORLD": json.dumps(world),
            },
        )

    def change(self, **fields: object) -> None:
        whole = self._control.with_suffix(".new")
        whole.write_text(json.dumps(fields))
        whole.rename(self._control)


@pytest.fixture
def zed_daemon(shared_memory_name: str, tmp_path: Path) -> Iterator[Callable[[str], ZedDaemon]]:
    started: list[ZedDaemon] = []

    def start(sdk: str, *options: str) -> ZedDaemon:
        started.append(ZedDaemon(shared_memory_name, tmp_path, sdk, *options))
        return started[-1]

    yield start
    for zed in started:
        zed.daemon.process.kill()
        zed.daemon.process.wait()


def wait_for_state(reader: depthd.Reader, state: CameraState) -> None:
    end = time.monotonic() + 30
    while reader.state is not state:
        assert time.monotonic() < end, f"the camera is {reader.state.name}"
        time.sleep(0.005)


def next_frame(reader: depthd.Reader) -> depthd.Frame:
    """Waits while the camera is away."""
    end = time.monotonic() + 30
    while True:
        try:
            return reader.wait(timeout=1.0)
        except DepthdError:
            assert time.monotonic() < end


@pytest.mark.parametrize("sdk", ["4.2", "5.2"])
def test_a_pulled_cable_is_a_gap_to_a_reader_and_nothing_else(zed_daemon, sdk):
    zed = zed_daemon(sdk)
    with zed.daemon.attach() as reader:
        first = next_frame(reader).id
        for fault in ({"plugged": False}, {"rebooting": True}, {"held_by_another": True, "plugged": False}):
            zed.change(**fault)
            wait_for_state(reader, CameraState.LOST)
            zed.change(plugged=True, rebooting=False, held_by_another=False)
            wait_for_state(reader, CameraState.RUNNING)
            frame = next_frame(reader)
            assert frame.id > first
            first = frame.id
        assert zed.daemon.process.poll() is None
    assert "Traceback" not in zed.daemon.said()


@pytest.mark.parametrize("sdk", ["4.2", "5.2"])
def test_a_stream_whose_server_is_gone_for_a_while_comes_back(zed_daemon, sdk):
    zed = zed_daemon(sdk, "--set", "camera.stream=10.0.0.1:30000")
    with zed.daemon.attach() as reader:
        first = next_frame(reader)
        before, writer = first.id, first.writer_id
        zed.change(stream_up=False)
        wait_for_state(reader, CameraState.LOST)
        zed.change(stream_up=True)
        wait_for_state(reader, CameraState.RUNNING)
        frame = next_frame(reader)
        assert frame.id > before
        assert frame.writer_id == writer
    assert "Traceback" not in zed.daemon.said()


@pytest.mark.parametrize("sdk", ["4.2", "5.2"])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("low_bandwidth", "the USB bandwidth is too low for the ZED"),
        ("held_by_another", "another process holds the ZED"),
    ],
)
def test_what_keeps_a_camera_from_opening_is_told_and_waited_for(zed_daemon, sdk, fault, words):
    zed = zed_daemon(sdk)
    with zed.daemon.attach() as reader:
        before = next_frame(reader).id
        zed.change(plugged=False, **{fault: True})
        wait_for_state(reader, CameraState.LOST)
        zed.change(plugged=True, **{fault: True})
        zed.daemon.wait_for_words(words)
        zed.change(**{fault: False})
        wait_for_state(reader, CameraState.RUNNING)
        assert next_frame(reader).id > before


@pytest.mark.parametrize("sdk", ["4.2", "5.2"])
def test_an_opening_that_holds_pythons_lock_for_ever_ends_the_process_and_its_successor_opens(zed_daemon, sdk):
    zed = zed_daemon(sdk, "--set", "service.camera_limit_s=1", "--restart")
    with zed.daemon.attach() as reader:
        before = next_frame(reader).writer_id
        zed.change(plugged=False, opening_hangs=True)
        wait_for_state(reader, CameraState.LOST)
        zed.change(plugged=True, opening_hangs=True)
        zed.daemon.wait_for_words("stuck: opening the camera took longer than 1")
        zed.change(opening_hangs=False)
        while next_frame(reader).writer_id == before:
            pass
    assert zed.daemon.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("sdk", ["4.2", "5.2"])
def test_a_calibration_that_changed_on_reconnect_travels_with_the_frames(zed_daemon, sdk):
    zed = zed_daemon(sdk)
    with zed.daemon.attach() as reader:
        frame = next_frame(reader)
        before, writer, fx = frame.id, frame.writer_id, frame.camera.fx
        zed.change(plugged=False, focal_scale=1.01)
        wait_for_state(reader, CameraState.LOST)
        zed.change(plugged=True, focal_scale=1.01)
        wait_for_state(reader, CameraState.RUNNING)
        frame = next_frame(reader)
        while frame.id <= before or frame.camera.fx == fx:
            frame = next_frame(reader)
        assert frame.camera.fx == pytest.approx(1.01 * fx)
        assert reader.header["camera"]["fx"] == frame.camera.fx, "and the header says the same"
        assert frame.writer_id == writer
    zed.daemon.wait_for_words("calibration changed: fx 267")


@pytest.mark.parametrize("sdk", ["4.2", "5.2"])
def test_the_end_of_an_svo_file_is_the_end_of_the_daemon_and_no_failure(zed_daemon, tmp_path, sdk):
    svo = write_svo(tmp_path / "walk.svo2", frames=4)
    zed = zed_daemon(sdk, "--set", f"camera.svo={svo}", "--set", "camera.real_time=false")
    assert zed.daemon.process.wait(60) == 0
    assert "the recording has ended after 4 frames" in zed.daemon.said()


@pytest.mark.parametrize("sdk", ["4.2", "5.2"])
def test_a_grab_that_never_returns_ends_the_process_and_its_successor_serves_the_same_reader(zed_daemon, sdk):
    zed = zed_daemon(sdk, "--set", "service.frame_limit_s=0.5", "--restart")
    with zed.daemon.attach() as reader:
        before = next_frame(reader).writer_id
        zed.change(rebooting=False, hanging=True)
        wait_for_state(reader, CameraState.LOST)
        zed.change(hanging=False)
        while next_frame(reader).writer_id == before:
            pass
        assert reader.state is CameraState.RUNNING
    said = zed.daemon.said()
    assert "stuck: a frame took longer than 0.5 s" in said
    assert "depthd ended by SIGABRT; started again" in said
    assert zed.daemon.stop(signal.SIGTERM) == 0


def test_a_resolution_that_it_does_not_have_ends_the_daemon_in_one_line(zed_daemon, tmp_path):
    zed = zed_daemon("5.2")
    zed.change(cameras={"7": "ZED_X"})
    assert zed.daemon.process.wait(60) in (1, 2)
    assert "choose one of HD1200, HD1080, SVGA" in zed.daemon.said()
    assert "Traceback" not in zed.daemon.said()


def test_a_camera_without_calibration_gives_mono_and_no_metres(shared_memory_name: str, tmp_path: Path):
    video = tmp_path / "side_by_side.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 30, (1344, 376))
    rows, columns = np.indices((376, 1344))
    for k in range(3):
        writer.write(np.stack([columns % 200, rows % 200, (rows + columns + 9 * k) % 200], -1).astype(np.uint8))
    writer.release()
    sets = {
        "camera.kind": "uvc",
        "camera.device": video,
        "camera.loop": "true",
        "camera.settings_dir": tmp_path,
    }
    arguments = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    arguments += ["--set", "shared_memory.planes=[left, mono]"]
    daemon = RunningDaemon(shared_memory_name, tmp_path / "log", arguments, {})
    try:
        with daemon.attach() as reader:
            frame = next_frame(reader).copy()
    finally:
        daemon.process.kill()
        daemon.process.wait()
    assert np.isnan(frame.depth).all()
    assert frame.fit.status == FitStatus.UNFIT
    assert np.isfinite(frame.mono).all()
    assert "no calibration: depth is relative, not in metres" in daemon.said()
