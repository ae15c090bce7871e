"""The way of a frame, from the camera to the readers."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthd import fusion as fusions
from depthd.cameras.base import CameraSource
from depthd.config import Config, FusionConfig, MatcherConfig
from depthd.device import DeviceChoice
from depthd.frame import Array, Camera, FusionResult, StageTimes, StereoFrame
from depthd.fusion.base import Fusion
from depthd.matchers import Matcher, open_matcher
from depthd.mono import open_engine
from depthd.mono.base import MonoEngine
from depthd.phases import Phase, Phases
from depthd.shm.publisher import Publisher, Slot


@dataclass(frozen=True)
class StepReport:
    """What happened to one frame. `dropped` counts the frames lost so far, by the gaps in their index."""

    index: int
    times: StageTimes
    result: FusionResult
    dropped: int


class Pipeline:
    """Takes frames from a camera, completes their depth and publishes them; closes what it was given."""

    def __init__(
        self,
        camera: CameraSource,
        matcher: Matcher,
        engine: MonoEngine,
        fusion: Fusion,
        publisher: Publisher,
        device: DeviceChoice = "cpu",
    ) -> None:
        self.camera = camera
        self.matcher = matcher
        self.engine = engine
        self.fusion = fusion
        self.publisher = publisher
        self._device = device
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="depthd-mono")
        self._expected_index: int | None = None
        self._dropped = 0

    def step(self) -> StepReport:
        """Takes one frame all the way. Matching and mono do not need each other, so they run side by side."""
        frame = self.camera.grab().check()
        grabbed_ns = time.monotonic_ns()
        dropped = self._count_dropped(frame.index)

        inference = self._beside.submit(_timed, self.engine.infer, frame.left_bgr)
        stereo_depth_m, matched_ns = self._stereo_depth(frame)
        mono, inferred_ns = inference.result()

        with self.publisher.slot() as slot:
            result = self.fusion.fuse(stereo_depth_m, mono, slot.planes)
            fused_ns = time.monotonic_ns()
            _copy_beside(slot, left=frame.left_bgr, stereo_depth=stereo_depth_m, mono=mono)
            times = StageTimes(
                captured_ns=frame.captured_ns,
                grabbed_ns=grabbed_ns,
                matched_ns=matched_ns,
                inferred_ns=inferred_ns,
                fused_ns=fused_ns,
                published_ns=time.monotonic_ns(),
            )
            slot.describe(frame, result, times, dropped)
        return StepReport(frame.index, times, result, dropped)

    def change_camera(self, camera: CameraSource) -> None:
        """Goes on with a camera that was opened again; nothing is remembered of the old pictures."""
        self.camera = camera
        self.fusion.reset()
        self._expected_index = None

    def change_engine(self, engine: MonoEngine) -> None:
        """Goes on with another network, which is prepared; closes the old one."""
        self.engine, old = engine, self.engine
        old.close()

    def change_matcher(self, config: MatcherConfig, weights_dir: Path | None = None) -> None:
        self.matcher = open_matcher(config, self.camera.camera, weights_dir)

    def change_fusion(self, config: FusionConfig) -> None:
        self.fusion = fusions.create(config, self.camera.camera, self.engine.card.output_kind, self._device)

    def close(self) -> None:
        with ExitStack() as closing_in_turn:
            closing_in_turn.callback(self.camera.close)
            closing_in_turn.callback(self.publisher.close)
            closing_in_turn.callback(self.engine.close)
            closing_in_turn.callback(self._beside.shutdown)

    def _stereo_depth(self, frame: StereoFrame) -> tuple[Array, int]:
        """Depth in metres and when it was ready: the camera's own (time 0), or the matcher's."""
        if frame.depth_m is not None:
            return frame.depth_m, 0
        return _timed(self.matcher.depth_m, frame.left_bgr, frame.right_bgr)

    def _count_dropped(self, index: int) -> int:
        if self._expected_index is not None:
            self._dropped += max(0, index - self._expected_index)
        self._expected_index = index + 1
        return self._dropped


def build_pipeline(config: Config, open_source: Callable[[], CameraSource], phases: Phases) -> Pipeline:
    """Opens the camera, the network and the shared memory. Where one fails, all are closed again."""
    with ExitStack() as opened:
        source = opened.enter_context(closing(open_source()))
        camera = source.camera
        phases.enter(Phase.LOADING_MODEL)
        engine = opened.enter_context(closing(open_mono(config, camera)))
        publisher = opened.enter_context(
            closing(
                Publisher(
                    config.shared_memory,
                    config.name,
                    camera,
                    source.description,
                    _mono_size(config, engine, camera),
                )
            )
        )
        pipeline = Pipeline(
            camera=source,
            matcher=open_matcher(config.matcher, camera, config.mono.weights_dir),
            engine=engine,
            fusion=fusions.create(config.fusion, camera, engine.card.output_kind, config.device),
            publisher=publisher,
            device=config.device,
        )
        opened.pop_all()
        return pipeline


def open_mono(config: Config, camera: Camera) -> MonoEngine:
    """The configured network, ready for the camera's pictures."""
    engine = open_engine(config.mono)
    try:
        engine.prepare(camera.height, camera.width)
    except BaseException:
        engine.close()
        raise
    return engine


def _mono_size(config: Config, engine: MonoEngine, camera: Camera) -> tuple[int, int] | None:
    """The size of the network's maps, where readers get them; only the network itself knows it."""
    if "mono" not in config.shared_memory.planes:
        return None
    height, width = engine.infer(np.zeros((camera.height, camera.width, 3), np.uint8)).shape
    return height, width


def _timed(work: Callable[..., Array], *arguments: Array) -> tuple[Array, int]:
    result = work(*arguments)
    return result, time.monotonic_ns()


def _copy_beside(slot: Slot, **arrays: Array) -> None:
    """Copies what readers get beside the fused planes, as far as the slot carries it."""
    for name, array in arrays.items():
        plane = slot.plane(name)
        if plane is not None:
            np.copyto(plane, array)
