"""The way of a frame, from the camera to the readers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthd import fusion as fusions
from depthd.cameras.ahead import Ahead
from depthd.cameras.base import CameraSource
from depthd.config import Config, FusionConfig, MatcherConfig
from depthd.device import choose_device
from depthd.errors import DepthdError
from depthd.frame import Camera, FusionResult, StageTimes
from depthd.gpu import CudaGpu, open_gpu
from depthd.matchers import Matcher, open_matcher
from depthd.mono import open_engine
from depthd.mono.base import MonoEngine
from depthd.phases import Phase, Phases
from depthd.shm.publisher import Publisher
from depthd.way import FallbackWay, HostWay, Way

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepReport:
    """What happened to one frame. `dropped` counts the frames lost so far, by the gaps in their index."""

    index: int
    times: StageTimes
    result: FusionResult
    dropped: int


class Pipeline:
    """Takes frames from a camera, completes their depth and publishes them; closes what it was given.

    gpu: what the way works on; the next frame is grabbed meanwhile, since the CPU is free.
    """

    def __init__(self, camera: CameraSource, way: Way, publisher: Publisher, gpu: CudaGpu | None = None) -> None:
        self._gpu = gpu
        self.camera = self._as_taken(camera)
        self.way = way
        self.publisher = publisher
        self._expected_index: int | None = None
        self._dropped = 0

    def step(self) -> StepReport:
        """Takes one frame all the way."""
        frame = self.camera.grab().check()
        grabbed_ns = time.monotonic_ns()
        dropped = self._count_dropped(frame.index)

        depths = self.way.see(frame)
        with self.publisher.slot() as slot:
            result = self.way.fuse(frame, depths, slot)
            fused_ns = time.monotonic_ns()
            times = StageTimes(
                captured_ns=frame.captured_ns,
                grabbed_ns=grabbed_ns,
                matched_ns=depths.matched_ns,
                inferred_ns=depths.inferred_ns,
                fused_ns=fused_ns,
                published_ns=time.monotonic_ns(),
            )
            slot.describe(frame, result, times, dropped, self.way.makes_points)
        return StepReport(frame.index, times, result, dropped)

    def change_camera(self, camera: CameraSource) -> None:
        """Goes on with a camera that was opened again, and with the last fit as far as the new pictures agree with it:
        the fusion itself finds out, as after any cut.
        """
        self.camera = self._as_taken(camera)
        self._expected_index = None

    def change_mono(self, config: Config) -> None:
        """Goes on with another network, and with the fusion for it. Raises DepthdError where it cannot be opened or
        fused; then the old one stays.
        """
        engine = open_mono(config, self.camera.camera, self._gpu)
        try:
            self.way.change_engine(engine, config.fusion, self.camera.camera)
        except DepthdError:
            engine.close()
            raise

    def prepare_matcher(self, config: MatcherConfig, weights_dir: Path | None = None) -> Callable[[], None]:
        """Opens another matcher; what is returned goes on with it. Raises DepthdError."""
        matcher = open_matcher(config, self.camera.camera, weights_dir)
        return lambda: self.way.change_matcher(matcher)

    def change_fusion(self, config: FusionConfig) -> None:
        self.way.change_fusion(config, self.camera.camera)

    def close(self) -> None:
        with ExitStack() as closing_in_turn:
            closing_in_turn.callback(self.camera.close)
            closing_in_turn.callback(self.publisher.close)
            closing_in_turn.callback(self.way.close)

    def _as_taken(self, camera: CameraSource) -> CameraSource:
        return camera if self._gpu is None else Ahead(camera)

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
        gpu = _gpu_for(config)
        engine = opened.enter_context(closing(open_mono(config, camera, gpu)))
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
        matcher = open_matcher(config.matcher, camera, config.mono.weights_dir)
        way = make_way(config, camera, matcher, engine, publisher, gpu)
        pipeline = Pipeline(source, way, publisher, gpu)
        opened.pop_all()
        return pipeline


def open_mono(config: Config, camera: Camera, gpu: CudaGpu | None = None) -> MonoEngine:
    """The configured network, ready for the camera's pictures; on the GPU's stream where it runs there."""
    engine = open_engine(config.mono, gpu)
    try:
        engine.prepare(camera.height, camera.width)
    except BaseException:
        engine.close()
        raise
    return engine


def make_way(
    config: Config, camera: Camera, matcher: Matcher, engine: MonoEngine, publisher: Publisher, gpu: CudaGpu | None
) -> Way:
    """The frame's way on the GPU, or on the CPU where there is none; with `device: auto` also when it fails later."""

    def on_the_cpu(network: MonoEngine) -> Way:
        fusion = fusions.create(config.fusion, camera, network.card.output_kind)
        return HostWay(matcher, network, fusion)

    def after_a_failure() -> Way:
        mono = config.mono.model_copy(update={"engine": "onnx", "providers": ("cpu",)})
        return on_the_cpu(open_mono(config.model_copy(update={"mono": mono}), camera))

    if gpu is None:
        return on_the_cpu(engine)
    try:
        way = _on_the_gpu(config, camera, matcher, engine, publisher, gpu)
    except DepthdError as error:
        if config.device == "cuda":
            raise
        log.error("depthd runs on the CPU: %s", error)
        return after_a_failure()
    return FallbackWay(way, after_a_failure) if config.device == "auto" else way


def _on_the_gpu(
    config: Config, camera: Camera, matcher: Matcher, engine: MonoEngine, publisher: Publisher, gpu: CudaGpu
) -> Way:
    from depthd.fusion.cuda import CudaFusion
    from depthd.way_cuda import DeviceWay

    parameters = fusions.parameters_of(config.fusion, camera, engine.card.output_kind)
    return DeviceWay(gpu, matcher, engine, CudaFusion(parameters, gpu.stream), publisher, camera)


def _gpu_for(config: Config) -> CudaGpu | None:
    """The GPU that `device` and `fusion.backend` ask for. Raises DepthdError where it is demanded and missing."""
    if config.fusion.backend != "auto" or choose_device(config.device) == "cpu":
        return None
    try:
        return open_gpu()
    except DepthdError as error:
        if config.device == "cuda":
            raise
        log.error("depthd runs on the CPU: %s", error)
        return None


def _mono_size(config: Config, engine: MonoEngine, camera: Camera) -> tuple[int, int] | None:
    """The size of the network's maps, where readers get them; only the network itself knows it."""
    if "mono" not in config.shared_memory.planes:
        return None
    height, width = engine.infer(np.zeros((camera.height, camera.width, 3), np.uint8)).shape
    return height, width
