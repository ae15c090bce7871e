"""Knobs that are turned while a real daemon runs."""

from __future__ import annotations

import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthd import control
from depthd.errors import DepthdError
from depthd.frame import Source
from depthd.web import health, knobs

FROM_MONO = (Source.MONO_NEAR, Source.MONO_HOLE, Source.MONO_OVERRULED)
StartDaemon = Callable[..., Any]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def adjustable(start_daemon: StartDaemon, tmp_path: Path) -> tuple[Any, Path]:
    """A running daemon that lets two keys be changed, and its socket."""
    path = tmp_path / "run" / "socket"
    keys = "control.adjustable=[fusion.prefer, fusion.maximum_depth_m]"
    settings = ("control.enabled=true", keys, f"control.socket={path}")
    daemon = start_daemon(*(word for setting in settings for word in ("--set", setting)))
    daemon.wait_for_words("ready: frame")
    return daemon, path


def values(answer: dict[str, Any]) -> dict[str, Any]:
    return {knob["key"]: knob["value"] for knob in answer["knobs"]}


def test_a_listed_key_changes_between_two_frames_and_a_reload_brings_the_file_back(adjustable: tuple[Any, Path]):
    daemon, path = adjustable
    before = control.ask(path, {})
    assert values(before) == {"fusion.prefer": "nearer", "fusion.maximum_depth_m": 40.0}
    with daemon.attach() as reader:
        after = control.ask(path, {"set": {"fusion.prefer": "mono", "fusion.maximum_depth_m": 2.0}})
        assert values(after) == {"fusion.prefer": "mono", "fusion.maximum_depth_m": 2.0}
        assert "prefer: mono" in after["configuration"]
        reader.wait(timeout=30)
        frame = reader.wait(timeout=30).copy()
        # Stereo is never cut; the key is about mono.
        assert frame.depth[np.isin(frame.source, FROM_MONO)].max() <= 2.001
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_words("reload: took over fusion")
    assert values(control.ask(path, {})) == values(before)


def test_what_is_not_listed_or_not_right_is_refused_in_one_line_and_changes_nothing(adjustable: tuple[Any, Path]):
    daemon, path = adjustable
    for change, said in (
        ({"fusion.threads": 1}, "cannot be changed"),
        ({"name": "other"}, "cannot be changed"),
        ({"fusion.prefer": "luck"}, "fusion.prefer"),
        ({"fusion.maximum_depth_m": -1}, "fusion.maximum_depth_m"),
        ({"fusion.maximum_depth_m": True}, "fusion.maximum_depth_m"),
    ):
        with pytest.raises(DepthdError) as refused:
            control.ask(path, {"set": change})
        assert said in refused.value.what
        assert "\n" not in str(refused.value)
    assert values(control.ask(path, {})) == {"fusion.prefer": "nearer", "fusion.maximum_depth_m": 40.0}
    assert "Traceback" not in daemon.said()


def test_the_live_page_finds_a_socket_that_it_is_told_of(adjustable: tuple[Any, Path]):
    daemon, path = adjustable
    assert [knob["key"] for knob in knobs.read(daemon.name, path)] == ["fusion.prefer", "fusion.maximum_depth_m"]
    assert knobs.turn(daemon.name, path, {"fusion.prefer": "mono"})[0]["value"] == "mono"
    assert "prefer: mono" in health.health_of(daemon.name, path)["configuration"]
    with pytest.raises(DepthdError):
        knobs.read(daemon.name, None)


def test_who_says_nothing_or_nonsense_holds_nobody_up(adjustable: tuple[Any, Path]):
    daemon, path = adjustable
    with daemon.attach() as reader:
        first = reader.wait(timeout=30).id
        silent = []
        for _ in range(12):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            connection.setblocking(False)
            try:
                connection.connect(str(path))
                silent.append(connection)
            except BlockingIOError:  # the queue is full, which is the daemon's right
                connection.close()
        silent[0].send(b"\xff not json")
        while reader.wait(timeout=30).id < first + 15:
            pass
        assert values(control.ask(path, {}))["fusion.prefer"] == "nearer"
        for connection in silent:
            connection.close()


def test_the_socket_is_for_the_group_and_goes_with_the_daemon(adjustable: tuple[Any, Path]):
    daemon, path = adjustable
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert daemon.stop(signal.SIGTERM) == 0
    assert not path.exists()
    with pytest.raises(DepthdError):
        control.ask(path, {})


def test_without_leave_there_is_no_socket(start_daemon: StartDaemon, tmp_path: Path):
    path = tmp_path / "socket"
    daemon = start_daemon("--set", f"control.socket={path}")
    daemon.wait_for_words("ready: frame")
    assert not path.exists()
