"""A frame's way on a GPU: a captured graph with the network, and one a slot with the fusion and all copies out."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from depthd.config import FusionConfig
from depthd.errors import DepthdError
from depthd.frame import Array, Camera, FusedPlanes, FusionResult, StereoFrame
from depthd.fusion import parameters_of
from depthd.fusion.parameters import Parameters
from depthd.gpu import Gpu, Graphs
from depthd.matchers import Matcher
from depthd.mono.base import MonoEngine
from depthd.mono.on_stream import DeviceNetwork, RunsOnStream
from depthd.shm.device_slots import PASSED_ON, DeviceSlot, DeviceSlots
from depthd.shm.publisher import Publisher, Slot
from depthd.way import Depths, on_host, stereo_depth

log = logging.getLogger(__name__)


class DeviceFusion(Protocol):
    """What this way asks of the fusion on the GPU, piece by piece on the one stream: see depthd.fusion.cuda."""

    def launch_steady(self, mono: Array) -> None: ...
    def launch_after_steady(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> None: ...
    def launch_points(self, depth_m: Array, xyz: Array, camera: Camera) -> None: ...
    def launch_result(self) -> None: ...
    def result(self) -> FusionResult: ...
    def prepare(self, mono_size: tuple[int, ...]) -> None: ...
    def change(self, parameters: Parameters) -> None: ...
    def reset(self) -> None: ...


class DeviceWay:
    """Way on a GPU. Frames may come from host memory or be on the device already.

    Picture and stereo depth are first brought into buffers of fixed addresses, from which two graphs work: the network
    with what needs only mono, and the fusion with all copies out. The first runs while stereo depth is copied, or
    matched on the CPU. What readers get of the inputs is copied beside. Raises DepthdError where the GPU fails.
    """

    makes_points = True

    def __init__(
        self,
        gpu: Gpu,
        matcher: Matcher,
        engine: MonoEngine,
        fusion: DeviceFusion,
        publisher: Publisher,
        camera: Camera,
    ) -> None:
        self._gpu = gpu
        self.matcher = matcher
        self.engine = engine
        self.fusion = fusion
        self._camera = camera
        with gpu.errors():
            self._slots = DeviceSlots(publisher, gpu)
            self._graphs = Graphs(gpu)
            self._picture = gpu.empty((camera.height, camera.width, 3), np.uint8)
            self._stereo_m = gpu.empty((camera.height, camera.width), np.float32)
            self._network = _network_of(gpu, engine, self._picture)
            fusion.prepare(self._network.map.shape)

    def see(self, frame: StereoFrame) -> Depths:
        with self._gpu.errors():
            if self._gpu.is_here(frame.left_bgr):
                self._gpu.after_current()
            self._network.begin(frame)
            if self._network.reads_picture:
                self._gpu.bring(self._picture, frame.left_bgr)
            if frame.depth_m is not None:
                self._bring_stereo(frame.depth_m)
            self._gpu.fork()
            if self._network.captured:
                self._graphs.run("network", self._look)
            depth_m, matched_ns = stereo_depth(frame, self.matcher)
            if frame.depth_m is None:
                self._bring_stereo(depth_m)
            return Depths(depth_m, self._network.map, matched_ns)

    def fuse(self, frame: StereoFrame, depths: Depths, slot: Slot) -> FusionResult:
        there = self._slots[slot.index]
        with self._gpu.errors():
            self._gpu.join()
            with self._gpu.beside():
                if not self._network.reads_picture and self._slots.carries("left"):
                    self._gpu.bring(self._picture, frame.left_bgr)
                self._pass_on(there)
            if not self._network.captured:
                with self._gpu.queue:
                    self._look()
            self._graphs.run(slot.index, lambda: self._complete(there))
            self._gpu.join()
            self._slots.record()
            result = self.fusion.result()
            self._slots.finish(slot)
        return result

    def change_engine(self, engine: MonoEngine, config: FusionConfig, camera: Camera) -> None:
        parameters = _parameters_of(config, camera, engine)
        with self._gpu.errors():
            network = _network_of(self._gpu, engine, self._picture)
            self.fusion.prepare(network.map.shape)
            self._graphs.clear()
            self._network.close()
            self._network = network
            self.engine, old = engine, self.engine
            old.close()
            self.fusion.change(parameters)
            self.fusion.reset()

    def change_matcher(self, matcher: Matcher) -> None:
        self.matcher = matcher

    def change_fusion(self, config: FusionConfig, camera: Camera) -> None:
        parameters = _parameters_of(config, camera, self.engine)
        with self._gpu.errors():
            self.fusion.change(parameters)
        if camera != self._camera:
            self._camera = camera
            self._graphs.clear()  # which know the calibration that points are made with
            with self._gpu.errors():
                self.fusion.reset()

    def close(self) -> None:
        self._graphs.clear()
        self._network.close()
        self.engine.close()
        self._gpu.unpin()

    def _bring_stereo(self, depth_m: Array) -> None:
        """From the host, over the bus, beside the network; nothing of the frame before is under way any more."""
        if self._gpu.is_here(depth_m):
            self._gpu.bring(self._stereo_m, depth_m)
            return
        with self._gpu.beside():
            self._gpu.bring(self._stereo_m, depth_m)

    def _look(self) -> None:
        """Enqueues the network, and what needs only its map."""
        self._network.enqueue()
        self.fusion.launch_steady(self._network.map)

    def _complete(self, there: DeviceSlot) -> None:
        """Enqueues fusion and points, and brings what they make into the slot."""
        self.fusion.launch_after_steady(self._stereo_m, self._network.map, there.planes)
        if "xyz" in there.device:
            self.fusion.launch_points(there.device["depth"], there.device["xyz"], self._camera)
        if "mono" in there.device:
            self._gpu.bring(there.device["mono"], self._network.map)
        for host, device in there.copies:
            self._gpu.copy_out(host, device)
        self.fusion.launch_result()

    def _pass_on(self, there: DeviceSlot) -> None:
        """Enqueues the copies of what came in, for readers: from the device, which is faster than this CPU's own."""
        inputs = {"left": self._picture, "stereo_depth": self._stereo_m}
        for name in PASSED_ON:
            if name in there.device:
                self._gpu.bring(there.device[name], inputs[name])
            if name in there.host:
                self._gpu.copy_out(there.host[name], inputs[name])


class _OnDevice:
    """The network on the stream, from the picture to its map."""

    reads_picture = True

    def __init__(self, gpu: Gpu, network: DeviceNetwork, picture: Array) -> None:
        self._network = network
        self._picture = picture
        self.map = network.map
        with gpu.queue:
            self.enqueue()
        gpu.synchronize()
        self.captured = _can_be_captured(gpu, self.enqueue)

    def begin(self, frame: StereoFrame) -> None:
        pass

    def enqueue(self) -> None:
        self._network.enqueue(self._picture)

    def close(self) -> None:
        pass


class _OnHost:
    """A network that runs on the CPU, beside the matcher and the camera's copies."""

    captured = reads_picture = False

    def __init__(self, gpu: Gpu, engine: MonoEngine, picture: Array) -> None:
        self._gpu = gpu
        self._engine = engine
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="depthd-mono")
        self._coming: Future[Array] | None = None
        self.map = gpu.empty(engine.infer(np.zeros(picture.shape, np.uint8)).shape, np.float32)

    def begin(self, frame: StereoFrame) -> None:
        self._coming = self._beside.submit(self._engine.infer, on_host(frame).left_bgr)

    def enqueue(self) -> None:
        assert self._coming is not None
        self._gpu.bring(self.map, self._coming.result())

    def close(self) -> None:
        self._beside.shutdown()


def _network_of(gpu: Gpu, engine: MonoEngine, picture: Array) -> _OnDevice | _OnHost:
    network = engine.on_stream() if isinstance(engine, RunsOnStream) else None
    if network is None:
        log.info("the network does not run on the GPU; its maps are copied there")
        return _OnHost(gpu, engine, picture)
    return _OnDevice(gpu, network, picture)


def _parameters_of(config: FusionConfig, camera: Camera, engine: MonoEngine) -> Parameters:
    if config.backend != "auto":
        raise DepthdError("the fusion cannot leave the GPU while it runs", "restart depthd for fusion.backend")
    return parameters_of(config, camera, engine.card.output_kind)


def _can_be_captured(gpu: Gpu, enqueue: object) -> bool:
    try:
        gpu.capture(enqueue)  # type: ignore[arg-type]
    except Exception as error:  # CuPy's and the engines' classes are not known here
        log.info("the network runs outside of the graph: %s", " ".join(str(error).split())[:200])
        gpu.synchronize()
        return False
    return True
