"""A network between two arrays on the device, enqueued on the caller's stream."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from depthd.frame import Array


class DeviceNetwork(Protocol):
    """What an engine that runs on the GPU is to the pipeline. Addresses stay the same, so it may be captured."""

    map: Array
    """float32 (h, w) on the device, at the network's own size."""

    def enqueue(self, left_bgr: Array) -> None:
        """Enqueues uint8 (height, width, 3) BGR on the device -> `map`, on the stream of the engine's DeviceMemory.

        Raises DepthdError. What an engine does the first time (loading, choosing kernels) is done then.
        """


@runtime_checkable
class RunsOnStream(Protocol):
    """A MonoEngine that can hand over its network so."""

    def on_stream(self) -> DeviceNetwork | None:
        """After `prepare`; None where the network does not run on the GPU."""
