"""One frame, or the next seconds, as files for the browser. Nothing is written on the robot."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthd.errors import DepthdError, UsageError
from depthd.export.files16 import depth_png
from depthd.export.ply import ply_bytes, points_of
from depthd.shm.errors import Overwritten
from depthd.shm.reader import open_reader
from depthd.web.encode import header_of

if TYPE_CHECKING:
    from depthd.shm.reader import Frame

FORMATS = {"npz": "application/zip", "ply": "application/octet-stream", "png": "image/png"}
LONGEST_RECORDING_S = 60.0
WAIT_S = 2.0


def newest_frame(name: str) -> Frame:
    """A copy of the next frame. Raises DepthdError where none comes."""
    with open_reader(name) as reader:
        while True:
            try:
                return reader.wait(timeout=WAIT_S).copy()
            except Overwritten:
                continue


def file_of(frame: Frame, suffix: str) -> bytes:
    """The frame as npz (all planes), ply (fused cloud) or png (16-bit depth in mm). Raises UsageError."""
    if suffix == "npz":
        return _npz(frame)
    if suffix == "png":
        return depth_png(frame.depth)
    if suffix == "ply":
        return ply_bytes(points_of(frame.depth, left_or_black(frame), frame.source, frame.camera))
    raise UsageError(f"a frame is not to be had as {suffix}", f"ask for one of {', '.join(FORMATS)}")


def left_or_black(frame: Frame) -> np.ndarray[Any, Any]:
    return np.zeros((*frame.depth.shape, 3), np.uint8) if frame.left is None else frame.left


def planes_of(frame: Frame) -> dict[str, np.ndarray[Any, Any]]:
    """The planes that the frame carries, by name."""
    planes = {
        "depth": frame.depth,
        "source": frame.source,
        "sigma": frame.sigma,
        "left": frame.left,
        "stereo_depth": frame.stereo_depth,
        "mono": frame.mono,
    }
    return {name: plane for name, plane in planes.items() if plane is not None}


def _npz(frame: Frame) -> bytes:
    out = io.BytesIO()
    np.savez(out, **{"about": np.array(json.dumps(about(frame))), **planes_of(frame)})  # type: ignore[arg-type]
    return out.getvalue()


def about(frame: Frame) -> dict[str, Any]:
    """What goes beside the planes: id, camera, fit, times."""
    header = header_of(frame)
    return {key: header[key] for key in ("id", "captured_ns", "stages_ms", "camera", "fit", "pixels")}


def record(name: str, seconds: float, write: Callable[[bytes], None]) -> int:
    """Writes the frames of the next `seconds` as a zip of .npy planes to `write`; returns how many.

    Takes as many frames as the receiver keeps up with; the rest is dropped, and frames.json says which came.
    """
    out = _Pipe(write)
    frames = []
    with zipfile.ZipFile(out, "w") as archive, open_reader(name) as reader:
        for frame in _frames_for(reader, seconds):
            for plane, array in planes_of(frame).items():
                archive.writestr(f"{frame.id:08d}/{plane}.npy", _npy(array))
            frames.append(about(frame))
        camera = asdict(frame.camera) if frames else {}
        archive.writestr("frames.json", json.dumps({"camera": camera, "frames": frames}, indent=1))
    return len(frames)


def _frames_for(reader: Any, seconds: float) -> Iterator[Frame]:
    end = time.monotonic() + min(seconds, LONGEST_RECORDING_S)
    while time.monotonic() < end:
        try:
            yield reader.wait(timeout=WAIT_S).copy()
        except Overwritten:
            continue
        except DepthdError:
            return


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


class _Pipe(io.RawIOBase):
    """A file that cannot go back, so that zipfile writes a stream."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write_on = write
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        block = bytes(data)
        self._write_on(block)
        self._position += len(block)
        return len(block)


def name_of(frame: Frame, suffix: str) -> str:
    return Path(f"depthd-{frame.id:08d}").with_suffix(f".{suffix}").name
