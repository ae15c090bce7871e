"""`depthd run --restart`: real processes that crash, end and are told to stop."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from depthd.supervisor import daemon_command

# Counts its lives in a file, and ends each as the command line says: a signal, or an exit status.
CHILD = """
import os, pathlib, signal, sys, time
lives = pathlib.Path(sys.argv[1]); n = len(lives.read_text()) if lives.exists() else 0
ends = sys.argv[2].split(",")
what = ends[min(n, len(ends) - 1)]
if what == "wait":
    signal.signal(signal.SIGHUP, lambda *_: lives.with_name("reloaded").touch())
lives.write_text("x" * (n + 1))
if what == "wait":
    while True: time.sleep(0.05)
if what.startswith("SIG"): os.kill(os.getpid(), getattr(signal, what))
sys.exit(int(what))
"""


def supervised(lives: Path, ends: str) -> subprocess.Popen[bytes]:
    code = "import sys; from depthd.supervisor import supervise; sys.exit(supervise(sys.argv[1:]))"
    return subprocess.Popen([sys.executable, "-c", code, sys.executable, "-c", CHILD, str(lives), ends])


def wait_for(path: Path, count: int = 1) -> None:
    end = time.monotonic() + 30
    while not path.exists() or len(path.read_text()) < count:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_crashes_is_started_again_until_it_ends_by_itself(tmp_path: Path) -> None:
    process = supervised(tmp_path / "lives", "SIGABRT,SIGSEGV,0")
    assert process.wait(30) == 0
    assert (tmp_path / "lives").read_text() == "xxx"


@pytest.mark.parametrize("status", [0, 1, 2])
def test_what_ends_by_itself_is_not_started_again_and_its_status_is_handed_on(tmp_path: Path, status: int) -> None:
    assert supervised(tmp_path / "lives", str(status)).wait(30) == status
    assert (tmp_path / "lives").read_text() == "x"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_ends_both(tmp_path: Path, number: signal.Signals) -> None:
    process = supervised(tmp_path / "lives", "SIGABRT,wait")
    wait_for(tmp_path / "lives", 2)
    process.send_signal(number)
    assert process.wait(30) == 0
    assert (tmp_path / "lives").read_text() == "xx"


def test_a_reload_is_passed_on_and_ends_nothing(tmp_path: Path) -> None:
    process = supervised(tmp_path / "lives", "wait")
    wait_for(tmp_path / "lives")
    process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 30
    while not (tmp_path / "reloaded").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert process.poll() is None
    process.terminate()
    process.wait(30)


def test_the_daemon_gets_every_word_but_the_option_itself() -> None:
    command = daemon_command(["run", "--restart", "--set", "name=x"])
    assert command[1:] == ["-m", "depthd", "run", "--set", "name=x"]
