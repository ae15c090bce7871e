"""Looks at objects in /dev/shm and at frames: what `depthd dump --stats`, `--json` and `--clean` do.

Needs NumPy alone.
"""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from depthd import _shm
from depthd.frame import Source
from depthd.shm.histogram import LatencyHistogram
from depthd.shm.layout import DIRECTORY, HEADER, CameraState, ErrorCode, LockHolder
from depthd.shm.reader import Frame


@dataclass(frozen=True)
class ObjectInfo:
    """One object of depthd in /dev/shm. error: why it cannot be read, or None."""

    name: str
    alive: bool
    pid: int
    camera: str
    size_bytes: int
    published: int
    error: str | None


def list_objects() -> list[ObjectInfo]:
    """All objects of depthd in /dev/shm that may be read, of living and of dead writers, by name."""
    found = (_look_at(path) for path in sorted(Path(DIRECTORY).iterdir()))
    return [info for info in found if info is not None]


def clean(prefix: str = "", only_killed: bool = False) -> list[str]:
    """Removes the objects that dead writers left under names that start with `prefix`, and says which.

    Never a living writer's, never a file that is not depthd's. only_killed: not those either whose writer stopped in
    good order and kept them (shared_memory.keep_after_exit).

    The writer's lock is taken first: whoever starts at the same moment finds either the object or none.
    """
    return [path.name for path in sorted(Path(DIRECTORY).glob(f"{prefix}*")) if _remove_if_dead(path, only_killed)]


def frame_as_dict(frame: Frame, seen_ns: int) -> dict[str, Any]:
    """A frame's metadata for JSON, NaN as None. seen_ns: CLOCK_MONOTONIC when it was seen."""
    times, fit, camera = frame.timestamps, frame.fit, frame.camera
    return {
        "id": frame.id,
        "camera_index": frame.camera_index,
        "writer_id": f"{frame.writer_id:016x}",
        "state": frame.state.name,
        "dropped": frame.dropped,
        "age_ms": (seen_ns - times.captured_ns) / 1e6,
        "latency_ms": (times.published_ns - times.captured_ns) / 1e6,
        "wake_ms": (seen_ns - times.published_ns) / 1e6,
        "times_ns": vars(times),
        "picture_clock_ns": frame.picture_clock_ns,
        "camera": vars(camera),
        "fit": {key: _plain(value) for key, value in vars(fit).items()} | {"status": fit.status.name},
        "pixels_per_source": dict(zip((s.name for s in Source), frame.pixels_per_source, strict=True)),
    }


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass
class FrameStatistics:
    """Rates and latencies over all frames seen, in fixed memory."""

    to_publish: LatencyHistogram = field(default_factory=LatencyHistogram)
    """From picture to publishing."""
    to_reader: LatencyHistogram = field(default_factory=LatencyHistogram)
    """From publishing to this reader being awake."""
    between: LatencyHistogram = field(default_factory=LatencyHistogram)
    """From one frame seen to the next."""
    frames: int = 0
    missed: int = 0
    """Frames that were published and not seen."""
    writers: int = 0
    _first_ns: int = 0
    _last_ns: int = 0
    _last_id: int = 0
    _writer_id: int = 0

    def add(self, frame: Frame, seen_ns: int) -> None:
        """Counts a frame that was seen at CLOCK_MONOTONIC `seen_ns`."""
        times = frame.timestamps
        self.to_publish.record(times.published_ns - times.captured_ns)
        self.to_reader.record(seen_ns - times.published_ns)
        if self.frames:
            self.between.record(seen_ns - self._last_ns)
            self.missed += max(0, frame.id - self._last_id - 1)
        else:
            self._first_ns = seen_ns
        if frame.writer_id != self._writer_id:
            self.writers += 1
        self.frames += 1
        self._last_ns, self._last_id, self._writer_id = seen_ns, frame.id, frame.writer_id

    def summary(self) -> dict[str, Any]:
        """For JSON: frames, rate, missed, writers; p50, p99, p99.9 and largest of each latency in ms."""
        seconds = (self._last_ns - self._first_ns) * 1e-9
        return {
            "frames": self.frames,
            "frames_per_s": (self.frames - 1) / seconds if seconds > 0.0 else None,
            "missed": self.missed,
            "writers": self.writers,
            "picture_to_publish_ms": _percentiles(self.to_publish),
            "publish_to_reader_ms": _percentiles(self.to_reader),
            "between_frames_ms": _percentiles(self.between),
        }

    def table(self) -> str:
        """The same for people."""
        summary = self.summary()
        rate = summary["frames_per_s"]
        rate_text = "" if rate is None else f", {rate:.1f} frames/s"
        lines = [f"{self.frames} frames{rate_text}, {self.missed} missed, {self.writers} writer(s)"]
        lines.append(f"{'ms':22} {'p50':>9} {'p99':>9} {'p99.9':>9} {'largest':>9}")
        for key, label in _LABELS.items():
            values = summary[key]
            numbers = " ".join(f"{_number(values[name]):>9}" for name in ("p50", "p99", "p99.9", "largest"))
            lines.append(f"{label:22} {numbers}")
        return "\n".join(lines)


_LABELS = {
    "picture_to_publish_ms": "picture to publishing",
    "publish_to_reader_ms": "publishing to reader",
    "between_frames_ms": "frame to frame",
}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percentiles(histogram: LatencyHistogram) -> dict[str, float | None]:
    if histogram.count == 0:
        return dict.fromkeys(("p50", "p99", "p99.9", "largest"))
    values: dict[str, float | None] = {f"p{p:g}": histogram.percentile(p) / 1e6 for p in (50, 99, 99.9)}
    return {**values, "largest": histogram.largest_ns / 1e6}


def _open_regular(path: Path, flags: int) -> int | None:
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def _header_of(fd: int) -> Any:
    return np.frombuffer(os.pread(fd, HEADER.itemsize, 0).ljust(HEADER.itemsize, b"\0"), HEADER, 1)[0]


def _look_at(path: Path) -> ObjectInfo | None:
    fd = _open_regular(path, os.O_RDONLY)
    if fd is None:
        return None
    try:
        code = _shm.check_file(fd)
        if code == ErrorCode.NOT_DEPTHD:
            return None
        header = _header_of(fd)
        return ObjectInfo(
            name=path.name,
            alive=_shm.find_lock_holder(fd) == LockHolder.WRITER,
            pid=int(header["pid"]),
            camera=bytes(header["description"]).decode(errors="replace"),
            size_bytes=os.fstat(fd).st_size,
            published=int(header["published"]),
            error=None if code == ErrorCode.OK else _shm.error_text(code),
        )
    finally:
        os.close(fd)


def _remove_if_dead(path: Path, only_killed: bool) -> bool:
    fd = _open_regular(path, os.O_RDWR)
    if fd is None:
        return False
    try:
        if _shm.check_file(fd) == ErrorCode.NOT_DEPTHD or not _shm.lock_writer(fd):
            return False
        if os.stat(path, follow_symlinks=False).st_ino != os.fstat(fd).st_ino:
            return False
        if only_killed and _header_of(fd)["camera_state"] == CameraState.STOPPED:
            return False
        os.unlink(path)
        _shm.retire_file(fd)  # readers that are still attached look for the name again
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
