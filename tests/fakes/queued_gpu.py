"""A GPU in host memory, with a stream that does nothing until it is waited for; and what runs on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array, Camera, FusedPlanes, FusionResult
from depthd.fusion.cpu import CpuFusion
from depthd.fusion.parameters import Parameters
from depthd.gpu import HostReach, Shareable
from fakes.device_memory import QueuedMemory


class OnQueue(np.ndarray):
    """An array on the stand-in; NumPy's own are host memory."""


class GpuLost(Exception):
    """As CuPy's errors are not depthd's."""


class QueuedGpu(QueuedMemory):
    """See depthd.gpu.Gpu. refuses_pinning: as where the limit of locked memory is low."""

    def __init__(
        self, captures: bool = True, refuses_pinning: bool = False, reach: HostReach = "copy", has_ipc: bool = True
    ) -> None:
        super().__init__(captures)
        self.reach = reach
        self.refuses_pinning = refuses_pinning
        self.has_ipc = has_ipc
        self.pinned: list[Array] = []
        self.shared: list[Shareable] = []
        self.lost = False
        self._late: list[Any] = []
        self.recorded = 0

    def is_here(self, array: Array) -> bool:
        return isinstance(array, OnQueue)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return super().empty(shape, dtype).view(OnQueue)

    def bring(self, device: Array, source: Array) -> None:
        assert self.is_here(device)
        assert device.shape == source.shape
        self.enqueue(lambda: np.copyto(device, source))

    def fork(self) -> None:
        """What was enqueued before is done by the time that anything beside is."""

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Held back until `join`, as what runs beside may be late."""
        queue, self._queue = self._queue, []
        try:
            yield
        finally:
            self._late, self._queue = [*self._late, *self._queue], queue

    def join(self) -> None:
        self._queue, self._late = [*self._queue, *self._late], []

    def pin(self, memory: Array) -> bool:
        if not self.refuses_pinning:
            self.pinned.append(memory)
        return not self.refuses_pinning

    def unpin(self) -> None:
        self.pinned.clear()

    def mapped(self, host: Array) -> Array:
        return host.view(OnQueue)

    def share(self, size_bytes: int) -> Shareable:
        handles = (bytes([7]) * 64, bytes([8]) * 64) if self.has_ipc else (b"", b"")
        shared = Shareable(self.empty((size_bytes,), np.uint8), *handles, bytes(range(16)), self._record)
        self.shared.append(shared)
        return shared

    def synchronize(self) -> None:
        if self.lost:
            raise GpuLost("unspecified launch failure")
        super().synchronize()

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except GpuLost as error:
            raise DepthdError(f"the GPU failed: {error}", "look at dmesg") from error

    def _record(self) -> None:
        self.recorded += 1


class QueuedFusion:
    """See depthd.way_cuda.DeviceFusion: the C fusion, done when the queue comes to it."""

    def __init__(self, gpu: QueuedGpu, parameters: Parameters) -> None:
        self._gpu = gpu
        self._fusion = CpuFusion(parameters)
        self._done: FusionResult | None = None
        self._result: FusionResult | None = None
        self._mono: Array | None = None

    def launch_steady(self, mono: Array) -> None:
        self._gpu.enqueue(lambda: setattr(self, "_mono", np.array(mono)))

    def launch_after_steady(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> None:
        def fuse() -> None:
            assert self._mono is not None, "the first kernel has not run"
            given, self._mono = self._mono, None
            made = FusedPlanes.empty(*stereo_depth_m.shape)
            self._done = self._fusion.fuse(np.array(stereo_depth_m), given, made)
            for name in ("depth_m", "source", "sigma"):
                np.copyto(getattr(out, name), getattr(made, name))

        self._gpu.enqueue(fuse)

    def launch_points(self, depth_m: Array, xyz: Array, camera: Camera) -> None:
        from depthd import _shm

        def unproject() -> None:
            made = np.empty(xyz.shape, np.float32)
            _shm.points_from_depth(np.array(depth_m), made, camera.fx, camera.fy, camera.cx, camera.cy)
            np.copyto(xyz, made)

        self._gpu.enqueue(unproject)

    def launch_result(self) -> None:
        self._gpu.enqueue(lambda: setattr(self, "_result", self._done))

    def result(self) -> FusionResult:
        self._gpu.synchronize()
        assert self._result is not None
        return self._result

    def prepare(self, mono_size: tuple[int, ...]) -> None:
        pass

    def change(self, parameters: Parameters) -> None:
        self._fusion = CpuFusion(parameters)

    def reset(self) -> None:
        self._fusion.reset()
