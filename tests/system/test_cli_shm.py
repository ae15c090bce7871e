"""The commands that read the shared memory, as a user calls them beside a running daemon."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import depthd
from depthd.errors import DepthdError


@pytest.fixture
def running_daemon(shared_memory_name: str) -> Iterator[str]:
    """The name of a daemon that publishes."""
    command = [sys.executable, "-m", "depthd", "run", "--set", f"name={shared_memory_name}"]
    daemon = subprocess.Popen([*command, "--set", "camera.fps=10"], stderr=subprocess.DEVNULL)
    try:
        _wait_for_a_frame(shared_memory_name)
        yield shared_memory_name
    finally:
        daemon.terminate()
        daemon.wait(timeout=20)


def _wait_for_a_frame(name: str) -> None:
    for _ in range(400):
        try:
            with depthd.open(name) as reader:
                reader.wait(timeout=30.0)
                return
        except DepthdError:
            time.sleep(0.1)
    pytest.fail("the daemon published nothing")


def test_json_of_a_frame_is_read_by_programs(running_daemon, depthd_command):
    done = depthd_command("dump", "--name", running_daemon, "--frames", 2, "--json")
    assert done.returncode == 0, done.stderr
    frames = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(frames) == 2
    assert frames[1]["id"] > frames[0]["id"]
    assert frames[0]["camera"]["width"] == 672


def test_statistics_name_rates_and_latencies(running_daemon, depthd_command):
    done = depthd_command("dump", "--name", running_daemon, "--frames", 4, "--stats", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["frames"] == 4
    assert 0 < summary["picture_to_publish_ms"]["p50"] <= summary["picture_to_publish_ms"]["largest"]


def test_statistics_without_an_end_are_refused(depthd_command):
    done = depthd_command("dump", "--stats")
    assert done.returncode == 2
    assert "--frames" in done.stderr


def test_what_cleaning_removes_is_said_only_together_with_cleaning(depthd_command):
    done = depthd_command("dump", "--killed")
    assert done.returncode == 2
    assert "--clean" in done.stderr


def test_cleaning_never_removes_what_a_living_daemon_uses(running_daemon, depthd_command):
    for which in ((), ("--killed",)):
        done = depthd_command("dump", "--clean", *which)
        assert done.returncode == 0, done.stderr
        assert running_daemon not in done.stdout
        assert Path("/dev/shm", running_daemon).exists()


def test_a_recording_is_played_back_as_a_camera(running_daemon, depthd_command, tmp_path):
    pytest.importorskip("mcap", reason="MCAP is not installed: pip install 'depthd[ros]'")
    file = tmp_path / "frames.mcap"
    done = depthd_command("record", file, "--name", running_daemon, "--frames", 3)
    assert done.returncode == 0, done.stderr
    options = ("--set", "camera.real_time=false", "--set", f"name={running_daemon}-again")
    played = depthd_command("replay", file, *options)
    assert played.returncode == 0, played.stderr
    assert "ended after 3 frames" in played.stderr
    longer = depthd_command("replay", file, "--loop", "--frames", 5, *options)
    assert longer.returncode == 0, longer.stderr


def test_replaying_what_is_not_there_is_one_line(depthd_command, tmp_path):
    done = depthd_command("replay", tmp_path / "no: such, file.mcap")
    assert done.returncode == 2, done.stderr
    assert "no: such, file.mcap" in done.stderr.splitlines()[-1]


def test_ctrl_c_leaves_a_whole_recording(running_daemon, tmp_path):
    mcap_reader = pytest.importorskip("mcap.reader", reason="MCAP is not installed: pip install 'depthd[ros]'")
    file = tmp_path / "frames.mcap"
    recording = subprocess.Popen([sys.executable, "-m", "depthd", "record", str(file), "--name", running_daemon])
    time.sleep(4.0)
    recording.send_signal(signal.SIGINT)
    assert recording.wait(timeout=20) == 0
    with open(file, "rb") as stream:
        assert mcap_reader.make_reader(stream).get_summary() is not None


def test_a_compiler_is_told_where_the_header_lies(depthd_command):
    done = depthd_command("paths", "--cflags")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip().removeprefix("-I"))
    assert (folder / "depthd.h").is_file()
