"""A daemon whose ZED is pulled, restarts or hangs: the same shared memory, the same reader, frames again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import depthd
from depthd.errors import DepthdError
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
