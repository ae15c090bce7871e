"""Factory and OpenCV calibrations of stereo cameras that deliver unrectified pictures."""

from __future__ import annotations

import configparser
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthd.errors import UsageError

Numbers = NDArray[np.float64]
SHORTEST_BASELINE_M, LONGEST_BASELINE_M = 0.005, 2.0


@dataclass(frozen=True)
class StereoCalibration:
    """Two unrectified eyes: 3x3 intrinsics in pixels, distortion as OpenCV orders it, and how the right eye
    stands: a point p of the left eye is rotation @ p + translation_m in the right one. fisheye: four
    coefficients of OpenCV's fisheye model instead.
    """

    width: int
    height: int
    left: Numbers
    right: Numbers
    left_distortion: Numbers
    right_distortion: Numbers
    rotation: Numbers
    translation_m: Numbers
    fisheye: bool = False


# Name of a mode in a ZED's file, by the width of one eye; the ZED X and the ZED 2 name the same mode
# differently.
_ZED_MODES = {
    2208: ("2K",),
    1920: ("FHD", "FHD1200"),
    1280: ("HD",),
    960: ("SVGA",),
    672: ("VGA",),
}


def read_zed(path: Path, width: int, height: int) -> StereoCalibration:
    """A ZED's SN<serial>.conf, both generations of key names, for pictures of one eye of this size. Raises
    UsageError.

    The baseline is written as a positive length; the translation of the right eye is minus it. TY and TZ come
    with or without the mode's suffix; both of the vendor's samples read the suffixed ones only and silently
    take 0 for the rest.
    """
    modes = _ZED_MODES.get(width)
    if modes is None:
        raise UsageError(
            f"a ZED has no pictures {width} px wide", f"choose a width of {', '.join(map(str, _ZED_MODES))}"
        )
    if height == 1200:
        modes = modes[::-1]
    sections = _sections(path)
    # The oldest files write the mode as RESOLUTION_VGA.
    modes = tuple(prefix + name for name in modes for prefix in ("", "RESOLUTION_"))
    mode = next((name for name in modes if f"left_cam_{name}".lower() in sections), None)
    if mode is None:
        raise UsageError(f"{path} has no calibration for {width}x{height}", "choose another resolution or file")
    stereo = _Section(path, "STEREO", sections.get("stereo", {}))

    def eye(side: str) -> tuple[Numbers, Numbers, bool]:
        section = _Section(path, f"{side}_CAM_{mode}", sections.get(f"{side}_cam_{mode}".lower(), {}))
        intrinsics = np.array([[section["fx"], 0, section["cx"]], [0, section["fy"], section["cy"]], [0, 0, 1.0]])
        written = sections.get(f"{side}_disto".lower())
        if written:
            values = _Section(path, f"{side}_DISTO", written)
            return intrinsics, *_tool_distortion(values)
        plain = [section.get(key, 0.0) for key in ("k1", "k2", "p1", "p2", "k3")]
        return intrinsics, np.array(plain), False

    left, left_distortion, fisheye = eye("LEFT")
    right, right_distortion, _ = eye("RIGHT")

    def of_mode(*names: str) -> float:
        """The first of these that the file has, with the suffix of the mode (new or old) before the plain
        key.
        """
        suffixes = (*(f"_{name}" for name in modes), "")
        return next((stereo[n + s] for s in suffixes for n in names if n + s in stereo), 0.0)

    turn = np.array([of_mode("RX"), of_mode("CV", "RY"), of_mode("RZ")])
    baseline_mm = abs(stereo["baseline"])
    return _checked(
        path,
        StereoCalibration(
            width,
            height,
            left,
            right,
            left_distortion,
            right_distortion,
            np.asarray(cv2.Rodrigues(turn)[0], np.float64),
            np.array([-baseline_mm, of_mode("TY"), of_mode("TZ")]) / 1000,
            fisheye,
        ),
    )


def read_opencv(path: Path, unit_m: float = 0.001) -> StereoCalibration:
    """A YAML or XML file of OpenCV with Size, K_LEFT, K_RIGHT, D_LEFT, D_RIGHT, R and T, as the ZED SDK takes
    it, or with the names of OpenCV's stereo_calib sample (image_Size, M1, D1, M2, D2). unit_m: metres that 1
    in T means. Raises UsageError.
    """
    if not path.is_file():
        raise UsageError(f"there is no calibration file {path}", "check camera.calibration")
    try:
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    except (cv2.error, SystemError) as error:
        raise UsageError(f"{path} is not a calibration that OpenCV can read", "give YAML, XML or JSON") from error
    with_names = {
        "left": ("K_LEFT", "M1", "cameraMatrix1"),
        "left_distortion": ("D_LEFT", "D1", "distCoeffs1"),
        "right": ("K_RIGHT", "M2", "cameraMatrix2"),
        "right_distortion": ("D_RIGHT", "D2", "distCoeffs2"),
        "rotation": ("R",),
        "translation_m": ("T",),
    }
    found = {field: _matrix(storage, names, path) for field, names in with_names.items()}
    width, height = _size(storage, path)
    storage.release()
    rotation = found["rotation"]
    if rotation.size == 3:
        rotation = np.asarray(cv2.Rodrigues(rotation)[0], np.float64)
    translation = found["translation_m"].ravel() * unit_m
    return _checked(
        path,
        StereoCalibration(
            width,
            height,
            found["left"],
            found["right"],
            found["left_distortion"].ravel(),
            found["right_distortion"].ravel(),
            rotation.reshape(3, 3),
            translation,
        ),
    )


def load_calibration(path: Path, width: int, height: int, unit_m: float = 0.001) -> StereoCalibration:
    """By the file's ending: .conf is a ZED's, anything else OpenCV's. Raises UsageError, also where sizes
    differ.
    """
    if path.suffix.lower() == ".conf":
        return read_zed(path, width, height)
    calibration = read_opencv(path, unit_m)
    if (calibration.width, calibration.height) != (width, height):
        raise UsageError(
            f"{path} is for {calibration.width}x{calibration.height}, the pictures are {width}x{height}",
            "set camera.width and camera.height, or calibrate at this size",
        )
    return calibration


class _Section:
    """Numbers of one section, by keys without regard to case."""

    def __init__(self, path: Path, name: str, values: dict[str, str]) -> None:
        self._path, self._name, self._values = path, name, values

    def __contains__(self, key: str) -> bool:
        return key.lower() in self._values

    def __getitem__(self, key: str) -> float:
        written = self._values.get(key.lower())
        if written is None:
            raise UsageError(f"{self._path} lacks {key} in [{self._name}]", "fetch the file again")
        try:
            number = float(written)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"{key} in [{self._name}] of {self._path} is {written!r}", "fetch the file again")
        return number

    def get(self, key: str, default: float) -> float:
        return self[key] if key.lower() in self._values else default


def _sections(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, inline_comment_prefixes=(";", "#"))
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(
            f"the calibration {path} cannot be read ({error.strerror or error})",
            "fetch it from https://calib.stereolabs.com/?SN=<serial>",
        ) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a ZED's calibration file", "fetch it again") from error
    return {name.lower(): dict(parser[name]) for name in parser.sections()}


def _tool_distortion(values: _Section) -> tuple[Numbers, bool]:
    """What Stereolabs' calibration tool writes: 8 rational coefficients, or 4 of the fisheye model."""
    if "p1" not in values and "k4" in values and "k5" not in values:
        return np.array([values[key] for key in ("k1", "k2", "k3", "k4")]), True
    return np.array([values.get(key, 0.0) for key in ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")]), False


def _matrix(storage: cv2.FileStorage, names: tuple[str, ...], path: Path) -> Numbers:
    for name in names:
        node = storage.getNode(name)
        if not node.empty():
            matrix = node.mat()
            if matrix is not None and np.isfinite(matrix).all():
                return np.asarray(matrix, np.float64)
    raise UsageError(f"{path} lacks {names[0]}", "write Size, K_LEFT, K_RIGHT, D_LEFT, D_RIGHT, R and T")


def _size(storage: cv2.FileStorage, path: Path) -> tuple[int, int]:
    for name in ("Size", "image_Size", "size", "imageSize"):
        node = storage.getNode(name)
        if node.isSeq() and node.size() == 2:
            return int(node.at(0).real()), int(node.at(1).real())
    raise UsageError(f"{path} lacks Size", "write Size: [ width, height ], of one eye")


def _checked(path: Path, calibration: StereoCalibration) -> StereoCalibration:
    shapes = {"intrinsics": calibration.left.shape == calibration.right.shape == (3, 3)}
    shapes["rotation"] = calibration.rotation.shape == (3, 3)
    shapes["translation"] = calibration.translation_m.shape == (3,)
    for name, right in shapes.items():
        if not right:
            raise UsageError(f"the {name} in {path} has the wrong shape", "write 3x3 matrices and a vector of 3")
    baseline = float(np.linalg.norm(calibration.translation_m))
    if not SHORTEST_BASELINE_M <= baseline <= LONGEST_BASELINE_M:
        raise UsageError(
            f"the baseline in {path} is {baseline:g} m",
            "check the file, and camera.calibration_unit (mm or m)",
        )
    return calibration
