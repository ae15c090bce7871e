"""Monocular depth networks: one file an engine, one card a model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depthd.config import MonoConfig
    from depthd.mono.base import MonoEngine

log = logging.getLogger(__name__)


def open_engine(config: MonoConfig) -> MonoEngine:
    """Loads the configured model into the configured engine. Raises DepthdError; `prepare` comes next."""
    if config.engine == "onnx":
        return _open_onnx(config)
    if config.engine == "tensorrt":
        return _open_tensorrt(config)
    from depthd.mono.fallback import FirstThatWorks

    return FirstThatWorks(config, (_open_tensorrt, _open_onnx))


def _open_onnx(config: MonoConfig) -> MonoEngine:
    from depthd.mono.model import find_model
    from depthd.mono.onnx import OnnxEngine

    return OnnxEngine(
        find_model(config.model, folder=config.weights_dir),
        config.threads,
        config.short_side_px,
        config.providers,
        config.aspect == "square",
    )


def _open_tensorrt(config: MonoConfig) -> MonoEngine:
    from depthd.mono.cuda_memory import CudaMemory
    from depthd.mono.device import find_device
    from depthd.mono.engine_cache import engines_folder
    from depthd.mono.model import find_model
    from depthd.mono.tensorrt import TensorRtEngine
    from depthd.mono.tensorrt_api import find_tensorrt

    return TensorRtEngine(
        find_tensorrt(),
        find_model(config.model, folder=config.weights_dir),
        engines_folder(config.weights_dir),
        find_device(),
        CudaMemory(),
        config.precision,
        config.short_side_px,
        config.aspect == "square",
    )
