"""Looks at a running daemon from outside: what `depthd dump` does. Needs NumPy alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthd.files import written_whole
from depthd.statistics import fit_text, shares, sources_text

if TYPE_CHECKING:
    from depthd.shm.reader import Frame, Reader

WAIT_S = 5.0


def frames_of(reader: Reader, count: int | None) -> Iterator[tuple[Frame, int]]:
    """The next `count` frames (None: for ever), each with the CLOCK_MONOTONIC ns when it was seen."""
    seen = 0
    while count is None or seen < count:
        frame = reader.wait(timeout=WAIT_S)
        yield frame, time.monotonic_ns()
        seen += 1


def line_of(frame: Frame, seen_ns: int) -> str:
    """Id, age of the picture, latency from picture to publication and to here, fit, sources."""
    times = frame.timestamps
    age_ms = (seen_ns - times.captured_ns) / 1e6
    latency_ms = (times.published_ns - times.captured_ns) / 1e6
    return (
        f"frame {frame.id}  age {age_ms:.1f} ms  latency {latency_ms:.1f} ms  {fit_text(frame.fit)}  "
        f"{sources_text(shares(frame.pixels_per_source))}"
    )


def save(frame: Frame, folder: Path) -> None:
    """Writes the frame's planes as `<id>.<plane>.npy`. Raises DepthdError."""
    whole = frame.copy()
    planes = {
        "depth": whole.depth,
        "source": whole.source,
        "sigma": whole.sigma,
        "left": whole.left,
        "stereo_depth": whole.stereo_depth,
    }
    for name, plane in planes.items():
        if plane is None:
            continue
        with written_whole(folder / f"{whole.id:08d}.{name}.npy") as path:
            np.save(path, plane)
