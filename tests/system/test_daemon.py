"""The daemon as an operator and its readers see it: real processes, signals, sockets."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import depthd
from depthd.errors import DepthdError
from depthd.shm.layout import CameraState

StartDaemon = Callable[..., Any]

pytestmark = pytest.mark.timeout(180)


def shared_memory_of(name: str) -> list[str]:
    return [path.name for path in Path("/dev/shm").glob(f"*{name}*")]


def read_to_the_end(reader: depthd.Reader) -> None:
    """Frames that were published before the end are still to be had."""
    with contextlib.suppress(DepthdError):
        while True:
            reader.wait(timeout=0.5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_removes_the_shared_memory(start_daemon: StartDaemon, number: int):
    daemon = start_daemon()
    with daemon.attach() as reader:
        reader.wait(timeout=30)
        assert daemon.stop(number) == 0
        read_to_the_end(reader)
    assert shared_memory_of(daemon.name) == []
    assert "Traceback" not in daemon.said()


def test_a_signal_during_the_start_ends_it_too(start_daemon: StartDaemon):
    daemon = start_daemon()
    daemon.wait_for_words("starting")
    assert daemon.stop(signal.SIGINT) == 0
    assert "ready" not in daemon.said()
    assert shared_memory_of(daemon.name) == []


def test_it_ends_by_itself_after_the_frames_asked_for(start_daemon: StartDaemon):
    daemon = start_daemon("--frames", "3")
    assert daemon.process.wait(60) == 0
    assert "ready: frame" in daemon.said()
    assert shared_memory_of(daemon.name) == []


def test_a_second_instance_ends_in_one_line_and_leaves_the_first_alone(start_daemon: StartDaemon):
    first = start_daemon()
    with first.attach() as reader:
        before = reader.wait(timeout=30).id
        second = start_daemon()
        assert second.process.wait(60) == 1
        assert "in use by a running writer" in second.said().splitlines()[-1]
        assert reader.wait(timeout=30).id > before


def test_a_reader_goes_on_after_the_daemon_was_killed_and_started_again(start_daemon: StartDaemon):
    daemon = start_daemon()
    with daemon.attach() as reader:
        before = reader.wait(timeout=30)
        first_id, first_writer = before.id, before.writer_id
        daemon.stop(signal.SIGKILL)
        start_daemon()
        while True:
            try:
                after = reader.wait(timeout=30)
            except DepthdError:
                continue
            if after.writer_id != first_writer:
                break
        assert after.id > first_id


def test_ready_means_that_a_frame_can_be_read(start_daemon: StartDaemon, tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        daemon = start_daemon(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="2000000")
        while b"READY=1" not in systemd.recv(4096).splitlines():
            pass
        with depthd.open(daemon.name) as reader:
            assert reader.wait(timeout=0.5).id >= 1
        while b"WATCHDOG=1" not in systemd.recv(4096).splitlines():
            pass
        daemon.process.send_signal(signal.SIGTERM)
        while b"STOPPING=1" not in systemd.recv(4096).splitlines():
            pass


def test_a_loop_that_hangs_is_ended_and_readers_are_told(start_daemon: StartDaemon):
    daemon = start_daemon("--set", "service.frame_limit_s=0.5", DEPTHD_FAULT="hang:5", DEPTHD_TESTING="1")
    assert daemon.process.wait(60) == -signal.SIGABRT
    assert "stuck: a frame took longer than 0.5 s" in daemon.said()
    assert "in strike" in daemon.said(), "the stack shows where"
    with depthd.open(daemon.name) as reader:
        assert reader.state == CameraState.LOST


def test_a_fault_on_purpose_is_refused_outside_a_test(start_daemon: StartDaemon):
    daemon = start_daemon(DEPTHD_FAULT="hang:5")
    assert daemon.process.wait(60) == 2
    assert daemon.said().startswith("depthd: DEPTHD_FAULT is set")


def test_a_reload_takes_over_what_it_can_and_says_what_it_cannot(start_daemon: StartDaemon, tmp_path: Path):
    file = tmp_path / "depthd.yaml"
    file.write_text("service: {statistics_period_s: 0.2}\n")
    daemon = start_daemon("-c", str(file))
    with daemon.attach() as reader:
        reader.wait(timeout=30)
        daemon.wait_for_words("ready")
        writer = reader.wait(timeout=30).writer_id

        file.write_text("fusion: {backend: reference}\nshared_memory: {slots: 5}\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_words("took over fusion")
        daemon.wait_for_words("shared_memory")
        daemon.wait_for_words("restart depthd for that")

        file.write_text("fusion: {backend: abacus}\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_words("the old configuration stays")

        file.write_text("mono: {model: no-such-model}\nfusion: {backend: reference}\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_words("no-such-model")
        assert reader.wait(timeout=30).writer_id == writer


def test_the_end_of_a_recording_ends_it_with_success(start_daemon: StartDaemon, stereo_pair: Path):
    recording = f"camera={{kind: recording, path: {stereo_pair}, loop: false, real_time: false}}"
    daemon = start_daemon("--set", recording)
    assert daemon.process.wait(60) == 0
    assert "the recording has ended after 1 frames" in daemon.said()


FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is missing: apt-get install faketime")
def test_a_clock_that_is_stepped_back_a_day_changes_nothing(start_daemon: StartDaemon, tmp_path: Path):
    step = tmp_path / "step"
    step.write_text("+0d\n")
    daemon = start_daemon(
        "--set",
        "service.statistics_period_s=0.3",
        LD_PRELOAD=str(FAKETIME),
        FAKETIME_TIMESTAMP_FILE=str(step),
        FAKETIME_NO_CACHE="1",
        DONT_FAKE_MONOTONIC="1",
    )
    with daemon.attach() as reader:
        before = reader.wait(timeout=30)
        first_id, writer, published_ns = before.id, before.writer_id, before.timestamps.published_ns
        said = len(daemon.said().splitlines())
        step.write_text("-25h\n")
        for _ in range(10):
            frame = reader.wait(timeout=30)
            assert frame.timestamps.published_ns > published_ns
            published_ns = frame.timestamps.published_ns
        assert frame.writer_id == writer
        assert frame.id >= first_id + 10
        after = daemon.said().splitlines()[said:]
        assert after, "statistics go on too"
        # 25 hours, so that the step shows in the hour that stands before each line.
        assert after[-1].split(":")[0] != daemon.said().split(":")[0]
