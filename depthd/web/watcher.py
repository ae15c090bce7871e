"""The thread that reads the shared memory and encodes each frame once, for all viewers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from depthd.errors import DepthdError
from depthd.shm.errors import NotRunning, Overwritten, Timeout, WriterDied
from depthd.shm.reader import open_reader
from depthd.web.encode import EncodedFrame, encode
from depthd.web.hub import Demand, Hub

if TYPE_CHECKING:
    from depthd.shm.reader import Frame, Reader

WAIT_S = 0.5
RETRY_S = 0.2
SILENT_WAITS = 5
KEPT_FRAMES = 8
"""Frames that pages hold, for download. 13 MB each at 1280x720."""
SAMPLES_PERIOD_S = 0.5
"""Plots are drawn about once a second; their samples need not come with every frame."""


class Watcher:
    """Reads `name` while somebody looks. `maximum_fps` caps how often a frame is encoded; picture: how."""

    def __init__(
        self, name: str, hub: Hub, loop: asyncio.AbstractEventLoop, maximum_fps: float, picture: str = "jpeg"
    ) -> None:
        self.name = name
        self._picture = picture
        self._hub = hub
        self._loop = loop
        self._period_s = 1.0 / maximum_fps
        self._stopping = threading.Event()
        self._held: OrderedDict[int, Frame] = OrderedDict()
        self._thread = threading.Thread(target=self._run, name="depthd-view", daemon=True)
        self._next_samples_s = 0.0
        self.encoded = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(WAIT_S + 1.0)

    def held_frame(self, frame_id: int) -> Frame | None:
        """A frame that a page holds; the last few only."""
        return self._held.get(frame_id)

    def _run(self) -> None:
        reader: Reader | None = None
        next_s = 0.0
        timeouts = 0
        while not self._stopping.is_set():
            if not self._hub.demand(WAIT_S):
                continue
            # A little early: a cap equal to the camera's rate must not drop every other frame.
            self._stopping.wait(max(0.0, next_s - time.monotonic()))
            try:
                reader = reader or open_reader(self.name)
                frame = reader.wait(timeout=WAIT_S)
                timeouts = 0
                next_s = time.monotonic() + 0.9 * self._period_s
                self._take(frame)
            except Overwritten:
                continue
            except DepthdError as error:
                # A slow camera is no news; a dead writer is.
                timeouts += 1
                if timeouts >= SILENT_WAITS or not isinstance(error, Timeout) or isinstance(error, WriterDied):
                    self._say(error)
                # An object that cannot be read may be replaced by one that can.
                reader = reader if isinstance(error, Timeout) else None
                self._stopping.wait(RETRY_S)
        if reader is not None:
            reader.close()

    def _take(self, frame: Frame) -> None:
        demand = self._hub.demand(0.0)
        if not demand:
            return
        if demand.hold:
            frame = self._keep(frame)
        encoded = encode(frame, self._due(demand), self._picture)
        if frame.valid():
            self.encoded += 1
            self._post(encoded, demand)

    def _due(self, demand: Demand) -> frozenset[str]:
        now_s = time.monotonic()
        if "samples" not in demand.parts:
            return demand.parts
        if not demand.hold and now_s < self._next_samples_s:
            return demand.parts - {"samples"}
        self._next_samples_s = now_s + SAMPLES_PERIOD_S
        return demand.parts

    def _keep(self, frame: Frame) -> Frame:
        whole = frame.copy()
        self._held[whole.id] = whole
        while len(self._held) > KEPT_FRAMES:
            self._held.popitem(last=False)
        return whole

    def _post(self, frame: EncodedFrame, demand: Demand) -> None:
        self._on_loop(self._hub.set_status, "running", "")
        self._on_loop(self._hub.publish, frame, demand.hold)

    def _say(self, error: DepthdError) -> None:
        if isinstance(error, NotRunning):
            state = "stopped"
        elif isinstance(error, Timeout):
            state = "waiting"
        else:
            state = "unreadable"
        self._on_loop(self._hub.set_status, state, str(error))

    def _on_loop(self, function: object, *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]
