"""Real daemons for the system tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

import depthd
from depthd.errors import DepthdError

LIMIT_S = 60.0


class RunningDaemon:
    """`depthd run` in a process of its own, with what it says in a file."""

    def __init__(
        self, name: str, log: Path, arguments: list[str], environment: dict[str, str], prefix: Sequence[str] = ()
    ) -> None:
        """prefix: words before the command, of a program that runs it."""
        self.name = name
        self._log = log
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "depthd", "run", "--set", f"name={name}", *arguments],
                stderr=stderr,
                env={**os.environ, **environment},
            )

    def said(self) -> str:
        return self._log.read_text()

    def attach(self) -> depthd.Reader:
        """A reader, as soon as there is something to read."""
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                return depthd.open(self.name)
            except DepthdError:
                if self.process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"the daemon gave nothing to read: {self.said()}")
                time.sleep(0.02)

    def wait_for_words(self, words: str) -> None:
        end = time.monotonic() + LIMIT_S
        while words not in self.said():
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{words!r} was never said: {self.said()}")
            time.sleep(0.02)

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


StartDaemon = Callable[..., RunningDaemon]


@pytest.fixture
def start_daemon(shared_memory_name: str) -> Iterator[StartDaemon]:
    """Starts daemons on the virtual camera, which hands out depth itself unless told otherwise."""
    with ExitStack() as at_end:
        folder = Path(at_end.enter_context(tempfile.TemporaryDirectory()))
        started = []

        def start(*arguments: str, **environment: str) -> RunningDaemon:
            log = folder / f"{len(started)}.log"
            daemon = RunningDaemon(shared_memory_name, log, ["--set", "camera.depth=sensor", *arguments], environment)
            started.append(daemon)
            at_end.callback(_end, daemon.process)
            return daemon

        yield start


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
