"""Faults on purpose, for the tests of the watchdog. Refused unless the start says that it is a test."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from depthd.errors import UsageError

FAULT, TESTING = "DEPTHD_FAULT", "DEPTHD_TESTING"


@dataclass(frozen=True)
class Hang:
    """Stands still after that many frames, holding Python's lock as a camera driver might."""

    after_frames: int

    def strike(self, frames: int) -> None:
        if frames == self.after_frames:
            # PyDLL keeps the lock while the function runs, CDLL would give it back.
            ctypes.PyDLL(None).sleep(3600)


def injected_fault(environment: Mapping[str, str] = os.environ) -> Hang | None:
    """`DEPTHD_FAULT=hang:FRAMES`, together with `DEPTHD_TESTING=1`; None without. Raises UsageError."""
    text = environment.get(FAULT)
    if text is None:
        return None
    if environment.get(TESTING) != "1":
        raise UsageError(f"{FAULT} is set", f"it breaks the daemon on purpose: unset it, or set {TESTING}=1 too")
    match = re.fullmatch(r"hang:(\d+)", text)
    if match is None:
        raise UsageError(f"{FAULT}={text} is unknown", "known is hang:FRAMES")
    return Hang(int(match.group(1)))
