"""What gives stereo depth to cameras that have none: the block matcher, or a stereo network."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from depthd.config import MatcherConfig
from depthd.frame import Array, Camera


class Matcher(Protocol):
    """Depth of rectified pairs of one camera."""

    def depth_m(self, left_bgr: Array, right_bgr: Array) -> Array:
        """uint8 (height, width, 3) twice -> float32 (height, width), metres, classes as in depthd.frame."""


def open_matcher(config: MatcherConfig, camera: Camera, weights_dir: Path | None = None) -> Matcher:
    """The configured matcher. Raises DepthdError."""
    if config.model is None:
        from depthd.cameras.matcher import StereoMatcher

        return StereoMatcher(camera, config)
    from depthd.mono.model import find_model
    from depthd.mono.stereo import StereoNetwork

    return StereoNetwork(find_model(config.model, folder=weights_dir), camera)
