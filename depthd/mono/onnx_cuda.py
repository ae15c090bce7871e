"""ONNX Runtime's buffers in GPU memory, so that a picture that is there already never leaves it."""

from __future__ import annotations

from typing import Any

import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array
from depthd.mono.cuda_memory import DeviceMemory
from depthd.mono.model import ModelCard


class DeviceBinding:
    """Input and output of a session bound to device arrays of fixed addresses, as a captured graph needs
    them. A DeviceNetwork (depthd.mono.on_stream).

    on_stream: the session works on the memory's stream, so that nothing has to be waited for on the way.
    """

    def __init__(
        self,
        session: Any,
        card: ModelCard,
        names: tuple[str, str],
        input_size: tuple[int, int],
        output_shape: tuple[int, ...],
        picture_size: tuple[int, int],
        memory: DeviceMemory,
        on_stream: bool = False,
    ) -> None:
        self._session = session
        self._card = card
        self._memory = memory
        self._picture_size = picture_size
        self._preprocessor: Any = None
        self.input = memory.empty((1, 3, *input_size), np.float32)
        self.output = memory.empty(output_shape, np.float32)
        self.map = self.output.reshape(output_shape[-2:])
        self._options = _without_waiting() if on_stream else None
        shape = (1, *self.input.shape) if card.views else self.input.shape
        self._binding = session.io_binding()
        self._binding.bind_input(names[0], memory.device, 0, np.float32, shape, memory.address(self.input))
        self._binding.bind_output(names[1], memory.device, 0, np.float32, output_shape, memory.address(self.output))

    def run(self, left_bgr: Array) -> Array:
        """uint8 (height, width, 3) on the device -> float32 (h, w) there, in a reused buffer."""
        self._memory.after_current()
        self._preprocess(left_bgr)
        # ONNX Runtime has a stream of its own and waits for it at the end of a run, but not for ours at the
        # beginning.
        self._memory.synchronize()
        self.run_network()
        return self.output.reshape(self.output.shape[-2:])

    def enqueue(self, left_bgr: Array) -> None:
        """uint8 (height, width, 3) on the device -> `map`, on the memory's stream."""
        self._preprocess(left_bgr)
        try:
            self._session.run_with_iobinding(self._binding, self._options)
        except Exception as error:  # ONNX Runtime raises a class per error code, all directly below Exception
            raise DepthdError(
                f"the network fails on the GPU: {' '.join(str(error).split())[:200]}", "look at dmesg"
            ) from error

    def _preprocess(self, left_bgr: Array) -> None:
        if self._preprocessor is None:
            self._preprocessor = self._memory.preprocessor(self._card, *self._picture_size, *self.input.shape[-2:])
        self._preprocessor.run(left_bgr, self.input, self._memory)

    def run_network(self) -> None:
        """The network alone: `input` -> `output`."""
        self._session.run_with_iobinding(self._binding)


def _without_waiting() -> Any:
    """Run options: return as soon as all is enqueued, instead of when it is done."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options
