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
ESCAPE = 27
CLOSED = "closed"


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
    from depthd.shm.errors import Overwritten, Timeout

    with Window(TITLE) as window:
        while True:
            check()
            try:
                frame = reader.wait(timeout=0.5).copy()
            except (Timeout, Overwritten):
                frame = None
            if frame is not None:
                picture = picture_of(frame, grayscale, raw)
                window.put(picture)
            key = window.key()
            if key == "s" and frame is not None:
                path = Path(f"depthd-{frame.id:08d}.png")
                write_picture(path, picture)
                say(f"wrote {path}")
            if key == CLOSED:
                return


class Window:
    """A window to put pictures in. To be used with `with`."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._sized = False

    def __enter__(self) -> Window:
        import cv2

        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        return self

    def __exit__(self, *_: object) -> None:
        import cv2

        cv2.destroyAllWindows()

    def put(self, picture: Array) -> None:
        """Shows a uint8 picture, grey or BGR."""
        import cv2

        if not self._sized:
            cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
            self._sized = True
        cv2.imshow(self._title, picture)

    def key(self) -> str:
        """The key that was pressed meanwhile, or an empty text; CLOSED after q, Esc, or when the window is gone."""
        import cv2

        code = cv2.waitKey(POLL_MS) & 0xFF
        if code in (ord("q"), ESCAPE) or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            return CLOSED
        return chr(code) if code < 128 else ""
