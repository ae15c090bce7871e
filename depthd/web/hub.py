"""The viewers, and what is sent to whom. Lives on the event loop; the watcher's thread asks `demand` only."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Protocol

from depthd.web.encode import PARTS, EncodedFrame

IN_FLIGHT = 2
"""Frames that a viewer may have been sent without having decoded them. One more would only make pictures
older.
"""


class Connection(Protocol):
    async def send_bytes(self, data: bytes) -> None: ...
    async def send_str(self, data: str) -> None: ...


@dataclass(frozen=True)
class Demand:
    """What the next frame is to be encoded for. hold: somebody wants to keep exactly this frame."""

    parts: frozenset[str] = frozenset()
    hold: bool = False

    def __bool__(self) -> bool:
        return bool(self.parts) or self.hold


@dataclass(eq=False)
class Viewer:
    """One open page. It gets the newest frame when it has decoded the last but one; frames between are
    dropped.
    """

    connection: Connection
    wanted: frozenset[str] = frozenset()
    holding: bool = False
    hold_next: bool = False
    in_flight: int = 0
    next_message: bytes | None = None
    next_status: str | None = None
    pong: str | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ready(self) -> bool:
        if self.hold_next:
            return True
        return not self.holding and self.in_flight < IN_FLIGHT

    def send_next(self, message: bytes) -> None:
        # One that takes the place of another is not one more.
        self.in_flight += self.next_message is None
        self.next_message = message
        self.wake.set()

    async def send(self) -> None:
        """Sends what comes, for ever."""
        while True:
            await self.wake.wait()
            self.wake.clear()
            if self.next_status is not None:
                status, self.next_status = self.next_status, None
                await self.connection.send_str(status)
            if self.pong is not None:
                pong, self.pong = self.pong, None
                await self.connection.send_str(pong)
            if self.next_message is not None:
                message, self.next_message = self.next_message, None
                await self.connection.send_bytes(message)


class Hub:
    """All viewers of one server."""

    def __init__(self) -> None:
        self._viewers: set[Viewer] = set()
        self._status = json.dumps({"type": "status", "state": "starting"})
        self._demand = Demand()
        self._demand_changed = threading.Event()
        self.sent = 0

    def __len__(self) -> int:
        return len(self._viewers)

    def add(self, viewer: Viewer) -> None:
        self._viewers.add(viewer)
        viewer.next_status = self._status
        viewer.wake.set()
        self._update_demand()

    def remove(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        self._update_demand()

    def handle(self, viewer: Viewer, message: dict[str, Any]) -> None:
        """What the page says: `want` parts, `ack` a frame, `hold` the next one, `go` on, or
        `ping` to compare clocks.
        """
        kind = message.get("type")
        if kind == "want" and isinstance(message.get("parts"), list):
            viewer.wanted = frozenset(part for part in message["parts"] if part in PARTS)
        elif kind == "ack":
            viewer.in_flight = max(0, viewer.in_flight - 1)
        elif kind == "hold":
            viewer.holding = viewer.hold_next = True
        elif kind == "ping":
            pong = {"type": "pong", "sent_ms": message.get("sent_ms"), "monotonic_ns": time.monotonic_ns()}
            viewer.pong = json.dumps(pong)
            viewer.wake.set()
        elif kind == "go":
            viewer.holding = viewer.hold_next = False
        self._update_demand()

    def publish(self, frame: EncodedFrame, held: bool) -> None:
        """Hands a frame to everybody who can take one. held: the server keeps it, so a hold can be
        answered.
        """
        for viewer in self._viewers:
            if not viewer.ready or (viewer.hold_next and not held) or not viewer.wanted:
                continue
            viewer.send_next(frame.message(viewer.wanted, held=viewer.hold_next))
            viewer.hold_next = False
            self.sent += 1
        self._update_demand()

    def set_status(self, state: str, detail: str) -> None:
        """Tells everybody how the daemon is, where that has changed."""
        status = json.dumps({"type": "status", "state": state, "detail": detail})
        if status == self._status:
            return
        self._status = status
        for viewer in self._viewers:
            viewer.next_status = status
            viewer.wake.set()

    def demand(self, timeout_s: float) -> Demand:
        """Called by the watcher's thread: what the next frame is wanted for; waits while nobody wants one."""
        if not self._demand:
            self._demand_changed.wait(timeout_s)
        return self._demand

    def _update_demand(self) -> None:
        ready: Collection[Viewer] = [viewer for viewer in self._viewers if viewer.ready and viewer.wanted]
        parts = frozenset().union(*(viewer.wanted for viewer in ready))
        self._demand = Demand(parts, any(viewer.hold_next for viewer in ready))
        if self._demand:
            self._demand_changed.set()
        else:
            self._demand_changed.clear()
