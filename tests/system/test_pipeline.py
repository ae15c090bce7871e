"""A frame's way through the real parts, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest

import depthd
from depthd.cameras import open_camera
from depthd.cameras.base import CameraLost, CameraSource
from depthd.config import Config, VirtualCameraConfig
from depthd.daemon import Daemon
from depthd.errors import DepthdError
from depthd.frame import Camera, FitStatus, Source, StereoFrame
from depthd.phases import Phase
from depthd.pipeline import Pipeline, build_pipeline
from depthd.service.reload import reload_into


class NobodyLooks:
    """Phases without a watchdog."""

    def enter(self, phase: Phase) -> None:
        pass


def config_of(name: str, depth: str) -> Config:
    camera = VirtualCameraConfig.model_validate({"depth": depth, "real_time": False})
    return Config(name=name, camera=camera)


def build(config: Config) -> Pipeline:
    return build_pipeline(config, lambda: open_camera(config.camera), NobodyLooks())


@pytest.fixture(params=["matcher", "sensor"])
def pipeline(request: pytest.FixtureRequest, shared_memory_name: str) -> Iterator[Pipeline]:
    with closing(build(config_of(shared_memory_name, request.param))) as pipeline:
        yield pipeline


def test_a_frame_reaches_readers_with_its_fit_and_its_times(pipeline: Pipeline, shared_memory_name: str):
    with depthd.open(shared_memory_name) as reader:
        report = pipeline.step()
        frame = reader.wait(timeout=1.0)
        assert frame.fit == report.result.fit
        assert frame.pixels_per_source == report.result.pixels_per_source
        times = frame.timestamps
        both_done = max(times.matched_ns, times.inferred_ns)
        assert times.captured_ns <= times.grabbed_ns < both_done < times.fused_ns < times.published_ns
        assert frame.camera == pipeline.camera.camera


def test_stereo_pixels_are_those_of_the_camera_bit_for_bit(pipeline: Pipeline, shared_memory_name: str):
    with depthd.open(shared_memory_name) as reader:
        for _ in range(3):
            pipeline.step()
            frame = reader.wait(timeout=1.0)
            stereo = frame.source == Source.STEREO
            assert stereo.mean() > 0.3
            np.testing.assert_array_equal(
                frame.depth[stereo].view(np.uint32), frame.stereo_depth[stereo].view(np.uint32)
            )


def test_a_reload_of_which_one_part_fails_changes_no_other(pipeline: Pipeline, shared_memory_name: str):
    old = config_of(shared_memory_name, "sensor")
    new = old.model_copy(
        update={
            "mono": old.mono.model_copy(update={"short_side_px": 192}),
            "matcher": old.matcher.model_copy(update={"model": "there-is-no-such.onnx"}),
        }
    )
    engine, matcher, fusion = pipeline.way.engine, pipeline.way.matcher, pipeline.way.fusion
    with pytest.raises(DepthdError, match=r"there-is-no-such\.onnx"):
        reload_into(pipeline, old, new)
    assert (pipeline.way.engine, pipeline.way.matcher, pipeline.way.fusion) == (engine, matcher, fusion)
    pipeline.step()


def test_holes_of_stereo_are_filled(pipeline: Pipeline, shared_memory_name: str):
    with depthd.open(shared_memory_name) as reader:
        pipeline.step()
        frame = reader.wait(timeout=1.0)
        holes = ~np.isfinite(frame.stereo_depth)
        assert holes.any()
        assert np.isfinite(frame.depth[holes]).mean() > 0.99


def test_gaps_in_the_cameras_count_are_dropped_frames(shared_memory_name: str):
    config = config_of(shared_memory_name, "sensor")

    class CameraThatSkips:
        """The virtual camera, from which only every third picture arrives."""

        def __init__(self) -> None:
            self.inner = open_camera(config.camera)
            self.camera, self.description, self.period_s = self.inner.camera, "skipping", 0.0
            self.close = self.inner.close

        def grab(self) -> StereoFrame:
            frame = self.inner.grab()
            frame.index *= 3
            return frame

    with closing(build_pipeline(config, CameraThatSkips, NobodyLooks())) as pipeline:
        assert [pipeline.step().dropped for _ in range(3)] == [0, 2, 4]


def test_a_name_in_use_closes_all_that_was_opened(shared_memory_name: str):
    config = config_of(shared_memory_name, "sensor")
    closed = []

    def noting_when_closed() -> CameraSource:
        source = open_camera(config.camera)
        close = source.close
        source.close = lambda: (closed.append(True), close())  # type: ignore[method-assign,assignment,func-returns-value]
        return source

    with closing(build(config)), pytest.raises(DepthdError, match="in use"):
        build_pipeline(config, noting_when_closed, NobodyLooks())
    assert closed


class CameraThatIsPulled:
    """The virtual camera until its cable is pulled after some frames."""

    def __init__(self, config: VirtualCameraConfig, frames: int, camera: Camera | None = None) -> None:
        self.inner = open_camera(config)
        self.frames_left = frames
        self.camera = camera or self.inner.camera
        self.description, self.period_s = "pulled", 0.0

    def grab(self) -> StereoFrame:
        if self.frames_left == 0:
            raise CameraLost("the cable is out", "put it in again")
        self.frames_left -= 1
        return self.inner.grab()

    def close(self) -> None:
        self.inner.close()


Opener = Callable[[VirtualCameraConfig], CameraSource]


def run_daemon_with(monkeypatch: pytest.MonkeyPatch, name: str, opener: Opener, frames: int) -> None:
    monkeypatch.setattr("depthd.daemon.open_camera", opener)
    Daemon(lambda: config_of(name, "sensor")).run(frames)


def test_a_lost_camera_is_opened_again_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch, shared_memory_name: str, caplog: pytest.LogCaptureFixture
):
    tries = []

    def open_or_fail(config: VirtualCameraConfig) -> CameraSource:
        tries.append(True)
        if len(tries) in (1, 3, 4):
            raise CameraLost("no camera on the bus", "plug it in")
        return CameraThatIsPulled(config, frames=2)

    with caplog.at_level("INFO", logger="depthd"):
        run_daemon_with(monkeypatch, shared_memory_name, open_or_fail, frames=4)
    assert len(tries) == 5
    assert "camera lost: the cable is out" in caplog.text
    assert "camera is back" in caplog.text


class CameraWithStereo:
    """The virtual camera, with other stereo depth than its own."""

    def __init__(self, config: VirtualCameraConfig, stereo_depth_m: Callable[[tuple[int, ...]], np.ndarray]) -> None:
        self.inner = open_camera(config)
        self.camera, self.description, self.period_s = self.inner.camera, "other stereo", 0.0
        self.close = self.inner.close
        self._stereo_depth_m = stereo_depth_m

    def grab(self) -> StereoFrame:
        frame = self.inner.grab()
        assert frame.depth_m is not None
        frame.depth_m = self._stereo_depth_m(frame.depth_m.shape).astype(np.float32)
        return frame


@pytest.mark.parametrize(
    ("stereo_depth_m", "status"),
    [
        (lambda shape: np.full(shape, np.nan), FitStatus.HELD),
        (lambda shape: np.random.default_rng(1).uniform(0.5, 10.0, shape), FitStatus.UNFIT),
    ],
    ids=["that speaks not against it", "that speaks against it"],
)
def test_a_camera_that_is_back_keeps_the_last_fit_only_in_a_scene(
    shared_memory_name: str, stereo_depth_m: Callable[[tuple[int, ...]], np.ndarray], status: FitStatus
):
    config = config_of(shared_memory_name, "sensor")
    with closing(build(config)) as pipeline:
        assert pipeline.step().result.fit.status is FitStatus.FITTED
        pipeline.camera.close()
        pipeline.change_camera(CameraWithStereo(config.camera, stereo_depth_m))
        assert pipeline.step().result.fit.status is status


def test_a_camera_back_with_another_size_ends_the_run(monkeypatch: pytest.MonkeyPatch, shared_memory_name: str):
    opened = []

    def open_another(config: VirtualCameraConfig) -> CameraSource:
        opened.append(CameraThatIsPulled(config, frames=1))
        if len(opened) == 2:
            opened[1].camera = opened[0].camera.scaled_to(100, 100)
        return opened[-1]

    with pytest.raises(DepthdError, match="came back with 100x100 px"):
        run_daemon_with(monkeypatch, shared_memory_name, open_another, frames=4)
    with pytest.raises(DepthdError, match="nobody publishes"):
        depthd.open(shared_memory_name)
