"""What an hour of frames was like, minute by minute."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from system.guest import machine

SHARES = (50.0, 99.0, 99.9)
EDGES_MS = (0, 5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 500, float("inf"))


@dataclass
class Minute:
    """Memory and counts stand as they were at its end; dropped and missed count since the start."""

    number: int
    frames: int
    latency_ms: dict[str, float]
    resident_mib: float
    threads: int
    descriptors: int
    dropped: int
    missed: int
    meanwhile: dict[str, float]

    def __str__(self) -> str:
        latency = " / ".join(f"{value:.1f}" for value in self.latency_ms.values())
        others = self.meanwhile["user"] + self.meanwhile["nice"] + self.meanwhile["system"]
        return (
            f"minute {self.number}: {self.frames} frames, p50 / p99 / p99.9 / longest {latency} ms, "
            f"{self.resident_mib:.2f} MiB, {self.threads} threads, {self.descriptors} descriptors, "
            f"dropped {self.dropped}, missed {self.missed}; processors busy {others:.0f} of "
            f"{os.cpu_count()} x {self.meanwhile['wall']:.0f} s, steal {self.meanwhile['steal']:.1f} s"
        )


class Soak:
    """Takes every frame's latency, and closes a minute when it is over."""

    def __init__(self, pid: int, file: Path, minute_s: float = 60.0) -> None:
        self.minutes: list[Minute] = []
        self.latencies_ms: list[float] = []
        self._pid, self._file, self._minute_s = pid, file, minute_s
        self._from = 0
        self._before = machine.totals()

    def frame(self, latency_ms: float, header: Callable[[], Any]) -> None:
        """header: of the shared memory, which is read once a minute."""
        self.latencies_ms.append(latency_ms)
        if time.monotonic() - self._before.at_s >= self._minute_s:
            self._close_minute(header())

    def _close_minute(self, header: Any) -> None:
        now = machine.totals()
        latencies_ms = self.latencies_ms[self._from :]
        process = Path(f"/proc/{self._pid}")
        minute = Minute(
            number=len(self.minutes) + 1,
            frames=len(latencies_ms),
            latency_ms=percentiles(latencies_ms),
            resident_mib=resident_mib(self._pid),
            threads=len(os.listdir(process / "task")),
            descriptors=len(os.listdir(process / "fd")),
            dropped=int(header["dropped"]),
            missed=int(header["deadline_misses"]),
            meanwhile=machine.between(self._before, now),
        )
        self.minutes.append(minute)
        with self._file.open("a") as file:
            file.write(json.dumps(asdict(minute)) + "\n")
        self._from, self._before = len(self.latencies_ms), now


def percentiles(latencies_ms: list[float]) -> dict[str, float]:
    values = np.percentile(latencies_ms, SHARES)
    named = {f"p{share:g}": float(value) for share, value in zip(SHARES, values, strict=True)}
    return {**named, "longest": max(latencies_ms)}


def histogram(latencies_ms: list[float]) -> str:
    """One line: how many frames took how long."""
    counts, _ = np.histogram(latencies_ms, EDGES_MS)
    ranges = [f"{low:g}-{high:g} ms" for low, high in itertools.pairwise(EDGES_MS)]
    return ", ".join(f"{name}: {count}" for name, count in zip(ranges, counts, strict=True) if count)


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
