"""A daemon whose ZED is pulled, restarts or hangs: the same shared memory, the same reader, frames again."""

from __future__ import annotations

import json
import os
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
from tests.system.conftest import RunningDaemon

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).resolve().parents[2]


class ZedDaemon:
    """`depthd run` on the stand-in SDK; `change` alters the world that its camera lives in."""

    def __init__(self, name: str, folder: Path, sdk: str) -> None:
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

    def start(sdk: str) -> ZedDaemon:
        started.append(ZedDaemon(shared_memory_name, tmp_path, sdk))
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
