"""Monocular depth networks: one file an engine, one card a model."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from depthd.errors import DepthdError

if TYPE_CHECKING:
    from depthd.config import MonoConfig
    from depthd.mono.base import MonoEngine
    from depthd.mono.cuda_memory import DeviceMemory

log = logging.getLogger(__name__)


def open_engine(config: MonoConfig, memory: DeviceMemory | None = None) -> MonoEngine:
    """Loads the configured model into the configured engine. Raises DepthdError; `prepare` comes next.

    memory: the device and the stream that an engine on a GPU works on; of its own where none is given.
    """
    if config.engine == "tensorrt":
        return _open_tensorrt(config, memory)
    portable = (_open_onnx_half, _open_onnx) if _half_precision_is_possible(config) else (_open_onnx,)
    openers = (_open_tensorrt, *portable) if _tensorrt_is_wanted(config) else portable
    if len(openers) == 1:
        return openers[0](config, memory)
    from depthd.mono.fallback import FirstThatWorks

    return FirstThatWorks(config, [partial(opener, memory=memory) for opener in openers])


def _tensorrt_is_wanted(config: MonoConfig) -> bool:
    """`auto` tries TensorRT where there is a GPU, and does not speak of it elsewhere."""
    from depthd.mono.device import find_device

    if config.engine == "auto" and find_device() is None:
        log.debug("mono engine: TensorRT is not tried, since there is no GPU that CuPy sees")
        return False
    return config.engine == "auto"


def _half_precision_is_possible(config: MonoConfig) -> bool:
    """Whether the portable engine will run on a GPU; on a CPU half precision is slower."""
    from depthd.mono.onnx import has_provider

    if config.precision != "fp16":
        return False
    try:
        here = [provider for provider in config.providers if has_provider(provider)]
    except DepthdError:  # said when the portable engine is opened
        return False
    return here[:1] == ["cuda"]


def _open_onnx_half(config: MonoConfig, memory: DeviceMemory | None = None) -> MonoEngine:
    from depthd.mono.cuda_memory import CudaMemory
    from depthd.mono.engine_cache import engines_folder
    from depthd.mono.model import find_model
    from depthd.mono.onnx_half import HalfOnnxEngine

    return HalfOnnxEngine(
        find_model(config.model, folder=config.weights_dir),
        engines_folder(config.weights_dir),
        memory or CudaMemory(),
        config.threads,
        config.short_side_px,
        config.aspect == "square",
        shares_stream=memory is not None,
    )


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
