"""The few things an engine needs of a GPU: memory, a stream, and a captured graph. All of CuPy's that engines
use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array

_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2  # cudaMemcpyKind


class DeviceMemory(Protocol):
    """What engines ask of a device; the tests have one of their own."""

    device: str
    """ONNX Runtime's name of where the arrays lie."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array on the device."""

    def host(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A NumPy array that the device can read and write without a detour (pinned)."""

    def address(self, array: Array) -> int:
        """Where the array lies on the device."""

    @property
    def stream_handle(self) -> int:
        """The stream that everything below is enqueued on."""

    @property
    def queue(self) -> Any:
        """The same as a context manager, within which kernels are launched on it."""

    def copy_in(self, device: Array, host: Array) -> None:
        """Enqueues a copy from pinned host memory."""

    def copy_out(self, host: Array, device: Array) -> None:
        """Enqueues a copy to pinned host memory."""

    def synchronize(self) -> None:
        """Waits for everything enqueued."""

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Captures what `enqueue` enqueues, and returns a function that launches it. Raises RuntimeError."""

    def preprocessor(self, card: Any, height: int, width: int, out_height: int, out_width: int) -> Any:
        """For pictures that are on the device already."""

    def after_current(self) -> None:
        """What is enqueued next waits for what the caller's current stream has enqueued."""

    def before_current(self) -> None:
        """What the caller's current stream enqueues next waits for what was enqueued here."""


class CudaMemory:
    """DeviceMemory through CuPy, with a stream of its own."""

    device = "cuda"

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError:
            raise DepthdError(
                "CuPy is not installed, which networks on a GPU need", "pip install 'depthd[gpu]'"
            ) from None
        self._cupy = cupy
        self.stream = cupy.cuda.Stream(non_blocking=True)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._cupy.empty(shape, dtype)

    def host(self, shape: tuple[int, ...], dtype: Any) -> Array:
        count = int(np.prod(shape))
        memory = self._cupy.cuda.alloc_pinned_memory(count * np.dtype(dtype).itemsize)
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def address(self, array: Array) -> int:
        return int(array.data.ptr)

    @property
    def stream_handle(self) -> int:
        return int(self.stream.ptr)

    @property
    def queue(self) -> Any:
        return self.stream

    def copy_in(self, device: Array, host: Array) -> None:
        self._copy(device.data.ptr, host.ctypes.data, host.nbytes, _HOST_TO_DEVICE)

    def copy_out(self, host: Array, device: Array) -> None:
        self._copy(host.ctypes.data, device.data.ptr, host.nbytes, _DEVICE_TO_HOST)

    def _copy(self, to: int, source: int, size: int, direction: int) -> None:
        # CuPy's own copies refuse to be captured.
        self._cupy.cuda.runtime.memcpyAsync(to, source, size, direction, self.stream.ptr)

    def synchronize(self) -> None:
        self.stream.synchronize()

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        self.stream.begin_capture()
        try:
            enqueue()
        except BaseException:
            with contextlib.suppress(Exception):  # a capture that broke must be ended before the stream is used again
                self.stream.end_capture()
            raise
        graph = self.stream.end_capture()
        return lambda: graph.launch(self.stream)

    def preprocessor(self, card: Any, height: int, width: int, out_height: int, out_width: int) -> Any:
        from depthd.mono.preprocess_cuda import CudaPreprocessor

        return CudaPreprocessor(card, height, width, out_height, out_width)

    def after_current(self) -> None:
        self.stream.wait_event(self._cupy.cuda.get_current_stream().record())

    def before_current(self) -> None:
        self._cupy.cuda.get_current_stream().wait_event(self.stream.record())
