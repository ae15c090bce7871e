"""What Prometheus reads."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from depthd.config import MetricsConfig
from depthd.errors import DepthdError
from depthd.frame import Fit, FitStatus
from depthd.service.metrics import Metrics

pytest.importorskip("prometheus_client", reason="prometheus-client is missing: pip install 'depthd[metrics]'")


DASHBOARD = Path(__file__).parents[2] / "systemd" / "grafana-dashboard.json"


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def metrics(port: int) -> Iterator[Metrics]:
    served = Metrics(MetricsConfig(enabled=True, port=port))
    yield served
    served.close()


def read(port: int) -> str:
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()


def test_frames_are_counted_timed_and_described(metrics: Metrics, port: int):
    fit = Fit(scale=0.5, shift=0.1, residual=0.03, status=FitStatus.HELD, age_frames=4)
    metrics.state("running")
    metrics.frame({"fuse": 4.0, "total": 40.0}, fit, (0, 75, 25, 0, 0, 0), dropped=3, missed=True)
    metrics.frame({"fuse": 4.0, "total": 40.0}, fit, (0, 75, 25, 0, 0, 0), dropped=5, missed=False)
    text = read(port)
    for line in (
        "depthd_frames_total 2.0",
        "depthd_dropped_frames 5.0",
        "depthd_deadline_misses_total 1.0",
        'depthd_stage_seconds_count{stage="total"} 2.0',
        'depthd_stage_seconds_bucket{le="0.005",stage="fuse"} 2.0',
        'depthd_fit{value="scale"} 0.5',
        'depthd_fit{value="age_frames"} 4.0',
        'depthd_fit_status{depthd_fit_status="held"} 1.0',
        'depthd_source_share{source="stereo"} 0.75',
        'depthd_camera_state{depthd_camera_state="running"} 1.0',
    ):
        assert line in text, line


def test_the_dashboard_asks_for_nothing_that_is_not_served(metrics: Metrics, port: int):
    metrics.state("running")
    metrics.frame({"total": 40.0}, Fit(), (0, 75, 25, 0, 0, 0), dropped=0, missed=False)
    served = {line.split("{")[0].split(" ")[0] for line in read(port).splitlines() if not line.startswith("#")}
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"depthd_\w+", query)}
    assert len(queries) >= len(dashboard["panels"])
    assert asked <= served
    labels = set(re.findall(r"{{(\w+)}}", DASHBOARD.read_text())) - {"instance"}
    assert all(f"{label}=" in read(port) for label in labels), labels


@pytest.mark.usefixtures("metrics")
def test_a_port_that_is_taken_ends_in_one_line(port: int):
    with pytest.raises(DepthdError, match=f"127.0.0.1:{port}"):
        Metrics(MetricsConfig(enabled=True, port=port))


def test_after_closing_the_port_is_free_again(port: int):
    for _ in range(2):
        Metrics(MetricsConfig(enabled=True, port=port)).close()
