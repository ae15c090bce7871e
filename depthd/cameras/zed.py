"""A Stereolabs ZED through its SDK: live, from an SVO file, or from the network. SDK 4 and 5."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depthd.cameras import zed_sdk
from depthd.cameras.base import CameraLost, EndOfRecording
from depthd.cameras.zed_sdk import Outcome
from depthd.config import ZedCameraConfig
from depthd.errors import DepthdError, UsageError
from depthd.frame import Array, Camera, StereoFrame

log = logging.getLogger(__name__)

FRAMES_IN_FLIGHT = 3
CORRUPTED_IN_A_ROW = 10
STREAM_PORT = 30000
OLDEST_LIVE_NS = 2_000_000_000
"""A live picture is not older than this; a camera clock that says so is off."""


@dataclass
class _Mats:
    """The SDK's buffers of one frame. Arrays taken from them are views that hold no reference: keep these
    alive.
    """

    left: Any
    depth: Any | None
    right: Any | None


class ZedCamera:
    """Opens the camera. Raises UsageError and DepthdError for what somebody has to mend, CameraLost for the
    rest.

    Frames are handed out without a copy where the SDK gives BGR (5.1 and newer) or GPU memory; SDKs that give
    only BGRA cost one conversion. They are written again FRAMES_IN_FLIGHT grabs later. open() and close() of
    the SDK hold Python's lock: nothing in this process runs meanwhile except the watchdog of the C extension.
    """

    def __init__(self, config: ZedCameraConfig) -> None:
        self._config = config
        self._sl = zed_sdk.import_sl()
        self._memory = self._memory_kind()
        self._zed = self._sl.Camera()
        self._mats: list[_Mats] = []
        self._recording = False
        try:
            self._open()
            self._calibrate()
        except BaseException:
            self.close()
            raise
        self._bgr = [np.empty((self._camera.height, self._camera.width, 3), np.uint8) for _ in self._mats]
        self._right_bgr = [np.empty_like(bgr) for bgr in self._bgr]
        self._slot = 0
        self._index = -1
        self._dropped = 0

    @property
    def camera(self) -> Camera:
        return self._camera

    @property
    def description(self) -> str:
        return self._description

    @property
    def period_s(self) -> float:
        return self._period_s

    def grab(self) -> StereoFrame:
        self._grab()
        self._slot = (self._slot + 1) % FRAMES_IN_FLIGHT
        mats, resolution = self._mats[self._slot], self._resolution
        self._need(self._zed.retrieve_image(mats.left, self._left_view, self._memory, resolution))
        # At once, while the picture is in the cache.
        left = self._bgr_of(mats.left, self._bgr)
        depth = right = None
        if mats.depth is not None:
            measure = self._sl.MEASURE.DEPTH
            self._need(self._zed.retrieve_measure(mats.depth, measure, self._memory, resolution))
            depth = self._data(mats.depth)
        if mats.right is not None:
            self._need(self._zed.retrieve_image(mats.right, self._right_view, self._memory, resolution))
            right = self._bgr_of(mats.right, self._right_bgr)
        self._wait_for_gpu()
        picture_ns = self._zed.get_timestamp(self._sl.TIME_REFERENCE.IMAGE).get_nanoseconds()
        return StereoFrame(
            index=self._index,
            captured_ns=self._monotonic(picture_ns),
            picture_clock_ns=picture_ns,
            camera=self._camera,
            left_bgr=left,
            right_bgr=right,
            depth_m=depth,
        )

    def record_svo(self, path: Path) -> None:
        """From now on, every grab also goes into an SVO file, until close(). Raises DepthdError."""
        sl = self._sl
        parameters = sl.RecordingParameters(str(path), sl.SVO_COMPRESSION_MODE.H264)
        code = self._zed.enable_recording(parameters)
        if zed_sdk.outcome(code) is not Outcome.GOOD:
            raise DepthdError(*zed_sdk.meaning(code))
        self._recording = True

    def close(self) -> None:
        """GPU buffers go first: close() destroys the CUDA context in which they may live."""
        if self._memory_is_gpu:
            for mats in self._mats:
                for mat in (mats.left, mats.depth, mats.right):
                    if mat is not None:
                        mat.free(self._sl.MEM.GPU)
        self._mats = []
        if self._recording:
            self._zed.disable_recording()
            self._recording = False
        self._zed.close()

    # ---- opening

    def _memory_kind(self) -> Any:
        self._memory_is_gpu = self._config.memory == "gpu"
        if not self._memory_is_gpu:
            return self._sl.MEM.CPU
        if not hasattr(self._sl.MEM, "GPU"):
            raise UsageError("camera.memory is gpu, which needs ZED SDK 5", "set camera.memory to cpu")
        try:
            import cupy  # noqa: F401
        except ImportError as error:
            raise DepthdError("camera.memory is gpu, but CuPy is not installed", "pip install cupy-cuda12x") from error
        return self._sl.MEM.GPU

    def _open(self) -> None:
        code = self._zed.open(self._init_parameters(self._config.resolution))
        kind = zed_sdk.outcome(code)
        if kind is Outcome.GOOD:
            if zed_sdk.code_name(code) != "SUCCESS":
                log.warning("the ZED opened with a warning: %s", zed_sdk.code_name(code))
            return
        if zed_sdk.code_name(code) == "INVALID_RESOLUTION":
            raise UsageError(
                f"this ZED does not deliver {self._config.resolution} at {self._config.fps} frames/s",
                f"choose one of {', '.join(self._resolutions())}, or a lower camera.fps",
            )
        what, remedy = zed_sdk.meaning(code)
        raise (DepthdError if kind is Outcome.WRONG else CameraLost)(what, remedy)

    def _resolutions(self) -> tuple[str, ...]:
        """What this camera has: opened in its own choice of resolution, it tells its model."""
        camera = self._sl.Camera()
        init = self._init_parameters("AUTO")
        init.camera_fps = 0
        code = camera.open(init)
        model = camera.get_camera_information().camera_model if zed_sdk.outcome(code) is Outcome.GOOD else ""
        camera.close()
        return zed_sdk.resolutions_of(model)

    def _init_parameters(self, resolution: str) -> Any:
        """Every field that matters, since defaults differ between versions."""
        config, sl = self._config, self._sl
        init = sl.InitParameters()
        init.camera_resolution = zed_sdk.member(sl.RESOLUTION, resolution, "camera.resolution")
        init.camera_fps = config.fps
        mode = "NONE" if config.raw else config.depth_mode
        init.depth_mode = zed_sdk.member(sl.DEPTH_MODE, mode, "camera.depth_mode")
        init.coordinate_units = sl.UNIT.METER
        init.depth_minimum_distance = config.minimum_depth_m
        init.depth_maximum_distance = config.maximum_depth_m
        init.depth_stabilization = config.stabilization
        init.camera_disable_self_calib = not config.self_calibration
        init.enable_image_enhancement = config.image_enhancement
        init.enable_right_side_measure = False
        init.sensors_required = False
        init.sdk_gpu_id = config.gpu
        init.sdk_verbose = 0
        init.open_timeout_sec = config.open_timeout_s
        init.svo_real_time_mode = config.real_time
        # Without it, grab() blocks while the camera restarts.
        init.async_grab_camera_recovery = True
        zed_sdk.set_where_known(init, enable_image_validity_check=True, async_image_retrieval=False)
        self._choose_source(init)
        return init

    def _choose_source(self, init: Any) -> None:
        config = self._config
        chosen = [name for name in ("serial", "index", "svo", "stream") if getattr(config, name) is not None]
        if len(chosen) > 1:
            raise UsageError(f"camera.{' and camera.'.join(chosen)} are both set", "set at most one of them")
        if config.serial is not None:
            init.set_from_serial_number(config.serial)
        elif config.index is not None:
            init.set_from_camera_id(config.index)
        elif config.svo is not None:
            if not config.svo.is_file():
                raise UsageError(f"there is no SVO file {config.svo}", "set camera.svo to a .svo or .svo2 file")
            init.set_from_svo_file(str(config.svo))
        elif config.stream is not None:
            init.set_from_stream(*_address(config.stream))

    def _calibrate(self) -> None:
        """Asks for the delivered size and its calibration, and prepares buffers of that size."""
        sl, zed, config = self._sl, self._zed, self._config
        information = zed.get_camera_information()
        size = information.camera_configuration.resolution
        if hasattr(zed, "get_retrieve_image_resolution"):
            # From SDK 5 on, pictures may be smaller than the sensor delivers.
            size = zed.get_retrieve_image_resolution()
        self._resolution = sl.Resolution(size.width, size.height)
        information = zed.get_camera_information(self._resolution)
        calibration = information.camera_configuration.calibration_parameters
        left, right = calibration.left_cam, calibration.right_cam
        self._camera = Camera(
            width=size.width,
            height=size.height,
            fx=float(left.fx),
            fy=float(left.fy),
            cx=float(left.cx),
            cy=float(left.cy),
            baseline_m=float(calibration.get_camera_baseline()),
            doffs_px=float(right.cx - left.cx),
        )
        fps = information.camera_configuration.fps
        self._live = config.svo is None
        self._period_s = 1.0 / fps if fps and (self._live or config.real_time) else 0.0
        self._description = f"{zed_sdk.code_name(information.camera_model)} {information.serial_number}"
        self._left_view, self._right_view, pixel = sl.VIEW.LEFT, sl.VIEW.RIGHT, sl.MAT_TYPE.U8_C4
        if config.raw:
            self._left_view, self._right_view = sl.VIEW.LEFT_UNRECTIFIED, sl.VIEW.RIGHT_UNRECTIFIED
        elif not self._memory_is_gpu and hasattr(sl.VIEW, "LEFT_BGR"):
            self._left_view, self._right_view, pixel = sl.VIEW.LEFT_BGR, sl.VIEW.RIGHT_BGR, sl.MAT_TYPE.U8_C3
        self._pixel_is_bgr = pixel is sl.MAT_TYPE.U8_C3

        def mat(mat_type: Any) -> Any:
            return sl.Mat(size.width, size.height, mat_type, self._memory)

        real = sl.MAT_TYPE.F32_C1
        self._mats = [
            _Mats(
                mat(pixel),
                None if config.raw else mat(real),
                mat(pixel) if config.right or config.raw else None,
            )
            for _ in range(FRAMES_IN_FLIGHT)
        ]
        self._runtime = sl.RuntimeParameters()
        self._runtime.enable_depth = not config.raw
        self._runtime.enable_fill_mode = config.fill
        self._runtime.confidence_threshold = config.confidence_threshold
        self._runtime.texture_confidence_threshold = config.texture_confidence_threshold
        if self._live:
            self._set_exposure()
        if config.svo is not None and config.start_frame:
            self._seek(config.start_frame)

    def _set_exposure(self) -> None:
        for name, value in (("EXPOSURE", self._config.exposure_percent), ("GAIN", self._config.gain_percent)):
            if value is not None:
                setting = zed_sdk.member(self._sl.VIDEO_SETTINGS, name, "camera")
                code = self._zed.set_camera_settings(setting, value)
                if code is not None and zed_sdk.outcome(code) is not Outcome.GOOD:
                    log.warning("the ZED refused %s %d: %s", name.lower(), value, zed_sdk.code_name(code))

    # ---- grabbing

    def _grab(self) -> None:
        """Returns with a new frame in the SDK and its index in `_index`."""
        for _ in range(CORRUPTED_IN_A_ROW):
            try:
                code = self._zed.grab(self._runtime)
            except ValueError as error:
                # SDK 4 has no member for a code that its library knows.
                raise CameraLost(f"the ZED SDK reports an unknown error ({error})", "update pyzed") from error
            kind = zed_sdk.outcome(code)
            if kind is Outcome.GOOD:
                dropped = self._zed.get_frame_dropped_count()
                self._index += 1 + max(0, dropped - self._dropped)
                self._dropped = dropped
                return
            if kind is Outcome.END:
                self._rewind()
            elif kind is not Outcome.SKIP:
                what, remedy = zed_sdk.meaning(code)
                raise CameraLost(what, remedy)
        what, remedy = zed_sdk.meaning(code)
        raise CameraLost(what, remedy)

    def _rewind(self) -> None:
        if not self._config.loop:
            raise EndOfRecording(f"{self._config.svo} has ended")
        self._seek(0)

    def _seek(self, frame: int) -> None:
        count = self._zed.get_svo_number_of_frames()
        if frame and frame >= count:
            raise UsageError(
                f"{self._config.svo} has {count} frames", f"set camera.start_frame below {count}, not {frame}"
            )
        # Returns nothing before SDK 5.2.
        code = self._zed.set_svo_position(frame)
        if code is not None:
            self._need(code)

    def _need(self, code: Any) -> None:
        if zed_sdk.outcome(code) is not Outcome.GOOD:
            what, remedy = zed_sdk.meaning(code)
            raise CameraLost(what, remedy)

    def _data(self, mat: Any) -> Array:
        return mat.get_data(self._sl.MEM.GPU) if self._memory_is_gpu else mat.get_data()

    def _bgr_of(self, mat: Any, converted: list[Any]) -> Array:
        """uint8 (height, width, 3): the SDK's own memory, or this slot's converted picture."""
        data = self._data(mat)
        if self._pixel_is_bgr:
            return data
        if self._memory_is_gpu:
            return data[..., :3]
        return cv2.cvtColor(data, cv2.COLOR_BGRA2BGR, dst=converted[self._slot])

    def _wait_for_gpu(self) -> None:
        """The SDK works on CUDA's default stream and takes no other; whoever uses another must wait for
        it.
        """
        if self._memory_is_gpu:
            import cupy

            cupy.cuda.Stream.null.synchronize()

    def _monotonic(self, picture_ns: int) -> int:
        """The picture's time, which the SDK gives on the system clock, on CLOCK_MONOTONIC."""
        now = time.monotonic_ns()
        age = time.time_ns() - picture_ns
        return now - age if self._live and 0 <= age < OLDEST_LIVE_NS else now


def _address(stream: str) -> tuple[str, int]:
    host, _, port = stream.partition(":")
    with contextlib.suppress(ValueError):
        if host and 0 < int(port or STREAM_PORT) < 65536:
            return host, int(port or STREAM_PORT)
    raise UsageError(f"camera.stream is {stream!r}", "give ip:port, for example 192.168.0.7:30000")
