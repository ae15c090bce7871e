"""The next picture is taken while the last one is worked on: at most one waits, and it is the newest."""

from __future__ import annotations

import threading
import time

from depthd.cameras.base import CameraSource
from depthd.frame import Camera, StereoFrame

BUFFERS = 3
"""Frames that a camera keeps apart: a grab writes over the one that is so many grabs old (see the cameras)."""


class Ahead:
    """A CameraSource around another, whose grabs run in a thread.

    A camera in real time goes on while the frame before is worked on. A waiting frame that is overtaken by a newer one
    is dropped, which the gap in `index` tells; so is one that nobody took for a whole period, since there was no room
    for those that would have overtaken it. A camera without a pace of its own (a recording) waits instead; no frame of
    it is lost. What `grab` returned stays whole until the next call.

    For a way on a GPU, whose host is free meanwhile. On a CPU a grab beside takes its time from the frame in work.
    """

    def __init__(self, source: CameraSource) -> None:
        self._source = source
        self.camera: Camera = source.camera
        self.description: str = source.description
        self.period_s: float = source.period_s
        self._changed = threading.Condition()
        self._waiting: StereoFrame | None = None
        self._error: BaseException | None = None
        self._grabs = 0
        self._waiting_number = self._taken_number = 0
        """Of the grab, from 1; 0 = none yet."""
        self._waiting_since_s = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="depthd-grab", daemon=True)
        self._thread.start()

    def grab(self) -> StereoFrame:
        with self._changed:
            if self._is_overdue():
                self._waiting, self._taken_number = None, self._waiting_number
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting is not None or self._error is not None)
            if self._waiting is None:
                assert self._error is not None
                raise self._error
            frame, self._waiting = self._waiting, None
            self._taken_number = self._waiting_number
            self._changed.notify_all()
            return frame

    def close(self) -> None:
        """Ends once the grab under way has ended."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._source.close()

    def _run(self) -> None:
        while self._may_grab():
            try:
                frame = self._source.grab()
            except BaseException as error:  # whatever it is, it belongs to who asks for the next frame
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._waiting, self._waiting_number = frame, self._grabs
                self._waiting_since_s = time.monotonic()
                self._changed.notify_all()

    def _may_grab(self) -> bool:
        """Waits until a grab would write over nothing that is needed. False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._is_room())
            self._grabs += 1
            return not self._closing

    def _is_overdue(self) -> bool:
        if self._waiting is None or self._error is not None or self._is_room():
            return False
        return time.monotonic() - self._waiting_since_s > self.period_s > 0.0

    def _is_room(self) -> bool:
        if self.period_s == 0.0:
            return self._waiting is None
        return self._taken_number == 0 or self._grabs + 1 - BUFFERS < self._taken_number
