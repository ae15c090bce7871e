"""ONNX Runtime: the engine that runs everywhere, on the CPU or through CUDA."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array
from depthd.mono.model import Model, ModelCard, input_size
from depthd.mono.preprocess import Preprocessor

if TYPE_CHECKING:
    from depthd.mono.cuda_memory import DeviceMemory
    from depthd.mono.onnx_cuda import DeviceBinding

log = logging.getLogger(__name__)

Provider = Literal["tensorrt", "cuda", "cpu"]
_PROVIDER_NAMES: dict[Provider, str] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}


class OnnxEngine:
    """A network in ONNX Runtime, with input and output in buffers of its own that every call reuses.

    threads: CPU threads, 0 = one per core. short_side_px: see `input_size`. providers: in the order of
    preference; those that this ONNX Runtime does not have are passed over, the CPU is always last. Raises
    DepthdError for a file that is no ONNX, that this ONNX Runtime cannot run, or that does not take one
    picture and give one map.

    memory: the device and the stream that the CUDA provider works on; of its own where none is given.
    """

    title = "ONNX Runtime"

    def __init__(
        self,
        model: Model,
        threads: int = 2,
        short_side_px: int | None = None,
        providers: Sequence[Provider] = ("cpu",),
        square: bool = False,
        cuda_graph: bool = False,
        memory: DeviceMemory | None = None,
    ) -> None:
        self._model = model
        self._memory = memory
        self._short_side_px = short_side_px
        self._square = square
        self._session: Any = open_session(
            model, threads, providers, cuda_graph, cuda_options=stream_options(memory) if memory else {}
        )
        self._input_name, self._input_shape = input_of(self._session, model)
        self._output_name = output_of(self._session, model)
        self._preprocessor: Preprocessor | None = None
        self._binding: Any = None
        self._output: Array = np.empty(0, np.float32)
        self._map: Array = self._output
        self._finite = True
        self._on_device: DeviceBinding | None = None

    @property
    def card(self) -> ModelCard:
        return self._model.card

    @property
    def provider(self) -> str:
        """What the network runs on: 'cpu', 'cuda' or 'tensorrt'."""
        return provider_of(self._session)

    def prepare(self, height: int, width: int) -> None:
        """Allocates for pictures of this size and runs once. Raises DepthdError where that gives no map."""
        wanted = input_size(self.card, height, width, self._short_side_px, self._square)
        out_height, out_width = possible_size(self._model, self._input_shape, wanted)
        self._preprocessor = Preprocessor(self.card, height, width, out_height, out_width)
        self._on_device = None
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
        if not isinstance(left_bgr, np.ndarray):
            return self.on_device().run(left_bgr)
        self._preprocessor.run(left_bgr)
        self._session.run_with_iobinding(self._binding)
        self._note_finite(math.isfinite(float(self._map.sum())))
        return self._map

    def on_device(self) -> DeviceBinding:
        """Buffers in GPU memory, made when the first picture from there comes. Raises DepthdError without
        CuPy.
        """
        if self._preprocessor is None:
            raise RuntimeError("prepare() comes before infer()")
        if self._on_device is None:
            from depthd.mono.cuda_memory import CudaMemory
            from depthd.mono.onnx_cuda import DeviceBinding

            self._on_device = DeviceBinding(
                self._session,
                self.card,
                (self._input_name, self._output_name),
                self._preprocessor.buffer.shape[-2:],
                self._output.shape,
                self._preprocessor.picture_size,
                self._memory or CudaMemory(),
                self._memory is not None,
            )
        return self._on_device

    def on_stream(self) -> DeviceBinding | None:
        """See depthd.mono.on_stream."""
        return self.on_device() if self._memory is not None and self.provider == "cuda" else None

    def close(self) -> None:
        self._on_device = None
        self._binding = self._session = self._preprocessor = None

    def _warm_up(self) -> Array:
        """Runs once and returns the output."""
        assert self._preprocessor is not None
        pixels = as_input(self._preprocessor.buffer, self.card)
        return _run(self._session, self._model, self._input_name, self._output_name, pixels)

    def _bind(self, output: Array) -> None:
        """Input and output stay where they are; a provider on a GPU copies from and to them."""
        assert self._preprocessor is not None
        self._output = output.copy()
        self._map = self._output.reshape(output.shape[-2:])
        pixels = as_input(self._preprocessor.buffer, self.card)
        self._binding = self._session.io_binding()
        self._binding.bind_input(self._input_name, "cpu", 0, np.float32, pixels.shape, pixels.ctypes.data)
        self._binding.bind_output(self._output_name, "cpu", 0, np.float32, self._output.shape, self._output.ctypes.data)

    def _note_finite(self, finite: bool) -> None:
        """One line when it begins and one when it ends, not one a frame."""
        if finite != self._finite:
            self._finite = finite
            message = "gives finite values again" if finite else "gives values that are not finite"
            log.log(logging.INFO if finite else logging.WARNING, "model %s %s", self._model.name, message)


def stream_options(memory: DeviceMemory) -> dict[str, str]:
    """Options of the CUDA provider, for a session that works on the memory's stream instead of one of its own."""
    return {"user_compute_stream": str(memory.stream_handle)}


def import_onnxruntime() -> ModuleType:
    """The module, or DepthdError that says what to install."""
    try:
        import onnxruntime
    except ImportError:
        raise DepthdError("ONNX Runtime is not installed", "pip install 'depthd[daemon]'") from None
    return onnxruntime


def open_session(
    model: Model,
    threads: int = 0,
    providers: Sequence[Provider] = ("cpu",),
    cuda_graph: bool = False,
    content: bytes | None = None,
    cuda_options: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """An InferenceSession. Raises DepthdError for a file that is no ONNX or cannot be run here.

    cuda_graph: the CUDA provider captures the network and replays it, for device buffers only. content: an
    ONNX made of the model, which is loaded instead of its file. cuda_options: of the CUDA provider, by its
    own names.
    """
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Spinning threads would take the cores from the matcher and the fusion between two frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    here = runtime.get_available_providers()
    wanted = [_PROVIDER_NAMES[p] for p in dict.fromkeys((*providers, "cpu")) if _PROVIDER_NAMES[p] in here]
    try:
        # TF32 off: half precision is asked for by the model's own types, and float32 means float32.
        cuda = {"use_tf32": "0", "enable_cuda_graph": str(int(cuda_graph)), **cuda_options}
        chosen = [(name, cuda if name == _PROVIDER_NAMES["cuda"] else {}) for name in wanted]
        session = runtime.InferenceSession(content or str(model.path), options, providers=chosen)
    except Exception as error:  # ONNX Runtime raises a class per error code, all directly below Exception
        raise DepthdError(
            f"{model.path} is no model for ONNX Runtime {runtime.__version__}: {one_line(error)}",
            "give another file, or update onnxruntime",
        ) from None
    if session.get_providers()[0] != wanted[0]:
        log.warning("%s could not be loaded, the network runs on %s", wanted[0], session.get_providers()[0])
    return session


def run_once(model: Model, inputs: Sequence[Array], threads: int = 0) -> list[Array]:
    """The model's maps, float32 (h, w), for inputs float32 (1, 3, height, width), on the CPU. Raises
    DepthdError.
    """
    session = open_session(model, threads)
    return [run_in(session, model, pixels) for pixels in inputs]


def run_in(session: Any, model: Model, pixels: Array) -> Array:
    """The model's map, float32 (h, w), for float32 (1, 3, height, width), in a session of it. Raises
    DepthdError.
    """
    input_name, _ = input_of(session, model)
    output = _run(session, model, input_name, output_of(session, model), as_input(pixels, model.card))
    return output.reshape(output.shape[-2:])


def has_provider(provider: Provider) -> bool:
    """Whether this ONNX Runtime was built with it; whether it loads here shows only at the first session."""
    return _PROVIDER_NAMES[provider] in import_onnxruntime().get_available_providers()


def provider_of(session: Any) -> str:
    """What a session runs on: 'cpu', 'cuda' or 'tensorrt'."""
    first = session.get_providers()[0]
    return next((short for short, name in _PROVIDER_NAMES.items() if name == first), first)


def possible_size(model: Model, input_shape: Sequence[Any], wanted: tuple[int, int]) -> tuple[int, int]:
    """(height, width) wanted, except for an ONNX file with a fixed size, which can be run at no other."""
    fixed = tuple(side if isinstance(side, int) else None for side in input_shape[-2:])
    size = (fixed[0] or wanted[0], fixed[1] or wanted[1])
    if size != wanted:
        log.warning(
            "model %s only takes %dx%d px; %dx%d would keep the aspect",
            model.name, size[1], size[0], wanted[1], wanted[0],
        )  # fmt: skip
    return size


def as_input(pixels: Array, card: ModelCard) -> Array:
    """(1, 3, height, width), with an axis of views where the network has one; the same memory."""
    return pixels[None] if card.views else pixels


def one_line(error: Exception) -> str:
    """ONNX Runtime's messages begin with codes, span lines and end in its source files; the middle says what
    is wrong.
    """
    text = " ".join(str(error).split())
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)[:200]


def _run(session: Any, model: Model, input_name: str, output_name: str, pixels: Array) -> Array:
    try:
        (output,) = session.run([output_name], {input_name: pixels})
    except Exception as error:  # see open_session
        raise DepthdError(
            f"{model.name} fails at {pixels.shape[-1]}x{pixels.shape[-2]} px: {one_line(error)}",
            "choose another mono.short_side_px or another model",
        ) from None
    if output.dtype != np.float32 or output.ndim < 2 or math.prod(output.shape[:-2]) != 1 or output.size < 4:
        raise DepthdError(
            f"output {output_name} of {model.path} is {output.dtype} {tuple(output.shape)}",
            "depthd needs one float32 map per picture: name the right output in the model's card",
        )
    return output


def input_of(session: Any, model: Model) -> tuple[str, list[Any]]:
    """Name and shape of the input that takes the picture. Raises DepthdError where there is none such."""
    inputs = {i.name: i for i in session.get_inputs()}
    name = model.card.input or next(iter(inputs), "")
    if name not in inputs:
        raise DepthdError(
            f"{model.path} has no input {name!r}, only {', '.join(inputs) or 'none'}",
            "correct the model's card",
        )
    found = inputs[name]
    rank = 5 if model.card.views else 4
    channels_fit = len(found.shape) == rank and (found.shape[-3] == 3 or not isinstance(found.shape[-3], int))
    if len(inputs) != 1 or found.type != "tensor(float)" or not channels_fit:
        every = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs.values())
        axes = "pictures, views, 3, height, width" if model.card.views else "pictures, 3, height, width"
        raise DepthdError(f"{model.path} takes {every}", f"depthd needs one float32 input of rank {rank}: {axes}")
    return name, list(found.shape)


def output_of(session: Any, model: Model) -> str:
    """Name of the output with the map. Raises DepthdError where the card names one that is not there."""
    names = [o.name for o in session.get_outputs()]
    name = model.card.output or names[0]
    if name not in names:
        raise DepthdError(f"{model.path} has no output {name!r}, only {', '.join(names)}", "correct the model's card")
    return name


def _test_picture(height: int, width: int) -> Array:
    """uint8 (height, width, 3): a ramp, so that no stage sees a constant picture."""
    rows = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None]
    columns = np.linspace(0, 255, width, dtype=np.uint8)[None, :, None]
    return np.ascontiguousarray((rows // 2 + columns // 2) * np.ones(3, np.uint8))
