"""Frames all the way through matcher, network and fusion, without a daemon and without shared memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depthd.frame import Array, FusedPlanes, FusionResult, StereoFrame

if TYPE_CHECKING:
    from depthd.cameras.base import CameraSource
    from depthd.config import Config


@dataclass(frozen=True)
class Taken:
    """One frame and what came of it. The arrays are written again with the next frame."""

    source: CameraSource
    frame: StereoFrame
    stereo_depth_m: Array
    mono: Array
    planes: FusedPlanes
    result: FusionResult


def take_frames(config: Config, count: int) -> Iterator[Taken]:
    """The next `count` frames of the configured camera; fewer where a recording ends. Raises DepthdError."""
    from depthd import fusion as fusions
    from depthd.cameras import open_camera
    from depthd.cameras.base import EndOfRecording
    from depthd.cameras.matcher import StereoMatcher
    from depthd.pipeline import open_mono

    with closing(open_camera(config.camera)) as source, closing(open_mono(config, source.camera)) as engine:
        camera = source.camera
        matcher = StereoMatcher(camera, config.matcher)
        fusion = fusions.create(config.fusion, camera, engine.card.output_kind)
        planes = FusedPlanes.empty(camera.height, camera.width)
        for _ in range(count):
            try:
                frame = source.grab()
            except EndOfRecording:
                return
            stereo_m: Array = frame.depth_m
            if stereo_m is None:
                right: Array = frame.right_bgr
                stereo_m = matcher.depth_m(frame.left_bgr, right)
            mono = engine.infer(frame.left_bgr)
            yield Taken(source, frame, stereo_m, mono, planes, fusion.fuse(stereo_m, mono, planes))
