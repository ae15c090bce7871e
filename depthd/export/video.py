"""The four panels as an mp4 film."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from depthd.errors import DepthdError
from depthd.export.panels import overview
from depthd.files import written_whole
from depthd.frame import Array
from depthd.statistics import shares

if TYPE_CHECKING:
    from depthd.shm.reader import Frame


def panels_of(frame: Frame) -> Array:
    """uint8 BGR: left picture, stereo depth, source map, fused depth. Raises DepthdError where a plane is
    missing.
    """
    if frame.left is None or frame.stereo_depth is None:
        raise DepthdError(
            "this daemon does not publish the left picture and stereo depth",
            "run it with --set shared_memory.planes=[left,stereo_depth]",
        )
    return overview(frame.left, frame.stereo_depth, frame.depth, frame.source, shares(frame.pixels_per_source))


def write_mp4(path: Path, frames: Iterable[Frame], frames_per_s: float) -> int:
    """Writes MPEG-4 at a steady rate; returns how many frames. Raises DepthdError."""
    import cv2

    count, writer = 0, None
    with written_whole(path) as part:
        for frame in frames:
            picture = panels_of(frame)
            # MPEG-4 wants even sides; the first picture decides them.
            if writer is None:
                size = (picture.shape[1] // 2 * 2, picture.shape[0] // 2 * 2)
                writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), frames_per_s, size)
                if not writer.isOpened():
                    raise DepthdError(f"OpenCV cannot write the film {path}", "name it .mp4, and check the folder")
            writer.write(cv2.resize(picture, size) if picture.shape[1::-1] != size else picture)
            count += 1
        if writer is None:
            raise DepthdError("no frame came for the film", "check that depthd is running")
        writer.release()
    return count
