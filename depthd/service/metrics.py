"""Prometheus metrics on a local port. Off by default; needs prometheus-client."""

from __future__ import annotations

from collections.abc import Sequence

from depthd.config import MetricsConfig
from depthd.errors import DepthdError
from depthd.frame import Fit, FitStatus, Source
from depthd.statistics import shares

STAGE_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.033, 0.05, 0.067, 0.1, 0.15, 0.25, 0.5, 1.0)


class Metrics:
    """Serves `http://host:port/metrics`. Raises DepthdError: no library, or the port is taken."""

    def __init__(self, config: MetricsConfig) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError:
            raise DepthdError("prometheus-client is not installed", "pip install 'depthd[metrics]'") from None
        registry = prometheus.CollectorRegistry()
        self._frames = prometheus.Counter("depthd_frames", "Frames published", registry=registry)
        self._dropped = prometheus.Gauge("depthd_dropped_frames", "Frames lost since start", registry=registry)
        self._missed = prometheus.Counter(
            "depthd_deadline_misses", "Frames that took longer than the camera's period", registry=registry
        )
        self._reconnects = prometheus.Counter(
            "depthd_camera_reconnects", "Times the camera was opened again", registry=registry
        )
        self._stage = prometheus.Histogram(
            "depthd_stage_seconds", "Time per stage", ["stage"], buckets=STAGE_BUCKETS_S, registry=registry
        )
        self._fit = prometheus.Gauge("depthd_fit", "inverse depth = scale * mono + shift", ["value"], registry=registry)
        self._fit_status = prometheus.Enum(
            "depthd_fit_status",
            "Trust in the fit",
            states=[s.name.lower() for s in FitStatus],
            registry=registry,
        )
        self._share = prometheus.Gauge("depthd_source_share", "Share of the pixels", ["source"], registry=registry)
        self._state = prometheus.Enum(
            "depthd_camera_state", "State", states=["opening", "running", "lost"], registry=registry
        )
        try:
            self._server, self._thread = prometheus.start_http_server(config.port, config.address, registry=registry)
        except OSError as error:
            raise DepthdError(
                f"cannot serve metrics on {config.address}:{config.port}: {error.strerror}",
                "choose another metrics.port",
            ) from None

    def frame(
        self,
        durations_ms: dict[str, float],
        fit: Fit,
        pixels_per_source: Sequence[int],
        dropped: int,
        missed: bool,
    ) -> None:
        self._frames.inc()
        self._dropped.set(dropped)
        self._missed.inc(missed)
        for stage, duration_ms in durations_ms.items():
            self._stage.labels(stage).observe(duration_ms / 1e3)
        for value in ("scale", "shift", "residual", "inlier_share", "pearson_r", "age_frames"):
            self._fit.labels(value).set(getattr(fit, value))
        self._fit_status.state(fit.status.name.lower())
        for source, share in zip(Source, shares(pixels_per_source), strict=False):
            self._share.labels(source.name.lower()).set(share)

    def reconnect(self) -> None:
        self._reconnects.inc()

    def state(self, name: str) -> None:
        self._state.state(name)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
