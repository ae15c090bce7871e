"""A GPU as the pipeline uses it: one stream, captured graphs, host memory within its reach, memory that others open."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array
from depthd.mono.cuda_memory import CudaMemory, DeviceMemory

log = logging.getLogger(__name__)

HostReach = Literal["copy", "mapped"]
_HOST_REGISTER_MAPPED = 2  # cudaHostRegisterMapped
_UNREGISTERED = 0  # cudaMemoryTypeUnregistered


def host_reach(properties: dict[str, Any]) -> HostReach:
    """How results reach host memory, by the GPU's properties (cudaDeviceProp as CuPy gives them).

    An integrated GPU (Jetson) shares the host's memory: it writes there itself, and a copy would only cost. Any other
    gets there over a bus, which a copy uses better than single stores.
    """
    return "mapped" if properties.get("integrated") and properties.get("canMapHostMemory") else "copy"


@dataclass(frozen=True)
class Shareable:
    """Device memory that another process may open. memory: uint8 (bytes,). The handles are CUDA's, empty where this
    platform has no CUDA IPC."""

    memory: Array
    memory_handle: bytes
    event_handle: bytes
    uuid: bytes
    record: Callable[[], None]
    """Enqueues the event: what was enqueued before it is what the other process waits for."""


class Gpu(DeviceMemory, Protocol):
    """DeviceMemory, and what the pipeline needs beyond it; the tests have one of their own."""

    reach: HostReach

    def is_here(self, array: Array) -> bool:
        """Whether an array is on the device."""

    def bring(self, device: Array, source: Array) -> None:
        """Enqueues a copy of `source`, wherever and however strided it is, into a whole device array."""

    def fork(self) -> None:
        """What is enqueued beside from here on waits for all that was enqueued before."""

    def beside(self) -> AbstractContextManager[None]:
        """What is enqueued within runs, in its order, beside what was enqueued since the last fork."""

    def join(self) -> None:
        """What is enqueued next waits for all that was enqueued beside."""

    def pin(self, memory: Array) -> bool:
        """Brings host memory within the device's reach (page-locked, registered); False where that is refused.

        `memory` is kept alive until `unpin`.
        """

    def unpin(self) -> None:
        """Lets go of all that `pin` took."""

    def mapped(self, host: Array) -> Array:
        """A device array over pinned host memory: what is written to it is there without a copy."""

    def share(self, size_bytes: int) -> Shareable:
        """Memory for other processes."""

    def errors(self) -> AbstractContextManager[None]:
        """Turns what a GPU can do wrong within into one DepthdError."""


class CudaGpu(CudaMemory):
    """Gpu through CuPy. Raises DepthdError without one."""

    def __init__(self) -> None:
        super().__init__()
        self._runtime = self._cupy.cuda.runtime
        self._device = self._runtime.getDevice()
        self._properties = self._runtime.getDeviceProperties(self._device)
        self.reach = host_reach(self._properties)
        self._main, self._side = self.stream, self._cupy.cuda.Stream(non_blocking=True)
        self._forked, self._joined = (self._cupy.cuda.Event(disable_timing=True) for _ in range(2))
        self._pinned: dict[int, Array] = {}
        self._refused: set[int] = set()
        self._staging: dict[tuple[int, ...], Array] = {}

    def is_here(self, array: Array) -> bool:
        return isinstance(array, self._cupy.ndarray)

    def bring(self, device: Array, source: Array) -> None:
        if self.is_here(source):
            with self.stream:
                self._cupy.copyto(device, source)
            return
        if not source.flags.c_contiguous:
            source = self._gathered(source)
        elif source.base is not None or source.flags.owndata:
            self._pin_owner(source)
        self.copy_in(device, source)

    def fork(self) -> None:
        self._forked.record(self._main)
        self._side.wait_event(self._forked)

    @contextmanager
    def beside(self) -> Iterator[None]:
        self.stream = self._side
        try:
            with self._side:
                yield
        finally:
            self.stream = self._main

    def join(self) -> None:
        self._joined.record(self._side)
        self._main.wait_event(self._joined)

    def pin(self, memory: Array) -> bool:
        address = int(memory.ctypes.data)
        if address in self._pinned:
            return True
        try:
            self._runtime.hostRegister(address, memory.nbytes, _HOST_REGISTER_MAPPED)
        except self._runtime.CUDARuntimeError as error:
            log.info("host memory of %d MiB stays pageable: %s", memory.nbytes >> 20, error)
            return False
        self._pinned[address] = memory
        return True

    def unpin(self) -> None:
        self.synchronize()
        for address in self._pinned:
            with suppress(self._runtime.CUDARuntimeError):  # a lost device has let go already
                self._runtime.hostUnregister(address)
        self._pinned.clear()
        self._refused.clear()

    def mapped(self, host: Array) -> Array:
        attributes = self._runtime.pointerGetAttributes(host.ctypes.data)
        memory = self._cupy.cuda.UnownedMemory(attributes.devicePointer, host.nbytes, host)
        return self._cupy.ndarray(host.shape, host.dtype, self._cupy.cuda.MemoryPointer(memory, 0))

    def share(self, size_bytes: int) -> Shareable:
        # Not from CuPy's pool, whose blocks lie anywhere in a larger allocation: a handle opens whole allocations.
        pointer = self._cupy.cuda.MemoryPointer(self._cupy.cuda.Memory(size_bytes), 0)
        memory = self._cupy.ndarray((size_bytes,), np.uint8, pointer)
        event = self._cupy.cuda.Event(disable_timing=True)
        handles = (b"", b"")
        try:
            event = self._cupy.cuda.Event(disable_timing=True, interprocess=True)
            handles = (self._runtime.ipcGetMemHandle(pointer.ptr), self._runtime.ipcGetEventHandle(event.ptr))
        except self._runtime.CUDARuntimeError as error:
            log.info("no CUDA IPC on this platform (%s): readers find their frames in host memory", error)
        uuid = bytes(self._properties["uuid"])
        return Shareable(memory, bytes(handles[0]), bytes(handles[1]), uuid, lambda: event.record(self.stream))

    @contextmanager
    def errors(self) -> Iterator[None]:
        from depthd.fusion.cuda import gpu_errors

        with gpu_errors(self._cupy):
            yield

    def _pin_owner(self, array: Array) -> None:
        """Pins the whole allocation that a camera's array is part of, once: cameras use few, over and over."""
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        address = int(owner.ctypes.data)
        # Memory that is not NumPy's may be freed while we hold it, so it is left alone.
        if not owner.flags.owndata or address in self._pinned or address in self._refused:
            return
        if self._runtime.pointerGetAttributes(address).type != _UNREGISTERED or not self.pin(owner):
            self._refused.add(address)

    def _gathered(self, source: Array) -> Array:
        """A whole copy in pinned memory, of padded rows for example."""
        staged = self._staging.get(source.shape)
        if staged is None or staged.dtype != source.dtype:
            staged = self._staging[source.shape] = self.host(source.shape, source.dtype)
        self.synchronize()  # the last frame's copy may still read it
        np.copyto(staged, source)
        return staged


class Graphs:
    """Work that is enqueued again and again: the first time as it is, from then on as a captured graph.

    The work of a key must do the same with the same buffers each time. The oldest graph goes where there are too many.
    """

    def __init__(self, gpu: DeviceMemory, most: int = 256) -> None:
        self._gpu = gpu
        self._most = most
        self._captured: dict[Hashable, Callable[[], None]] = {}

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Enqueues the work. Raises what capturing raises; the work itself has been enqueued then."""
        graph = self._captured.get(key)
        if graph is not None:
            graph()
            return
        with self._gpu.queue:
            work()
        self._gpu.synchronize()
        if len(self._captured) == self._most:
            del self._captured[next(iter(self._captured))]
        with self._gpu.queue:
            self._captured[key] = self._gpu.capture(work)

    def clear(self) -> None:
        self._captured.clear()


def open_gpu() -> CudaGpu:
    """The current GPU. Raises DepthdError."""
    try:
        return CudaGpu()
    except DepthdError:
        raise
    except Exception as error:  # CuPy's classes are not known where it is missing
        raise DepthdError(f"the GPU cannot be used: {error}", "look at dmesg, or use device: cpu") from error
