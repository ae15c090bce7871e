"""A quick look in an OpenCV window: q closes it, s saves the picture. Reads shared memory only."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthd.errors import DepthdError
from depthd.export.panels import DepthScale, depth_picture, write_picture
from depthd.export.video import panels_of
from depthd.frame import Array

if TYPE_CHECKING:
    from depthd.shm.reader import Frame, Reader

TITLE = "depthd (q: close, s: save)"
POLL_MS = 15


def check_windows() -> None:
    """Raises DepthdError where OpenCV cannot open a window, before it aborts the process over it."""
    import cv2

    gui = next(
        (line.split(":")[1].strip() for line in cv2.getBuildInformation().splitlines() if "GUI:" in line),
        "NONE",
    )
    if gui == "NONE":
        raise DepthdError(
            "this OpenCV has no windows (opencv-python-headless)",
            "use `depthd view` in a browser, or install opencv-python in its place",
        )
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise DepthdError("there is no screen (DISPLAY is not set)", "use `depthd view` in a browser")


def picture_of(frame: Frame, grayscale: bool, raw: bool) -> Array:
    """uint8: the four panels; raw: fused depth alone; grayscale: that in grey, near is bright."""
    if grayscale:
        level = DepthScale.of(frame.depth).level(frame.depth)
        return (255 * np.nan_to_num(level)).astype(np.uint8)
    if raw:
        return depth_picture(frame.depth, DepthScale.of(frame.depth))
    return panels_of(frame)


def show(reader: Reader, grayscale: bool, raw: bool, check: Callable[[], None], say: Callable[[str], None]) -> None:
    """Shows frames until q or Esc is pressed or the window is closed. `check` may raise to end it."""
    import cv2

    from depthd.shm.errors import Overwritten, Timeout

    cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    sized = False
    try:
        while True:
            check()
            try:
                frame = reader.wait(timeout=0.5).copy()
            except (Timeout, Overwritten):
                frame = None
            if frame is not None:
                picture = picture_of(frame, grayscale, raw)
                if not sized:
                    cv2.resizeWindow(TITLE, picture.shape[1], picture.shape[0])
                    sized = True
                cv2.imshow(TITLE, picture)
            key = cv2.waitKey(POLL_MS) & 0xFF
            if key == ord("s") and frame is not None:
                path = Path(f"depthd-{frame.id:08d}.png")
                write_picture(path, picture)
                say(f"wrote {path}")
            if key in (ord("q"), 27) or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
                return
    finally:
        cv2.destroyAllWindows()
