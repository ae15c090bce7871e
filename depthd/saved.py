"""Frames for the tools that look at one: from shared memory, or as depthd saved them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthd.errors import UsageError
from depthd.frame import Array, Camera

if TYPE_CHECKING:
    from depthd.shm.reader import Frame


@dataclass(frozen=True)
class SavedFrame:
    """depth_m, stereo_depth_m: float32 metres; source: uint8; sigma: float16; left_bgr: uint8. None where
    not there.
    """

    camera: Camera
    depth_m: Array
    source: Array | None = None
    sigma: Array | None = None
    left_bgr: Array | None = None
    stereo_depth_m: Array | None = None

    def depth_of(self, which: str) -> Array:
        """'fused' or 'stereo'. Raises UsageError where the frame has no stereo depth."""
        if which == "fused":
            return self.depth_m
        if self.stereo_depth_m is None:
            raise UsageError("this frame has no stereo depth", "publish or save the plane stereo_depth")
        return self.stereo_depth_m

    @property
    def picture(self) -> Array:
        """The left picture; where there is none, the depth in colours."""
        if self.left_bgr is not None:
            return self.left_bgr
        from depthd.export.panels import DepthScale, depth_picture

        return depth_picture(self.depth_m, DepthScale.of(self.depth_m))

    @property
    def sources(self) -> Array:
        """The source map; zeros where there is none."""
        return np.zeros(self.depth_m.shape, np.uint8) if self.source is None else self.source


def of_frame(frame: Frame) -> SavedFrame:
    """A frame of shared memory; the caller has copied it."""
    return SavedFrame(frame.camera, frame.depth, frame.source, frame.sigma, frame.left, frame.stereo_depth)


def next_frame(name: str) -> SavedFrame:
    """The next frame of a running daemon. Raises DepthdError."""
    from depthd.shm.errors import Overwritten
    from depthd.shm.reader import open_reader

    with open_reader(name) as reader:
        while True:
            try:
                return of_frame(reader.wait(timeout=5.0).copy())
            except Overwritten:
                continue


def load(path: Path) -> SavedFrame:
    """A .npz that the live page gave, or a folder that `depthd fuse` wrote. Raises UsageError."""
    try:
        if path.is_dir():
            camera = Camera(**json.loads((path / "report.json").read_text(encoding="utf-8"))["camera"])
            planes = {file.stem: np.load(file, allow_pickle=False) for file in path.glob("*.npy")}
        else:
            with np.load(path, allow_pickle=False) as archive:
                planes = {name: archive[name] for name in archive.files}
            camera = Camera(**json.loads(str(planes["about"]))["camera"])
        return _checked(camera, planes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no saved frame ({error})",
            "give a .npz of the live page, or a folder of `depthd fuse`",
        ) from None


def _checked(camera: Camera, planes: dict[str, Any]) -> SavedFrame:
    size = (camera.height, camera.width)
    if planes["depth"].shape != size:
        raise ValueError(f"depth is {planes['depth'].shape}, the camera {size}")
    return SavedFrame(
        camera,
        planes["depth"].astype(np.float32, copy=False),
        planes.get("source"),
        planes.get("sigma"),
        planes.get("left"),
        planes.get("stereo_depth"),
    )
