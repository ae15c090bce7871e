"""How fast is a frame from the camera to a reader in another process, and does the daemon's memory grow?

Runs the daemon on the virtual camera twice: paced as a real camera, and as fast as it goes. Prints one table.
Resident memory is read from /proc after the warm-up and after the measured frames. The fit's memory, the arenas of
the libraries' threads and the pages of code that runs seldom fill up during the first hundred frames or so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import depthd
from depthd.errors import DepthdError
from depthd.statistics import Summary, Window

START_LIMIT_S = 120.0
PACES = {
    "camera": ("paced, 15 frames/s", ["camera.real_time=true", "camera.fps=15"]),
    "free": ("as fast as it goes", ["camera.real_time=false"]),
}
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def resident_mib(process_id: int) -> float:
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * PAGE_MIB


@contextmanager
def daemon(name: str, overrides: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "depthd", "run"]
    for override in [f"name={name}", *overrides]:
        command += ["--set", override]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def attach(name: str, process: subprocess.Popen[bytes]) -> depthd.Reader:
    end = time.monotonic() + START_LIMIT_S
    while True:
        try:
            return depthd.open(name)
        except DepthdError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.1)


def watch(reader: depthd.Reader, frames: int, limit_s: float = START_LIMIT_S) -> tuple[Summary, int]:
    """Reads that many frames; also returns how many the reader missed."""
    window = Window()
    missed, last_id = 0, None
    for _ in range(frames):
        frame = reader.wait(timeout=limit_s)
        seen_ns = time.monotonic_ns()
        to_reader_ms = (seen_ns - frame.timestamps.grabbed_ns) / 1e6
        window.add(frame.timestamps, frame.fit, frame.pixels_per_source, {"grab to reader": to_reader_ms})
        missed += frame.id - last_id - 1 if last_id is not None else 0
        last_id = frame.id
    return window.summary(), missed


def measure(label: str, overrides: list[str], warm_up: int, frames: int) -> str:
    name = f"depthd-bench-{os.getpid()}"
    with daemon(name, overrides) as process, attach(name, process) as reader:
        watch(reader, warm_up)
        before_mib = resident_mib(process.pid)
        summary, missed = watch(reader, frames)
        after_mib = resident_mib(process.pid)
    stages = " | ".join(
        f"{summary.latency[stage].p50_ms:.1f} / {summary.latency[stage].p99_ms:.1f}"
        for stage in ("match", "mono", "fuse", "publish", "grab to reader")
    )
    return (
        f"| {label} | {summary.frames_per_s:.1f} | {stages} | {missed} "
        f"| {before_mib:.1f} | {after_mib - before_mib:+.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--warm-up", type=int, default=200)
    parser.add_argument("--pace", choices=(*PACES, "both"), default="both")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY.PATH=VALUE")
    arguments = parser.parse_args()
    print(
        "| camera | frames/s | match | mono | fuse | publish | grab to reader | missed by reader "
        "| resident MiB | growth MiB |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for pace in PACES if arguments.pace == "both" else (arguments.pace,):
        label, overrides = PACES[pace]
        print(measure(label, [*overrides, *arguments.overrides], arguments.warm_up, arguments.frames), flush=True)
    print(f"\nms are p50 / p99; {arguments.frames} frames after {arguments.warm_up} to warm up")


if __name__ == "__main__":
    main()
