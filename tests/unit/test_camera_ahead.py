"""The next picture is taken while the last one is worked on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest

from depthd.cameras.ahead import BUFFERS, Ahead
from depthd.cameras.base import CameraLost, EndOfRecording
from depthd.frame import Camera, StereoFrame

CAMERA = Camera(4, 3, 4.0, 4.0, 1.5, 1.0, 0.1)
PATIENCE_S = 10.0


class SteppedCamera:
    """Takes a picture whenever it is told to, into one of BUFFERS buffers in turn, as the cameras do."""

    def __init__(self, period_s: float, last: int = 1000, error: Exception | None = None) -> None:
        self.camera, self.description, self.period_s = CAMERA, "stepped", period_s
        self.allowed = threading.Semaphore(0)
        self.done = threading.Semaphore(0)
        self.closed = False
        self._buffers = np.zeros((BUFFERS, 3, 4, 3), np.uint8)
        self._index, self._last, self._error = -1, last, error

    def grab(self) -> StereoFrame:
        assert self.allowed.acquire(timeout=PATIENCE_S)
        if self._index == self._last:
            raise self._error or EndOfRecording("over")
        self._index += 1
        buffer = self._buffers[self._index % BUFFERS]
        buffer.fill(self._index)
        self.done.release()
        return StereoFrame(self._index, 0, 0, CAMERA, buffer)

    def take(self, count: int = 1) -> None:
        """Lets `count` pictures be taken, and waits for them."""
        for _ in range(count):
            self.allowed.release()
            assert self.done.acquire(timeout=PATIENCE_S)

    def close(self) -> None:
        self.closed = True


@contextmanager
def ahead_of(camera: SteppedCamera) -> Iterator[Ahead]:
    ahead = Ahead(camera)
    try:
        yield ahead
    finally:
        for _ in range(10):
            camera.allowed.release()
        ahead.close()


def until(condition: Callable[[], bool]) -> None:
    gone = threading.Event()
    for _ in range(1000):
        if condition():
            return
        gone.wait(PATIENCE_S / 1000)
    raise AssertionError("it never came")


def test_the_next_picture_is_taken_before_it_is_asked_for():
    camera = SteppedCamera(period_s=1 / 30)
    with ahead_of(camera) as ahead:
        camera.take()
        assert ahead.grab().index == 0
        camera.take()  # nobody has asked for it
        assert ahead.grab().index == 1


def test_the_newest_picture_waits_and_gaps_tell_of_the_others():
    camera = SteppedCamera(period_s=1 / 30)
    with ahead_of(camera) as ahead:
        camera.take()
        assert ahead.grab().index == 0
        camera.take(2)
        until(lambda: ahead._waiting is not None and ahead._waiting.index == 2)
        assert ahead.grab().index == 2


def test_a_picture_that_is_worked_on_is_never_written_over():
    camera = SteppedCamera(period_s=1 / 30)
    with ahead_of(camera) as ahead:
        camera.take()
        frame = ahead.grab()
        camera.take(2)
        camera.allowed.release()  # a third would go into the buffer of the frame in work
        assert not camera.done.acquire(timeout=0.2)
        assert (frame.left_bgr == frame.index).all()
        frame = ahead.grab()
        assert camera.done.acquire(timeout=PATIENCE_S), "with the next one taken there is room again"
        assert (frame.left_bgr == frame.index).all()


def test_a_picture_that_waited_for_a_whole_period_gives_way_to_what_the_camera_has_now():
    camera = SteppedCamera(period_s=0.001)
    with ahead_of(camera) as ahead:
        camera.take()
        assert ahead.grab().index == 0
        camera.take(2)  # and there is no room for more
        until(lambda: ahead._waiting is not None and ahead._waiting.index == 2)
        threading.Event().wait(0.02)
        camera.allowed.release()
        frame = ahead.grab()
        assert frame.index == 3
        assert (frame.left_bgr == 3).all()


def test_a_picture_that_waited_is_taken_where_no_newer_one_will_come():
    camera = SteppedCamera(period_s=0.001, last=2, error=CameraLost("the cable is out", "plug it in"))
    with ahead_of(camera) as ahead:
        camera.take()
        assert ahead.grab().index == 0
        camera.take()
        assert ahead.grab().index == 1
        camera.take()
        camera.allowed.release()
        until(lambda: ahead._error is not None)
        threading.Event().wait(0.02)
        assert ahead.grab().index == 2
        with pytest.raises(CameraLost, match="cable"):
            ahead.grab()


def test_no_picture_of_a_recording_is_left_out():
    camera = SteppedCamera(period_s=0.0, last=9)
    for _ in range(20):
        camera.allowed.release()
    with ahead_of(camera) as ahead:
        for index in range(10):
            frame = ahead.grab()
            assert frame.index == index
            assert (frame.left_bgr == frame.index).all()
        with pytest.raises(EndOfRecording):
            ahead.grab()


def test_a_lost_camera_is_told_to_who_asks_for_the_next_picture():
    camera = SteppedCamera(period_s=1 / 30, last=0, error=CameraLost("the cable is out", "plug it in"))
    with ahead_of(camera) as ahead:
        camera.take()
        camera.allowed.release()
        assert ahead.grab().index == 0
        with pytest.raises(CameraLost, match="cable"):
            ahead.grab()
        with pytest.raises(CameraLost, match="cable"):
            ahead.grab()


def test_closing_ends_the_thread_and_the_camera():
    camera = SteppedCamera(period_s=1 / 30)
    camera.allowed.release()
    with closing(Ahead(camera)) as ahead:
        camera.allowed.release()
        camera.allowed.release()
        assert ahead.camera == CAMERA
    assert camera.closed
    assert not ahead._thread.is_alive()
