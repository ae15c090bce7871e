"""An MCAP recording of depthd as a camera: its left picture and the depth that the stereo camera gave."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from depthd.cameras.base import EndOfRecording
from depthd.cameras.pacing import Pacing
from depthd.errors import DepthdError, UsageError
from depthd.frame import Camera, StereoFrame
from depthd.ros.messages import CAMERA_INFO, IMAGE, MessageReader, camera_of

_IMAGES = {"left/image_raw": "left", "stereo_depth/image": "depth"}
_INFOS = {"left/camera_info": "left_info", "right/camera_info": "right_info"}


class McapCamera:
    """Plays what McapRecorder wrote, at its own pace.

    Raises UsageError for a file that is no such recording, EndOfRecording at the end unless it loops.
    """

    def __init__(self, path: Path, fps: float, loop: bool = True, real_time: bool = True) -> None:
        self._path = path
        self._loop = loop
        self._reader = MessageReader()
        self._frames = self._play()
        try:
            self._first: dict[str, Any] | None = next(self._frames)
        except StopIteration:
            raise UsageError(
                f"{path} holds no left picture with stereo depth",
                "record with shared_memory.planes: [left, stereo_depth]",
            ) from None
        self._camera = camera_of(self._first["left_info"], self._first["right_info"])
        self._pacing = Pacing(fps, real_time)
        self._index = 0

    @property
    def camera(self) -> Camera:
        return self._camera

    @property
    def description(self) -> str:
        return f"recording {self._path}"

    @property
    def period_s(self) -> float:
        return self._pacing.period_s

    def grab(self) -> StereoFrame:
        due, captured_ns = self._pacing.next_frame()
        found = self._next()
        while self._index < due:  # real time: what is late is left out, as a camera would
            found = self._next()
            self._index += 1
        self._index += 1
        stamp = found["left"].header.stamp
        return StereoFrame(
            index=due,
            captured_ns=captured_ns,
            picture_clock_ns=stamp.sec * 10**9 + stamp.nanosec,
            camera=self._camera,
            left_bgr=self._reader.pixels(found["left"]),
            depth_m=self._reader.pixels(found["depth"]).astype(np.float32, copy=False),
        ).check()

    def close(self) -> None:
        self._frames.close()

    def _next(self) -> dict[str, Any]:
        if self._first is not None:
            found, self._first = self._first, None
            return found
        with suppress(StopIteration):
            return next(self._frames)
        if not self._loop:
            raise EndOfRecording(f"{self._path} has come to its end")
        self._frames = self._play()
        return next(self._frames)

    def _play(self) -> Generator[dict[str, Any], None, None]:
        """Complete frames in order: the messages of one picture share their log time."""
        collected: dict[str, Any] = {}
        log_ns = -1
        for topic, message_type, time_ns, data in _messages(self._path):
            if time_ns != log_ns:
                collected, log_ns = {}, time_ns
            part = _part_of(topic, message_type)
            if part is None:
                continue
            collected[part] = self._reader.decode(message_type, data)
            if len(collected) == len(_IMAGES) + len(_INFOS):
                yield collected
                collected = {}


def _part_of(topic: str, message_type: str) -> str | None:
    wanted = {IMAGE: _IMAGES, CAMERA_INFO: _INFOS}.get(message_type, {})
    return next((part for end, part in wanted.items() if topic.endswith(f"/{end}")), None)


def _messages(path: Path) -> Iterator[tuple[str, str, int, bytes]]:
    try:
        from mcap.exceptions import McapError
        from mcap.reader import make_reader
    except ImportError:
        raise DepthdError("mcap is not installed", "pip install depthd[ros]") from None
    try:
        with open(path, "rb") as stream:
            for schema, channel, message in make_reader(stream).iter_messages():
                if schema is not None:
                    yield channel.topic, schema.name, message.log_time, message.data
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "give an MCAP file") from None
    except McapError as error:
        raise UsageError(f"{path} is no whole MCAP file: {error}", "give a file that depthd record wrote") from None
