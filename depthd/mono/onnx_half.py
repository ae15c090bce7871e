"""The portable engine in half precision, on a GPU: the model is converted once for its size, kept as an
engine beside TensorRT's, and checked against the golden maps whenever it is loaded.

ONNX Runtime runs what the file says, so half precision is a file of its own: of fixed size (whatever follows
from the size is computed beforehand, and the whole network can be captured in one CUDA graph), with each
transformer's block in few operators, and float16 but for what overflows.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array
from depthd.mono import engine_cache, golden, half
from depthd.mono.blocks import fuse_blocks
from depthd.mono.cuda_memory import DeviceMemory
from depthd.mono.device import ANY_DEVICE
from depthd.mono.engine_build import model_checksum
from depthd.mono.engine_cache import PORTABLE, EngineKey
from depthd.mono.model import Model, ModelCard, input_size
from depthd.mono.onnx import (
    Provider,
    import_onnxruntime,
    input_of,
    one_line,
    open_session,
    output_of,
    possible_size,
    provider_of,
    stream_options,
)
from depthd.mono.onnx_cuda import DeviceBinding
from depthd.mono.preprocess import Preprocessor

log = logging.getLogger(__name__)

CUDA_OPTIONS = {
    # Without it, the norm of a residual sum adds up in half precision.
    "enable_skip_layer_norm_strict_mode": "1",
}
RUNS_BEFORE_REPLAY = 3
"""ONNX Runtime captures at the third run; only what comes later is what every frame gets."""


@dataclass(frozen=True)
class Recipe:
    """How a float32 network becomes one of half precision."""

    blocks: bool
    """Whether transformer blocks are fused, whose normalisations then sum up in float32 by themselves."""
    in_float32: Sequence[str]
    level: int


RECIPES = (
    Recipe(True, half.REDUCING, 0),
    *(Recipe(False, half.ALWAYS_FLOAT32, level) for level in half.LEVELS),
)
"""Fastest first. The first whose maps are right is taken; its number is the engine's `half_level`."""


def half_key(model: Model, height: int, width: int) -> EngineKey:
    """What a converted network must have been made of, and by what, to be used here."""
    return EngineKey(
        model_sha256=model_checksum(model),
        height=height,
        width=width,
        precision="fp16",
        runtime=PORTABLE,
        version=str(import_onnxruntime().__version__),
        gpu=ANY_DEVICE.name,
        compute_capability=ANY_DEVICE.compute_capability,
        driver=ANY_DEVICE.driver,
    )


def convert(model: Model, size: tuple[int, int], recipe: Recipe) -> bytes:
    """The model as ONNX of this (height, width) in half precision; input and output stay float32.

    Raises DepthdError where the onnx package is absent or the conversion fails.
    """
    with tempfile.TemporaryDirectory(prefix="depthd-") as folder:
        fixed, out = Path(folder) / "fixed.onnx", Path(folder) / "half.onnx"
        fix_size(model, size, fixed, recipe.blocks)
        half.to_half(fixed, out, recipe.level, recipe.in_float32)
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


def _with_size(dimensions: Sequence[Any], size: tuple[int, int]) -> list[int]:
    """One picture (and one view) of this size; axes that the file fixes stay."""
    before = [dimension.dim_value or 1 for dimension in dimensions[:-3]]
    return [*before, 3, *size]


class HalfOnnxEngine:
    """MonoEngine of ONNX Runtime on a GPU in half precision, with buffers of fixed addresses there.

    folder: where converted networks are kept; one that cannot be written costs the conversion, some seconds,
    at every start. provider: the tests run it on the CPU. shares_stream: the network works on the memory's
    stream, where the caller may capture it; otherwise ONNX Runtime captures it by itself. Raises DepthdError
    where the provider does not load, or where no recipe passes the golden check.
    """

    title = "ONNX Runtime in half precision"

    def __init__(
        self,
        model: Model,
        folder: Path,
        memory: DeviceMemory,
        threads: int = 2,
        short_side_px: int | None = None,
        square: bool = False,
        provider: Provider = "cuda",
        shares_stream: bool = False,
    ) -> None:
        self._model = model
        self._folder = folder
        self._memory = memory
        self._threads = threads
        self._short_side_px = short_side_px
        self._square = square
        self._provider: Provider = provider
        self._shares_stream = shares_stream
        self._binding: DeviceBinding | None = None
        self._preprocessor: Preprocessor | None = None

    @property
    def card(self) -> ModelCard:
        return self._model.card

    @property
    def binding(self) -> DeviceBinding:
        """Buffers and network, for whoever works on the device itself. Only after `prepare`."""
        if self._binding is None:
            raise RuntimeError("prepare() comes first")
        return self._binding

    def prepare(self, height: int, width: int) -> None:
        self._picture_size = (height, width)
        size = input_size(self.card, height, width, self._short_side_px, self._square)
        size = possible_size(self._model, _input_shape(self._model), size)
        self._binding = self._stored(size) or self._converted(size)
        self._host_input = self._memory.host(self._binding.input.shape, np.float32)
        self._host_output = self._memory.host(self._binding.output.shape, np.float32)
        self._preprocessor = Preprocessor(self.card, height, width, *size)

    def infer(self, left_bgr: Array) -> Array:
        if self._binding is None or self._preprocessor is None:
            raise RuntimeError("prepare() comes before infer()")
        if not isinstance(left_bgr, np.ndarray):
            return self._binding.run(left_bgr)
        np.copyto(self._host_input, self._preprocessor.run(left_bgr))
        self._round_trip(self._binding)
        return self._host_output.reshape(self._host_output.shape[-2:])

    def on_stream(self) -> DeviceBinding | None:
        """See depthd.mono.on_stream."""
        return self.binding if self._shares_stream else None

    def close(self) -> None:
        self._binding = self._preprocessor = None

    def _stored(self, size: tuple[int, int]) -> DeviceBinding | None:
        """The network that an earlier start converted, if it is right here too."""
        engine = engine_cache.find_engine(self._folder, self._model.name, half_key(self._model, *size))
        if engine is None:
            return None
        try:
            binding, result = self._checked(engine.read_plan(), size, golden.load_maps(engine.golden))
        except (DepthdError, OSError, ValueError) as error:
            log.warning("%s is made again: %s", engine.plan.name, error)
            return None
        if result.failure:
            log.warning("%s is made again: %s", engine.plan.name, result.failure)
            return None
        self._say(engine.plan.name, engine.half_level, result.worst_error)
        return binding

    def _converted(self, size: tuple[int, int]) -> DeviceBinding:
        expected = golden.reference_maps(self._model, *size)
        failure = ""
        for number, recipe in enumerate(RECIPES):
            try:
                content = convert(self._model, size, recipe)
                binding, result = self._checked(content, size, expected)
            except DepthdError as error:
                failure = error.what
                continue
            if not result.failure:
                self._keep(size, content, expected, number, result.worst_error)
                return binding
            failure = result.failure
        raise DepthdError(f"{self._model.name} in half precision: {failure}", "use mono.precision=fp32")

    def _checked(
        self, content: bytes, size: tuple[int, int], expected: list[Array]
    ) -> tuple[DeviceBinding, golden.GoldenResult]:
        """Loads a converted network and compares its maps. Raises DepthdError where it does not run."""
        binding = self._opened(content, size, expected[0].shape)
        staged = [self._memory.host(array.shape, np.float32) for array in (binding.input, binding.output)]

        def infer(pixels: Array) -> Array:
            np.copyto(staged[0], pixels.reshape(staged[0].shape))
            self._round_trip(binding, *staged)
            return staged[1]

        inputs = golden.golden_inputs(self._model, *size)
        try:
            for _ in range(RUNS_BEFORE_REPLAY):
                infer(inputs[-1])
            return binding, golden.check(infer, inputs, expected, "fp16")
        except Exception as error:  # see open_session
            raise DepthdError(
                f"{self._model.name} in half precision fails: {one_line(error)}", "use mono.precision=fp32"
            ) from None

    def _opened(self, content: bytes, size: tuple[int, int], map_size: tuple[int, ...]) -> DeviceBinding:
        """In one CUDA graph if every operator is on the GPU."""
        try:
            session = self._session(content, cuda_graph=not self._shares_stream)
        except DepthdError as error:
            log.info("%s runs without a CUDA graph: %s", self._model.name, error.what)
            session = self._session(content, cuda_graph=False)
        names = input_of(session, self._model)[0], output_of(session, self._model)
        rank = next(len(out.shape) for out in session.get_outputs() if out.name == names[1])
        shape = (*(1,) * (rank - 2), *map_size)
        return DeviceBinding(
            session, self.card, names, size, shape, self._picture_size, self._memory, self._shares_stream
        )

    def _session(self, content: bytes, cuda_graph: bool) -> Any:
        options = {**CUDA_OPTIONS, **(stream_options(self._memory) if self._shares_stream else {})}
        session = open_session(self._model, self._threads, (self._provider,), cuda_graph, content, options)
        if provider_of(session) != self._provider:
            raise DepthdError(f"ONNX Runtime's {self._provider} provider does not load here", _PROVIDER_REMEDY)
        return session

    def _round_trip(self, binding: DeviceBinding, source: Array | None = None, out: Array | None = None) -> None:
        """Host -> network -> host. ONNX Runtime waits for its own stream, but for no other."""
        self._memory.copy_in(binding.input, self._host_input if source is None else source)
        self._memory.synchronize()
        binding.run_network()
        self._memory.copy_out(self._host_output if out is None else out, binding.output)
        self._memory.synchronize()

    def _keep(
        self, size: tuple[int, int], content: bytes, expected: list[Array], number: int, worst_error: float
    ) -> None:
        key = half_key(self._model, *size)
        try:
            engine = engine_cache.place(
                self._folder,
                self._model.name,
                key,
                content,
                lambda path: golden.save_maps(path, expected),
                half_level=number,
                worst_error=worst_error,
            )
        except DepthdError as error:
            log.warning("the converted network is not kept: %s", error.what)
            return
        self._say(engine.plan.name, number, worst_error)

    def _say(self, name: str, number: int, worst_error: float) -> None:
        log.info("%s: half precision, recipe %d, off by %.2g (relative L2) from float32", name, number, worst_error)


_PROVIDER_REMEDY = "pip install onnxruntime-gpu for the installed CUDA, or use mono.precision=fp32"


def _input_shape(model: Model) -> list[Any]:
    """Of the model's file, as it declares it."""
    onnx = half.import_onnx()
    try:
        proto = onnx.load(str(model.path), load_external_data=False)
    except Exception as error:
        raise DepthdError(f"{model.path} is no ONNX: {one_line(error)}", "give another file") from None
    inputs = [value for value in proto.graph.input if value.name == (model.card.input or proto.graph.input[0].name)]
    dimensions = inputs[0].type.tensor_type.shape.dim if inputs else []
    return [dimension.dim_value or None for dimension in dimensions] or [None, None]
