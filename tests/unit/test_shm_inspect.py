"""What the tools around the shared memory say, and that cleaning never touches what lives."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import depthd
from depthd.config import SharedMemoryConfig
from depthd.frame import Camera, Fit, FusionResult, StageTimes, StereoFrame
from depthd.shm import inspect
from depthd.shm.errors import NotRunning
from depthd.shm.histogram import LatencyHistogram
from depthd.shm.publisher import Publisher

CAMERA = Camera(16, 8, 20.0, 20.0, 8.0, 4.0, 0.1)


def start(name: str, keep: bool = False) -> Publisher:
    return Publisher(SharedMemoryConfig(keep_after_exit=keep), name, CAMERA, "a camera")


def publish(publisher: Publisher, index: int) -> None:
    now = time.monotonic_ns()
    with publisher.slot() as slot:
        frame = StereoFrame(index, now, 0, CAMERA, None)
        slot.describe(frame, FusionResult(Fit(), (1, 2, 3, 4, 5, 6)), StageTimes(now))


def test_cleaning_removes_dead_objects_and_nothing_else(name: str) -> None:
    start(f"{name}.dead", keep=True).close()
    foreign = Path("/dev/shm", f"{name}.foreign")
    foreign.write_bytes(b"not ours" * 1000)
    with start(f"{name}.alive") as alive:
        removed = inspect.clean(name)
        assert f"{name}.dead" in removed
        assert not {f"{name}.alive", f"{name}.foreign"} & set(removed)
        assert not Path("/dev/shm", f"{name}.dead").exists()
        assert foreign.exists()
        with depthd.open(f"{name}.alive") as reader:
            publish(alive, 0)
            assert reader.wait(timeout=5.0).id == 1


def test_what_was_kept_on_purpose_is_told_from_what_a_killed_writer_left(name: str) -> None:
    start(f"{name}.kept", keep=True).close()
    child = os.fork()
    if child == 0:
        writer = start(f"{name}.killed", keep=True)
        publish(writer, 0)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with start(f"{name}.alive"), depthd.open(f"{name}.killed") as reader:
        assert inspect.clean(name, only_killed=True) == [f"{name}.killed"]
        with pytest.raises(NotRunning):
            reader.wait(timeout=0.01)
        assert Path("/dev/shm", f"{name}.alive").exists()
    assert inspect.clean(name) == [f"{name}.kept"]


def test_a_reader_of_a_cleaned_object_finds_the_next_writer(name: str) -> None:
    start(name, keep=True).close()
    with depthd.open(name) as reader:
        inspect.clean(name)
        with pytest.raises(NotRunning):
            reader.wait(timeout=0.01)
        with start(name) as publisher:
            publish(publisher, 0)
            assert reader.wait(timeout=5.0).valid()


def test_objects_are_listed_with_their_writers(name: str) -> None:
    start(f"{name}.dead", keep=True).close()
    with start(f"{name}.alive") as publisher:
        publish(publisher, 0)
        found = {info.name: info for info in inspect.list_objects()}
    alive, dead = found[f"{name}.alive"], found[f"{name}.dead"]
    assert (alive.alive, alive.pid, alive.camera, alive.published) == (True, os.getpid(), "a camera", 1)
    assert (dead.alive, dead.error) == (False, None)


def test_a_frame_becomes_valid_json(name: str) -> None:
    with start(name) as publisher, depthd.open(name) as reader:
        publish(publisher, 3)
        frame = reader.wait(timeout=5.0)
        told = json.loads(json.dumps(inspect.frame_as_dict(frame, time.monotonic_ns()), allow_nan=False))
    assert (told["id"], told["camera_index"], told["fit"]["scale"], told["fit"]["status"]) == (
        1,
        3,
        None,
        "UNFIT",
    )
    assert told["pixels_per_source"]["MONO_NEAR"] == 3
    assert told["age_ms"] >= told["latency_ms"] >= 0.0


def test_statistics_count_what_was_missed(name: str) -> None:
    statistics = inspect.FrameStatistics()
    with start(name) as publisher, depthd.open(name) as reader:
        for index in range(5):
            publish(publisher, index)
            if index in (0, 3, 4):
                statistics.add(reader.wait(timeout=5.0), time.monotonic_ns())
    summary = json.loads(json.dumps(statistics.summary(), allow_nan=False))
    assert (summary["frames"], summary["missed"], summary["writers"]) == (3, 2, 1)
    assert 0.0 < summary["publish_to_reader_ms"]["p50"] <= summary["publish_to_reader_ms"]["largest"]
    assert len(statistics.table().splitlines()) == 5


def test_statistics_of_nothing_are_told_too() -> None:
    statistics = inspect.FrameStatistics()
    assert json.dumps(statistics.summary(), allow_nan=False)
    assert statistics.table().startswith("0 frames")


@given(values=st.lists(st.integers(1, 3600 * 10**9), min_size=1, max_size=200), percent=st.floats(0.0, 100.0))
def test_a_percentile_is_right_to_one_per_cent(values: list[int], percent: float) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    exact = float(np.percentile(values, percent, method="inverted_cdf"))
    assert histogram.percentile(percent) == pytest.approx(exact, rel=0.011)


def test_an_empty_histogram_has_no_percentile() -> None:
    assert math.isnan(LatencyHistogram().percentile(50.0))
