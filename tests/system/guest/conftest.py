"""For tests inside a booted machine with the service installed; tests/system/test_service.py boots it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import depthd
from depthd.errors import DepthdError

collect_ignore_glob = [] if os.environ.get("DEPTHD_GUEST") == "1" else ["test_*.py"]

CONFIGURATION = Path("/etc/depthd/depthd.yaml")
DROP_IN = Path("/run/systemd/system/depthd.service.d/test.conf")
CURSOR = Path("/run/depthd-test-cursor")
LIMIT_S = 60.0


class Service:
    """The installed unit, and what systemd says about it."""

    def __init__(self) -> None:
        self.shared_memory = Path("/dev/shm/depthd")

    def systemctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)

    def start(self) -> bool:
        return self.systemctl("start", "depthd").returncode == 0

    def stop(self) -> None:
        self.systemctl("stop", "depthd")

    def show(self, name: str) -> str:
        return self.systemctl("show", "depthd", "-P", name).stdout.strip()

    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    def configure(self, text: str) -> None:
        CONFIGURATION.write_text(text)

    def drop_in(self, text: str) -> None:
        DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        DROP_IN.write_text(text)
        self.systemctl("daemon-reload")

    def journal(self, *options: str) -> str:
        """Since the test began."""
        command = ["journalctl", "-u", "depthd", "--no-pager", f"--cursor-file={CURSOR}", *options]
        CURSOR.write_text(self.cursor)
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def begin(self) -> None:
        shown = subprocess.run(
            ["journalctl", "-n", "0", "--show-cursor"], capture_output=True, text=True, check=False
        ).stdout
        self.cursor = shown.rpartition("cursor: ")[2].strip()

    def attach(self) -> depthd.Reader:
        return until(lambda: depthd.open("depthd"), "the shared memory")

    def fresh_frame(self, reader: depthd.Reader, not_from: int | None = None) -> depthd.Frame:
        """The next frame, from another writer than `not_from`."""

        def next_frame() -> depthd.Frame:
            frame = reader.wait(timeout=1.0)
            if frame.writer_id == not_from:
                raise DepthdError("still the old writer", "wait")
            return frame

        return until(next_frame, "a fresh frame")


def until(get: Callable[[], depthd.Frame], what: str, limit_s: float = LIMIT_S):  # type: ignore[no-untyped-def]
    """What `get` returns, once it raises no DepthdError any more."""
    end = time.monotonic() + limit_s
    while True:
        try:
            return get()
        except DepthdError as error:
            if time.monotonic() > end:
                pytest.fail(f"{what} did not come in {limit_s:.0f} s: {error}")
            time.sleep(0.01)


@pytest.fixture
def service() -> Iterator[Service]:
    """Stopped, with the defaults, and afterwards so again."""
    service = Service()
    _reset(service)
    service.begin()
    yield service
    _reset(service)


def _reset(service: Service) -> None:
    service.stop()
    DROP_IN.unlink(missing_ok=True)
    service.configure("")
    service.systemctl("daemon-reload")
    service.systemctl("reset-failed", "depthd")


@pytest.fixture
def reach(record_property: Callable[[str, object], None]) -> Callable[[str, float, float], None]:
    """Notes a measured value beside its reach; where DEPTHD_STRICT=1, it has to be reached."""

    def note(what: str, measured: float, limit: float) -> None:
        record_property("reach", f"{what}: {measured:.2f} (reach {limit:g})")
        if os.environ.get("DEPTHD_STRICT") == "1":
            assert measured <= limit, what

    return note


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """A line of the report that nothing depends on."""
    return lambda text: record_property("note", text)


@pytest.fixture
def burning_cpus() -> Iterator[None]:
    """Every CPU busy with something else."""
    burners = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(os.cpu_count() or 1)]
    yield
    for burner in burners:
        burner.kill()
        burner.wait()
