"""Frames as ROS 2 messages in CDR, encoded with `rosbags`, so that no ROS installation is needed.

Conventions: REP 103 and 118 (images in optical frames, depth 32FC1 in metres with NaN, 16UC1 in millimetres
with 0 for unknown) and sensor_msgs/CameraInfo (baseline in the right camera's projection matrix).
"""

from __future__ import annotations

import math
import struct
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from depthd import _shm
from depthd.errors import DepthdError
from depthd.frame import Array, Camera, FitStatus, Source
from depthd.shm.layout import CameraState
from depthd.shm.reader import Frame

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"

_FLOAT32 = 7  # sensor_msgs/PointField.FLOAT32
_LARGEST_MM = 65535


@dataclass(frozen=True)
class Message:
    """One encoded message: topic without a leading slash, ROS type, CDR bytes with their encapsulation
    header.
    """

    topic: str
    type: str
    data: bytes


class MessageMaker:
    """Makes messages of frames. name: of the camera, and first part of each topic; ros_frame: for the header.

    Raises DepthdError where `rosbags` is not installed.
    """

    def __init__(self, name: str, ros_frame: str | None = None) -> None:
        self.name = name
        self._ros_frame = ros_frame or f"{name}_left_optical"
        self._store = typestore()
        self._stamped: tuple[tuple[int, int], int] = ((0, 0), 0)

    def stamp_ns(self, frame: Frame) -> int:
        """When the picture was taken, wall clock: the same for all messages of a frame, as synchronisers need
        it.
        """
        identity = (frame.writer_id, frame.id)
        if self._stamped[0] != identity:
            self._stamped = (identity, realtime_ns(frame.timestamps.captured_ns))
        return self._stamped[1]

    def depth(self, frame: Frame) -> Message:
        """32FC1, metres, NaN = unknown."""
        return self._image(frame, "depth/image", "32FC1", frame.depth)

    def depth_mm(self, frame: Frame) -> Message:
        """16UC1, millimetres rounded, 0 = unknown or farther than 65.535 m."""
        return self._image(frame, "depth/image_mm", "16UC1", depth_in_mm(frame.depth))

    def depth_png(self, frame: Frame) -> Message:
        """16UC1 as PNG, lossless to the millimetre, as image_transport's compressedDepth expects it."""
        # The transport's own header: format 0 (no inverse-depth quantisation) and its two unused parameters.
        header = struct.pack("<iff", 0, 0.0, 0.0)
        data = header + _encode_picture(".png", depth_in_mm(frame.depth), (_cv2().IMWRITE_PNG_COMPRESSION, 1))
        return self._compressed(frame, "depth/image_mm/compressedDepth", "16UC1; compressedDepth png", data)

    def stereo_depth(self, frame: Frame) -> Message | None:
        """32FC1, metres, with the camera's hole classes; None where it is not published."""
        if frame.stereo_depth is None:
            return None
        return self._image(frame, "stereo_depth/image", "32FC1", frame.stereo_depth)

    def source(self, frame: Frame) -> Message:
        """mono8: a depthd.frame.Source per pixel."""
        return self._image(frame, "source/image", "mono8", frame.source)

    def left(self, frame: Frame) -> Message | None:
        """bgr8; None where it is not published."""
        return None if frame.left is None else self._image(frame, "left/image_raw", "bgr8", frame.left)

    def left_jpeg(self, frame: Frame, quality: int = 90) -> Message | None:
        """bgr8 as JPEG; None where it is not published."""
        if frame.left is None:
            return None
        data = _encode_picture(".jpg", frame.left, (_cv2().IMWRITE_JPEG_QUALITY, quality))
        return self._compressed(frame, "left/image_raw/compressed", "bgr8; jpeg compressed bgr8", data)

    def camera_infos(self, frame: Frame) -> list[Message]:
        """Left and right, rectified; the right one's projection holds the baseline and the principal point's
        shift.
        """
        return [
            self._encode(f"{side}/camera_info", CAMERA_INFO, self._camera_info(frame, side == "right"))
            for side in ("left", "right")
        ]

    def points(self, frame: Frame) -> Message:
        """An organised cloud: x, y, z float32 in metres, NaN = unknown, and rgb where the left picture is
        published.
        """
        camera = frame.camera
        cloud = np.zeros((camera.height, camera.width, 4), np.float32)
        xyz = np.empty((camera.height, camera.width, 3), np.float32)
        depth = np.ascontiguousarray(frame.depth)
        _shm.points_from_depth(depth, xyz, camera.fx, camera.fy, camera.cx, camera.cy)
        cloud[..., :3] = xyz
        if frame.left is not None:
            cloud.view(np.uint8).reshape(camera.height, camera.width, 16)[..., 12:15] = frame.left
        field = self._type("sensor_msgs/msg/PointField")
        names = ("x", "y", "z", "rgb")
        message = self._type(POINT_CLOUD)(
            header=self._header(frame),
            height=camera.height,
            width=camera.width,
            fields=[field(name=n, offset=4 * i, datatype=_FLOAT32, count=1) for i, n in enumerate(names)],
            is_bigendian=False,
            point_step=16,
            row_step=16 * camera.width,
            data=cloud.view(np.uint8).reshape(-1),
            is_dense=False,
        )
        return self._encode("points", POINT_CLOUD, message)

    def diagnostics(self, frame: Frame) -> Message:
        """State, fit, sources and latency, on the topic `diagnostics` that ROS tools look at."""
        fit, times = frame.fit, frame.timestamps
        total = max(1, sum(frame.pixels_per_source))
        values = {
            "frame id": str(frame.id),
            "camera state": frame.state.name,
            "fit": fit.status.name,
            "fit age (frames)": str(fit.age_frames),
            "scale (1/m)": f"{fit.scale:.6g}",
            "shift (1/m)": f"{fit.shift:.6g}",
            "residual (%)": f"{100 * fit.residual:.2f}",
            "Pearson r": f"{fit.pearson_r:.4f}",
            "latency (ms)": f"{(times.published_ns - times.captured_ns) / 1e6:.2f}",
            "dropped": str(frame.dropped),
        }
        values |= {
            f"{source.name} (%)": f"{100 * count / total:.2f}"
            for source, count in zip(Source, frame.pixels_per_source, strict=True)
        }
        level, text = _health(frame)
        status = self._type("diagnostic_msgs/msg/DiagnosticStatus")(
            level=level,
            name=f"depthd: {self.name}",
            message=text,
            hardware_id=self.name,
            values=[self._type("diagnostic_msgs/msg/KeyValue")(key=k, value=v) for k, v in values.items()],
        )
        array = self._type(DIAGNOSTICS)(header=self._header(frame), status=[status])
        return Message("diagnostics", DIAGNOSTICS, self._serialise(DIAGNOSTICS, array))

    def definition(self, message_type: str) -> str:
        """The type's definition with all that it needs, as MCAP wants it."""
        return str(self._store.generate_msgdef(message_type, ros_version=2)[0])

    def type_hash(self, message_type: str) -> str:
        """RIHS01, REP 2011."""
        return str(self._store.hash_rihs01(message_type))

    def _type(self, name: str) -> Any:
        return self._store.types[name]

    def _encode(self, topic: str, message_type: str, message: Any) -> Message:
        return Message(f"{self.name}/{topic}", message_type, self._serialise(message_type, message))

    def _serialise(self, message_type: str, message: Any) -> bytes:
        return bytes(self._store.serialize_cdr(message, message_type, little_endian=True))

    def _header(self, frame: Frame) -> Any:
        seconds, nanoseconds = divmod(self.stamp_ns(frame), 10**9)
        stamp = self._type("builtin_interfaces/msg/Time")(sec=seconds, nanosec=nanoseconds)
        return self._type("std_msgs/msg/Header")(stamp=stamp, frame_id=self._ros_frame)

    def _image(self, frame: Frame, topic: str, encoding: str, pixels: Array) -> Message:
        pixels = np.ascontiguousarray(pixels)
        message = self._type(IMAGE)(
            header=self._header(frame),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=pixels.reshape(-1).view(np.uint8),
        )
        return self._encode(topic, IMAGE, message)

    def _compressed(self, frame: Frame, topic: str, encoding: str, data: bytes) -> Message:
        message = self._type(COMPRESSED_IMAGE)(
            header=self._header(frame), format=encoding, data=np.frombuffer(data, np.uint8)
        )
        return self._encode(topic, COMPRESSED_IMAGE, message)

    def _camera_info(self, frame: Frame, right: bool) -> Any:
        camera = frame.camera
        cx = camera.cx + (camera.doffs_px if right else 0.0)
        offset = -camera.fx * camera.baseline_m if right else 0.0
        k = np.array([camera.fx, 0.0, cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0])
        p = np.array([camera.fx, 0.0, cx, offset, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0])
        region = self._type("sensor_msgs/msg/RegionOfInterest")
        return self._type(CAMERA_INFO)(
            header=self._header(frame),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=k,
            r=np.eye(3).reshape(-1),
            p=p,
            binning_x=0,
            binning_y=0,
            roi=region(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
        )


class MessageReader:
    """Decodes the messages that a recording is played from."""

    def __init__(self) -> None:
        self._store = typestore()

    def decode(self, message_type: str, data: bytes) -> Any:
        """A message object of `rosbags`."""
        return self._store.deserialize_cdr(data, message_type)

    @cached_property
    def encodings(self) -> dict[str, tuple[Any, int]]:
        """NumPy dtype and channels of the image encodings that depthd writes."""
        return {
            "32FC1": (np.float32, 1),
            "16UC1": (np.uint16, 1),
            "mono8": (np.uint8, 1),
            "bgr8": (np.uint8, 3),
        }

    def pixels(self, image: Any) -> Array:
        """The pixels of a sensor_msgs/Image, (height, width) or (height, width, 3). Raises DepthdError."""
        if image.encoding not in self.encodings or image.is_bigendian:
            raise DepthdError(f"image encoding {image.encoding!r} is not known", "record it with depthd record")
        dtype, channels = self.encodings[image.encoding]
        rows = np.asarray(image.data, np.uint8).reshape(image.height, image.step)
        row_bytes = image.width * channels * np.dtype(dtype).itemsize
        pixels = np.ascontiguousarray(rows[:, :row_bytes]).view(dtype)
        return pixels if channels == 1 else pixels.reshape(image.height, image.width, channels)


def camera_of(left: Any, right: Any) -> Camera:
    """The stereo camera that a pair of sensor_msgs/CameraInfo describes."""
    fx, cx = float(left.p[0]), float(left.p[2])
    return Camera(
        width=int(left.width),
        height=int(left.height),
        fx=fx,
        fy=float(left.p[5]),
        cx=cx,
        cy=float(left.p[6]),
        baseline_m=-float(right.p[3]) / float(right.p[0]),
        doffs_px=float(right.p[2]) - cx,
    )


def depth_in_mm(depth_m: Array) -> Array:
    """uint16 millimetres, rounded; 0 where depth is not finite or too large for 16 bits."""
    millimetres = np.rint(np.where(np.isfinite(depth_m), depth_m, 0.0) * 1000.0)
    return np.where((millimetres >= 0.0) & (millimetres <= _LARGEST_MM), millimetres, 0.0).astype(np.uint16)


def realtime_ns(monotonic_ns: int) -> int:
    """The wall clock at a CLOCK_MONOTONIC time, as ROS stamps are; never before 1970."""
    return max(0, monotonic_ns + time.time_ns() - time.monotonic_ns())


def typestore() -> Any:
    """The message types of ROS 2 Jazzy. Raises DepthdError where `rosbags` is not installed."""
    try:
        from rosbags.typesys import Stores, get_typestore
    except ImportError:
        raise DepthdError("rosbags is not installed", "pip install depthd[ros]") from None
    return get_typestore(Stores.ROS2_JAZZY)


def _health(frame: Frame) -> tuple[int, str]:
    """A DiagnosticStatus level (0 ok, 1 warning, 2 error) and its reason."""
    if frame.state == CameraState.LOST:
        return 2, "the camera is lost"
    if frame.fit.status == FitStatus.UNFIT:
        return 1, "no usable fit: stereo only"
    if frame.fit.status == FitStatus.HELD:
        return 0, f"fit held for {frame.fit.age_frames} frames"
    return (0, "fitted") if math.isfinite(frame.fit.scale) else (1, "the fit is not finite")


def _cv2() -> Any:
    try:
        import cv2
    except ImportError:
        raise DepthdError("OpenCV is not installed", "pip install opencv-python-headless") from None
    return cv2


def _encode_picture(suffix: str, pixels: Array, option: tuple[int, int]) -> bytes:
    done, data = _cv2().imencode(suffix, pixels, list(option))
    if not done:
        raise DepthdError(f"OpenCV cannot encode {suffix}", "install another build of OpenCV")
    return bytes(data.tobytes())
