"""Does a daemon live through a thousand lost cameras? One table: how soon frames came again, what leaked.

    python benchmarks/disconnects.py [--count 1000] [--sdk 5.2]

A real daemon process runs on the tests' stand-in of the ZED SDK, which loses its camera at random moments: pulled,
restarting, or pulled and then held by another process. A view of /sys/bus of its own shows the daemon USB devices
that come and go (needs root, for `unshare --mount`). A reader stays attached all the time and compares every
picture with those that the stand-in can deliver: one that is none of them was torn.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import depthd  # noqa: E402
from depthd.errors import DepthdError  # noqa: E402
from tests.fakes.pyzed.world import shots  # noqa: E402

LONGEST_WAIT_S = 60.0
FAULTS = ({"plugged": False}, {"rebooting": True}, {"plugged": False, "held_by_another": True})
IN_OWN_BUS = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /sys/bus && exec "$@"']


@dataclass
class Outcome:
    """What a run showed."""

    back_s: list[float] = field(default_factory=list)
    """From the camera being back to the next frame."""
    frames: int = 0
    torn: int = 0
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)


def can_run() -> str:
    """Empty, or why this machine cannot show a process devices of its own."""
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run([*IN_OWN_BUS, folder, "true"], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"no mount namespace can be made: {tried.stderr.strip()[:100]}"


class Bench:
    """A daemon, its world, and the devices that it sees."""

    def __init__(self, folder: Path, sdk: str, name: str) -> None:
        self._control = folder / "world.json"
        self._devices = folder / "bus" / "usb" / "devices"
        self._devices.mkdir(parents=True)
        self._plugs = 0
        self.log = folder / "log"
        world = {"scene": "one_plane", "frame_s": 0.01, "control": str(self._control)}
        keys = {
            "name": name,
            "camera.kind": "zed",
            "camera.resolution": "VGA",
            "camera.fps": 0,
            "mono.short_side_px": 96,
        }
        sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
        environment = {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "fakes"), str(ROOT)]),
            "FAKE_PYZED_SDK": sdk,
            "FAKE_PYZED_WORLD": json.dumps(world),
        }
        daemon = [sys.executable, "-m", "depthd", "run", *sets]
        with self.log.open("w") as stderr:
            self.process = subprocess.Popen(
                [*IN_OWN_BUS, str(folder / "bus"), *daemon], stderr=stderr, env={**os.environ, **environment}
            )

    def lose(self, fault: dict[str, bool]) -> None:
        self._change(fault)
        for device in self._devices.iterdir():
            device.rmdir()

    def give_back(self) -> None:
        self._change({"plugged": True, "rebooting": False, "held_by_another": False})
        self._plugs += 1
        (self._devices / f"1-{self._plugs}").mkdir()

    def resources(self) -> dict[str, int]:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = {
            line.split(":")[0]: line.split()[1] for line in status.splitlines() if ":" in line and len(line.split()) > 1
        }
        open_files = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        return {"threads": int(found["Threads"]), "open files": open_files, "memory MB": int(found["VmRSS"]) // 1024}

    def _change(self, fields: dict[str, bool]) -> None:
        whole = self._control.with_suffix(".new")
        whole.write_text(json.dumps(fields))
        whole.rename(self._control)


@contextmanager
def bench(sdk: str) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as folder:
        made = Bench(Path(folder), sdk, f"depthd-disconnects-{os.getpid()}")
        try:
            yield made
        finally:
            made.process.terminate()
            made.process.wait(30)


def run(count: int, sdk: str, seed: int = 0) -> Outcome:
    """Loses the camera `count` times. Raises RuntimeError with the daemon's log where it does not come back."""
    whole = {shot.left_bgr.tobytes() for shot in shots("VGA", "one_plane")}
    outcome, random_moments = Outcome(), random.Random(seed)
    with bench(sdk) as made:
        made.give_back()
        reader = _attached(made, f"depthd-disconnects-{os.getpid()}")
        with reader:
            for number in range(count):
                if number == count // 3:
                    outcome.before = made.resources()
                _watch(reader, random_moments.uniform(0.0, 0.06), whole, outcome)
                made.lose(FAULTS[number % len(FAULTS)])
                _until_lost(reader, made)
                time.sleep(random_moments.uniform(0.0, 0.05))
                made.give_back()
                started = time.monotonic()
                _next(reader, made)
                outcome.back_s.append(time.monotonic() - started)
            outcome.after = made.resources()
    return outcome


def _attached(made: Bench, name: str) -> depthd.Reader:
    end = time.monotonic() + LONGEST_WAIT_S
    while True:
        try:
            reader = depthd.open(name)
            reader.wait(timeout=LONGEST_WAIT_S)
            return reader
        except DepthdError:
            _alive(made, end)
            time.sleep(0.02)


def _watch(reader: depthd.Reader, seconds: float, whole: set[bytes], outcome: Outcome) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            frame = reader.wait(timeout=LONGEST_WAIT_S).copy()
        except DepthdError:
            continue
        outcome.frames += 1
        outcome.torn += np.ascontiguousarray(frame.left).tobytes() not in whole
        if time.monotonic() >= end:
            return


def _until_lost(reader: depthd.Reader, made: Bench) -> None:
    end = time.monotonic() + LONGEST_WAIT_S
    while reader.state.name != "LOST":
        _alive(made, end)
        time.sleep(0.002)


def _next(reader: depthd.Reader, made: Bench) -> None:
    end = time.monotonic() + LONGEST_WAIT_S
    while reader.state.name != "RUNNING":
        _alive(made, end)
        time.sleep(0.001)
    while True:
        try:
            reader.wait(timeout=1.0)
            return
        except DepthdError:
            _alive(made, end)


def _alive(made: Bench, end: float) -> None:
    if made.process.poll() is not None or time.monotonic() > end:
        raise RuntimeError(f"the daemon does not come back: {made.log.read_text()[-2000:]}")


def table(outcome: Outcome, count: int, sdk: str) -> str:
    back_ms = 1e3 * np.array(outcome.back_s)
    p50, p99 = np.percentile(back_ms, [50, 99])
    leaks = ", ".join(f"{name} {outcome.before[name]} -> {outcome.after[name]}" for name in outcome.before)
    return (
        f"SDK {sdk}: {count} disconnects, always back; frames again after {p50:.0f} ms (p50), {p99:.0f} ms (p99), "
        f"{back_ms.max():.0f} ms (longest); {outcome.torn} of {outcome.frames} pictures torn; from the first third to "
        f"the end: {leaks}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--sdk", choices=("4.2", "5.2"), default="5.2")
    arguments = parser.parse_args()
    why_not = can_run()
    if why_not:
        sys.exit(why_not)
    print(table(run(arguments.count, arguments.sdk), arguments.count, arguments.sdk))


if __name__ == "__main__":
    main()
