"""Frames into an MCAP file of ROS 2 messages, which Foxglove and `ros2 bag` open and cameras/mcap.py
plays.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from depthd.errors import DepthdError
from depthd.files import written_whole
from depthd.ros.messages import Message, MessageMaker, realtime_ns
from depthd.shm.errors import NotRunning, Overwritten, Timeout
from depthd.shm.reader import Frame, Reader


class McapRecorder:
    """A context manager around one file; the file appears under its name when it is complete.

    points: also write a PointCloud2 for every frame (16 bytes a pixel). Raises DepthdError where a library is
    missing or the file cannot be written.
    """

    def __init__(self, path: Path, name: str, points: bool = False) -> None:
        self._path = path
        self._points = points
        self._maker = MessageMaker(name)
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self.frames = 0
        self.overwritten = 0

    def __enter__(self) -> McapRecorder:
        with ExitStack() as stack:
            temporary = stack.enter_context(written_whole(self._path))
            stream = stack.enter_context(open(temporary, "wb"))
            self._writer = _writer(stream)
            self._writer.start(profile="ros2", library="depthd")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._writer.finish()
        self._stack.__exit__(kind, error, trace)

    def add(self, frame: Frame) -> bool:
        """Writes all messages of a frame; False if the writer overwrote it meanwhile, and nothing was
        written.
        """
        try:
            whole = frame.copy()
        except Overwritten:
            self.overwritten += 1
            return False
        log_ns = self._maker.stamp_ns(whole)
        publish_ns = realtime_ns(whole.timestamps.published_ns)
        for message in self._messages(whole):
            self._writer.add_message(
                channel_id=self._channel(message),
                log_time=log_ns,
                publish_time=publish_ns,
                sequence=whole.id & 0xFFFFFFFF,
                data=message.data,
            )
        self.frames += 1
        return True

    def _messages(self, frame: Frame) -> list[Message]:
        make = self._maker
        optional = [make.left(frame), make.stereo_depth(frame), make.points(frame) if self._points else None]
        always = [*make.camera_infos(frame), make.depth(frame), make.source(frame), make.diagnostics(frame)]
        return always + [message for message in optional if message is not None]

    def _channel(self, message: Message) -> int:
        if message.type not in self._schemas:
            definition = self._maker.definition(message.type).encode()
            self._schemas[message.type] = self._writer.register_schema(message.type, "ros2msg", definition)
        if message.topic not in self._channels:
            self._channels[message.topic] = self._writer.register_channel(
                f"/{message.topic}", "cdr", self._schemas[message.type]
            )
        return self._channels[message.topic]


def record(reader: Reader, recorder: McapRecorder, frame_limit: int | None = None) -> None:
    """Adds frames until `frame_limit` or Ctrl-C; both leave a complete file. Goes on over restarts."""
    with suppress(KeyboardInterrupt):
        while frame_limit is None or recorder.frames < frame_limit:
            with suppress(Timeout, NotRunning):
                recorder.add(reader.wait(timeout=1.0))


def _writer(stream: Any) -> Any:
    try:
        from mcap.writer import CompressionType, Writer
    except ImportError:
        raise DepthdError("mcap is not installed", "pip install depthd[ros]") from None
    return Writer(stream, compression=CompressionType.ZSTD)
