"""Stereo pictures from files, paced like a camera."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthd.cameras.base import CameraSource, EndOfRecording
from depthd.cameras.camera_file import load_camera, load_depth, load_left, load_pair
from depthd.cameras.pacing import Pacing
from depthd.cameras.video_file import VideoFile
from depthd.config import RecordingCameraConfig
from depthd.errors import UsageError
from depthd.frame import Array, Camera, StereoFrame

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Pair:
    """Files of one frame."""

    left: Path
    right: Path
    depth: Path | None


def open_recording(config: RecordingCameraConfig) -> CameraSource:
    """A folder of pictures or a side-by-side video, by what `path` is. Raises UsageError."""
    return VideoRecordingCamera(config) if config.path.is_file() else RecordingCamera(config)


class VideoRecordingCamera:
    """Plays a video of rectified pairs, left eye in the left half, with camera.json (of one eye) beside it.

    Frames carry no depth. Raises UsageError where file or calibration are wrong, EndOfRecording at the end.
    """

    def __init__(self, config: RecordingCameraConfig) -> None:
        self._config = config
        self._camera = load_camera(config.camera_file or config.path.with_name("camera.json"))
        self._video = VideoFile(config.path, config.real_time, config.loop, config.fps)
        wanted = (2 * self._camera.width, self._camera.height)
        if self._video.size != wanted:
            self._video.close()
            found = "x".join(map(str, self._video.size))
            raise UsageError(
                f"{config.path} is {found}, but two pictures of the camera file are {wanted[0]}x{wanted[1]}",
                "set camera.camera_file to that of this video",
            )

    @property
    def camera(self) -> Camera:
        return self._camera

    @property
    def description(self) -> str:
        return f"recording {self._config.path}"

    @property
    def period_s(self) -> float:
        return self._video.period_s

    def grab(self) -> StereoFrame:
        index, captured_ns, picture = self._video.read()
        return StereoFrame(
            index=index,
            captured_ns=captured_ns,
            picture_clock_ns=self._video.pacing.picture_clock_ns(index),
            camera=self._camera,
            left_bgr=np.ascontiguousarray(picture[:, : self._camera.width]),
            right_bgr=np.ascontiguousarray(picture[:, self._camera.width :]),
        )

    def close(self) -> None:
        self._video.close()


class RecordingCamera:
    """Plays a folder of rectified pairs, in the order of the numbers in their names.

    Layouts: left_000001.png beside right_000001.png; left/000001.png and right/000001.png; a single left.png
    and right.png. A depth_000001.npy, depth/000001.npy or depth.npy (float32, metres) beside a pair is its
    stereo depth; such a frame has its right picture only for config.right. Calibration: config.camera_file,
    or camera.json in the folder. Raises UsageError where the folder is no such thing, EndOfRecording at the
    end unless it loops.
    """

    def __init__(self, config: RecordingCameraConfig) -> None:
        self._config = config
        folder = config.path
        if not folder.is_dir():
            raise UsageError(
                f"there is no recording folder {folder}",
                "set camera.path to a folder of picture pairs, or to a side-by-side video",
            )
        self._camera = load_camera(config.camera_file or folder / "camera.json")
        self.pairs = find_pairs(folder)
        if not self.pairs:
            raise UsageError(
                f"there is no picture pair in {folder}",
                "name them left_000001.png and right_000001.png, or left/ and right/",
            )
        self._pacing = Pacing(config.fps, config.real_time)

    @property
    def camera(self) -> Camera:
        return self._camera

    @property
    def description(self) -> str:
        return f"recording {self._config.path}, {len(self.pairs)} frames"

    @property
    def period_s(self) -> float:
        return self._pacing.period_s

    def grab(self) -> StereoFrame:
        index, captured_ns = self._pacing.next_frame()
        if index >= len(self.pairs) and not self._config.loop:
            raise EndOfRecording(f"{self._config.path} has {len(self.pairs)} frames")
        pair = self.pairs[index % len(self.pairs)]
        left, right = self._pictures(pair)
        return StereoFrame(
            index=index,
            captured_ns=captured_ns,
            picture_clock_ns=self._pacing.picture_clock_ns(index),
            camera=self._camera,
            left_bgr=left,
            right_bgr=right,
            depth_m=load_depth(pair.depth, self._camera) if pair.depth else None,
        )

    def close(self) -> None:
        """Nothing stays open between frames."""

    def _pictures(self, pair: Pair) -> tuple[Array, Array | None]:
        """Decoding a picture costs a third of a frame at 30 frames/s, and nobody matches where there is depth."""
        if pair.depth is not None and not self._config.right:
            return load_left(pair.left, self._camera), None
        return load_pair(pair.left, pair.right, self._camera)


def find_pairs(folder: Path) -> list[Pair]:
    """Every left picture that has a right one, by any of the layouts."""
    if (folder / "left").is_dir():
        lefts, partner = _pictures(folder / "left", ""), _in_folder(folder)
    else:
        lefts, partner = _pictures(folder, "left"), _beside
    pairs = []
    for left in lefts:
        right = _existing(partner(left, "right"), PICTURES)
        if right is None:
            raise UsageError(f"{left} has no right picture", f"add {partner(left, 'right').with_suffix(left.suffix)}")
        pairs.append(Pair(left, right, _existing(partner(left, "depth"), (".npy", ".npz"))))
    return pairs


def _pictures(folder: Path, prefix: str) -> list[Path]:
    found = (path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.name.startswith(prefix))
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """left_2 before left_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.stem)]


def _beside(left: Path, what: str) -> Path:
    return left.with_name(what + left.name[len("left") :])


def _in_folder(folder: Path) -> Callable[[Path, str], Path]:
    return lambda left, what: folder / what / left.name


def _existing(path: Path, suffixes: tuple[str, ...]) -> Path | None:
    candidates = [path, *(path.with_suffix(suffix) for suffix in suffixes)]
    return next((candidate for candidate in candidates if candidate.suffix in suffixes and candidate.is_file()), None)
