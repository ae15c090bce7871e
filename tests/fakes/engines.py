"""Networks whose map is told by the picture: mono is a fixed function of it, so that every way must give the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from depthd.frame import Array, Camera, FusionResult, StageTimes, StereoFrame
from depthd.mono.model import ModelCard, default_card
from depthd.shm.publisher import Publisher
from depthd.way import Way

STEP = 2
"""The map is so many times smaller than the picture."""


class PictureAsMono:
    """MonoEngine: the mean of the channels, every STEP-th pixel."""

    def __init__(self) -> None:
        self.closed = False
        self.pictures = 0

    @property
    def card(self) -> ModelCard:
        return default_card("picture.onnx")

    def prepare(self, height: int, width: int) -> None:
        pass

    def infer(self, left_bgr: Array) -> Array:
        self.pictures += 1
        return np.ascontiguousarray(mono_of(left_bgr))

    def close(self) -> None:
        self.closed = True


class PictureAsMonoOnStream(PictureAsMono):
    """The same on a GPU: DeviceNetwork with the arithmetic of NumPy or of CuPy, whose module is given."""

    def __init__(self, gpu: Any, arithmetic: Any, size: tuple[int, int]) -> None:
        super().__init__()
        self._gpu, self._arithmetic = gpu, arithmetic
        height, width = size
        self.map = gpu.empty((-(-height // STEP), -(-width // STEP)), np.float32)

    def on_stream(self) -> PictureAsMonoOnStream:
        return self

    def enqueue(self, left_bgr: Array) -> None:
        self.pictures += 1

        def work() -> None:
            self._arithmetic.copyto(self.map, mono_of(left_bgr))

        if hasattr(self._gpu, "enqueue"):
            self._gpu.enqueue(work)
        else:
            work()


def mono_of(left_bgr: Array) -> Array:
    """float32: larger is nearer, as the pictures of `frames_for` are lit."""
    small = left_bgr[::STEP, ::STEP].astype(np.float32)
    return (small[..., 0] + small[..., 1] + small[..., 2]) * np.float32(1 / 765)


def frame_for(rng: np.random.Generator, camera: Camera, index: int) -> StereoFrame:
    """A scene that is the brighter the nearer, with holes in stereo."""
    y, x = np.mgrid[: camera.height, : camera.width] / camera.width
    rho = 0.5 + 0.3 * np.sin(9 * x + index) * np.cos(7 * y)
    picture = np.clip(rho[..., None] * 250 + rng.normal(0, 1, (*rho.shape, 3)), 0, 255).astype(np.uint8)
    depth_m = (1.0 / rho).astype(np.float32)
    depth_m[rng.random(rho.shape) < 0.2] = np.nan
    return StereoFrame(index, 1000 + index, 1, camera, picture, None, depth_m)


def publish(way: Way, publisher: Publisher, frame: StereoFrame) -> tuple[FusionResult, dict[str, Array]]:
    """What the frame's slot holds afterwards."""
    depths = way.see(frame)
    with publisher.slot() as slot:
        for view in slot.views.values():
            view.view(np.uint8).fill(77)
        result = way.fuse(frame, depths, slot)
        slot.describe(frame, result, StageTimes(frame.captured_ns), has_points=way.makes_points)
        return result, {name: view.copy() for name, view in slot.views.items()}
