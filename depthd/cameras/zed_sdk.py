"""What differs between versions of the ZED SDK, told by what it has, never by its version number.

Nothing outside this file and zed.py knows that pyzed exists.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from depthd.errors import DepthdError, UsageError

RESOLUTIONS = {
    "GMSL": ("HD1200", "HD1080", "SVGA"),
    "USB": ("HD2K", "HD1080", "HD720", "VGA"),
}
"""What a ZED X (GMSL) and any other ZED (USB) can deliver."""


def import_sl() -> Any:
    """The module pyzed.sl. Raises DepthdError where it is absent or is another package of that name."""
    try:
        import pyzed.sl as sl
    except ImportError as error:
        raise DepthdError(
            f"the Python interface of the ZED SDK cannot be loaded ({error})",
            "install the ZED SDK, then run /usr/local/zed/get_python_api.py; the pyzed on PyPI is another "
            "package; or set camera.kind to uvc, which needs no SDK",
        ) from error
    if not hasattr(sl, "Camera"):
        raise DepthdError(
            "the installed pyzed is not Stereolabs'",
            "uninstall it and run /usr/local/zed/get_python_api.py",
        )
    return sl


class Outcome(Enum):
    """What an error code means for whoever called."""

    GOOD = auto()
    SKIP = auto()
    """This frame is of no use; the next may be."""
    END = auto()
    """An SVO file has no more frames."""
    LOST = auto()
    """Opening the camera again may help."""
    WRONG = auto()
    """Somebody has to mend something first."""


# Negative codes are warnings, but not all of them come with a frame, so each is named here. Codes that an SDK
# does not have are harmless: names are compared, never numbers, since comparing members by `<` works from SDK
# 5.0.5 only.
_OUTCOMES = {
    "SUCCESS": Outcome.GOOD,
    "CONFIGURATION_FALLBACK": Outcome.GOOD,
    "POTENTIAL_CALIBRATION_ISSUE": Outcome.GOOD,
    "SENSOR_CONFIGURATION_CHANGED": Outcome.GOOD,
    "SENSORS_DATA_REQUIRED": Outcome.SKIP,
    "CORRUPTED_FRAME": Outcome.SKIP,
    "END_OF_SVOFILE_REACHED": Outcome.END,
    "INVALID_RESOLUTION": Outcome.WRONG,
    "INVALID_SVO_FILE": Outcome.WRONG,
    "INVALID_FUNCTION_PARAMETERS": Outcome.WRONG,
    "INVALID_CALIBRATION_FILE": Outcome.WRONG,
    "CALIBRATION_FILE_NOT_AVAILABLE": Outcome.WRONG,
    "NO_GPU_COMPATIBLE": Outcome.WRONG,
    "NO_GPU_DETECTED": Outcome.WRONG,
    "NOT_ENOUGH_GPU_MEMORY": Outcome.WRONG,
    "CUDA_ERROR": Outcome.LOST,
    "DRIVER_FAILURE": Outcome.WRONG,
    "SVO_RECORDING_ERROR": Outcome.WRONG,
}

_MEANINGS = {
    "SVO_RECORDING_ERROR": ("the SVO file cannot be written", "check the folder and the free space"),
    "CAMERA_NOT_DETECTED": ("no ZED delivers frames", "check cable and power; `lsusb -d 2b03:` must list it"),
    "CAMERA_REBOOTING": ("the ZED is restarting", "wait"),
    "CANNOT_START_CAMERA_STREAM": (
        "another process holds the ZED, or the stream's server is gone",
        "stop it",
    ),
    "LOW_USB_BANDWIDTH": (
        "the USB bandwidth is too low for the ZED",
        "use a USB 3 port of its own, or a lower camera.resolution or camera.fps",
    ),
    "CAMERA_EXCEEDS_BANDWIDTH": ("the cameras exceed the link's bandwidth", "lower camera.resolution or fps"),
    "CORRUPTED_FRAME": ("the ZED delivers only corrupted frames", "check cable and USB port"),
    "INVALID_SVO_FILE": ("the SVO file cannot be read", "set camera.svo to a whole .svo or .svo2 file"),
    "CALIBRATION_FILE_NOT_AVAILABLE": (
        "the ZED's calibration is not on this computer",
        "connect to the internet once, or put SN<serial>.conf into /usr/local/zed/settings",
    ),
    "INVALID_CALIBRATION_FILE": (
        "the ZED's calibration file is damaged",
        "delete it from /usr/local/zed/settings",
    ),
    "NO_GPU_COMPATIBLE": (
        "the ZED SDK finds no GPU that it can use",
        "check nvidia-smi, or set camera.kind to uvc",
    ),
    "NO_GPU_DETECTED": ("the ZED SDK finds no GPU", "check nvidia-smi, or set camera.kind to uvc"),
    "NOT_ENOUGH_GPU_MEMORY": (
        "the GPU has too little memory",
        "lower camera.resolution or camera.depth_mode",
    ),
}


def code_name(code: Any) -> str:
    return str(getattr(code, "name", code))


def outcome(code: Any) -> Outcome:
    """Codes that this table does not know are treated as a lost camera: opening again is the safe answer."""
    return _OUTCOMES.get(code_name(code), Outcome.LOST)


def meaning(code: Any) -> tuple[str, str]:
    """What is wrong and what to do, for an error line."""
    name = code_name(code)
    what, remedy = _MEANINGS.get(name, ("the ZED SDK reports an error", "see the SDK's documentation"))
    return f"{what} ({name})", remedy


def member(enumeration: Any, name: str, key: str) -> Any:
    """A member of one of the SDK's enumerations. Raises UsageError where this version does not have it."""
    found = getattr(enumeration, name, None)
    if found is None:
        has = [entry for entry in dir(enumeration) if entry.isupper() and entry not in ("LAST", "AUTO", "CUSTOM")]
        raise UsageError(
            f"{key} is {name}, which the installed ZED SDK does not have", f"choose one of {', '.join(has)}"
        )
    return found


def set_where_known(parameters: Any, **values: Any) -> None:
    """Sets those fields that this version's parameter object has."""
    for name, value in values.items():
        if hasattr(parameters, name):
            setattr(parameters, name, value)


def resolutions_of(model: Any) -> tuple[str, ...]:
    """What a camera model delivers, by its name: ZED_X, ZED_XM and ZED_X_NANO are GMSL cameras."""
    return RESOLUTIONS["GMSL" if "_X" in code_name(model).replace(" ", "_").upper() else "USB"]
