"""What the daemon says about itself: log lines, systemd's status, metrics."""

from __future__ import annotations

import logging
import time

from depthd.cameras.base import CameraSource
from depthd.config import Config
from depthd.pipeline import StepReport
from depthd.service.metrics import Metrics
from depthd.service.notify import Notifier
from depthd.statistics import Summary, Window, stage_durations_ms

log = logging.getLogger(__name__)


class Reporter:
    """Counts frames and tells the operator about them. Raises DepthdError where metrics cannot be served."""

    def __init__(self, config: Config, notifier: Notifier) -> None:
        self._notifier = notifier
        self._metrics = Metrics(config.metrics) if config.metrics.enabled else None
        self._period_s = config.service.statistics_period_s
        self._window = Window()
        self._next_s = time.monotonic() + self._period_s
        self._camera = ""
        self._status = "starting"
        self._dropped = 0
        self._missed = 0

    def ready(self, camera: CameraSource, report: StepReport) -> None:
        self._camera = camera.description
        self._status = f"{self._camera}: first frame published"
        self._notifier.ready(self._status)
        self._set_state("running")
        log.info("ready: frame %d is published", report.index, extra=self._fields(report))

    def frame(self, report: StepReport, period_s: float) -> tuple[int, int]:
        """Takes one frame in. Returns whether it missed its deadline (0 or 1), and how many were dropped."""
        times, result = report.times, report.result
        missed = int(bool(period_s) and times.published_ns - times.grabbed_ns > 1e9 * period_s)
        dropped = report.dropped - self._dropped
        self._dropped = report.dropped
        self._missed += missed
        self._window.add(times, result.fit, result.pixels_per_source)
        if self._metrics is not None:
            self._metrics.frame(
                stage_durations_ms(times), result.fit, result.pixels_per_source, self._dropped, bool(missed)
            )
        if time.monotonic() >= self._next_s:
            self._say_statistics(report)
        return missed, dropped

    def status(self, text: str) -> None:
        self._status = text
        self._notifier.status(text)

    def lost(self) -> None:
        self._set_state("lost")
        self.status(f"{self._camera}: lost")

    def back(self, camera: CameraSource) -> None:
        if self._metrics is not None:
            self._metrics.reconnect()
        self._set_state("running")
        self.status(f"{camera.description}: back")
        log.info("camera is back: %s", camera.description, extra={"CAMERA": camera.description})

    def reloaded(self, config: Config) -> None:
        self._period_s = config.service.statistics_period_s
        self._notifier.ready(self._status)

    def stopping(self) -> None:
        self._notifier.stopping()
        if len(self._window):
            log.info("%s", self._statistics(self._window.summary()), extra={"CAMERA": self._camera})

    def close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()

    def _say_statistics(self, report: StepReport) -> None:
        summary = self._window.summary()
        log.info("%s", self._statistics(summary), extra=self._fields(report))
        self.status(f"{self._camera}: {summary.rate_text()}, {summary.fit_text()}, {summary.sources_text()}")
        self._window = Window()
        self._next_s = time.monotonic() + self._period_s

    def _statistics(self, summary: Summary) -> str:
        parts = (summary.rate_text(), summary.latency_text(), summary.fit_text(), summary.sources_text())
        return f"{' | '.join(parts)} | missed {self._missed} dropped {self._dropped}"

    def _fields(self, report: StepReport) -> dict[str, object]:
        return {"FRAME_ID": report.index, "CAMERA": self._camera, "STAGE": "published"}

    def _set_state(self, name: str) -> None:
        if self._metrics is not None:
            self._metrics.state(name)
