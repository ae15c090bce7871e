"""What happened after each kill: how long every stage of the start took, and what the machine did meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from system.guest import machine

STAGES = ("systemd", "imports", "camera", "model", "first frame")
"""Until systemd has started the process; until its first line of log; until the camera is open; until network and
shared memory are; until the reader has the frame.
"""
_ENDS_WITH = {"imports": "starting:", "camera": "device:", "model": "-> shared memory"}


@dataclass
class Restart:
    """Seconds, from the kill on; on the monotonic clock."""

    pid: int
    killed_s: float
    gap_s: float
    started_s: float
    meanwhile: dict[str, float]
    process: dict[str, float]
    stages_s: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        stages = ", ".join(f"{name} {self.stages_s[name]:.2f}" for name in self.stages_s)
        return f"{self.gap_s:.2f} s ({stages}); {machine.in_words(self.meanwhile, self.process)}"


def add_stages(restarts: Iterable[Restart], journal: str) -> None:
    """journal: the unit's, one JSON object a line."""
    moments_s: dict[int, dict[str, float]] = {}
    for line in journal.splitlines():
        entry = json.loads(line)
        for stage, words in _ENDS_WITH.items():
            if words in str(entry["MESSAGE"]) and "_PID" in entry:
                moments_s.setdefault(int(entry["_PID"]), {})[stage] = int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
    for restart in restarts:
        ends_s = {
            "systemd": restart.started_s,
            **moments_s.get(restart.pid, {}),
            "first frame": restart.killed_s + restart.gap_s,
        }
        before_s = restart.killed_s
        for stage in STAGES:
            if stage in ends_s:
                restart.stages_s[stage] = ends_s[stage] - before_s
                before_s = ends_s[stage]


def medians(restarts: list[Restart]) -> str:
    """One line: the median of every stage."""
    return ", ".join(
        f"{stage} {np.median([restart.stages_s[stage] for restart in restarts if stage in restart.stages_s]):.2f}"
        for stage in STAGES
    )


def write(restarts: Iterable[Restart], file: Path) -> None:
    """One JSON object a line, for whoever wants to look closer."""
    lines: list[dict[str, Any]] = [asdict(restart) for restart in restarts]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
