"""The frame's way on a real GPU: slots, readers in another process, cameras that hand out device memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.engines import STEP, PictureAsMono, frame_for, map_size, publish

import depthd
from depthd import _shm
from depthd import fusion as fusions
from depthd.config import FusionConfig, SharedMemoryConfig
from depthd.errors import DepthdError
from depthd.frame import Array, Camera, FitStatus
from depthd.mono.model import OutputKind
from depthd.shm.publisher import Publisher
from depthd.way import HostWay

pytestmark = pytest.mark.gpu
CAMERA = Camera(641, 359, 500.0, 500.0, 319.5, 178.5, 0.12)
MAP = map_size((CAMERA.height, CAMERA.width))
PLANES = ("depth", "source", "sigma", "left", "stereo_depth", "mono", "xyz")
MONO_OF = r"""
extern "C" __global__ void mono_of(const unsigned char *bgr, float *map, int width, int map_height, int map_width,
                                   int step, int is_depth) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, y = i / map_width, x = i % map_width;
    if (y >= map_height) return;
    const unsigned char *p = bgr + 3 * ((size_t)step * y * width + step * x);
    const float nearness = __fmul_rn((float)((int)p[0] + p[1] + p[2]), (float)(1.0 / 765));
    map[i] = is_depth ? __fdiv_rn(1.0f, __fadd_rn(nearness, 0.01f)) : nearness;
}
"""


class PictureAsMonoOnGpu(PictureAsMono):
    """The stand-in network as a kernel."""

    def __init__(self, cupy: Any, gpu: Any, step: int = STEP, kind: OutputKind = "relative_inverse") -> None:
        super().__init__(step, kind)
        self._kernel = cupy.RawKernel(MONO_OF, "mono_of")
        self.map = gpu.empty(map_size((CAMERA.height, CAMERA.width), step), np.float32)

    def on_stream(self) -> PictureAsMonoOnGpu:
        return self

    def enqueue(self, left_bgr: Array) -> None:
        height, width = self.map.shape
        numbers = (CAMERA.width, height, width, self.step, self.kind != "relative_inverse")
        arguments = (left_bgr, self.map, *(np.int32(number) for number in numbers))
        self._kernel((-(-height * width // 128),), (128,), arguments)


class NoMatcher:
    def depth_m(self, left_bgr: Array, right_bgr: Array) -> Array:
        raise AssertionError("the camera has depth")


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    name = f"depthd-test-{os.getpid()}-{time.monotonic_ns()}"
    config = SharedMemoryConfig(slots=3, planes=("left", "stereo_depth", "mono", "xyz"))
    with Publisher(config, name, CAMERA, "test", MAP) as publisher:
        yield publisher


@pytest.fixture
def gpu(cupy: Any, publisher: Publisher) -> Iterator[Any]:
    from depthd.gpu import open_gpu

    gpu = open_gpu()
    yield gpu
    gpu.unpin()  # before the shared memory is unmapped


def device_way(cupy: Any, gpu: Any, publisher: Publisher, on_stream: bool = True) -> Any:
    from depthd.fusion.cuda import CudaFusion
    from depthd.way_cuda import DeviceWay

    parameters = fusions.parameters_of(FusionConfig(), CAMERA, "relative_inverse")
    engine = PictureAsMonoOnGpu(cupy, gpu) if on_stream else PictureAsMono()
    return DeviceWay(gpu, NoMatcher(), engine, CudaFusion(parameters, gpu.stream), publisher, CAMERA)


def assert_same_as_on_the_cpu(cupy: Any, way: Any, publisher: Publisher, on_device: bool = False) -> None:
    cpu = HostWay(NoMatcher(), PictureAsMono(), fusions.create(FusionConfig(), CAMERA, "relative_inverse"))
    rng = np.random.default_rng(5)
    for index in range(8):
        frame = frame_for(rng, CAMERA, index)
        expected_result, expected = publish(cpu, publisher, frame)
        if on_device:
            frame.left_bgr, frame.depth_m = padded(cupy, frame.left_bgr), padded(cupy, frame.depth_m)
        result, found = publish(way, publisher, frame)
        assert result.fit.status is expected_result.fit.status
        for name in ("left", "stereo_depth", "mono"):
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        np.testing.assert_allclose(found["depth"], expected["depth"], rtol=3e-5)
        assert (found["source"] != expected["source"]).mean() <= 1e-4
        points = np.empty_like(found["xyz"])
        _shm.points_from_depth(found["depth"], points, CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy)
        np.testing.assert_array_equal(found["xyz"], points)


def padded(cupy: Any, array: Array) -> Array:
    """On the device as a ZED hands it out: rows are padded, and pictures have a fourth channel."""
    height, width, *rest = array.shape
    whole = cupy.zeros((height, width + 13, 4) if rest else (height, width + 13), array.dtype)
    view = whole[:, :width, :3] if rest else whole[:, :width]
    view[...] = cupy.asarray(array)
    cupy.cuda.get_current_stream().synchronize()
    return view


@pytest.mark.parametrize("on_stream", [True, False], ids=["network on the device", "network on the CPU"])
def test_slots_hold_what_they_hold_by_the_cpu(cupy: Any, gpu: Any, publisher: Publisher, on_stream: bool) -> None:
    way = device_way(cupy, gpu, publisher, on_stream)
    assert way._slots.registered
    assert way._network.captured is on_stream
    assert_same_as_on_the_cpu(cupy, way, publisher)


def test_frames_on_the_device_are_taken_there(cupy: Any, gpu: Any, publisher: Publisher) -> None:
    assert_same_as_on_the_cpu(cupy, device_way(cupy, gpu, publisher), publisher, on_device=True)


def test_memory_that_is_not_registered_takes_a_detour(
    cupy: Any, gpu: Any, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "pin", lambda memory: False)
    way = device_way(cupy, gpu, publisher)
    assert not way._slots.registered
    assert_same_as_on_the_cpu(cupy, way, publisher)


def test_mapped_slots_are_written_by_the_kernels_themselves(
    cupy: Any, gpu: Any, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an integrated GPU; a discrete one can do it too, only slower."""
    monkeypatch.setattr(gpu, "reach", "mapped")
    assert_same_as_on_the_cpu(cupy, device_way(cupy, gpu, publisher), publisher)


def test_another_process_reads_the_frames_on_the_gpu(cupy: Any, gpu: Any, publisher: Publisher) -> None:
    way, rng = device_way(cupy, gpu, publisher), np.random.default_rng(1)
    publish(way, publisher, frame_for(rng, CAMERA, 0))
    command = [sys.executable, Path(__file__).with_name("shm_cuda_reader.py"), publisher.name, "5"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdin is not None
        assert reader.stdout.readline() == "open\n"
        for index in range(5):
            if index:
                _, found = publish(way, publisher, frame_for(rng, CAMERA, index))
            else:
                with depthd.open(publisher.name) as here:
                    found = {name: getattr(here.latest(), name).copy() for name in PLANES}
            sums = [zlib.crc32(found[name].tobytes()) for name in PLANES]
            assert reader.stdout.readline().split() == [str(index + 1), "True", *map(str, sums)]
            reader.stdin.write("\n")
            reader.stdin.flush()


def test_the_writers_own_process_cannot_open_its_memory(cupy: Any, gpu: Any, publisher: Publisher) -> None:
    publish(device_way(cupy, gpu, publisher), publisher, frame_for(np.random.default_rng(1), CAMERA, 0))
    with (
        depthd.open(publisher.name, device="cuda") as reader,
        pytest.raises(DepthdError, match="another process than the writer's"),
    ):
        reader.latest()


def test_nothing_is_allocated_on_the_device_once_every_slot_was_used(cupy: Any, gpu: Any, publisher: Publisher) -> None:
    way = device_way(cupy, gpu, publisher)
    frame = frame_for(np.random.default_rng(1), CAMERA, 0)
    for _ in range(6):
        publish(way, publisher, frame)
    pool = cupy.get_default_memory_pool()

    def taken() -> tuple[int, int, int]:
        return pool.used_bytes(), pool.total_bytes(), cupy.cuda.runtime.memGetInfo()[0]

    def stays_the_same() -> bool:
        before = taken()
        for _ in range(30):
            publish(way, publisher, frame)
        return taken() == before

    # What is free also changes with every other program on the GPU; ours would take something each time.
    assert any(stays_the_same() for _ in range(5))


def test_other_thresholds_need_no_other_graph(cupy: Any, gpu: Any, publisher: Publisher) -> None:
    way = device_way(cupy, gpu, publisher)
    rng = np.random.default_rng(1)
    for index in range(6):
        publish(way, publisher, frame_for(rng, CAMERA, index))
    graphs = dict(way._graphs._captured)
    way.change_fusion(FusionConfig(gate_minimum=0.001, gate_sigmas=0.5), CAMERA)
    before = publish(way, publisher, frame_for(rng, CAMERA, 6))[0].pixels_per_source
    assert before[4] > 0, "a narrow gate overrules more"
    assert way._graphs._captured == graphs


@pytest.mark.parametrize("on_stream", [True, False], ids=["networks on the device", "networks on the CPU"])
def test_the_mono_maps_size_and_kind_change_while_running(cupy: Any, gpu: Any, on_stream: bool) -> None:
    """There and back again: each network goes on as if nothing had been before, as on the CPU."""
    name = f"depthd-test-{os.getpid()}-{time.monotonic_ns()}"
    rng, index = np.random.default_rng(5), 0
    networks: list[tuple[int, OutputKind]] = [(5, "relative_inverse"), (1, "metric_depth"), (STEP, "relative_inverse")]
    with Publisher(SharedMemoryConfig(slots=3, planes=()), name, CAMERA, "test") as publisher:
        way = device_way(cupy, gpu, publisher, on_stream)
        cpu = HostWay(NoMatcher(), PictureAsMono(), fusions.create(FusionConfig(), CAMERA, "relative_inverse"))
        for step, kind in [(STEP, "relative_inverse"), *networks]:
            if index:
                on_gpu = PictureAsMonoOnGpu(cupy, gpu, step, kind) if on_stream else PictureAsMono(step, kind)
                way.change_engine(on_gpu, FusionConfig(), CAMERA)
                cpu.change_engine(PictureAsMono(step, kind), FusionConfig(), CAMERA)
            # More than there are slots, so that captured graphs are replayed.
            for _ in range(5):
                frame, index = frame_for(rng, CAMERA, index), index + 1
                expected_result, expected = publish(cpu, publisher, frame)
                result, found = publish(way, publisher, frame)
                assert result.fit.status is expected_result.fit.status is FitStatus.FITTED
                np.testing.assert_allclose(result.fit.scale, expected_result.fit.scale, rtol=1e-4)
                np.testing.assert_allclose(found["depth"], expected["depth"], rtol=3e-5)
                assert (found["source"] != expected["source"]).mean() <= 1e-4
        way.close()
