"""The cameras that the stand-in SDK finds, and what happens to them, by script."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from depthd.cameras.virtual import ZED_2I, VirtualCamera
from depthd.config import VirtualCameraConfig
from depthd.frame import Camera

RENDERED = 3
"""Frames rendered once and shown again and again, so that tests take no time to render."""
SIZES = {"HD2K": (2208, 1242), "HD1080": (1920, 1080), "HD720": (1280, 720), "VGA": (672, 376)}
GMSL_SIZES = {"HD1200": (1920, 1200), "HD1080": (1920, 1080), "SVGA": (960, 600)}


@dataclass(frozen=True)
class Shot:
    left_bgr: Any
    right_bgr: Any
    depth_m: Any


@lru_cache
def shots(resolution: str, scene: str) -> tuple[Shot, ...]:
    """Pictures and the depth that a ZED would give, from the virtual camera."""
    camera = VirtualCamera(
        VirtualCameraConfig(resolution=resolution, scene=scene, depth="sensor", real_time=False, minimum_depth_m=0.05)
    )
    frames = []
    for _ in range(RENDERED):
        frame = camera.grab()
        frames.append(Shot(frame.left_bgr.copy(), frame.right_bgr.copy(), frame.depth_m.copy()))
    camera.close()
    return tuple(frames)


@dataclass
class World:
    """Cameras by serial number, and faults. Change it while a camera is open, as life does."""

    cameras: dict[int, str] = field(default_factory=lambda: {30000001: "ZED2i"})
    scene: str = "one_plane"
    plugged: bool = True
    held_by_another: bool = False
    rebooting: bool = False
    low_bandwidth: bool = False
    opens_with: str = "SUCCESS"
    stream_up: bool = True
    focal_scale: float = 1.0
    faults: dict[int, str] = field(default_factory=dict)
    """Number of the grab (counted over all cameras, from 1) -> name or number of the code it returns, or
    "hang".
    """
    dropped: int = 0
    frame_s: float = 0.0
    """How long a grab waits for its frame."""
    grabs: int = 0
    opened: int = 0
    open_now: int = 0
    settings: dict[str, int] = field(default_factory=dict)
    hanging: bool = False
    """Every grab never comes back."""
    opening_hangs: bool = False
    """open() never comes back, and holds Python's lock."""
    released: threading.Event = field(default_factory=threading.Event)
    """Lets a hanging grab go, at the end of a test."""

    control: str = ""
    """A JSON file of fields that another process writes; read again at every call."""

    def refresh(self) -> None:
        if self.control and (path := Path(self.control)).exists():
            with contextlib.suppress(ValueError):
                for name, value in json.loads(path.read_text()).items():
                    setattr(self, name, value)

    def hang(self) -> None:
        self.released.wait(60)

    def camera(self, resolution: str) -> Camera:
        camera = ZED_2I.get(resolution) or ZED_2I["HD1080"].scaled_to(*GMSL_SIZES[resolution])
        return replace(camera, fx=camera.fx * self.focal_scale, fy=camera.fy * self.focal_scale)

    def shot(self, resolution: str, number: int) -> Shot:
        found = shots(resolution, self.scene)
        return found[number % len(found)]


def write_svo(path: Path, frames: int, resolution: str = "VGA", fps: int = 30) -> Path:
    """A file that the stand-in plays as an SVO."""
    path.write_text(json.dumps({"svo": 2, "frames": frames, "resolution": resolution, "fps": fps}))
    return path


def read_svo(path: str) -> dict[str, Any] | None:
    try:
        header = json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) and header.get("svo") == 2 else None


def now_ns() -> int:
    return time.time_ns()
