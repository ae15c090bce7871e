"""ONNX Runtime on the CPU: the engine that runs everywhere."""

from __future__ import annotations

import logging
import math
import os
from types import ModuleType
from typing import Any

import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array
from depthd.mono.model import Model, ModelCard, input_size
from depthd.mono.preprocess import Preprocessor

log = logging.getLogger(__name__)


class OnnxEngine:
    """A network in ONNX Runtime, with input and output in buffers of its own that every call reuses.

    threads: CPU threads, 0 = one per core. short_side_px: see `input_size`. Raises DepthdError for a file
    that is no ONNX, that this ONNX Runtime cannot run, or that does not take one picture and give one map.
    """

    def __init__(self, model: Model, threads: int = 2, short_side_px: int | None = None) -> None:
        self._model = model
        self._short_side_px = short_side_px
        self._runtime = import_onnxruntime()
        self._session: Any = _open_session(self._runtime, model, threads)
        self._input_name, self._input_shape = _input_of(self._session, model)
        self._output_name = _output_of(self._session, model)
        self._preprocessor: Preprocessor | None = None
        self._binding: Any = None
        self._output: Array = np.empty(0, np.float32)
        self._map: Array = self._output
        self._finite = True

    @property
    def card(self) -> ModelCard:
        return self._model.card

    def prepare(self, height: int, width: int) -> None:
        """Allocates for pictures of this size and runs once. Raises DepthdError where that gives no map."""
        out_height, out_width = self._network_size(height, width)
        self._preprocessor = Preprocessor(self.card, height, width, out_height, out_width)
        self._preprocessor.run(_test_picture(height, width))
        self._bind(self._warm_up())
        if not math.isfinite(float(self._map.sum())):
            raise DepthdError(
                f"model {self._model.name} gives values that are not finite",
                "fetch it again or choose another model",
            )

    def infer(self, left_bgr: Array) -> Array:
        """See MonoEngine. Values that are not finite are passed on, as unknown to the fusion, and logged."""
        if self._preprocessor is None:
            raise RuntimeError("prepare() comes before infer()")
        self._preprocessor.run(left_bgr)
        self._session.run_with_iobinding(self._binding)
        self._note_finite(math.isfinite(float(self._map.sum())))
        return self._map

    def close(self) -> None:
        self._binding = self._session = self._preprocessor = None

    def _network_size(self, height: int, width: int) -> tuple[int, int]:
        """The rule of the card, except for an ONNX file with a fixed size, which can be run at no other."""
        wanted = input_size(self.card, height, width, self._short_side_px)
        fixed = tuple(side if isinstance(side, int) else None for side in self._input_shape[2:])
        size = (fixed[0] or wanted[0], fixed[1] or wanted[1])
        if size != wanted:
            log.warning(
                "model %s only takes %dx%d px; %dx%d would keep the aspect",
                self._model.name, size[1], size[0], wanted[1], wanted[0],
            )  # fmt: skip
        return size

    def _warm_up(self) -> tuple[int, ...]:
        """Runs once and returns the shape of the output."""
        assert self._preprocessor is not None
        try:
            (output,) = self._session.run([self._output_name], {self._input_name: self._preprocessor.buffer})
        except Exception as error:  # ONNX Runtime raises a class per error code, all directly below Exception
            raise DepthdError(
                f"{self._model.name} fails at {_size_text(self._preprocessor.buffer)}: {one_line(error)}",
                "choose another mono.short_side_px or another model",
            ) from None
        if (
            output.dtype != np.float32
            or output.ndim < 2
            or math.prod(output.shape[:-2]) != 1
            or output.size < 4
        ):
            raise DepthdError(
                f"output {self._output_name} of {self._model.path} is {output.dtype} {tuple(output.shape)}",
                "depthd needs one float32 map per picture: name the right output in the model's card",
            )
        return tuple(output.shape)

    def _bind(self, output_shape: tuple[int, ...]) -> None:
        assert self._preprocessor is not None
        self._output = np.zeros(output_shape, np.float32)
        self._map = self._output.reshape(output_shape[-2:])
        buffer = self._preprocessor.buffer
        self._binding = self._session.io_binding()
        self._binding.bind_input(self._input_name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
        self._binding.bind_output(
            self._output_name, "cpu", 0, np.float32, self._output.shape, self._output.ctypes.data
        )
        self._session.run_with_iobinding(self._binding)

    def _note_finite(self, finite: bool) -> None:
        """One line when it begins and one when it ends, not one a frame."""
        if finite != self._finite:
            self._finite = finite
            message = "gives finite values again" if finite else "gives values that are not finite"
            log.log(logging.INFO if finite else logging.WARNING, "model %s %s", self._model.name, message)


def import_onnxruntime() -> ModuleType:
    """The module, or DepthdError that says what to install."""
    try:
        import onnxruntime
    except ImportError:
        raise DepthdError("ONNX Runtime is not installed", "pip install 'depthd[daemon]'") from None
    return onnxruntime


def one_line(error: Exception) -> str:
    """ONNX Runtime's messages span lines and name its source files; the first sentence says what is wrong."""
    return " ".join(str(error).split())[:200]


def _open_session(runtime: ModuleType, model: Model, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would take the cores from the matcher and the fusion between two frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return runtime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # see _warm_up
        raise DepthdError(
            f"{model.path} is no model for ONNX Runtime {runtime.__version__}: {one_line(error)}",
            "give another file, or update onnxruntime",
        ) from None


def _input_of(session: Any, model: Model) -> tuple[str, list[Any]]:
    inputs = {i.name: i for i in session.get_inputs()}
    name = model.card.input or next(iter(inputs), "")
    if name not in inputs:
        raise DepthdError(
            f"{model.path} has no input {name!r}, only {', '.join(inputs) or 'none'}",
            "correct the model's card",
        )
    found = inputs[name]
    channels_fit = len(found.shape) == 4 and (found.shape[1] == 3 or not isinstance(found.shape[1], int))
    if len(inputs) != 1 or found.type != "tensor(float)" or not channels_fit:
        every = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs.values())
        raise DepthdError(
            f"{model.path} takes {every}",
            "depthd needs one float32 input of rank 4: pictures, 3, height, width",
        )
    return name, list(found.shape)


def _output_of(session: Any, model: Model) -> str:
    names = [o.name for o in session.get_outputs()]
    name = model.card.output or names[0]
    if name not in names:
        raise DepthdError(
            f"{model.path} has no output {name!r}, only {', '.join(names)}", "correct the model's card"
        )
    return name


def _test_picture(height: int, width: int) -> Array:
    """uint8 (height, width, 3): a ramp, so that no stage sees a constant picture."""
    rows = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None]
    columns = np.linspace(0, 255, width, dtype=np.uint8)[None, :, None]
    return np.ascontiguousarray((rows // 2 + columns // 2) * np.ones(3, np.uint8))


def _size_text(buffer: Array) -> str:
    return f"{buffer.shape[3]}x{buffer.shape[2]} px"
