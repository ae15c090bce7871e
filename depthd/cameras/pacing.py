"""When the next frame of a camera that has no clock of its own is due."""

from __future__ import annotations

import time


class Pacing:
    """Counts frames at a fixed period. In real time, frames whose moment has passed are left out of the count
    given, as a camera drops what nobody takes; else every frame comes at once, and `period_s` is 0.
    """

    def __init__(self, fps: float, real_time: bool) -> None:
        self.fps = fps
        self.period_s = 1 / fps if real_time else 0.0
        self._period_ns = round(self.period_s * 1e9)
        self._next = 0
        self._start_ns: int | None = None

    def next_frame(self) -> tuple[int, int]:
        """Waits until a frame is due; returns its index and the CLOCK_MONOTONIC nanoseconds at which it
        was.
        """
        now = time.monotonic_ns()
        if self._start_ns is None:
            self._start_ns = now
        if not self._period_ns:
            index, due = self._next, now
        else:
            index = max(self._next, (now - self._start_ns) // self._period_ns)
            due = self._start_ns + index * self._period_ns
            if due > now:
                time.sleep((due - now) / 1e9)
        self._next = index + 1
        return index, due

    def picture_clock_ns(self, index: int) -> int:
        """When a camera's own clock, started with frame 0, would have taken this frame."""
        return round(index / self.fps * 1e9)
