"""Monocular depth networks: one file an engine, one card a model."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depthd.config import MonoConfig
    from depthd.mono.base import MonoEngine
    from depthd.mono.cuda_memory import DeviceMemory

log = logging.getLogger(__name__)


def open_engine(config: MonoConfig, memory: DeviceMemory | None = None) -> MonoEngine:
    """Loads the configured model into the configured engine. Raises DepthdError; `prepare` comes next.

    memory: the device and the stream that an engine on a GPU works on; of its own where none is given.
    """
    if config.engine == "onnx":
        return _open_onnx(config, memory)
    if config.engine == "tensorrt":
        return _open_tensorrt(config, memory)
    from depthd.mono.fallback import FirstThatWorks

    openers = (partial(_open_tensorrt, memory=memory), partial(_open_onnx, memory=memory))
    return FirstThatWorks(config, openers)


def _open_onnx(config: MonoConfig, memory: DeviceMemory | None = None) -> MonoEngine:
    from depthd.mono.model import find_model
    from depthd.mono.onnx import OnnxEngine

    return OnnxEngine(
        find_model(config.model, folder=config.weights_dir),
        config.threads,
        config.short_side_px,
        config.providers,
        config.aspect == "square",
        memory=memory,
    )


def _open_tensorrt(config: MonoConfig, memory: DeviceMemory | None = None) -> MonoEngine:
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
        memory or CudaMemory(),
        config.precision,
        config.short_side_px,
        config.aspect == "square",
    )
