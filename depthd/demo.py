"""`depthd demo`: the daemon in one process, a reader in this one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import depthd
from depthd.errors import DepthdError
from depthd.export.panels import overview, write_picture
from depthd.files import written_whole
from depthd.paths import CONFIG_DIR
from depthd.statistics import Summary, Window, shares

if TYPE_CHECKING:
    from depthd.shm.reader import Frame, Reader

START_LIMIT_S = 120.0
FRAME_LIMIT_S = 10.0
STOP_LIMIT_S = 10.0
LIVE_WINDOW_S = 1.0


class Daemon:
    """The daemon's process, and what it said."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[str]) -> None:
        self._process = process
        self._log = log

    def check_alive(self) -> None:
        """Raises DepthdError with its last line where it has ended."""
        status = self._process.poll()
        if status is not None:
            self._log.seek(0)
            said = self._log.read().strip().splitlines()
            reason = said[-1].removeprefix("depthd: ") if said else f"exit status {status}"
            raise DepthdError("the demo's daemon ended", reason)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def run_demo(
    seconds: float, picture: Path, on_start: Callable[[str], None], on_summary: Callable[[Summary], None]
) -> Summary:
    """Starts a daemon on the virtual camera, reads it for `seconds`, writes `picture`, and stops the daemon.

    `on_summary` gets the last second's numbers, about once a second. Returns those of the whole time.
    """
    name = f"depthd-demo-{os.getpid()}"
    with _daemon(name) as daemon:
        on_start("starting the daemon: virtual camera, embedded model")
        with _attach(name, daemon) as reader:
            whole, last_frame = _watch(reader, seconds, daemon, on_summary)
    share = shares(last_frame.pixels_per_source)
    with written_whole(picture) as path:
        write_picture(
            path,
            overview(last_frame.left, last_frame.stereo_depth, last_frame.depth, last_frame.source, share),
        )
    return whole.summary()


def _watch(
    reader: Reader, seconds: float, daemon: Daemon, on_summary: Callable[[Summary], None]
) -> tuple[Window, Frame]:
    whole, recent = Window(), Window()
    frame = _next_frame(reader, daemon, START_LIMIT_S)
    now = time.monotonic()
    end, next_summary = now + seconds, now + LIVE_WINDOW_S
    while now < end:
        frame = _next_frame(reader, daemon, FRAME_LIMIT_S)
        seen_ns = time.monotonic_ns()
        end_to_end_ms = (seen_ns - frame.timestamps.captured_ns) / 1e6
        for window in (whole, recent):
            window.add(frame.timestamps, frame.fit, frame.pixels_per_source, {"to reader": end_to_end_ms})
        now = time.monotonic()
        if now >= next_summary:
            on_summary(recent.summary())
            recent, next_summary = Window(), now + LIVE_WINDOW_S
    return whole, frame.copy()


@contextmanager
def _daemon(name: str) -> Iterator[Daemon]:
    command = [
        sys.executable,
        "-m",
        "depthd",
        "run",
        "-c",
        str(CONFIG_DIR / "demo.yaml"),
        "--set",
        f"name={name}",
    ]
    with tempfile.TemporaryFile("w+") as log:
        daemon = Daemon(subprocess.Popen(command, stderr=log), log)
        try:
            yield daemon
        finally:
            daemon.stop()


def _attach(name: str, daemon: Daemon) -> Reader:
    """Waits until the daemon has made its shared memory."""
    end = time.monotonic() + START_LIMIT_S
    while True:
        try:
            return depthd.open(name)
        except DepthdError:
            daemon.check_alive()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _next_frame(reader: Reader, daemon: Daemon, limit_s: float) -> Frame:
    end = time.monotonic() + limit_s
    while True:
        try:
            return reader.wait(timeout=1.0)
        except DepthdError:
            daemon.check_alive()
            if time.monotonic() > end:
                raise
