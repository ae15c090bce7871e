"""The service shell around the pipeline: signals, a lost camera, statistics, missed deadlines."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import FrameType

from depthd.cameras import open_camera
from depthd.cameras.base import CameraLost, CameraSource, EndOfRecording
from depthd.config import Config
from depthd.errors import DepthdError
from depthd.pipeline import Pipeline, StepReport, build_pipeline
from depthd.shm.publisher import State
from depthd.statistics import Window

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
FIRST_REOPEN_S = 0.1
LONGEST_REOPEN_S = 5.0
STATISTICS_PERIOD_S = 5.0


class StopRequested(BaseException):
    """A signal came while waiting for something that would not have looked at the flag."""


@dataclass
class Counters:
    """Counted since the start."""

    frames: int = 0
    dropped: int = 0
    missed_deadlines: int = 0
    reopened: int = 0


@dataclass
class Daemon:
    """Runs a pipeline until it is told to stop."""

    config: Config
    counters: Counters = field(default_factory=Counters)
    _window: Window = field(default_factory=Window)
    _next_statistics_s: float = 0.0
    _stopping: bool = False
    _may_interrupt: bool = False

    def run(self, frame_limit: int | None = None) -> None:
        """Returns after SIGTERM or SIGINT, at the end of a recording, or after `frame_limit` frames.

        Raises DepthdError for what the user can mend. The shared memory is left as its configuration says.
        """
        with self._signals_handled():
            with self._interruptible():
                pipeline = build_pipeline(self.config)
            with closing(pipeline):
                log.info("%s -> shared memory %s", pipeline.camera.description, self.config.name)
                self._loop(pipeline, frame_limit)
                self._log_statistics()

    def _loop(self, pipeline: Pipeline, frame_limit: int | None) -> None:
        self._next_statistics_s = time.monotonic() + STATISTICS_PERIOD_S
        while not self._stopping and self.counters.frames != frame_limit:
            try:
                self._account(pipeline.step(), pipeline.camera.period_s)
            except EndOfRecording:
                log.info("the recording has ended after %d frames", self.counters.frames)
                return
            except CameraLost as lost:
                log.warning("camera lost: %s", lost)
                with self._interruptible():
                    self._reopen_camera(pipeline)

    def _reopen_camera(self, pipeline: Pipeline) -> None:
        """Tries until it works, ever more slowly."""
        pipeline.publisher.set_state(State.REOPENING)
        pipeline.camera.close()
        delay_s = FIRST_REOPEN_S
        while True:
            time.sleep(delay_s)
            try:
                camera = open_camera(self.config.camera)
                break
            except DepthdError as error:
                delay_s = min(2 * delay_s, LONGEST_REOPEN_S)
                log.warning("camera still lost: %s (next try in %.1f s)", error, delay_s)
        self._check_same(pipeline, camera)
        pipeline.change_camera(camera)
        self.counters.reopened += 1
        log.info("camera is back: %s", camera.description)

    def _check_same(self, pipeline: Pipeline, camera: CameraSource) -> None:
        """Readers hold the old calibration, so a camera of another one needs a new start."""
        if camera.camera != pipeline.camera.camera:
            camera.close()
            raise DepthdError("the camera came back with another calibration", "start depthd again")

    def _account(self, report: StepReport, period_s: float) -> None:
        times = report.times
        self.counters.frames += 1
        self.counters.dropped = report.dropped
        if period_s and times.published_ns - times.grabbed_ns > 1e9 * period_s:
            self.counters.missed_deadlines += 1
        self._window.add(times, report.result.fit, report.result.pixels_per_source)
        if time.monotonic() >= self._next_statistics_s:
            self._log_statistics()

    def _log_statistics(self) -> None:
        self._next_statistics_s = time.monotonic() + STATISTICS_PERIOD_S
        if not self._window:
            return
        summary = self._window.summary()
        log.info(
            "%s | %s | %s | %s | missed %d dropped %d",
            summary.rate_text(),
            summary.latency_text(),
            summary.fit_text(),
            summary.sources_text(),
            self.counters.missed_deadlines,
            self.counters.dropped,
        )
        self._window = Window()

    @contextmanager
    def _signals_handled(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        try:
            yield
        except StopRequested:
            log.info("stopped")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        log.info("%s: stopping", signal.Signals(number).name)
        self._stopping = True
        if self._may_interrupt:
            raise StopRequested

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Inside, a signal ends the wait at once; elsewhere it waits for the end of the frame."""
        self._may_interrupt = True
        try:
            yield
        finally:
            self._may_interrupt = False
