"""The service shell around the pipeline: signals, a lost camera, reloading, statistics, missed deadlines."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from types import FrameType

from depthd import faults
from depthd.cameras import has_device, open_camera
from depthd.cameras.base import CameraLost, EndOfRecording
from depthd.cameras.link import CameraLink, LinkState, changes
from depthd.config import Config
from depthd.errors import DepthdError
from depthd.phases import Phase
from depthd.pipeline import StepReport, build_pipeline
from depthd.service import realtime
from depthd.service.control import Control
from depthd.service.notify import Notifier, notify_socket, watchdog_period_s
from depthd.service.reload import reload_into
from depthd.service.report import Reporter
from depthd.service.watched import WatchedPhases, limits_of
from depthd.shm.layout import CameraState
from depthd.shm.publisher import Publisher

log = logging.getLogger(__name__)


class StopRequested(BaseException):
    """A signal came while waiting for something that would not have looked at the flag."""


class Daemon:
    """Runs a pipeline until it is told to stop. `load` reads the configuration, now and at every reload.

    Raises DepthdError where the first configuration is wrong.
    """

    def __init__(self, load: Callable[[], Config]) -> None:
        self._load = load
        self.config = load()
        self._fault = faults.injected_fault()
        self._stopping = False
        self._reload_requested = False
        self._may_interrupt = False
        self._publisher: Publisher | None = None
        self._link = CameraLink(
            lambda: open_camera(self.config.camera),
            self._camera_told,
            has_device=has_device(self.config.camera),
        )

    def run(self, frame_limit: int | None = None) -> None:
        """Returns after SIGTERM or SIGINT, at the end of a recording, or after `frame_limit` frames.

        Raises DepthdError for what the user can mend. The shared memory is left as its configuration says.
        """
        with ExitStack() as at_end:
            self._notifier = at_end.enter_context(closing(Notifier(notify_socket())))
            self._phases = at_end.enter_context(
                closing(WatchedPhases(limits_of(self.config), notify_socket(), watchdog_period_s()))
            )
            self._reporter = at_end.enter_context(closing(Reporter(self.config, self._notifier)))
            at_end.enter_context(self._signals_handled())
            with self._interruptible():
                log.info("starting: %s camera, model %s", self.config.camera.kind, self.config.mono.model)
                self._pipeline = build_pipeline(self.config, self._link.open, self._phases)
            at_end.callback(self._stop_pipeline)
            self._control = at_end.enter_context(closing(Control(self.config)))
            self._publisher = self._pipeline.publisher
            self._phases.guard(self._publisher.header_address)
            self._publisher.set_state(CameraState.RUNNING)
            log.info("%s -> shared memory %s", self._pipeline.camera.description, self.config.name)
            self._loop(frame_limit)

    def _loop(self, frame_limit: int | None) -> None:
        frames = 0
        self._phases.enter(Phase.FIRST_FRAME)
        while not self._stopping and frames != frame_limit:
            try:
                report = self._pipeline.step()
            except EndOfRecording:
                log.info("the recording has ended after %d frames", frames)
                return
            except CameraLost as lost:
                log.warning("camera lost: %s", lost)
                with self._interruptible():
                    self._reopen_camera(lost)
                continue
            frames += 1
            if frames == 1:
                self._started(report)
            self._phases.enter(Phase.FRAME)
            self._account(report)
            if self._fault is not None:
                self._fault.strike(frames)
            if self._reload_requested:
                self._reload()
            self._control.serve(self.config, self._adjust)

    def _started(self, report: StepReport) -> None:
        """The first frame is in shared memory."""
        realtime.apply(self.config.realtime)
        self._phases.ready()
        self._reporter.ready(self._pipeline.camera, report)

    def _account(self, report: StepReport) -> None:
        missed, dropped = self._reporter.frame(report, self._pipeline.camera.period_s)
        if missed or dropped:
            self._pipeline.publisher.count(dropped=dropped, deadline_misses=missed)

    def _camera_told(self, state: LinkState, why: str) -> None:
        """What the camera's link is about to do, which watchdog, readers and log know beforehand."""
        if state is LinkState.LOST:
            self._phases.enter(Phase.WAITING)
            log.warning("no camera: %s", why)
            self._reporter.status(f"no camera: {why}")
        elif state is LinkState.OPENING:
            self._phases.enter(Phase.OPENING_CAMERA)
        if self._publisher is not None and state is not LinkState.RUNNING:
            self._publisher.set_state(CameraState[state.name])

    def _reopen_camera(self, lost: CameraLost) -> None:
        pipeline = self._pipeline
        self._reporter.lost()
        camera = self._link.reopen(pipeline.camera, str(lost))
        before, now = pipeline.camera.camera, camera.camera
        if (now.width, now.height) != (before.width, before.height):
            camera.close()
            raise DepthdError(
                f"the camera came back with {now.width}x{now.height} px instead of {before.width}x{before.height}",
                "start depthd again: readers hold the old size",
            )
        pipeline.change_camera(camera)
        pipeline.publisher.set_camera(now, camera.description)
        if now != before:
            # A ZED refines its calibration at every opening, and another camera may be plugged in.
            log.warning("calibration changed: %s", "; ".join(changes(before, now)))
            pipeline.prepare_matcher(self.config.matcher, self.config.mono.weights_dir)()
            pipeline.change_fusion(self.config.fusion)
        pipeline.publisher.count(reconnects=1)
        pipeline.publisher.set_state(CameraState.RUNNING)
        self._reporter.back(camera)
        self._phases.enter(Phase.FIRST_FRAME)

    def _reload(self) -> None:
        """Takes over what can change while the camera runs; a wrong configuration changes nothing."""
        self._reload_requested = False
        self._notifier.reloading()
        self._phases.enter(Phase.LOADING_MODEL)
        try:
            self.config = reload_into(self._pipeline, self.config, self._load())
        except DepthdError as error:
            log.error("reload: %s; the old configuration stays", error)
        self._phases.enter(Phase.FRAME)
        self._reporter.reloaded(self.config)

    def _adjust(self, config: Config) -> Config:
        """Takes over a tree that differs in adjustable knobs. Raises DepthdError; then the old ones stay."""
        self._phases.enter(Phase.LOADING_MODEL)
        try:
            self.config = reload_into(self._pipeline, self.config, config)
        finally:
            self._phases.enter(Phase.FRAME)
        return self.config

    def _stop_pipeline(self) -> None:
        self._phases.enter(Phase.STOPPING)
        self._reporter.stopping()
        self._phases.guard(0)
        self._pipeline.close()

    @contextmanager
    def _signals_handled(self) -> Iterator[None]:
        handlers = {
            signal.SIGTERM: self._on_stop,
            signal.SIGINT: self._on_stop,
            signal.SIGHUP: self._on_reload,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        except StopRequested:
            log.info("stopped")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        log.info("%s: stopping", signal.Signals(number).name)
        self._stopping = True
        if self._may_interrupt:
            raise StopRequested

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload_requested = True

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Inside, a signal ends the wait at once; elsewhere it waits for the end of the frame."""
        self._may_interrupt = True
        try:
            yield
        finally:
            self._may_interrupt = False
