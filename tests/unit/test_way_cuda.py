"""The frame's way on a GPU, on a stand-in that does nothing until it is waited for."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Iterator

import numpy as np
import pytest
from fakes.engines import STEP, PictureAsMono, PictureAsMonoOnStream, frame_for, publish
from fakes.queued_gpu import OnQueue, QueuedFusion, QueuedGpu

import depthd
from depthd import _shm
from depthd import fusion as fusions
from depthd.config import FusionConfig, SharedMemoryConfig
from depthd.errors import DepthdError
from depthd.frame import Array, Camera, FitStatus, StereoFrame
from depthd.gpu import host_reach
from depthd.mono.model import OutputKind
from depthd.shm.cuda_view import CudaReader
from depthd.shm.layout import PlaneView
from depthd.shm.publisher import Publisher
from depthd.way import FallbackWay, HostWay, Way
from depthd.way_cuda import DeviceWay

CAMERA = Camera(96, 54, 80.0, 80.0, 47.5, 26.5, 0.12)
PLANES = ("depth", "source", "sigma", "left", "stereo_depth", "mono", "xyz")


class OwnMatcher:
    """Gives the depth that the frame hides from the pipeline."""

    def __init__(self) -> None:
        self.depth: Array = None

    def depth_m(self, left_bgr: Array, right_bgr: Array) -> Array:
        return self.depth


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    name = f"depthd-test-{os.getpid()}-{time.monotonic_ns()}"
    config = SharedMemoryConfig(slots=3, planes=("left", "stereo_depth", "mono", "xyz"))
    with Publisher(config, name, CAMERA, "test", (27, 48)) as publisher:
        yield publisher


def device_way(gpu: QueuedGpu, publisher: Publisher, on_stream: bool = True, matcher=None) -> DeviceWay:
    engine = PictureAsMonoOnStream(gpu, np, (54, 96)) if on_stream else PictureAsMono()
    fusion = QueuedFusion(gpu, fusions.parameters_of(FusionConfig(), CAMERA, "relative_inverse"))
    return DeviceWay(gpu, matcher or OwnMatcher(), engine, fusion, publisher, CAMERA)


def host_way() -> HostWay:
    return HostWay(OwnMatcher(), PictureAsMono(), fusions.create(FusionConfig(), CAMERA, "relative_inverse"))


def frames(count: int) -> list[StereoFrame]:
    rng = np.random.default_rng(5)
    return [frame_for(rng, CAMERA, index) for index in range(count)]


def assert_same_as_on_the_cpu(way: Way, publisher: Publisher, given: list[StereoFrame]) -> None:
    expected_of = host_way()
    for frame in given:
        result, found = publish(way, publisher, frame)
        frame = frame_on_host(frame)
        expected_result, expected = publish(expected_of, publisher, frame)
        assert result == expected_result
        for name in PLANES:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def frame_on_host(frame: StereoFrame) -> StereoFrame:
    frame.left_bgr, frame.depth_m = np.array(frame.left_bgr), np.array(frame.depth_m)
    return frame


@pytest.mark.parametrize("on_stream", [True, False], ids=["network on the device", "network on the CPU"])
@pytest.mark.parametrize(
    "gpu",
    [QueuedGpu(), QueuedGpu(refuses_pinning=True), QueuedGpu(reach="mapped")],
    ids=["copied", "pageable", "mapped"],
)
def test_slots_hold_what_they_hold_by_the_cpu(gpu: QueuedGpu, publisher: Publisher, on_stream: bool) -> None:
    assert_same_as_on_the_cpu(device_way(gpu, publisher, on_stream), publisher, frames(8))


def test_frames_that_are_on_the_device_already_are_taken_there(publisher: Publisher) -> None:
    given = frames(5)
    for frame in given:
        frame.left_bgr, frame.depth_m = frame.left_bgr.view(OnQueue), frame.depth_m.view(OnQueue)
    assert_same_as_on_the_cpu(device_way(QueuedGpu(), publisher), publisher, given)


def test_a_network_that_cannot_be_captured_runs_outside_of_the_graph(
    publisher: Publisher, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = QueuedGpu()
    engine_enqueue = PictureAsMonoOnStream.enqueue

    def refuse(self, left_bgr: Array) -> None:
        if gpu.capturing:
            raise RuntimeError("operation not permitted when stream is capturing")
        engine_enqueue(self, left_bgr)

    monkeypatch.setattr(PictureAsMonoOnStream, "enqueue", refuse)
    with caplog.at_level(logging.INFO):
        way = device_way(gpu, publisher)
    assert "outside of the graph: operation not permitted" in caplog.text
    assert_same_as_on_the_cpu(way, publisher, frames(5))


def test_a_slot_is_captured_once_and_then_replayed(publisher: Publisher) -> None:
    gpu = QueuedGpu()
    way = device_way(gpu, publisher)
    arrays = len(gpu.arrays)
    for frame in frames(3):
        publish(way, publisher, frame)
    assert gpu.launches == 2, "of the network, whose graph all slots share"
    for frame in frames(7):
        publish(way, publisher, frame)
    assert gpu.launches == 2 + 2 * 7
    assert len(gpu.arrays) == arrays, "nothing is allocated on the way"
    assert way.engine.pictures <= 2 + 2, "a replayed network is not enqueued again"


def test_the_network_runs_while_the_matcher_does(publisher: Publisher) -> None:
    gpu = QueuedGpu()
    matcher = OwnMatcher()
    way, reference = device_way(gpu, publisher, matcher=matcher), host_way()
    for frame in frames(5):
        matcher.depth = frame.depth_m
        expected_result, expected = publish(reference, publisher, frame)
        frame.depth_m = None
        result, found = publish(way, publisher, frame)
        assert result == expected_result
        np.testing.assert_array_equal(found["depth"], expected["depth"])
        np.testing.assert_array_equal(found["stereo_depth"], expected["stereo_depth"])


def test_a_refused_registration_is_said_once(publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    device_way(QueuedGpu(refuses_pinning=True), publisher)
    assert caplog.text.count("cannot be registered") == 1


def test_a_gpu_that_is_lost_is_replaced_by_the_cpu(publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    gpu, given = QueuedGpu(), frames(4)
    way = FallbackWay(device_way(gpu, publisher), host_way)
    publish(way, publisher, given[0])
    gpu.lost = True
    reference = host_way()
    for frame in given[1:]:
        _, found = publish(way, publisher, frame)
        _, expected = publish(reference, publisher, frame)
        np.testing.assert_array_equal(found["depth"], expected["depth"])
        np.testing.assert_array_equal(found["xyz"], expected["xyz"])
    assert caplog.text.count("unspecified launch failure") == 1
    assert not way.makes_points


def test_a_gpu_that_is_lost_ends_what_demands_it(publisher: Publisher) -> None:
    gpu = QueuedGpu()
    way = device_way(gpu, publisher)
    gpu.lost = True
    with pytest.raises(DepthdError, match="unspecified launch failure"):
        publish(way, publisher, frames(1)[0])


def test_thresholds_change_in_place_and_another_backend_needs_a_restart(publisher: Publisher) -> None:
    way = device_way(QueuedGpu(), publisher)
    with pytest.raises(DepthdError, match="restart"):
        way.change_fusion(FusionConfig(backend="cpu"), CAMERA)
    strict = FusionConfig(gate_minimum=0.001, gate_sigmas=0.5)
    way.change_fusion(strict, CAMERA)
    reference = HostWay(OwnMatcher(), PictureAsMono(), fusions.create(strict, CAMERA, "relative_inverse"))
    for frame in frames(3):
        assert publish(way, publisher, frame)[0] == publish(reference, publisher, frame)[0]


def test_a_camera_that_comes_back_with_another_calibration_makes_other_points(publisher: Publisher) -> None:
    way, given = device_way(QueuedGpu(), publisher), frames(8)
    for frame in given[:4]:
        publish(way, publisher, frame)
    moved = dataclasses.replace(CAMERA, fx=70.0, cx=40.0)
    way.change_fusion(FusionConfig(), moved)
    for frame in given[4:]:
        found = publish(way, publisher, frame)[1]
        points = np.empty_like(found["xyz"])
        _shm.points_from_depth(found["depth"], points, moved.fx, moved.fy, moved.cx, moved.cy)
        np.testing.assert_array_equal(found["xyz"], points)


def test_another_network_is_captured_anew_and_the_old_one_closed(publisher: Publisher) -> None:
    gpu = QueuedGpu()
    way = device_way(gpu, publisher)
    given = frames(8)
    for frame in given[:4]:
        publish(way, publisher, frame)
    old = way.engine
    way.change_engine(PictureAsMono(), FusionConfig(), CAMERA)
    assert old.closed
    assert_same_as_on_the_cpu(way, publisher, given[4:])


@pytest.mark.parametrize("place", ["CPU", "GPU"])
@pytest.mark.parametrize(
    ("step", "kind"), [(5, "relative_inverse"), (STEP, "metric_depth"), (3, "relative_depth")], ids=str
)
def test_another_network_goes_on_as_if_it_had_been_there_from_the_start(
    place: str, step: int, kind: OutputKind
) -> None:
    """Nothing of what was remembered is in its numbers, which may also mean something else."""
    name = f"depthd-test-{os.getpid()}-{time.monotonic_ns()}"
    given = frames(9)
    with Publisher(SharedMemoryConfig(slots=3, planes=()), name, CAMERA, "test") as publisher:
        gpu = QueuedGpu()
        way: Way = host_way() if place == "CPU" else device_way(gpu, publisher)
        for frame in given[:5]:
            assert publish(way, publisher, frame)[0].fit.status is FitStatus.FITTED
        on_gpu = PictureAsMonoOnStream(gpu, np, (CAMERA.height, CAMERA.width), step, kind)
        way.change_engine(PictureAsMono(step, kind) if place == "CPU" else on_gpu, FusionConfig(), CAMERA)
        fresh = HostWay(OwnMatcher(), PictureAsMono(step, kind), fusions.create(FusionConfig(), CAMERA, kind))
        for frame in given[5:]:
            result, found = publish(way, publisher, frame)
            expected_result, expected = publish(fresh, publisher, frame)
            assert result.fit.status is FitStatus.FITTED
            assert result == expected_result
            np.testing.assert_array_equal(found["depth"], expected["depth"])


def test_a_fusion_that_would_leave_the_gpu_leaves_the_old_network_at_work(publisher: Publisher) -> None:
    way, reference, given = device_way(QueuedGpu(), publisher), host_way(), frames(4)
    assert publish(way, publisher, given[0])[0] == publish(reference, publisher, given[0])[0]
    old = way.engine
    with pytest.raises(DepthdError, match="restart"):
        way.change_engine(PictureAsMono(kind="metric_depth"), FusionConfig(backend="cpu"), CAMERA)
    assert not old.closed
    for frame in given[1:]:
        assert publish(way, publisher, frame)[0] == publish(reference, publisher, frame)[0]


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"integrated": 1, "canMapHostMemory": 1}, "mapped"),
        ({"integrated": 0, "canMapHostMemory": 1}, "copy"),
        ({"integrated": 1, "canMapHostMemory": 0}, "copy"),
        ({}, "copy"),
    ],
)
def test_an_integrated_gpu_writes_to_host_memory_itself(properties: dict[str, int], expected: str) -> None:
    assert host_reach(properties) == expected


class SameProcessIpc:
    """depthd.shm.cuda_view.Ipc over the stand-in's memory, which is host memory."""

    def __init__(self, gpu: QueuedGpu) -> None:
        self.gpu = gpu
        self.opened = self.waited = self.synchronized = 0

    def choose_device(self, uuid: bytes) -> None:
        assert uuid == bytes(range(16))

    def open(self, memory_handle: bytes, event_handle: bytes) -> SameProcessIpc:
        assert (memory_handle[0], event_handle[0]) == (7, 8)
        self.opened += 1
        return self

    def wait(self) -> None:
        self.waited += 1

    def array(self, memory: SameProcessIpc, offset: int, plane: PlaneView) -> Array:
        return plane._replace(offset=0).of(np.asarray(self.gpu.shared[-1].memory), offset)

    def synchronize(self) -> None:
        self.synchronized += 1


def test_readers_on_the_gpu_get_every_plane_of_the_newest_frame(publisher: Publisher) -> None:
    gpu = QueuedGpu()
    way, ipc = device_way(gpu, publisher), SameProcessIpc(gpu)
    with CudaReader(publisher.name, ipc) as there, depthd.open(publisher.name) as here:
        for count, frame in enumerate(frames(7), start=1):
            publish(way, publisher, frame)
            ours, theirs = here.wait(1.0), there.wait(1.0)
            assert ours.id == theirs.id
            for name in PLANES:
                np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name), err_msg=name)
                assert not np.shares_memory(getattr(theirs, name), getattr(ours, name))
            assert theirs.valid()
            assert (ipc.opened, ipc.waited, ipc.synchronized) == (1, count, count)


@pytest.mark.parametrize("gpu", [QueuedGpu(has_ipc=False), QueuedGpu(reach="mapped")], ids=["no IPC", "mapped"])
def test_without_copies_on_the_gpu_a_reader_there_is_told_so(publisher: Publisher, gpu: QueuedGpu) -> None:
    publish(device_way(gpu, publisher), publisher, frames(1)[0])
    with (
        CudaReader(publisher.name, SameProcessIpc(gpu)) as reader,
        pytest.raises(DepthdError, match="keeps no copy of its frames on a GPU"),
    ):
        reader.latest()


def test_a_successor_on_the_cpu_leaves_no_handle_behind(publisher: Publisher) -> None:
    gpu, given = QueuedGpu(), frames(2)
    publish(device_way(gpu, publisher), publisher, given[0])
    for slot in publisher.slots:
        slot.device_copy = np.zeros_like(slot.device_copy)
    publish(host_way(), publisher, given[1])
    with CudaReader(publisher.name, SameProcessIpc(gpu)) as reader, pytest.raises(DepthdError, match="keeps no copy"):
        reader.latest()


def test_cuda_readers_without_cupy_or_gpu_are_told_what_is_missing(publisher: Publisher) -> None:
    with pytest.raises(DepthdError, match=r"CuPy is not installed|no usable GPU"):
        depthd.open(publisher.name, device="cuda")
    with pytest.raises(ValueError, match="expected 'cpu' or 'cuda'"):
        depthd.open(publisher.name, device="tpu")
