"""TensorRT: the engine for NVIDIA GPUs. Runs plans that engine_build.py made, and checks each before it
trusts it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array
from depthd.mono import golden
from depthd.mono.cuda_memory import DeviceMemory
from depthd.mono.device import Device
from depthd.mono.engine_build import Runner, input_shape, key_for
from depthd.mono.engine_cache import Engine, Precision, find_engine
from depthd.mono.model import Model, ModelCard, input_size
from depthd.mono.on_stream import DeviceNetwork
from depthd.mono.preprocess import Preprocessor
from depthd.mono.tensorrt_api import TensorRt

log = logging.getLogger(__name__)


class Plan:
    """A deserialised engine with its buffers, ready to run at its one size.

    Raises DepthdError for a plan that is not for this GPU and TensorRT. The order of calls is the one that
    TensorRT demands before a graph may be captured: shape, addresses, one plain run, then capture.
    """

    def __init__(self, api: TensorRt, content: bytes, card: ModelCard, size: tuple[int, int], memory: DeviceMemory):
        self._memory = memory
        self._logger = api.logger()
        self._runtime = api.module.Runtime(self._logger)
        self._refuse_invalid(api, content)
        engine = self._runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise DepthdError(
                f"TensorRT {api.version} does not take the engine: {api.last_error(self._logger)}",
                "build it again with `depthd engine build`",
            )
        self._engine = engine
        self._context = engine.create_execution_context()
        if self._context is None:
            raise DepthdError("there is not enough GPU memory for the engine", "end other programs on the GPU")
        input_name, output_name = self._names(api, card)
        shape = input_shape(card, *size)
        if not self._context.set_input_shape(input_name, shape):
            raise DepthdError(f"the engine does not take {shape}", "build it again with `depthd engine build`")
        out_shape = tuple(self._context.get_tensor_shape(output_name))
        if math.prod(out_shape[:-2]) != 1 or min(out_shape) < 1:
            raise DepthdError(f"the engine gives {out_shape}, not one map", "name the right output in the model's card")
        self.device_input = memory.empty((1, 3, *size), np.float32)
        self.device_output = memory.empty(out_shape, np.float32)
        self.host_input = memory.host((1, 3, *size), np.float32)
        self.host_output = memory.host(out_shape, np.float32)
        self._others = self._bind_all(api, {input_name: self.device_input, output_name: self.device_output})
        self.map_size = out_shape[-2:]

    def enqueue(self) -> None:
        """Enqueues the network on the memory's stream: device_input -> device_output."""
        if not self._context.execute_async_v3(self._memory.stream_handle):
            raise RuntimeError("TensorRT could not enqueue the engine")

    def round_trip(self) -> None:
        """Enqueues host_input -> network -> host_output."""
        self._memory.copy_in(self.device_input, self.host_input)
        self.enqueue()
        self._memory.copy_out(self.host_output, self.device_output)

    def run(self, pixels: Array) -> Array:
        """float32 (1, 3, height, width) -> the map, float32 (h, w), in a buffer that the next call reuses."""
        np.copyto(self.host_input, pixels)
        self.round_trip()
        self._memory.synchronize()
        return self.host_output.reshape(self.map_size)

    def close(self) -> None:
        """The context before its engine, the engine before its runtime."""
        self._context = self._engine = self._runtime = None

    def _refuse_invalid(self, api: TensorRt, content: bytes) -> None:
        """TensorRT for RTX can tell from the first bytes whether a plan fits; the others only try."""
        if not hasattr(self._runtime, "get_engine_validity"):
            return
        validity, reasons = self._runtime.get_engine_validity(content)
        if validity == api.module.EngineValidity.INVALID:
            raise DepthdError(
                f"the engine does not fit this GPU or driver (diagnostics {int(reasons)})",
                "build it again with `depthd engine build`",
            )

    def _names(self, api: TensorRt, card: ModelCard) -> tuple[str, str]:
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = [n for n in names if self._engine.get_tensor_mode(n) == api.module.TensorIOMode.INPUT]
        outputs = [n for n in names if n not in inputs]
        output = card.output or outputs[0]
        if len(inputs) != 1 or output not in outputs:
            raise DepthdError(
                f"the engine has inputs {inputs} and outputs {outputs}",
                "correct the model's card, or build it again",
            )
        return inputs[0], output

    def _bind_all(self, api: TensorRt, wanted: dict[str, Array]) -> list[Array]:
        """Every tensor needs an address, outputs that nobody reads too; those buffers are returned to be
        kept.
        """
        others = []
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            array = wanted.get(name)
            if array is None:
                dtype = np.dtype(api.module.nptype(self._engine.get_tensor_dtype(name)))
                array = self._memory.empty(tuple(self._context.get_tensor_shape(name)), dtype)
                others.append(array)
            elif self._engine.get_tensor_dtype(name) != api.module.float32:
                raise DepthdError(f"tensor {name} of the engine is not float32", "build it again")
            self._context.set_tensor_address(name, self._memory.address(array))
        return others


class _PlanOnStream:
    """DeviceNetwork over a plan."""

    def __init__(self, plan: Plan, preprocessor: Any, memory: DeviceMemory) -> None:
        self._plan = plan
        self._preprocessor = preprocessor
        self._memory = memory
        self.map = plan.device_output.reshape(plan.map_size)

    def enqueue(self, left_bgr: Array) -> None:
        self._preprocessor.run(left_bgr, self._plan.device_input, self._memory)
        try:
            self._plan.enqueue()
        except RuntimeError as error:
            raise DepthdError(str(error), "look at dmesg, or use mono.engine=onnx") from error


def run_on(api: TensorRt, memory: DeviceMemory) -> Runner:
    """What `engine_build.build` needs for the golden check, on this device."""

    def run(plan: bytes, model: Model, height: int, width: int) -> Callable[[Array], Array]:
        return Plan(api, plan, model.card, (height, width), memory).run

    return run


class TensorRtEngine:
    """MonoEngine over a plan from the cache.

    `infer` takes a NumPy picture and gives a NumPy map, or a CuPy picture and gives a CuPy map; the latter
    never leaves the GPU. Raises DepthdError where there is no engine for this model, size, GPU and TensorRT,
    or where the engine there is fails the golden check.
    """

    title = "TensorRT"

    def __init__(
        self,
        api: TensorRt,
        model: Model,
        folder: Path,
        device: Device | None,
        memory: DeviceMemory,
        precision: Precision = "fp16",
        short_side_px: int | None = None,
        square: bool = False,
    ) -> None:
        self._api = api
        self._model = model
        self._folder = folder
        self._device = device
        self._memory = memory
        self._precision: Precision = precision
        self._short_side_px = short_side_px
        self._square = square
        self._plan: Plan | None = None
        self._cpu_preprocessor: Preprocessor | None = None
        self._device_preprocessor: Any = None
        self._launch: Any = None
        self._size = (0, 0)

    @property
    def card(self) -> ModelCard:
        return self._model.card

    def prepare(self, height: int, width: int) -> None:
        size = input_size(self.card, height, width, self._short_side_px, self._square)
        engine = self._find(*size)
        self._plan = Plan(self._api, engine.read_plan(), self.card, size, self._memory)
        self._check(engine, self._plan)
        self._size = (height, width)
        self._cpu_preprocessor = Preprocessor(self.card, height, width, *size)
        self._device_preprocessor = None
        self._launch = self._captured(self._plan)

    def infer(self, left_bgr: Array) -> Array:
        if self._plan is None or self._cpu_preprocessor is None:
            raise RuntimeError("prepare() comes before infer()")
        if not isinstance(left_bgr, np.ndarray):
            return self._infer_on_device(self._plan, left_bgr)
        np.copyto(self._plan.host_input, self._cpu_preprocessor.run(left_bgr))
        self._launch()
        self._memory.synchronize()
        return self._plan.host_output.reshape(self._plan.map_size)

    def on_stream(self) -> DeviceNetwork:
        """See depthd.mono.on_stream."""
        if self._plan is None:
            raise RuntimeError("prepare() comes before on_stream()")
        return _PlanOnStream(self._plan, self._preprocessor_of(self._plan), self._memory)

    def close(self) -> None:
        if self._plan is not None:
            self._memory.synchronize()
            self._launch = None
            self._plan.close()
            self._plan = None

    def _infer_on_device(self, plan: Plan, left_bgr: Array) -> Array:
        preprocessor = self._preprocessor_of(plan)
        self._memory.after_current()
        preprocessor.run(left_bgr, plan.device_input, self._memory)
        plan.enqueue()
        self._memory.before_current()
        return plan.device_output.reshape(plan.map_size)

    def _preprocessor_of(self, plan: Plan) -> Any:
        if self._device_preprocessor is None:
            self._device_preprocessor = self._memory.preprocessor(self.card, *self._size, *plan.device_input.shape[-2:])
        return self._device_preprocessor

    def _find(self, height: int, width: int) -> Engine:
        key = key_for(self._api, self._device, self._model, height, width, self._precision)
        engine = find_engine(self._folder, self._model.name, key)
        if engine is None:
            raise DepthdError(
                f"no {self._precision} engine of {self._model.name} for {width}x{height} px fits here",
                f"depthd engine build --model {self._model.name} --sizes {min(height, width)} "
                f"--precision {self._precision} --aspect {width}:{height}",
            )
        return engine

    def _check(self, engine: Engine, plan: Plan) -> None:
        height, width = engine.key.height, engine.key.width
        try:
            expected = golden.load_maps(engine.golden)
        except (OSError, ValueError) as error:
            raise DepthdError(f"{engine.golden} cannot be read: {error}", "build the engine again") from None
        inputs = golden.golden_inputs(self._model, height, width)
        result = golden.check(plan.run, inputs, expected, engine.key.precision)
        if result.failure:
            raise DepthdError(
                f"{engine.plan.name} is refused: {result.failure}",
                "build it again with --precision fp32, or use mono.engine=onnx",
            )
        log.info("%s: off by %.2g (relative L2) from ONNX Runtime", engine.plan.name, result.worst_error)

    def _captured(self, plan: Plan) -> Any:
        """A CUDA graph of the round trip; a plan that cannot be captured is enqueued each time."""
        plan.round_trip()
        self._memory.synchronize()
        try:
            return self._memory.capture(plan.round_trip)
        except Exception as error:  # CuPy's class is not known here, and TensorRT only returns False
            log.info("the engine runs without a CUDA graph: %s", " ".join(str(error).split()))
            self._memory.synchronize()
            return plan.round_trip
