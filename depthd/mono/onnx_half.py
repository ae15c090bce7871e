"""The portable engine in half precision, on a GPU: the model is converted once for its size (half_network.py),
kept as an engine beside TensorRT's, and checked against the golden maps whenever it is loaded.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array
from depthd.mono import engine_cache, golden, half
from depthd.mono.cuda_memory import DeviceMemory
from depthd.mono.device import ANY_DEVICE, find_device
from depthd.mono.half_network import ALIKE, CUDA_OPTIONS, RECIPES, Network, Recipe, convert, half_key
from depthd.mono.model import Model, ModelCard, input_size
from depthd.mono.onnx import (
    Provider,
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

RUNS_BEFORE_REPLAY = 3
"""ONNX Runtime captures at the third run; only what comes later is what every frame gets."""
RUNS_TO_COMPARE = 30


@dataclass(frozen=True)
class _Candidate:
    """A converted network that is right, and how long it takes."""

    number: int
    content: bytes
    worst_error: float
    latency_ms: float


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
        engine = engine_cache.find_engine(self._folder, self._model.name, self._key(size))
        if engine is None:
            return None
        try:
            recipe = RECIPES[engine.half_level]
            binding, result = self._checked(engine.read_plan(), recipe, size, golden.load_maps(engine.golden))
        except (DepthdError, OSError, ValueError, IndexError) as error:
            log.warning("%s is made again: %s", engine.plan.name, error)
            return None
        if result.failure:
            log.warning("%s is made again: %s", engine.plan.name, result.failure)
            return None
        self._say(engine.plan.name, engine.half_level, result.worst_error)
        return binding

    def _converted(self, size: tuple[int, int]) -> DeviceBinding:
        expected = golden.reference_maps(self._model, *size)
        best = self._fastest(size, expected)
        binding, result = self._checked(best.content, RECIPES[best.number], size, expected)
        if result.failure:
            raise DepthdError(f"{self._model.name} in half precision: {result.failure}", "use mono.precision=fp32")
        self._keep(size, expected, best)
        return binding

    def _fastest(self, size: tuple[int, int], expected: list[Array]) -> _Candidate:
        """Of the recipes that are alike; one of the others only where none of these is right."""
        best: _Candidate | None = None
        failure, networks = "", dict[Network, bytes]()
        for number, recipe in enumerate(RECIPES):
            if best is not None and number >= len(ALIKE):
                break
            try:
                content = networks.get(recipe.network) or convert(self._model, size, recipe.network)
                networks[recipe.network] = content
                binding, result = self._checked(content, recipe, size, expected, shares_stream=False)
            except DepthdError as error:
                failure = error.what
                continue
            failure = result.failure or failure
            if result.failure:
                continue
            found = _Candidate(number, content, result.worst_error, _latency_ms(binding))
            log.info("%s: recipe %d takes %.2f ms", self._model.name, number, found.latency_ms)
            if best is None or found.latency_ms < best.latency_ms:
                best = found
        if best is None:
            raise DepthdError(f"{self._model.name} in half precision: {failure}", "use mono.precision=fp32")
        return best

    def _checked(
        self,
        content: bytes,
        recipe: Recipe,
        size: tuple[int, int],
        expected: list[Array],
        shares_stream: bool | None = None,
    ) -> tuple[DeviceBinding, golden.GoldenResult]:
        """Loads a converted network and compares its maps. Raises DepthdError where it does not run."""
        shares_stream = self._shares_stream if shares_stream is None else shares_stream
        binding = self._opened(content, recipe, size, expected[0].shape, shares_stream)
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

    def _opened(
        self, content: bytes, recipe: Recipe, size: tuple[int, int], map_size: tuple[int, ...], shares_stream: bool
    ) -> DeviceBinding:
        """In one CUDA graph if every operator is on the GPU."""
        options = {**CUDA_OPTIONS, **recipe.options, **(stream_options(self._memory) if shares_stream else {})}
        try:
            session = self._session(content, options, cuda_graph=not shares_stream)
        except DepthdError as error:
            log.info("%s runs without a CUDA graph: %s", self._model.name, error.what)
            session = self._session(content, options, cuda_graph=False)
        names = input_of(session, self._model)[0], output_of(session, self._model)
        rank = next(len(out.shape) for out in session.get_outputs() if out.name == names[1])
        shape = (*(1,) * (rank - 2), *map_size)
        return DeviceBinding(session, self.card, names, size, shape, self._picture_size, self._memory, shares_stream)

    def _session(self, content: bytes, options: dict[str, str], cuda_graph: bool) -> Any:
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

    def _keep(self, size: tuple[int, int], expected: list[Array], made: _Candidate) -> None:
        try:
            engine = engine_cache.place(
                self._folder,
                self._model.name,
                self._key(size),
                made.content,
                lambda path: golden.save_maps(path, expected),
                half_level=made.number,
                worst_error=made.worst_error,
            )
        except DepthdError as error:
            log.warning("the converted network is not kept: %s", error.what)
            return
        self._say(engine.plan.name, made.number, made.worst_error)

    def _key(self, size: tuple[int, int]) -> engine_cache.EngineKey:
        return half_key(self._model, *size, find_device() or ANY_DEVICE)

    def _say(self, name: str, number: int, worst_error: float) -> None:
        log.info("%s: half precision, recipe %d, off by %.2g (relative L2) from float32", name, number, worst_error)


def _latency_ms(binding: DeviceBinding) -> float:
    """Median of the network alone, from and to the device."""
    times = []
    for _ in range(RUNS_TO_COMPARE):
        begin = time.perf_counter()
        binding.run_network()
        times.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(times))


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
