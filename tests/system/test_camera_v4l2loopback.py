"""A UVC camera through the kernel: side-by-side frames written into a v4l2loopback device."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from depthd.cameras import open_camera
from depthd.config import UvcCameraConfig

WIDTH, HEIGHT = 1344, 376
# linux/videodev2.h: _IOWR('V', 5, struct v4l2_format), V4L2_BUF_TYPE_VIDEO_OUTPUT, V4L2_FIELD_NONE, _SRGB.
VIDIOC_S_FMT = 0xC0D05605
VIDEO_OUTPUT, FIELD_NONE, SRGB = 2, 1, 8
YUYV = int.from_bytes(b"YUYV", "little")


def loopback_device() -> str:
    """The first v4l2loopback device; skips the test where the kernel has none."""
    if not Path("/sys/module/v4l2loopback").is_dir():
        pytest.skip("the kernel module v4l2loopback is not loaded: modprobe v4l2loopback")
    for folder in sorted(Path("/sys/devices/virtual/video4linux").glob("video*")):
        if os.access(f"/dev/{folder.name}", os.R_OK | os.W_OK):
            return f"/dev/{folder.name}"
    pytest.skip("v4l2loopback has no device that may be read and written")


@pytest.fixture
def camera_device() -> Iterator[str]:
    """A device that delivers side-by-side YUYV pictures: the left half dark, the right half light."""
    device = loopback_device()
    stopping = threading.Event()
    with open(device, "wb", buffering=0) as out:
        pixels = struct.pack("8I", WIDTH, HEIGHT, YUYV, FIELD_NONE, 2 * WIDTH, 2 * WIDTH * HEIGHT, SRGB, 0)
        # The union of formats begins at the eighth byte and has 200 of them.
        fcntl.ioctl(out, VIDIOC_S_FMT, struct.pack("2I", VIDEO_OUTPUT, 0) + pixels.ljust(200, b"\0"))
        picture = np.full((HEIGHT, WIDTH, 2), 128, np.uint8)
        picture[:, : WIDTH // 2, 0], picture[:, WIDTH // 2 :, 0] = 60, 200

        def feed() -> None:
            while not stopping.wait(0.03):
                out.write(picture.tobytes())

        feeder = threading.Thread(target=feed)
        feeder.start()
        yield device
        stopping.set()
        feeder.join()


def test_side_by_side_frames_come_through_the_kernel(camera_device: str) -> None:
    camera = open_camera(
        UvcCameraConfig(device=camera_device, resolution="VGA", settings_dir=Path("/nonexistent"), raw=True)
    )
    try:
        frames = [camera.grab().check() for _ in range(3)]
    finally:
        camera.close()
    for frame in frames:
        assert frame.left_bgr.shape == (HEIGHT, WIDTH // 2, 3)
        assert frame.right_bgr is not None
        assert int(frame.left_bgr.mean()) < 90 < 160 < int(frame.right_bgr.mean())
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
