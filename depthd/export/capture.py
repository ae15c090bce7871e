"""Writes what a camera delivers to disk: numbered pictures and depth, a video, or the SDK's own file."""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from depthd.cameras.base import CameraSource, EndOfRecording
from depthd.cameras.camera_file import camera_json
from depthd.cameras.zed import ZedCamera
from depthd.errors import DepthdError, UsageError
from depthd.files import written_whole
from depthd.frame import Array, Camera, StereoFrame

QUEUE_LENGTH = 16
LEAST_FREE_BYTES = 64 * 2**20
"""Stop with so much left, so that what is open can still be finished."""


@dataclass(frozen=True)
class CaptureOptions:
    """What to write and when to stop; count and seconds None: until told to stop."""

    folder: Path
    save: bool = False
    record: str | None = None
    """'mp4' or 'svo'."""
    grayscale: bool = False
    raw: bool = False
    count: int | None = None
    seconds: float | None = None
    maximum_fps: float | None = None


@dataclass(frozen=True)
class CaptureReport:
    """frames: written; dropped: by a disk that is too slow; missed: by the camera."""

    frames: int
    dropped: int
    missed: int
    ended: str

    def line(self) -> str:
        lost = f"{self.dropped} dropped by the disk, {self.missed} missed by the camera"
        return f"{self.frames} frames written, {lost}; {self.ended}"


def capture(
    source: CameraSource,
    options: CaptureOptions,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[str], None] = lambda text: None,
    free_bytes: Callable[[Path], int] | None = None,
) -> CaptureReport:
    """Takes frames until the count, the time, the end of a recording, a full disk, or `should_stop`.

    A full disk ends the capture like any other end: what is written is whole. Raises CameraLost, and
    UsageError and DepthdError for what cannot be written at all.
    """
    if not options.save and not options.record:
        raise UsageError("there is nothing to write", "give --save, --record, or both")
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder {options.folder} cannot be made ({error.strerror or error})", "give another --outdir"
        ) from None
    started, last_progress, last_taken = time.monotonic(), 0.0, -np.inf
    frames = missed = 0
    expected: int | None = None
    ended = "stopped"
    with FrameWriter(_sinks(source, options), options.folder, free_bytes or _free_bytes) as writer:
        while not should_stop():
            now = time.monotonic() - started
            if options.count is not None and frames >= options.count:
                ended = "count reached"
                break
            if options.seconds is not None and now >= options.seconds:
                ended = "time is up"
                break
            if writer.full:
                ended = f"the disk is full ({options.folder})"
                break
            try:
                frame = source.grab()
            except EndOfRecording:
                ended = "the recording has ended"
                break
            missed += 0 if expected is None else max(0, frame.index - expected)
            expected = frame.index + 1
            if options.maximum_fps and frame.captured_ns - last_taken < 0.9e9 / options.maximum_fps:
                continue
            last_taken = frame.captured_ns
            frames += writer.put(frame, wait=source.period_s == 0)
            if now - last_progress >= 1:
                last_progress = now
                progress(f"{frames} frames, {writer.dropped} dropped")
    return CaptureReport(writer.written, writer.dropped, missed, ended)


class Sink(Protocol):
    """Something that frames are written to."""

    def write(self, number: int, frame: StereoFrame) -> None: ...

    def close(self) -> None: ...


class FrameWriter:
    """Writes frames in a thread, so that a slow disk does not hold up the camera: its queue is short, and
    what does not fit is dropped and counted. Raises DepthdError at the end where a file could not be written
    for another reason than space.
    """

    def __init__(self, sinks: list[Sink], folder: Path, free_bytes: Callable[[Path], int]) -> None:
        self._sinks, self._folder, self._free_bytes = sinks, folder, free_bytes
        self._queue: queue.Queue[StereoFrame | None] = queue.Queue(QUEUE_LENGTH)
        self._failure: Exception | None = None
        self.full = False
        self.dropped = 0
        self.written = 0
        self._thread = threading.Thread(target=self._work, name="capture")

    def __enter__(self) -> FrameWriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        self._thread.join()
        for sink in self._sinks:
            sink.close()
        if self._failure is not None:
            raise self._failure

    def put(self, frame: StereoFrame, wait: bool = False) -> bool:
        """Takes a copy of the frame; False where it was dropped. wait: the source does not run away, so
        nothing is.
        """
        if self._queue.full() and not wait:
            self.dropped += 1
            return False
        self._queue.put(_kept(frame))
        return True

    def _work(self) -> None:
        while (frame := self._queue.get()) is not None:
            if self.full or self._failure is not None:
                self.dropped += 1
                continue
            try:
                if self._free_bytes(self._folder) < LEAST_FREE_BYTES:
                    self.full = True
                    self.dropped += 1
                    continue
                for sink in self._sinks:
                    sink.write(self.written + 1, frame)
                self.written += 1
            except DepthdError as error:
                self.full = True
                self._failure = error


class Pictures:
    """left_000001.png, right_000001.png, depth_000001.npy and camera.json, as cameras/recording.py reads
    them.
    """

    def __init__(self, folder: Path, camera: Camera | None, grayscale: bool) -> None:
        self._folder, self._grayscale = folder, grayscale
        if camera is not None:
            write_camera(folder, camera)

    def write(self, number: int, frame: StereoFrame) -> None:
        for side, picture in (("left", frame.left_bgr), ("right", frame.right_bgr)):
            if picture is not None:
                shown = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if self._grayscale else picture
                with written_whole(self._folder / f"{side}_{number:06d}.png") as path:
                    # The fastest compression: the disk should be the limit.
                    if not cv2.imwrite(str(path), shown, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
                        raise DepthdError(f"cannot write {path}", "check the folder and the free space")
        if frame.depth_m is not None and not np.isnan(frame.depth_m).all():
            with written_whole(self._folder / f"depth_{number:06d}.npy") as path, path.open("wb") as file:
                np.save(file, frame.depth_m)

    def close(self) -> None:
        """Every file is whole already."""


class Video:
    """capture.mp4: both eyes side by side (or the only one). It gets its name when it is finished."""

    def __init__(self, path: Path, camera: Camera | None, fps: float, grayscale: bool) -> None:
        self._path, self._fps, self._grayscale = path, fps, grayscale
        self._partial = path.with_name(f".{path.stem}.part{path.suffix}")
        self._writer: Any = None
        if camera is not None:
            write_camera(path.parent, camera)

    def write(self, number: int, frame: StereoFrame) -> None:
        eyes = [frame.left_bgr] + ([frame.right_bgr] if frame.right_bgr is not None else [])
        picture = np.hstack(eyes)
        if self._grayscale:
            picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._partial), code, self._fps, picture.shape[1::-1])
            if not self._writer.isOpened():
                raise DepthdError(f"cannot write {self._path}", "check the folder and the free space")
        self._writer.write(picture)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._partial.replace(self._path)


def write_camera(folder: Path, camera: Camera) -> None:
    with written_whole(folder / "camera.json") as path:
        path.write_text(camera_json(camera), encoding="utf-8")


def _sinks(source: CameraSource, options: CaptureOptions) -> list[Sink]:
    # Neither unrectified pictures nor a webcam's have a calibration to go with.
    camera = None if options.raw or source.camera.baseline_m <= 0 else source.camera
    sinks: list[Sink] = []
    if options.save:
        sinks.append(Pictures(options.folder, camera, options.grayscale))
    if options.record == "mp4":
        fps = options.maximum_fps or (1 / source.period_s if source.period_s else 30.0)
        sinks.append(Video(options.folder / "capture.mp4", camera, fps, options.grayscale))
    elif options.record == "svo":
        if not isinstance(source, ZedCamera):
            raise UsageError("an SVO file can only be recorded from a ZED through its SDK", "give --record mp4")
        source.record_svo(options.folder / "capture.svo2")
        sinks.append(_RecordedBySdk())
    elif options.record is not None:
        raise UsageError(f"--record is {options.record!r}", "give mp4 or svo")
    return sinks


class _RecordedBySdk:
    """The SDK writes while it grabs."""

    def write(self, number: int, frame: StereoFrame) -> None: ...

    def close(self) -> None: ...


def _kept(frame: StereoFrame) -> StereoFrame:
    """A copy that the camera will not write over."""

    def copied(array: Array | None) -> Array | None:
        return None if array is None else np.array(array)

    return StereoFrame(
        frame.index,
        frame.captured_ns,
        frame.picture_clock_ns,
        frame.camera,
        copied(frame.left_bgr),
        copied(frame.right_bgr),
        copied(frame.depth_m),
    )


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
