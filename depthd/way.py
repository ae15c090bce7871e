"""The way of a frame between camera and slot: both depths, then one. On the CPU here, on the GPU in way_cuda.py."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from depthd import fusion as fusions
from depthd.config import FusionConfig
from depthd.errors import DepthdError
from depthd.frame import Array, Camera, FusionResult, StereoFrame
from depthd.fusion.base import Fusion
from depthd.matchers import Matcher
from depthd.mono.base import MonoEngine
from depthd.shm.publisher import Slot

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Depths:
    """Both depths of a frame, ready or on their way. The times are 0 for what the stage did not do, or not alone."""

    stereo_depth_m: Array
    mono: Array
    matched_ns: int = 0
    inferred_ns: int = 0


class Way(Protocol):
    """What a pipeline asks of the CPU or the GPU."""

    @property
    def makes_points(self) -> bool:
        """Whether `fuse` also writes the plane 'xyz', where the slot carries it."""

    def see(self, frame: StereoFrame) -> Depths:
        """Stereo depth and mono of a frame, side by side."""

    def fuse(self, frame: StereoFrame, depths: Depths, slot: Slot) -> FusionResult:
        """Writes everything that the slot carries, except its metadata."""

    def change_engine(self, engine: MonoEngine, config: FusionConfig, camera: Camera) -> None:
        """Goes on with another network, which is prepared, and without what was remembered, which is in the old one's
        numbers; closes the old one. Raises DepthdError for what needs a restart; then the old one stays.
        """

    def change_matcher(self, matcher: Matcher) -> None:
        """Goes on with another matcher."""

    def change_fusion(self, config: FusionConfig, camera: Camera) -> None:
        """Goes on with other thresholds, for the engine in force. Raises DepthdError for what needs a restart."""

    def close(self) -> None:
        """Closes the engine and gives everything back."""


class HostWay:
    """Way on the CPU. The network may run anywhere that takes a picture from host memory."""

    makes_points = False

    def __init__(self, matcher: Matcher, engine: MonoEngine, fusion: Fusion) -> None:
        self.matcher = matcher
        self.engine = engine
        self.fusion = fusion
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="depthd-mono")

    def see(self, frame: StereoFrame) -> Depths:
        inference = self._beside.submit(timed, self.engine.infer, frame.left_bgr)
        stereo_depth_m, matched_ns = stereo_depth(frame, self.matcher)
        mono, inferred_ns = inference.result()
        return Depths(stereo_depth_m, mono, matched_ns, inferred_ns)

    def fuse(self, frame: StereoFrame, depths: Depths, slot: Slot) -> FusionResult:
        result = self.fusion.fuse(depths.stereo_depth_m, depths.mono, slot.planes)
        copy_beside(slot, left=frame.left_bgr, stereo_depth=depths.stereo_depth_m, mono=depths.mono)
        return result

    def change_engine(self, engine: MonoEngine, config: FusionConfig, camera: Camera) -> None:
        self.fusion = fusions.create(config, camera, engine.card.output_kind)
        self.engine, old = engine, self.engine
        old.close()

    def change_matcher(self, matcher: Matcher) -> None:
        self.matcher = matcher

    def change_fusion(self, config: FusionConfig, camera: Camera) -> None:
        self.fusion = fusions.create(config, camera, self.engine.card.output_kind)

    def close(self) -> None:
        self._beside.shutdown()
        self.engine.close()


class FallbackWay:
    """`device: auto`: takes one way until it raises DepthdError, and from then on the one that `make_second` makes."""

    def __init__(self, first: Way, make_second: Callable[[], Way]) -> None:
        self._way = first
        self._make_second: Callable[[], Way] | None = make_second

    @property
    def makes_points(self) -> bool:
        return self._way.makes_points

    def see(self, frame: StereoFrame) -> Depths:
        try:
            return self._way.see(frame)
        except DepthdError as error:
            return self._fall_back(error).see(on_host(frame))

    def fuse(self, frame: StereoFrame, depths: Depths, slot: Slot) -> FusionResult:
        try:
            return self._way.fuse(frame, depths, slot)
        except DepthdError as error:
            way, here = self._fall_back(error), on_host(frame)
            return way.fuse(here, way.see(here), slot)

    def change_engine(self, engine: MonoEngine, config: FusionConfig, camera: Camera) -> None:
        self._way.change_engine(engine, config, camera)

    def change_matcher(self, matcher: Matcher) -> None:
        self._way.change_matcher(matcher)

    def change_fusion(self, config: FusionConfig, camera: Camera) -> None:
        self._way.change_fusion(config, camera)

    def close(self) -> None:
        self._way.close()

    def _fall_back(self, error: DepthdError) -> Way:
        if self._make_second is None:
            raise error
        log.error("depthd goes on on the CPU, what it remembered is lost: %s", error)
        with suppress(Exception):  # what fails on a GPU that is lost no longer matters
            self._way.close()
        self._way, self._make_second = self._make_second(), None
        return self._way


def stereo_depth(frame: StereoFrame, matcher: Matcher) -> tuple[Array, int]:
    """Depth in metres and when it was ready: the camera's own (time 0), or the matcher's."""
    if frame.depth_m is not None:
        return frame.depth_m, 0
    return timed(matcher.depth_m, frame.left_bgr, frame.right_bgr)


def timed(work: Callable[..., Array], *arguments: Any) -> tuple[Array, int]:
    """What the work gives, and when."""
    result = work(*arguments)
    return result, time.monotonic_ns()


def copy_beside(slot: Slot, **arrays: Array) -> None:
    """Copies what readers get beside the fused planes, as far as the slot carries it."""
    for name, array in arrays.items():
        plane = slot.plane(name)
        if plane is not None:
            np.copyto(plane, array)


def on_host(frame: StereoFrame) -> StereoFrame:
    """The frame with its arrays in host memory. Raises DepthdError where they cannot be fetched any more."""
    arrays = {name: getattr(frame, name) for name in ("left_bgr", "right_bgr", "depth_m")}
    try:
        fetched = {name: array.get() for name, array in arrays.items() if hasattr(array, "get")}
    except Exception as error:  # CuPy's classes are not known here
        raise DepthdError(f"the frame is lost with its GPU: {error}", "start depthd again") from error
    return replace(frame, **fetched) if fetched else frame
