"""Device memory in host memory, with a stream that does nothing until it is waited for, as a GPU's may."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

STREAMS: dict[int, QueuedMemory] = {}
"""By handle, so that the stand-in of TensorRT finds the queue that it was given the number of."""


class QueuedMemory:
    """DeviceMemory of depthd.mono.cuda_memory. Whoever forgets to synchronise reads what was there before."""

    device = "cpu"

    def __init__(self, captures: bool = True) -> None:
        self.captures = captures
        self.arrays: dict[int, np.ndarray] = {}
        self.launches = 0
        self._queue: list[Callable[[], None]] = []
        self._capturing: list[Callable[[], None]] | None = None
        self.stream_handle = 0x1000 + len(STREAMS)
        STREAMS[self.stream_handle] = self

    @property
    def queue(self) -> Any:
        return nullcontext()

    @property
    def capturing(self) -> bool:
        return self._capturing is not None

    def enqueue(self, work: Callable[[], None]) -> None:
        (self._queue if self._capturing is None else self._capturing).append(work)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        array = np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 99, dtype)
        self.arrays[array.ctypes.data] = array
        return array

    def host(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.full(shape, np.nan, dtype)

    def address(self, array: np.ndarray) -> int:
        return array.ctypes.data

    def copy_in(self, device: np.ndarray, host: np.ndarray) -> None:
        self.enqueue(lambda: np.copyto(device, host.reshape(device.shape)))

    def copy_out(self, host: np.ndarray, device: np.ndarray) -> None:
        self.enqueue(lambda: np.copyto(host, device.reshape(host.shape)))

    def synchronize(self) -> None:
        if self._capturing is not None:
            raise RuntimeError("a stream must not be waited for while it is captured")
        work, self._queue = self._queue, []
        for one in work:
            one()

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        if not self.captures:
            raise RuntimeError("operation not permitted when stream is capturing")
        self._capturing = []
        try:
            enqueue()
        finally:
            graph, self._capturing = self._capturing, None

        def launch() -> None:
            self.launches += 1
            self._queue.extend(graph)

        return launch

    def preprocessor(self, card: Any, height: int, width: int, out_height: int, out_width: int) -> Any:
        raise NotImplementedError("pictures on the device need a device")

    def after_current(self) -> None:
        pass

    def before_current(self) -> None:
        pass
