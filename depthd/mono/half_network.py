"""A network of one size in half precision, written for ONNX Runtime on a GPU.

ONNX Runtime runs what the file says, so half precision is a file of its own: of fixed size (whatever follows
from the size is computed beforehand, and the whole network can be captured in one CUDA graph), with each
transformer's block in few operators, and float16 but for what overflows.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depthd.errors import DepthdError
from depthd.mono import half
from depthd.mono.blocks import fuse_blocks
from depthd.mono.convolutions import resize_channels_last, simplify_convolutions
from depthd.mono.device import Device
from depthd.mono.engine_build import model_checksum
from depthd.mono.engine_cache import PORTABLE, EngineKey
from depthd.mono.graph import shapes_of
from depthd.mono.model import Model
from depthd.mono.onnx import import_onnxruntime, one_line

log = logging.getLogger(__name__)

CONVERSION = 3
"""Counts changes of this conversion: networks that an older depthd wrote are made again."""

CUDA_OPTIONS = {
    # Without it, the norm of a residual sum adds up in half precision.
    "enable_skip_layer_norm_strict_mode": "1",
    # Without it, ONNX Runtime takes convolutions off the tensor cores, those in half precision too.
    "use_tf32": "1",
}


@dataclass(frozen=True)
class Network:
    """What is written."""

    in_float32: tuple[str, ...]
    """Operators that stay so; see half.to_half."""
    level: int = 0
    blocks: bool = False
    """Whether transformer blocks are fused, whose normalisations then sum up in float32 by themselves."""
    channels_last: bool = False
    """Whether the convolutions are laid out as tensor cores read them."""


@dataclass(frozen=True)
class Recipe:
    """How a float32 network becomes one of half precision, and runs."""

    network: Network
    options: Mapping[str, str] = field(default_factory=dict)
    """Of ONNX Runtime's CUDA provider, beside CUDA_OPTIONS."""


ALIKE = (
    Recipe(Network(half.REDUCING, blocks=True)),
    Recipe(Network(half.REDUCING, blocks=True, channels_last=True), {"prefer_nhwc": "1"}),
)
"""Equally exact; which of them is fastest depends on the network, the GPU and cuDNN, so it is measured."""
RECIPES = (*ALIKE, *(Recipe(Network(half.ALWAYS_FLOAT32, level)) for level in half.LEVELS))
"""The fastest of ALIKE whose maps are right is taken, else the first of the others; its number is the engine's
`half_level`.
"""


def half_key(model: Model, height: int, width: int, device: Device) -> EngineKey:
    """What a converted network must have been made of, and by what, to be used here."""
    return EngineKey(
        model_sha256=model_checksum(model),
        height=height,
        width=width,
        precision="fp16",
        runtime=PORTABLE,
        version=f"{import_onnxruntime().__version__}, conversion {CONVERSION}",
        gpu=device.name,
        compute_capability=device.compute_capability,
        driver=device.driver,
    )


def convert(model: Model, size: tuple[int, int], network: Network) -> bytes:
    """The model as ONNX of this (height, width) in half precision; input and output stay float32.

    Raises DepthdError where the onnx package is absent or the conversion fails.
    """
    with tempfile.TemporaryDirectory(prefix="depthd-") as folder:
        fixed, out = Path(folder) / "fixed.onnx", Path(folder) / "half.onnx"
        fix_size(model, size, fixed, network.blocks)
        if network.blocks:
            _simplify(model, fixed, network.channels_last)
        half.to_half(fixed, out, network.level, network.in_float32)
        return out.read_bytes()


def fix_size(model: Model, size: tuple[int, int], out: Path, blocks: bool = False) -> None:
    """Writes a float32 copy whose input has this (height, width), with everything that follows from it
    computed. Raises DepthdError.
    """
    onnx = half.import_onnx()
    runtime = import_onnxruntime()
    try:
        proto = onnx.load(str(model.path))
        if blocks:
            found = fuse_blocks(proto)
            log.debug("%s: %s", model.name, found)
        dimensions = proto.graph.input[0].type.tensor_type.shape.dim
        for dimension, value in zip(dimensions, _with_size(dimensions, size), strict=True):
            dimension.dim_value = value
        del proto.graph.value_info[:]
        with contextlib.suppress(Exception):  # only helps; a network that cannot be inferred runs all the same
            proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(out)
        runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except DepthdError:
        raise
    except Exception as error:  # onnx and ONNX Runtime raise classes of their own, directly below Exception
        raise DepthdError(
            f"{model.name} cannot be given a fixed size: {one_line(error)}", "use mono.precision=fp32"
        ) from None


def _simplify(model: Model, network: Path, channels_last: bool) -> None:
    """Rewrites the convolutions of a network of fixed size in its file."""
    onnx = half.import_onnx()
    try:
        proto = onnx.load(str(network))
        found = simplify_convolutions(proto, shapes_of(proto))
        if channels_last:
            found["ChannelsLast"] = resize_channels_last(proto, shapes_of(proto))
        log.debug("%s: %s", model.name, found)
        onnx.save(proto, str(network))
    except Exception as error:  # as above
        raise DepthdError(
            f"the convolutions of {model.name} cannot be rewritten: {one_line(error)}", "use mono.precision=fp32"
        ) from None


def _with_size(dimensions: Sequence[Any], size: tuple[int, int]) -> list[int]:
    """One picture (and one view) of this size; axes that the file fixes stay."""
    before = [dimension.dim_value or 1 for dimension in dimensions[:-3]]
    return [*before, 3, *size]
