"""What systemd hears, on a real socket."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from depthd.service.notify import Notifier, watchdog_period_s

Listener = tuple[socket.socket, str]


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    """A socket as systemd makes one, and its name as it stands in NOTIFY_SOCKET."""
    path = str(tmp_path / "notify")
    name = path if request.param == "path" else f"@{path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path if request.param == "path" else f"\0{path}")
        listening.settimeout(5)
        yield listening, name


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        (lambda notifier: notifier.ready("camera: 15 frames/s"), b"READY=1\nSTATUS=camera: 15 frames/s"),
        (lambda notifier: notifier.status("a\nb"), b"STATUS=a b"),
        (lambda notifier: notifier.stopping(), b"STOPPING=1"),
    ],
)
def test_every_message_is_one_datagram(listener: Listener, say: Callable[[Notifier], None], expected: bytes):
    listening, name = listener
    notifier = Notifier(name)
    say(notifier)
    notifier.close()
    assert listening.recv(4096) == expected


def test_reloading_carries_its_time_in_the_same_message(listener: Listener):
    listening, name = listener
    notifier = Notifier(name)
    notifier.reloading()
    notifier.close()
    reloading, monotonic = listening.recv(4096).split(b"\n")
    assert reloading == b"RELOADING=1"
    assert int(monotonic.removeprefix(b"MONOTONIC_USEC=")) > 0


def test_nothing_is_said_where_nobody_listens(tmp_path: Path):
    for name in (None, str(tmp_path / "nobody")):
        notifier = Notifier(name)
        notifier.ready("fine")
        notifier.close()


def test_the_watchdog_is_fed_at_half_of_its_time_and_only_by_the_process_it_is_for():
    assert watchdog_period_s({"WATCHDOG_USEC": "4000000"}) == 2.0
    assert watchdog_period_s({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "5"}, process_id=5) == 2.0
    assert watchdog_period_s({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "5"}, process_id=6) == 0.0
    assert watchdog_period_s({}) == 0.0
