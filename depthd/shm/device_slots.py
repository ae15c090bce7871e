"""The slots of a ring on a GPU: where it makes their planes, how these reach host memory, and how others open them."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthd.frame import Array, FusedPlanes
from depthd.shm.layout import DEVICE_COPY, DEVICE_CUDA, PlaneId
from depthd.shm.publisher import Publisher, Slot

log = logging.getLogger(__name__)

PASSED_ON = ("left", "stereo_depth")
"""Planes that came in and are not made on the device."""


@dataclass(frozen=True)
class DeviceSlot:
    """One slot on the device. device: its planes there, by name, as the slot has them. host: where each is copied to
    from there; empty where the device writes into the slot itself. copies: (to, from) of the planes that are made on
    the device, those side by side at once.
    """

    device: dict[str, Array]
    host: dict[str, Array]
    copies: tuple[tuple[Array, Array], ...] = ()

    @property
    def planes(self) -> FusedPlanes:
        return FusedPlanes(self.device["depth"], self.device["source"], self.device["sigma"])


class DeviceSlots:
    """All slots of a publisher on a GPU (depthd.gpu.Gpu). Pins the shared memory, so that the GPU copies into it by
    itself; where that is refused, there is a detour through page-locked memory. The slots tell their readers where on
    the GPU they are.
    """

    def __init__(self, publisher: Publisher, gpu: Any) -> None:
        self._gpu = gpu
        self.registered: bool = gpu.pin(publisher.memory)
        if not self.registered:
            log.warning(
                "the shared memory cannot be registered with the GPU: each frame is copied once more by the CPU "
                "(is the limit of locked memory, LimitMEMLOCK, high enough?)"
            )
        self._detour: dict[str, Array] = {}
        if self.registered and gpu.reach == "mapped":
            self._slots = [self._mapped(slot) for slot in publisher.slots]
        else:
            self._slots = self._copied(publisher)

    def __getitem__(self, index: int) -> DeviceSlot:
        return self._slots[index]

    def record(self) -> None:
        """Enqueues the event that readers on the GPU wait for."""
        if self._shared is not None:
            self._shared.record()

    def carries(self, name: str) -> bool:
        """Whether the slots have a plane of this name."""
        return name in self._slots[0].device

    def finish(self, slot: Slot) -> None:
        """Once the device is done: the last part of the detour, where there is one."""
        for name, array in self._detour.items():
            np.copyto(slot.views[name], array)

    _shared: Any = None

    def _mapped(self, slot: Slot) -> DeviceSlot:
        return DeviceSlot({name: self._gpu.mapped(view) for name, view in slot.views.items()}, {})

    def _copied(self, publisher: Publisher) -> list[DeviceSlot]:
        views = publisher.slots[0].views
        offsets, slot_bytes = _layout(views)
        self._shared = shared = self._gpu.share(slot_bytes * len(publisher.slots))
        if not self.registered:
            self._detour = {name: self._gpu.host(view.shape, view.dtype) for name, view in views.items()}
        slots = []
        for slot in publisher.slots:
            start = slot.index * slot_bytes
            device = {name: _plane(shared.memory, start + offsets[name], view) for name, view in slot.views.items()}
            if self._detour:
                copies = tuple((self._detour[name], device[name]) for name in views if name not in PASSED_ON)
            else:
                copies = _copies(publisher.memory, slot.views, shared.memory, start, offsets)
            slots.append(DeviceSlot(device, self._detour or slot.views, copies))
            if shared.memory_handle:
                slot.device_copy = _record(shared, start, views)
        return slots


def _layout(views: dict[str, Array]) -> tuple[dict[str, int], int]:
    """Where the planes lie behind the first one, as in the slot, and the bytes from slot to slot."""
    first = min(int(view.ctypes.data) for view in views.values())
    offsets = {name: int(view.ctypes.data) - first for name, view in views.items()}
    end = max(offsets[name] + view.nbytes for name, view in views.items())
    return offsets, -(-end // 4096) * 4096


def _copies(
    host: Array, views: dict[str, Array], device: Array, start: int, offsets: dict[str, int]
) -> tuple[tuple[Array, Array], ...]:
    """Bytes in the slot and on the device, each a row of planes with nothing but padding between them."""
    first = min(int(view.ctypes.data) for view in views.values()) - int(host.ctypes.data)
    copies = []
    in_order = sorted(offsets, key=lambda name: offsets[name])
    for is_passed_on, row in itertools.groupby(in_order, lambda name: name in PASSED_ON):
        if not is_passed_on:
            names = list(row)
            begin, end = offsets[names[0]], offsets[names[-1]] + views[names[-1]].nbytes
            copies.append((host[first + begin : first + end], device[start + begin : start + end]))
    return tuple(copies)


def _plane(memory: Array, offset: int, view: Array) -> Array:
    return memory[offset : offset + view.nbytes].view(view.dtype).reshape(view.shape)


def _record(shared: Any, offset: int, views: dict[str, Array]) -> Array:
    record = np.zeros((), DEVICE_COPY)
    record["kind"] = DEVICE_CUDA
    record["planes"] = sum(1 << PlaneId[name.upper()] for name in views)
    record["offset"] = offset
    record["bytes"] = shared.memory.nbytes
    for field, content in (("uuid", shared.uuid), ("memory", shared.memory_handle), ("event", shared.event_handle)):
        record[field] = np.frombuffer(content, np.uint8)
    return np.frombuffer(record.tobytes(), np.uint8)
