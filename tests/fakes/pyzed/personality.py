"""Builds a `pyzed.sl` module of one SDK version over a world."""

from __future__ import annotations

import ctypes
import enum
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tests.fakes.pyzed.world import GMSL_SIZES, SIZES, World, now_ns, read_svo, write_svo

ALL_SIZES = {**SIZES, **GMSL_SIZES}
FASTEST = {"HD2K": 15, "HD1080": 30, "HD720": 60, "VGA": 100}
COMMON_ERRORS = {
    "POTENTIAL_CALIBRATION_ISSUE": -5,
    "CONFIGURATION_FALLBACK": -4,
    "SENSORS_DATA_REQUIRED": -3,
    "CORRUPTED_FRAME": -2,
    "CAMERA_REBOOTING": -1,
    "SUCCESS": 0,
    "FAILURE": 1,
    "NO_GPU_COMPATIBLE": 2,
    "NOT_ENOUGH_GPU_MEMORY": 3,
    "CAMERA_NOT_DETECTED": 4,
    "INVALID_RESOLUTION": 7,
    "LOW_USB_BANDWIDTH": 8,
    "CALIBRATION_FILE_NOT_AVAILABLE": 9,
    "INVALID_CALIBRATION_FILE": 10,
    "INVALID_SVO_FILE": 11,
    "SVO_RECORDING_ERROR": 12,
    "END_OF_SVOFILE_REACHED": 13,
    "INVALID_FUNCTION_PARAMETERS": 16,
    "CUDA_ERROR": 17,
    "CAMERA_NOT_INITIALIZED": 18,
    "CAMERA_FAILED_TO_SETUP": 22,
    "CAMERA_DETECTION_ISSUE": 23,
    "CANNOT_START_CAMERA_STREAM": 24,
    "NO_GPU_DETECTED": 25,
}


def build(sdk: str, world: World) -> ModuleType:
    """sdk: "4.2" or "5.2". The module's classes hold no state of their own: everything is in the world."""
    new = sdk.startswith("5")
    sl = ModuleType("pyzed.sl")
    sl.__dict__.update(_enumerations(new))
    sl.__dict__.update(_parameters(sl, new))
    sl.__dict__.update(_mat(sl, new))
    sl.Camera = _camera(sl, new, world)  # type: ignore[attr-defined]
    return sl


def _plain(name: str, *members: str) -> Any:
    return enum.Enum(name, list(members))


def _enumerations(new: bool) -> dict[str, Any]:
    errors = dict(COMMON_ERRORS)
    if new:
        errors |= {"SENSOR_CONFIGURATION_CHANGED": -6, "DRIVER_FAILURE": 30}
    else:
        del errors["POTENTIAL_CALIBRATION_ISSUE"]

    class _Ordered(enum.Enum):
        """Members compare from SDK 5.0.5 on; before, `<` is a TypeError."""

        def __lt__(self, other: Any) -> bool:
            return bool(self.value < other.value)

        def __le__(self, other: Any) -> bool:
            return bool(self.value <= other.value)

    error_code = (_Ordered if new else enum.Enum)("ERROR_CODE", errors)  # type: ignore[operator]
    views = [
        "LEFT",
        "RIGHT",
        "LEFT_GRAY",
        "RIGHT_GRAY",
        "LEFT_UNRECTIFIED",
        "RIGHT_UNRECTIFIED",
        "SIDE_BY_SIDE",
    ]
    views += ["DEPTH", "CONFIDENCE", "NORMALS"] + (["LEFT_BGRA", "LEFT_BGR", "RIGHT_BGRA", "RIGHT_BGR"] if new else [])
    modes = ["NONE", "PERFORMANCE", "QUALITY", "ULTRA", "NEURAL", "NEURAL_PLUS"] + (["NEURAL_LIGHT"] if new else [])
    sizes = ["HD4K", "QHDPLUS", "HD2K", "HD1080", "HD1200", "HD720", "SVGA", "VGA", "AUTO"]
    return {
        "ERROR_CODE": error_code,
        "VIEW": _plain("VIEW", *views),
        "MEASURE": _plain("MEASURE", "DISPARITY", "DEPTH", "CONFIDENCE", "XYZ", "NORMALS", "DEPTH_U16_MM"),
        "DEPTH_MODE": _plain("DEPTH_MODE", *modes),
        "RESOLUTION": _plain("RESOLUTION", *sizes, *(["HD1536"] if new else [])),
        "UNIT": _plain("UNIT", "MILLIMETER", "CENTIMETER", "METER", "INCH", "FOOT"),
        "TIME_REFERENCE": _plain("TIME_REFERENCE", "IMAGE", "CURRENT"),
        "MEM": _plain("MEM", *(("CPU", "GPU", "BOTH") if new else ("CPU",))),
        "COPY_TYPE": _plain("COPY_TYPE", *(("CPU_CPU", "CPU_GPU", "GPU_CPU", "GPU_GPU") if new else ("CPU_CPU",))),
        "MAT_TYPE": _plain("MAT_TYPE", "F32_C1", "F32_C3", "F32_C4", "U8_C1", "U8_C3", "U8_C4", "U16_C1"),
        "MODEL": _plain("MODEL", "ZED", "ZED_M", "ZED2", "ZED2i", "ZED_X", "ZED_XM"),
        "SVO_COMPRESSION_MODE": _plain(
            "SVO_COMPRESSION_MODE", "LOSSLESS", "H264", "H265", "H264_LOSSLESS", "H265_LOSSLESS"
        ),
        "VIDEO_SETTINGS": _plain("VIDEO_SETTINGS", "BRIGHTNESS", "EXPOSURE", "GAIN", "AEC_AGC", "WHITEBALANCE_AUTO"),
    }


class Field:
    """A typed field of a Cython class: wrong types are a TypeError, and there are no other fields."""

    def __init__(self, kind: Any, default: Any) -> None:
        self.kind, self.default = kind, default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else instance.fields.get(self.name, self.default)

    def __set__(self, instance: Any, value: Any) -> None:
        allowed = (int, float) if self.kind is float else self.kind
        if not isinstance(value, allowed):
            raise TypeError(f"Argument {self.name} is not of the right type: {type(value).__name__}")
        instance.fields[self.name] = value


class _Fields:
    __slots__ = ("fields",)

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}


def _parameters(sl: Any, new: bool) -> dict[str, Any]:
    """InitParameters with the defaults of the version, which differ, and RuntimeParameters."""

    class InitParameters(_Fields):
        __slots__ = ()
        camera_resolution = Field(sl.RESOLUTION, sl.RESOLUTION.AUTO)
        camera_fps = Field(int, 0)
        depth_mode = Field(sl.DEPTH_MODE, sl.DEPTH_MODE.NEURAL if new else sl.DEPTH_MODE.PERFORMANCE)
        coordinate_units = Field(sl.UNIT, sl.UNIT.MILLIMETER)
        depth_minimum_distance = Field(float, -1.0)
        depth_maximum_distance = Field(float, -1.0)
        depth_stabilization = Field(int, 30 if new else 1)
        sdk_gpu_id = Field(int, -1)
        sdk_verbose = Field(int, 1)
        camera_disable_self_calib = Field(bool, False)
        camera_image_flip = Field(int, 0)
        enable_right_side_measure = Field(bool, False)
        optional_settings_path = Field(str, "")
        optional_opencv_calibration_file = Field(str, "")
        sensors_required = Field(bool, False)
        enable_image_enhancement = Field(bool, True)
        open_timeout_sec = Field(float, 5.0)
        async_grab_camera_recovery = Field(bool, False)
        grab_compute_capping_fps = Field(float, 0.0)
        enable_image_validity_check = Field(bool, new)
        svo_real_time_mode = Field(bool, False)
        async_image_retrieval = Field(bool, False)
        if new:
            maximum_working_resolution = Field(object, None)

        def set_from_camera_id(self, number: int) -> None:
            self._source("id", _typed(number, int))

        def set_from_serial_number(self, number: int) -> None:
            self._source("serial", _typed(number, int))

        def set_from_svo_file(self, path: str) -> None:
            self._source("svo", _typed(path, str))

        def set_from_stream(self, address: str, port: int = 30000) -> None:
            self._source("stream", (_typed(address, str), _typed(port, int)))

        def _source(self, kind: str, value: Any) -> None:
            self.fields["source"] = (kind, value)

    class RuntimeParameters(_Fields):
        __slots__ = ()
        enable_depth = Field(bool, True)
        enable_fill_mode = Field(bool, False)
        confidence_threshold = Field(int, 95)
        texture_confidence_threshold = Field(int, 100)
        remove_saturated_areas = Field(bool, True)

    class Resolution:
        def __init__(self, width: int = 0, height: int = 0) -> None:
            self.width, self.height = _typed(width, int), _typed(height, int)

    class RecordingParameters:
        def __init__(self, video_filename: str, compression_mode: Any) -> None:
            self.video_filename = _typed(video_filename, str)
            self.compression_mode = _typed(compression_mode, sl.SVO_COMPRESSION_MODE)

    return {
        "RecordingParameters": RecordingParameters,
        "InitParameters": InitParameters,
        "RuntimeParameters": RuntimeParameters,
        "Resolution": Resolution,
    }


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"Argument is not of the right type: {type(value).__name__}")
    return value


def _mat(sl: Any, new: bool) -> dict[str, Any]:
    layouts = {
        sl.MAT_TYPE.F32_C1: (np.float32, ()),
        sl.MAT_TYPE.U8_C3: (np.uint8, (3,)),
        sl.MAT_TYPE.U8_C4: (np.uint8, (4,)),
        sl.MAT_TYPE.U8_C1: (np.uint8, ()),
    }

    class Mat:
        def __init__(
            self,
            width: int = 0,
            height: int = 0,
            mat_type: Any = sl.MAT_TYPE.F32_C1,
            memory_type: Any = sl.MEM.CPU,
        ) -> None:
            self.memory = _typed(memory_type, sl.MEM)
            self.mat_type = _typed(mat_type, sl.MAT_TYPE)
            self.data: Any = None
            if width and height:
                self._allocate(_typed(width, int), _typed(height, int))

        def _allocate(self, width: int, height: int) -> None:
            dtype, channels = layouts[self.mat_type]
            if self.memory is not sl.MEM.CPU:
                import cupy

                # Rows are padded, so that views are strided.
                room = cupy.zeros((height, width + 32, *channels), dtype)
                self.data = room[:, :width]
            else:
                self.data = np.zeros((height, width, *channels), dtype)

        def write(self, values: Any, mat_type: Any, memory: Any) -> None:
            """What the SDK does when it retrieves: the buffer is used again if it matches."""
            if (
                self.data is None
                or self.mat_type is not mat_type
                or self.memory is not memory
                or self.data.shape != values.shape
            ):
                self.mat_type, self.memory = mat_type, memory
                self._allocate(values.shape[1], values.shape[0])
            if self.memory is sl.MEM.CPU:
                self.data[...] = values
            else:
                import cupy

                self.data[...] = cupy.asarray(values)

        if new:

            def get_data(self, memory_type: Any = sl.MEM.CPU, deep_copy: bool = False) -> Any:
                _typed(memory_type, sl.MEM)
                if memory_type is sl.MEM.BOTH or memory_type is not self.memory:
                    raise ValueError("the Mat's memory type differs")
                return self.data.copy() if deep_copy else self.data

        else:

            def get_data(self, memory_type: Any = sl.MEM.CPU, deep_copy: bool = False) -> Any:  # type: ignore[misc]
                _typed(memory_type, sl.MEM)
                return self.data.copy() if deep_copy else self.data

        def free(self, memory_type: Any = sl.MEM.CPU) -> None:
            _typed(memory_type, sl.MEM)
            self.data = None

        def is_init(self) -> bool:
            return self.data is not None

    return {"Mat": Mat}


class _Bag:
    """An object that the SDK returns: attributes to read."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def _camera(sl: Any, new: bool, world: World) -> Any:
    error = sl.ERROR_CODE

    def code(name_or_number: Any) -> Any:
        """An unknown number is a ValueError in SDK 4 and FAILURE in SDK 5."""
        if isinstance(name_or_number, str):
            return error[name_or_number]
        try:
            return error(name_or_number)
        except ValueError:
            if new:
                return error.FAILURE
            raise

    class Camera:
        def __init__(self) -> None:
            self._init: Any = None
            self._svo: Any = None
            self._position = -1
            self._frame = -1
            self._dropped_at_open = 0
            self._recorded: Any = None

        # ---- life
        def open(self, py_init: Any = None) -> Any:
            init = _typed(py_init, sl.InitParameters)
            world.refresh()
            if world.opening_hangs:
                ctypes.PyDLL(None).sleep(60)
            if init.depth_minimum_distance > 3:
                return error.INVALID_FUNCTION_PARAMETERS
            kind, value = init.fields.get("source", ("id", 0))
            if kind == "svo":
                self._svo = read_svo(value)
                if self._svo is None:
                    return error.INVALID_SVO_FILE
                self._name, self._serial = self._svo["resolution"], 30000001
            else:
                failure = self._find(kind, value, init)
                if failure is not None:
                    return failure
            self._init = init
            self._dropped_at_open = world.dropped
            world.opened += 1
            world.open_now += 1
            return error[world.opens_with]

        def _find(self, kind: str, value: Any, init: Any) -> Any:
            if kind == "stream":
                if not world.stream_up:
                    return error.CANNOT_START_CAMERA_STREAM
                value = next(iter(world.cameras))
            elif kind == "id":
                serials = list(world.cameras)
                value = serials[value] if value < len(serials) else None
            if not world.plugged or value not in world.cameras:
                return error.CAMERA_NOT_DETECTED
            if world.rebooting:
                return error.CAMERA_REBOOTING
            if world.held_by_another or (kind != "stream" and world.open_now):
                return error.CANNOT_START_CAMERA_STREAM
            if world.low_bandwidth:
                return error.LOW_USB_BANDWIDTH
            has = tuple(GMSL_SIZES) if "_X" in world.cameras[value] else tuple(SIZES)
            name = init.camera_resolution.name
            self._name = has[-1] if name == "AUTO" else name
            if self._name not in has or init.camera_fps > FASTEST.get(self._name, 60):
                return error.INVALID_RESOLUTION
            self._serial = value
            return None

        def close(self) -> None:
            if self._init is not None:
                world.open_now -= 1
            self.disable_recording()
            self._init = self._svo = None

        def enable_recording(self, record: Any) -> Any:
            path = Path(_typed(record, sl.RecordingParameters).video_filename)
            if not path.parent.is_dir():
                return error.SVO_RECORDING_ERROR
            self._recorded = (path, self._frame)
            return error.SUCCESS

        def disable_recording(self) -> None:
            if self._recorded is not None:
                path, before = self._recorded
                write_svo(path, self._frame - before, self._name)
            self._recorded = None

        def is_opened(self) -> bool:
            return self._init is not None

        # ---- frames
        def grab(self, py_runtime: Any = None) -> Any:
            _typed(py_runtime, sl.RuntimeParameters)
            if self._init is None:
                return error.CAMERA_NOT_INITIALIZED
            world.refresh()
            world.grabs += 1
            fault = world.faults.pop(world.grabs, None)
            if fault == "hang" or world.hanging:
                world.hang()
            elif fault is not None:
                return code(fault)
            if self._svo is not None:
                return self._next_of_svo()
            if world.rebooting:
                if self._init.async_grab_camera_recovery:
                    return error.CAMERA_REBOOTING
                world.hang()
            if not world.plugged or (self._init.fields.get("source", ("id",))[0] == "stream" and not world.stream_up):
                return error.CAMERA_NOT_DETECTED
            time.sleep(world.frame_s)
            self._frame += 1
            self._taken_ns = now_ns()
            return error.SUCCESS

        def _next_of_svo(self) -> Any:
            if self._position + 1 >= self._svo["frames"]:
                return error.END_OF_SVOFILE_REACHED
            self._position += 1
            self._frame = self._position
            self._taken_ns = 1_600_000_000_000_000_000 + round(self._position / self._svo["fps"] * 1e9)
            return error.SUCCESS

        def _retrieve(self, mat: Any, values: Any, mat_type: Any, memory: Any, resolution: Any) -> Any:
            _typed(mat, sl.Mat)
            _typed(memory, sl.MEM)
            if (
                resolution is not None
                and resolution.width
                and (resolution.height, resolution.width) != values.shape[:2]
            ):
                rows = np.linspace(0, values.shape[0] - 1, resolution.height).round().astype(int)
                columns = np.linspace(0, values.shape[1] - 1, resolution.width).round().astype(int)
                values = values[rows][:, columns]
            mat.write(values, mat_type, memory)
            return error.SUCCESS

        def _picture(self, view: Any) -> tuple[Any, Any]:
            shot = world.shot(self._name, self._frame)
            bgr = shot.right_bgr if view.name.startswith("RIGHT") else shot.left_bgr
            if view.name.endswith("_BGR"):
                return bgr, sl.MAT_TYPE.U8_C3
            return np.dstack([bgr, np.full(bgr.shape[:2], 255, np.uint8)]), sl.MAT_TYPE.U8_C4

        def _measured(self, measure: Any) -> Any:
            init, depth = self._init, world.shot(self._name, self._frame).depth_m.copy()
            least, most = init.depth_minimum_distance, init.depth_maximum_distance
            depth[depth < (0.3 if least < 0 else least)] = -np.inf
            depth[depth > (20.0 if most < 0 else most)] = np.inf
            if measure is sl.MEASURE.CONFIDENCE:
                return np.where(np.isfinite(depth), np.float32(1 + 99 * np.clip(depth / 20, 0, 1)), np.float32(np.nan))
            if measure is not sl.MEASURE.DEPTH:
                raise NotImplementedError(measure)
            scale = {"METER": 1.0, "MILLIMETER": 1000.0}[init.coordinate_units.name]
            return depth * np.float32(scale)

        if new:

            def retrieve_image(
                self,
                py_mat: Any,
                view: Any = sl.VIEW.LEFT,
                mem_type: Any = sl.MEM.CPU,
                resolution: Any = None,
            ) -> Any:
                _typed(view, sl.VIEW)
                return self._retrieve(py_mat, *self._picture(view), mem_type, resolution)

            def retrieve_measure(
                self,
                py_mat: Any,
                measure: Any = sl.MEASURE.DEPTH,
                mem_type: Any = sl.MEM.CPU,
                resolution: Any = None,
            ) -> Any:
                _typed(measure, sl.MEASURE)
                return self._retrieve(py_mat, self._measured(measure), sl.MAT_TYPE.F32_C1, mem_type, resolution)

            def get_retrieve_image_resolution(self) -> Any:
                return sl.Resolution(*ALL_SIZES[self._name])

            def set_svo_position(self, number: int) -> Any:
                self._position = _typed(number, int) - 1
                return error.SUCCESS

        else:
            # The third argument had another name.
            def retrieve_image(
                self, py_mat: Any, view: Any = sl.VIEW.LEFT, type: Any = sl.MEM.CPU, resolution: Any = None
            ) -> Any:
                _typed(view, sl.VIEW)
                return self._retrieve(py_mat, *self._picture(view), type, resolution)

            def retrieve_measure(
                self,
                py_mat: Any,
                measure: Any = sl.MEASURE.DEPTH,
                type: Any = sl.MEM.CPU,
                resolution: Any = None,
            ) -> Any:
                _typed(measure, sl.MEASURE)
                return self._retrieve(py_mat, self._measured(measure), sl.MAT_TYPE.F32_C1, type, resolution)

            def set_svo_position(self, number: int) -> None:  # type: ignore[misc]
                self._position = _typed(number, int) - 1

        # ---- information
        def get_camera_information(self, resizer: Any = None) -> Any:
            camera = world.camera(self._name)
            if resizer is not None and resizer.width:
                camera = camera.scaled_to(resizer.width, resizer.height)
            eye = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy, "disto": [0.0] * 12}
            scale = {"METER": 1.0, "MILLIMETER": 1000.0}[self._init.coordinate_units.name]
            calibration = _Bag(
                # scale() has no return statement in any version.
                left_cam=_Bag(**eye, scale=lambda resolution: None),
                right_cam=_Bag(**eye, scale=lambda resolution: None),
                get_camera_baseline=lambda: camera.baseline_m * scale,
            )
            configuration = _Bag(
                resolution=sl.Resolution(*ALL_SIZES[self._name]),
                fps=float(self._init.camera_fps or FASTEST.get(self._name, 60))
                if self._svo is None
                else float(self._svo["fps"]),
                firmware_version=1523,
                calibration_parameters=calibration,
            )
            model = sl.MODEL[world.cameras.get(self._serial, "ZED2i")]
            return _Bag(serial_number=self._serial, camera_model=model, camera_configuration=configuration)

        def get_timestamp(self, reference: Any) -> Any:
            taken = self._taken_ns if _typed(reference, sl.TIME_REFERENCE) is sl.TIME_REFERENCE.IMAGE else now_ns()
            return _Bag(get_nanoseconds=lambda: taken, get_milliseconds=lambda: taken // 1_000_000)

        def get_frame_dropped_count(self) -> int:
            return world.dropped - self._dropped_at_open

        def get_current_fps(self) -> float:
            return 30.0

        def get_svo_position(self) -> int:
            return self._position

        def get_svo_number_of_frames(self) -> int:
            return -1 if self._svo is None else self._svo["frames"]

        def set_camera_settings(self, settings: Any, value: int = -1) -> Any:
            world.settings[_typed(settings, sl.VIDEO_SETTINGS).name] = _typed(value, int)
            return error.SUCCESS

    return Camera
