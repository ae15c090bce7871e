"""The thread that ends the process when it stands still: real processes, a real notify socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from depthd._watchdog import Watchdog

# Stands still with Python's lock held, as a camera driver may.
HANG = "import ctypes; ctypes.PyDLL(None).sleep(60)"


def python(code: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


@pytest.fixture
def listener(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


def messages(listening: socket.socket, seconds: float) -> list[bytes]:
    end = time.monotonic() + seconds
    received = []
    while (left := end - time.monotonic()) > 0:
        listening.settimeout(left)
        try:
            received.append(listening.recv(4096))
        except TimeoutError:
            break
    return received


def test_a_process_that_stands_still_with_pythons_lock_held_is_ended_and_says_in_which_phase():
    process = python(
        "from depthd._watchdog import Watchdog; import faulthandler; faulthandler.enable()\n"
        "dog = Watchdog(); dog.enter(dog.declare('opening the camera', 0.3))\n" + HANG
    )
    _, said = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGABRT
    assert "stuck: opening the camera took longer than 0.3 s" in said
    assert "File" in said, "every thread shows where it stood"


def test_a_process_that_goes_on_is_left_alone():
    process = python(
        "from depthd._watchdog import Watchdog; import time\n"
        "dog = Watchdog(); frame = dog.declare('a frame', 0.5)\n"
        "for _ in range(20): dog.enter(frame); time.sleep(0.05)\n"
        "dog.stop()"
    )
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_process_that_was_stopped_and_goes_on_is_not_blamed_for_the_time():
    process = python(
        "from depthd._watchdog import Watchdog; import sys, time\n"
        "dog = Watchdog(); frame = dog.declare('a frame', 1.0); dog.enter(frame)\n"
        "print(file=sys.stderr, flush=True)\n"
        "for _ in range(10): dog.enter(frame); time.sleep(0.1)\n"
    )
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.0)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_systemd_hears_of_progress_and_of_its_end(listener: socket.socket):
    dog = Watchdog(listener.getsockname(), 0.05)
    dog.enter(dog.declare("loading the model", 60.0))
    starting = messages(listener, 0.5)
    dog.ready()
    messages(listener, 0.1)
    running = messages(listener, 0.5)
    dog.stop()
    messages(listener, 0.1)
    assert b"WATCHDOG=1" in starting
    assert any(message.startswith(b"EXTEND_TIMEOUT_USEC=") for message in starting)
    assert set(running) == {b"WATCHDOG=1"}, "a service that has started needs no more time"
    assert messages(listener, 0.3) == []


def test_systemd_hears_nothing_more_from_a_process_that_stands_still(listener: socket.socket):
    process = python(
        "from depthd._watchdog import Watchdog\n"
        f"dog = Watchdog({listener.getsockname()!r}, 0.05); dog.ready()\n"
        "dog.enter(dog.declare('a frame', 0.4))\n" + HANG
    )
    process.communicate(timeout=30)
    received = messages(listener, 0.3)
    assert received[-1] == b"STATUS=stuck: a frame took longer than 0.4 s"


def test_shared_memory_is_marked_as_lost_and_its_readers_are_woken(tmp_path: Path):
    from depthd.shm.layout import HEADER, CameraState

    path = tmp_path / "object"
    path.write_bytes(bytes(HEADER.itemsize))
    process = python(
        "from depthd._watchdog import Watchdog; import mmap\n"
        "import numpy as np\n"
        f"file = open({str(path)!r}, 'r+b'); header = np.frombuffer(mmap.mmap(file.fileno(), 0), np.uint8)\n"
        "dog = Watchdog(); dog.guard(header.ctypes.data); dog.enter(dog.declare('a frame', 0.2))\n" + HANG
    )
    process.communicate(timeout=30)
    header = path.read_bytes()
    state = int.from_bytes(header[HEADER.fields["camera_state"][1] :][:4], sys.byteorder)
    wake = int.from_bytes(header[HEADER.fields["wake"][1] :][:4], sys.byteorder)
    assert state == CameraState.LOST
    assert wake == 1


def test_wrong_use_is_refused():
    dog = Watchdog()
    with pytest.raises(ValueError, match="no such phase"):
        dog.enter(0)
    with pytest.raises(OSError, match="Invalid argument"):
        dog.declare("x" * 48, 1.0)
    with pytest.raises(OSError, match="Invalid argument"):
        dog.declare("never", 0.0)
    with pytest.raises(ValueError, match="finite"):
        dog.declare("endless", float("nan"))
    for number in range(32):
        assert dog.declare(str(number), 1.0) == number
    with pytest.raises(OSError, match="No space"):
        dog.declare("one more", 1.0)
    dog.stop()
    dog.stop()
    with pytest.raises(ValueError, match="stopped"):
        dog.enter(0)
    with pytest.raises(OSError, match="Invalid argument"):
        Watchdog("relative/path")


def test_a_thousand_watchdogs_leave_no_thread_and_no_descriptor_behind(listener: socket.socket):
    def resources() -> tuple[int, int]:
        return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

    before = resources()
    for _ in range(1000):
        Watchdog(listener.getsockname(), 1.0).stop()
    assert resources() == before
