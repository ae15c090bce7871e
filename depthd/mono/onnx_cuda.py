"""ONNX Runtime's buffers in GPU memory, so that a picture that is there already never leaves it."""

from __future__ import annotations

from typing import Any

import numpy as np

from depthd.frame import Array
from depthd.mono.cuda_memory import DeviceMemory
from depthd.mono.model import ModelCard


class DeviceBinding:
    """Input and output of a session bound to device arrays of fixed addresses, as a captured graph needs
    them.
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
    ) -> None:
        self._session = session
        self._card = card
        self._memory = memory
        self._picture_size = picture_size
        self._preprocessor: Any = None
        self.input = memory.empty((1, 3, *input_size), np.float32)
        self.output = memory.empty(output_shape, np.float32)
        shape = (1, *self.input.shape) if card.views else self.input.shape
        self._binding = session.io_binding()
        self._binding.bind_input(names[0], memory.device, 0, np.float32, shape, memory.address(self.input))
        self._binding.bind_output(names[1], memory.device, 0, np.float32, output_shape, memory.address(self.output))

    def run(self, left_bgr: Array) -> Array:
        """uint8 (height, width, 3) on the device -> float32 (h, w) there, in a reused buffer."""
        if self._preprocessor is None:
            self._preprocessor = self._memory.preprocessor(self._card, *self._picture_size, *self.input.shape[-2:])
        self._memory.after_current()
        self._preprocessor.run(left_bgr, self.input, self._memory)
        # ONNX Runtime has a stream of its own and waits for it at the end of a run, but not for ours at the
        # beginning.
        self._memory.synchronize()
        self.run_network()
        return self.output.reshape(self.output.shape[-2:])

    def run_network(self) -> None:
        """The network alone: `input` -> `output`."""
        self._session.run_with_iobinding(self._binding)
