"""Frames to other machines over zenoh, as ROS 2 messages under the keys of rmw_zenoh.

A ROS 2 node on rmw_zenoh subscribes to them without any code of ours. Keys, attachment and liveliness tokens
follow rmw_zenoh (Jazzy and later: its docs/design.md, src/detail/liveliness_utils.cpp and attachment_helpers.cpp):

- data: `<domain>/<topic>/<pkg>::msg::dds_::<Type>_/<RIHS01 hash>`, payload CDR;
- attachment: sequence number and source time (int64, little endian), then 16 bytes of publisher id with their length;
- liveliness: `@ros2_lv/<domain>/<session>/<node>/<entity>/MP/<enclave>/<namespace>/<node name>/<topic>/<type>/<hash>/
  <QoS>`;
- publisher id: the 128 bits of XXH3 of the liveliness token, low half first, both little endian.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from depthd.errors import DepthdError, UsageError
from depthd.ros.messages import Message, MessageMaker
from depthd.shm.errors import NotRunning, Overwritten, Timeout
from depthd.shm.reader import Frame, Reader

NODE_NAME = "depthd_bridge"
LOCAL_ROUTER = "tcp/localhost:7447"
_ADMIN_SPACE = "@ros2_lv"
_EMPTY = "%"
_QOS_RELIABLE_KEEP_LAST_1 = "::,1:,:,:,,"
"""rmw_zenoh writes only what differs from its default (reliable, volatile, keep last 42)."""

Make = Callable[[MessageMaker, Frame], list[Message | None]]
STREAMS: dict[str, Make] = {
    "depth": lambda make, frame: [make.depth(frame)],
    "depth_mm": lambda make, frame: [make.depth_mm(frame)],
    "depth_png": lambda make, frame: [make.depth_png(frame)],
    "source": lambda make, frame: [make.source(frame)],
    "left": lambda make, frame: [make.left(frame)],
    "left_jpeg": lambda make, frame: [make.left_jpeg(frame)],
    "points": lambda make, frame: [make.points(frame)],
    "camera_info": lambda make, frame: [*make.camera_infos(frame)],
    "diagnostics": lambda make, frame: [make.diagnostics(frame)],
}
DEFAULT_STREAMS = ("depth_png", "left_jpeg", "camera_info", "diagnostics")


@dataclass(frozen=True)
class BridgeOptions:
    """listen, connect: zenoh endpoints such as tcp/192.168.1.2:7447; without either, the router of this machine that
    ROS 2 nodes use (rmw_zenohd, which answers no multicast), and whoever answers multicast.

    streams: keys of STREAMS; what ends in _png and _jpeg is compressed. rate_hz: at most so many frames a
    second, the newest ones. domain: ROS_DOMAIN_ID.
    """

    streams: tuple[str, ...] = DEFAULT_STREAMS
    rate_hz: float | None = None
    domain: int = 0
    listen: tuple[str, ...] = ()
    connect: tuple[str, ...] = ()
    multicast: bool = True


@dataclass
class _Topic:
    """A publisher of one topic, its liveliness token, and the number of its next message."""

    publisher: Any
    token: Any
    gid: bytes
    sequence: int = field(default=1)


class ZenohBridge:
    """A context manager: an open zenoh session that frames are sent into.

    Raises DepthdError where zenoh or rosbags is not installed or the session cannot be opened, UsageError for
    an unknown stream.
    """

    def __init__(self, name: str, options: BridgeOptions | None = None) -> None:
        self.options = options or BridgeOptions()
        unknown = sorted(set(self.options.streams) - set(STREAMS))
        if unknown:
            raise UsageError(f"{unknown[0]!r} is no stream", f"choose from {', '.join(STREAMS)}")
        self._zenoh = _import_zenoh()
        self._maker = MessageMaker(name)
        self._topics: dict[str, _Topic] = {}
        self._session = _open_session(self._zenoh, self.options)
        node = "/".join(self._entity("0", "NN"))
        self._node_token = self._session.liveliness().declare_token(node)

    def send(self, frame: Frame) -> bool:
        """Sends one frame; False if the writer overwrote it while it was being copied, and nothing was
        sent.
        """
        try:
            whole = frame.copy()
        except Overwritten:
            return False
        for stream in self.options.streams:
            for message in STREAMS[stream](self._maker, whole):
                if message is not None:
                    self._put(message, self._maker.stamp_ns(whole))
        return True

    def close(self) -> None:
        """Takes the topics from the graph and closes the session."""
        for topic in self._topics.values():
            topic.token.undeclare()
            topic.publisher.undeclare()
        self._topics = {}
        self._session.close()

    def __enter__(self) -> ZenohBridge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, message: Message, stamp_ns: int) -> None:
        if message.topic not in self._topics:
            self._topics[message.topic] = self._declare(message)
        topic = self._topics[message.topic]
        topic.publisher.put(message.data, attachment=attachment(topic.sequence, stamp_ns, topic.gid))
        topic.sequence += 1

    def _declare(self, message: Message) -> _Topic:
        type_name = dds_type(message.type)
        type_hash = self._maker.type_hash(message.type)
        key = f"{self.options.domain}/{message.topic}/{type_name}/{type_hash}"
        # Drop: a slow network loses frames and never holds up the next, newer one.
        publisher = self._session.declare_publisher(key, congestion_control=self._zenoh.CongestionControl.DROP)
        entity = self._entity(str(len(self._topics) + 1), "MP")
        mangled = "%" + message.topic.replace("/", "%")
        token = "/".join((*entity, mangled, type_name, type_hash, _QOS_RELIABLE_KEEP_LAST_1))
        return _Topic(publisher, self._session.liveliness().declare_token(token), publisher_id(token))

    def _entity(self, number: str, kind: str) -> tuple[str, ...]:
        session = str(self._session.zid())
        return (_ADMIN_SPACE, str(self.options.domain), session, "0", number, kind, _EMPTY, _EMPTY, NODE_NAME)


def run(reader: Reader, bridge: ZenohBridge, frame_limit: int | None = None) -> int:
    """Sends frames until `frame_limit`, for ever without; goes on over restarts of the writer. Returns how
    many.
    """
    sent = 0
    next_s = 0.0
    for frame in _newest_frames(reader):
        now_s = time.monotonic()
        if now_s < next_s:
            continue
        if bridge.options.rate_hz:
            # From the last moment due, so that the rate holds on average; not from the past after a pause.
            period_s = 1.0 / bridge.options.rate_hz
            next_s = next_s + period_s if next_s + period_s > now_s else now_s + period_s
        sent += bridge.send(frame)
        if sent == frame_limit:
            break
    return sent


def _newest_frames(reader: Reader) -> Iterable[Frame]:
    while True:
        try:
            frame = reader.wait(timeout=1.0)
        except (Timeout, NotRunning):
            continue
        yield frame


def attachment(sequence: int, source_time_ns: int, gid: bytes) -> bytes:
    """What rmw_zenoh expects beside every message: 33 bytes."""
    return b"".join((sequence.to_bytes(8, "little"), source_time_ns.to_bytes(8, "little"), bytes((len(gid),)), gid))


def publisher_id(token: str) -> bytes:
    """The 16 bytes by which ROS 2 tools match a message with the publisher of this liveliness token."""
    # xxhash gives the canonical form, which is big endian and high half first.
    return bytes(reversed(_import_xxhash().xxh3_128_digest(token.encode())))


def dds_type(ros_type: str) -> str:
    """'sensor_msgs/msg/Image' -> 'sensor_msgs::msg::dds_::Image_'."""
    package, kind, name = ros_type.split("/")
    return f"{package}::{kind}::dds_::{name}_"


def _import_zenoh() -> Any:
    return _import("zenoh")


def _import_xxhash() -> Any:
    return _import("xxhash")


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise DepthdError(f"{name} is not installed", "pip install 'depthd[bridge]'") from None


def _open_session(zenoh: Any, options: BridgeOptions) -> Any:
    try:
        config = zenoh.Config()
        config.insert_json5("transport/shared_memory/enabled", "true")
        config.insert_json5("scouting/multicast/enabled", json.dumps(options.multicast))
        # A router that is not there yet is tried again and again, in the background.
        connect = options.connect or (() if options.listen else (LOCAL_ROUTER,))
        for side, endpoints in (("listen", options.listen), ("connect", connect)):
            if endpoints:
                config.insert_json5(f"{side}/endpoints", json.dumps(endpoints))
        return zenoh.open(config)
    except zenoh.ZError as error:
        # What follows ' at ' is a place in zenoh's own sources.
        reason = str(error).splitlines()[0].split(" at /")[0]
        raise DepthdError(
            f"zenoh cannot open a session: {reason}", "check the endpoints, such as tcp/192.168.1.2:7447"
        ) from None
