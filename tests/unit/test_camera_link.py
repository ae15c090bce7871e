"""A lost camera comes back: states, pauses, and hundreds of disconnects at random moments without a leak."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from depthd.cameras import has_device, open_camera
from depthd.cameras.base import CameraLost, CameraSource
from depthd.cameras.link import (
    FIRST_PAUSE_S,
    LONGEST_BLIND_PAUSE_S,
    LONGEST_PAUSE_S,
    STEADY_S,
    CameraLink,
    LinkState,
    changes,
)
from depthd.config import UvcCameraConfig, VirtualCameraConfig, ZedCameraConfig
from depthd.errors import DepthdError
from depthd.frame import Camera
from tests.fakes import pyzed
from tests.fakes.pyzed.personality import build
from tests.fakes.pyzed.world import World, shots

DISCONNECTS = int(os.environ.get("DEPTHD_DISCONNECTS", "60"))
"""1000 for the full count."""


@dataclass
class Life:
    """A camera that opens only while it is there, and a clock that only waiting moves."""

    there: bool = True
    now: float = 0.0
    waits: list[float] = field(default_factory=list)
    told: list[LinkState] = field(default_factory=list)
    devices: set[str] = field(default_factory=lambda: {"usb1"})
    on_wait: object = None
    description = "a camera"
    closed: int = 0

    def open(self) -> CameraSource:
        if not self.there:
            raise CameraLost("it is not there", "plug it in")
        return self  # type: ignore[return-value]

    def close(self) -> None:
        self.closed += 1

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)
        if callable(self.on_wait):
            self.on_wait()

    def link(self, has_device: bool = True) -> CameraLink:
        return CameraLink(
            self.open,
            lambda state, _: self.told.append(state),
            has_device,
            self.wait,
            lambda: frozenset(self.devices),
            lambda: self.now,
        )


def back_after(life: Life, seconds: float, plugged: bool) -> None:
    def look() -> None:
        if life.now >= seconds - 1e-9 and not life.there:
            life.there = True
            if plugged:
                life.devices.add("usb1-4")

    life.on_wait = look


def test_the_states_follow_each_other():
    life = Life()
    link = life.link()
    source = link.open()
    life.there = False
    back_after(life, 0.5, plugged=True)
    assert link.reopen(source, "pulled") is life
    assert life.told[:3] == [LinkState.OPENING, LinkState.RUNNING, LinkState.LOST]
    assert life.told[-2:] == [LinkState.OPENING, LinkState.RUNNING]
    middle = life.told[2:-1]
    assert middle == [LinkState.LOST, LinkState.OPENING] * (len(middle) // 2)
    assert (life.closed, link.reconnects) == (1, 1)


def pauses(life: Life) -> list[float]:
    """Waiting time between one OPENING and the next."""
    lengths, start = [], 0.0
    original = life.told.append

    class Told(list):
        def append(self, state: LinkState) -> None:
            nonlocal start
            if state is LinkState.OPENING:
                lengths.append(life.now - start)
            if state is LinkState.LOST:
                start = life.now
            original(state)

    life.told = Told()
    return lengths


def test_pauses_double_up_to_the_longest():
    life = Life(there=False)
    lengths = pauses(life)
    back_after(life, 40, plugged=False)
    life.link().open()
    np.testing.assert_allclose(lengths[1:8], [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0])
    assert max(lengths) == pytest.approx(LONGEST_PAUSE_S)


@pytest.mark.parametrize("away_s", [0.3, 3.0, 30.0, 300.0])
def test_a_camera_that_is_plugged_in_again_is_opened_within_a_second(away_s):
    life = Life(there=False)
    back_after(life, away_s, plugged=True)
    life.link().open()
    assert life.now - away_s < 1.0


def test_a_camera_without_a_device_is_asked_often():
    life = Life(there=False)
    back_after(life, 60, plugged=False)
    life.link(has_device=False).open()
    assert life.now - 60 <= LONGEST_BLIND_PAUSE_S + 1e-6


def test_streams_and_files_are_no_devices_that_appear(tmp_path: Path):
    video = tmp_path / "video.avi"
    video.write_bytes(b"")
    assert has_device(ZedCameraConfig())
    assert not has_device(ZedCameraConfig(stream="10.0.0.1"))
    assert not has_device(ZedCameraConfig(svo=video))
    assert has_device(UvcCameraConfig(device="/dev/video7"))
    assert not has_device(UvcCameraConfig(device=str(video)))
    assert not has_device(VirtualCameraConfig())


def test_what_changed_in_a_calibration_is_told_by_name():
    before = Camera(672, 376, 267.0, 267.0, 339.9, 193.2, 0.12)
    assert changes(before, before) == []
    assert changes(before, replace(before, fx=268.5, baseline_m=0.063)) == [
        "fx 267 -> 268.5",
        "baseline_m 0.12 -> 0.063",
    ]


def test_a_camera_that_opens_and_fails_at_once_is_opened_ever_more_slowly():
    life = Life()
    lengths = pauses(life)
    link = life.link()
    source = link.open()
    for _ in range(8):
        source = link.reopen(source, "fails at once")
    assert lengths[-1] == pytest.approx(LONGEST_PAUSE_S)
    life.now += STEADY_S
    link.reopen(source, "after a while")
    assert lengths[-1] == pytest.approx(FIRST_PAUSE_S)


def test_what_somebody_has_to_mend_is_not_tried_again():
    def wrong() -> CameraSource:
        raise DepthdError("no such resolution", "choose another")

    told: list[LinkState] = []
    with pytest.raises(DepthdError, match="no such resolution"):
        CameraLink(wrong, lambda state, _: told.append(state)).open()
    assert told == [LinkState.OPENING]


def test_a_signal_ends_the_wait():
    class Stop(BaseException):
        pass

    def stop(_: float) -> None:
        raise Stop

    life = Life(there=False)
    with pytest.raises(Stop):
        CameraLink(life.open, lambda *_: None, wait=stop).open()


@pytest.mark.parametrize("sdk", ["4.2", "5.2"])
def test_disconnects_at_random_moments_leak_nothing_and_tear_no_frame(monkeypatch, sdk):
    world = World(cameras={1: "ZED2i"}, frame_s=0.0005)
    monkeypatch.setitem(sys.modules, "pyzed", pyzed)
    monkeypatch.setitem(sys.modules, "pyzed.sl", build(sdk, world))
    monkeypatch.setattr(pyzed, "sl", sys.modules["pyzed.sl"], raising=False)
    config = ZedCameraConfig(resolution="VGA", fps=0)
    whole = {shot.left_bgr.tobytes() for shot in shots("VGA", world.scene)}
    rng = random.Random(7)
    # As for one that runs steadily between losses: waiting is short, as the pauses are tested above.
    link = CameraLink(lambda: open_camera(config), lambda *_: None, wait=lambda _: time.sleep(0.0005))
    source = link.open()
    before = None
    faults = ("plugged", "rebooting", "CAMERA_NOT_DETECTED", "FAILURE", "CAMERA_REBOOTING", "stall")
    for k in range(DISCONNECTS):
        if k == DISCONNECTS // 3:
            before = resources()
        fault = faults[k % len(faults)]
        pulled = threading.Timer(rng.uniform(0, 0.004), strike, (world, fault))
        pulled.start()
        frames = 0
        try:
            while True:
                frame = source.grab()
                frames += 1
                if frames % 4 == 1:
                    assert frame.left_bgr.tobytes() in whole
        except CameraLost as lost:
            pulled.join()
            back = threading.Timer(rng.uniform(0, 0.003), mend, (world,))
            back.start()
            source = link.reopen(source, str(lost))
            assert source.grab().left_bgr.tobytes() in whole
            back.join()
    source.close()
    assert link.reconnects == DISCONNECTS
    assert world.open_now == 0
    assert before is not None
    threads, descriptors, memory = resources()
    assert threads <= before[0]
    assert descriptors <= before[1]
    assert memory - before[2] < 8 * 2**20


def strike(world: World, fault: str) -> None:
    if fault == "plugged":
        world.plugged = False
    elif fault == "rebooting":
        world.rebooting = True
    elif fault == "stall":
        world.faults.update({world.grabs + k: "CORRUPTED_FRAME" for k in range(1, 40)})
    else:
        world.faults[world.grabs + 2] = fault


def mend(world: World) -> None:
    world.plugged, world.rebooting = True, False
    world.faults.clear()


def resources() -> tuple[int, int, int]:
    """Threads, open files, and bytes of memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return (
        len(os.listdir("/proc/self/task")),
        len(os.listdir("/proc/self/fd")),
        pages * os.sysconf("SC_PAGESIZE"),
    )
