"""Frames on the GPU without a copy: the writer's own device memory, opened by CUDA IPC."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from depthd import _shm
from depthd.errors import DepthdError
from depthd.frame import Array
from depthd.shm.layout import DEVICE_COPY, DEVICE_COPY_OFFSET, DEVICE_CUDA, PlaneView
from depthd.shm.reader import Frame, Reader


class Ipc(Protocol):
    """What is asked of CUDA; the tests have one of their own."""

    def choose_device(self, uuid: bytes) -> None:
        """Makes the GPU with this UUID the current one. Raises DepthdError where this process does not see it."""

    def open(self, memory_handle: bytes, event_handle: bytes) -> OpenMemory:
        """Raises DepthdError."""

    def array(self, memory: OpenMemory, offset: int, plane: PlaneView) -> Array:
        """A plane that begins `offset` bytes behind the start, without a copy."""

    def synchronize(self) -> None:
        """Waits for everything that this process has enqueued on the GPU."""


class OpenMemory(Protocol):
    """Another process's device memory; closed when nothing refers to it any more."""

    def wait(self) -> None:
        """Lets the current stream wait until the writer is done with the newest frame."""


class CudaFrame(Frame):
    """A Frame whose planes are CuPy arrays on the GPU.

    `valid()` first waits for all work that this process has enqueued there, so that it speaks of all of it.
    """

    __slots__ = ("_ipc",)

    def __init__(self, native: _shm.Reader | None, planes: dict[str, Array], slot: int, raw: bytes, ipc: Ipc) -> None:
        super().__init__(native, planes, slot, raw)
        self._ipc = ipc

    def valid(self) -> bool:
        self._ipc.synchronize()
        return super().valid()


class CudaReader(Reader):
    """A Reader of CudaFrames. Raises DepthdError where there is no CUDA IPC to the writer."""

    def __init__(self, name: str, ipc: Ipc | None = None) -> None:
        self._ipc: Ipc = ipc or CupyIpc()
        self._planes: list[PlaneView] = []
        self._memory: OpenMemory | None = None
        self._opened = b""
        super().__init__(name)

    def close(self) -> None:
        self._memory, self._opened = None, b""
        super().close()

    def _attach(self) -> int:
        code = super()._attach()
        if self._native is not None:
            self._planes = [PlaneView.from_entry(*entry) for entry in self._native.planes()]
        return code

    def _frame(self, found: tuple[int, int, bytes]) -> CudaFrame:
        slot, _sequence, raw = found
        copy = np.frombuffer(raw, DEVICE_COPY, 1, DEVICE_COPY_OFFSET)[0]
        memory = self._opened_for(copy)
        memory.wait()
        planes = {
            plane.id.name.lower(): self._ipc.array(memory, int(copy["offset"]) + plane.offset, plane)
            for plane in self._planes
            if int(copy["planes"]) >> plane.id & 1 and _fits(plane, copy)
        }
        return CudaFrame(self._native, planes, slot, raw, self._ipc)

    def _opened_for(self, copy: Any) -> OpenMemory:
        """The writer's memory, opened once for as long as it is the same."""
        if int(copy["kind"]) != DEVICE_CUDA:
            raise DepthdError(
                f"the writer of {self.name!r} keeps no copy of its frames on a GPU",
                "run depthd with device: cuda where CUDA IPC works (its log says so), or open it without device='cuda'",
            )
        handles = copy["memory"].tobytes(), copy["event"].tobytes()
        identity = copy["uuid"].tobytes() + b"".join(handles)
        if self._memory is None or identity != self._opened:
            self._memory = None
            self._ipc.choose_device(copy["uuid"].tobytes())
            self._memory = self._ipc.open(*handles)
            self._opened = identity
        return self._memory


def _fits(plane: PlaneView, copy: Any) -> bool:
    end = int(copy["offset"]) + plane.offset + plane.shape[0] * plane.strides[0]
    return end <= int(copy["bytes"])


class _CupyMemory:
    """OpenMemory through CuPy."""

    def __init__(self, cupy: Any, memory_handle: bytes, event_handle: bytes) -> None:
        self._runtime = cupy.cuda.runtime
        self._stream = cupy.cuda.get_current_stream
        self.address = self._runtime.ipcOpenMemHandle(memory_handle, self._runtime.cudaIpcMemLazyEnablePeerAccess)
        self._event = self._runtime.ipcOpenEventHandle(event_handle)

    def wait(self) -> None:
        self._runtime.streamWaitEvent(self._stream().ptr, self._event)

    def __del__(self) -> None:
        if hasattr(self, "_event"):
            self._runtime.eventDestroy(self._event)
        if hasattr(self, "address"):
            self._runtime.ipcCloseMemHandle(self.address)


class CupyIpc:
    """Ipc through CuPy. Raises DepthdError where it or the GPU is missing."""

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError:
            raise DepthdError(
                "CuPy is not installed, which frames on the GPU need", "pip install cupy-cuda13x (or cupy-cuda12x)"
            ) from None
        self._cupy = cupy
        self._runtime = cupy.cuda.runtime
        try:
            self._count = self._runtime.getDeviceCount()
        except self._runtime.CUDARuntimeError as error:
            raise DepthdError(f"there is no usable GPU ({error})", "open it without device='cuda'") from None

    def choose_device(self, uuid: bytes) -> None:
        for device in range(self._count):
            if bytes(self._runtime.getDeviceProperties(device)["uuid"]) == uuid:
                self._runtime.setDevice(device)
                return
        raise DepthdError("the frames are on a GPU that this process does not see", "look at CUDA_VISIBLE_DEVICES")

    def open(self, memory_handle: bytes, event_handle: bytes) -> OpenMemory:
        try:
            return _CupyMemory(self._cupy, memory_handle, event_handle)
        except self._runtime.CUDARuntimeError as error:
            raise DepthdError(
                f"CUDA IPC is refused ({error})",
                "open it in another process than the writer's, in containers with the same IPC and PID namespace",
            ) from None

    def array(self, memory: Any, offset: int, plane: PlaneView) -> Array:
        size = plane.shape[0] * plane.strides[0]
        owned = self._cupy.cuda.UnownedMemory(memory.address + offset, size, memory)
        pointer = self._cupy.cuda.MemoryPointer(owned, 0)
        return self._cupy.ndarray(plane.shape, plane.dtype, pointer, plane.strides)

    def synchronize(self) -> None:
        self._runtime.deviceSynchronize()
