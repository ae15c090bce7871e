"""Fits mono to stereo, judges stereo, and merges both."""

from __future__ import annotations

from depthd.config import FusionConfig
from depthd.frame import Camera
from depthd.fusion.base import Fusion
from depthd.fusion.parameters import MonoKind, make_parameters


def create(config: FusionConfig, camera: Camera, output_kind: str) -> Fusion:
    """A fusion for frames of this camera and a network of this output kind (see depthd.mono.model)."""
    parameters = make_parameters(config, camera, MonoKind.from_card(output_kind))
    if config.backend == "reference":
        from depthd.fusion.reference import ReferenceFusion

        return ReferenceFusion(parameters)
    from depthd.fusion.cpu import CpuFusion

    return CpuFusion(parameters, config.threads)
