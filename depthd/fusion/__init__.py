"""Fits mono to stereo, judges stereo, and merges both."""

from __future__ import annotations

import logging

from depthd.config import FusionConfig
from depthd.device import DeviceChoice, choose_device
from depthd.errors import DepthdError
from depthd.frame import Camera
from depthd.fusion.base import Fusion
from depthd.fusion.parameters import MonoKind, Parameters, make_parameters

log = logging.getLogger(__name__)


def create(config: FusionConfig, camera: Camera, output_kind: str, device: DeviceChoice = "cpu") -> Fusion:
    """A fusion for frames of this camera and a network of this output kind (see depthd.mono.model).

    backend `auto` is the GPU's or the C one, as `device` says. Raises DepthdError where the GPU is demanded and cannot
    be used; with device `auto` the C fusion takes over, now or when the GPU fails later.
    """
    parameters = parameters_of(config, camera, output_kind)
    if config.backend == "reference":
        from depthd.fusion.reference import ReferenceFusion

        return ReferenceFusion(parameters)
    if config.backend == "cpu" or choose_device(device) == "cpu":
        return _on_cpu(parameters, config.threads)
    return _on_gpu(parameters, config.threads, may_fall_back=device == "auto")


def parameters_of(config: FusionConfig, camera: Camera, output_kind: str) -> Parameters:
    """The numbers that a fusion of frames of this camera and of this kind of network works with."""
    return make_parameters(config, camera, MonoKind.from_card(output_kind))


def _on_cpu(parameters: Parameters, threads: int) -> Fusion:
    from depthd.fusion.cpu import CpuFusion

    return CpuFusion(parameters, threads)


def _on_gpu(parameters: Parameters, threads: int, may_fall_back: bool) -> Fusion:
    from depthd.fusion.cuda import CudaFusion
    from depthd.fusion.fallback import FallbackFusion

    try:
        fusion = CudaFusion(parameters)
    except DepthdError as error:
        if not may_fall_back:
            raise
        log.error("the fusion runs on the CPU: %s", error)
        return _on_cpu(parameters, threads)
    return FallbackFusion(fusion, lambda: _on_cpu(parameters, threads)) if may_fall_back else fusion
