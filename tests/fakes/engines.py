"""Networks whose map is told by the picture: mono is a fixed function of it, so that every way must give the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from depthd.frame import Array, Camera, FusionResult, StageTimes, StereoFrame
from depthd.mono.model import ModelCard, OutputKind, default_card
from depthd.shm.publisher import Publisher
from depthd.way import Way

STEP = 2
"""The map is so many times smaller than the picture."""


class PictureAsMono:
    """MonoEngine: the mean of the channels, every `step`-th pixel, in the numbers of its kind."""

    def __init__(self, step: int = STEP, kind: OutputKind = "relative_inverse") -> None:
        self.closed = False
        self.pictures = 0
        self.step, self.kind = step, kind

    @property
    def card(self) -> ModelCard:
        return default_card("picture.onnx").model_copy(update={"output_kind": self.kind})

    def prepare(self, height: int, width: int) -> None:
        pass

    def infer(self, left_bgr: Array) -> Array:
        self.pictures += 1
        return np.ascontiguousarray(mono_of(left_bgr, self.step, self.kind))

    def close(self) -> None:
        self.closed = True


class PictureAsMonoOnStream(PictureAsMono):
    """The same on a GPU: DeviceNetwork with the arithmetic of NumPy or of CuPy, whose module is given."""

    def __init__(
        self,
        gpu: Any,
        arithmetic: Any,
        size: tuple[int, int],
        step: int = STEP,
        kind: OutputKind = "relative_inverse",
    ) -> None:
        super().__init__(step, kind)
        self._gpu, self._arithmetic = gpu, arithmetic
        self.map = gpu.empty(map_size(size, step), np.float32)

    def on_stream(self) -> PictureAsMonoOnStream:
        return self

    def enqueue(self, left_bgr: Array) -> None:
        self.pictures += 1

        def work() -> None:
            self._arithmetic.copyto(self.map, mono_of(left_bgr, self.step, self.kind))

        if hasattr(self._gpu, "enqueue"):
            self._gpu.enqueue(work)
        else:
            work()


def map_size(picture_size: tuple[int, int], step: int = STEP) -> tuple[int, int]:
    """(height, width) of the map."""
    height, width = picture_size
    return -(-height // step), -(-width // step)


def mono_of(left_bgr: Array, step: int = STEP, kind: OutputKind = "relative_inverse") -> Array:
    """float32, as the pictures of `frame_for` are lit: the brighter the nearer."""
    small = left_bgr[::step, ::step].astype(np.float32)
    nearness = (small[..., 0] + small[..., 1] + small[..., 2]) * np.float32(1 / 765)
    return nearness if kind == "relative_inverse" else 1 / (nearness + np.float32(0.01))


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
