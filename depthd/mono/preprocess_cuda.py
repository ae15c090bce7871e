"""From a camera picture on the GPU to what a network takes, there (kernel: preprocess.cuh beside this)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depthd.frame import Array, check_array
from depthd.mono.cuda_memory import DeviceMemory
from depthd.mono.model import Interpolation, ModelCard

TAPS: dict[Interpolation, int] = {"area": 0, "linear": 2, "cubic": 4}
_BLOCK = (16, 16)


class CudaPreprocessor:
    """What depthd.mono.preprocess.Preprocessor does, for pictures in device memory."""

    def __init__(self, card: ModelCard, height: int, width: int, out_height: int, out_width: int) -> None:
        import cupy

        source = (Path(__file__).parent / "preprocess.cuh").read_text()
        self._kernel = cupy.RawModule(code=source, options=("--std=c++14",)).get_function("mono_preprocess")
        self._size = (height, width)
        self._out_size = (out_height, out_width)
        self._taps = TAPS[card.shrink if out_height * out_width <= height * width else card.enlarge]
        gains = 1.0 / (255.0 * np.array(card.std))
        offsets = -np.array(card.mean) / np.array(card.std)
        self._factors = tuple(np.float32(value) for value in (*gains, *offsets))

    def run(self, left_bgr: Array, out: Array, memory: DeviceMemory) -> None:
        """uint8 (height, width, 3) BGR -> `out`, float32 (1, 3, out_height, out_width), on the stream.

        Rows may be padded (as a ZED's are), pixels not. Raises ValueError for another shape, dtype or layout.
        """
        check_array("left_bgr", left_bgr, np.uint8, (*self._size, 3))
        if left_bgr.strides[1:] != (3, 1):
            raise ValueError(f"left_bgr has strides {left_bgr.strides}, its pixels must lie side by side")
        out_height, out_width = self._out_size
        grid = (-(-out_width // _BLOCK[0]), -(-out_height // _BLOCK[1]))
        sizes = (np.int32(value) for value in (out_height, out_width, self._taps))
        height, width = (np.int32(value) for value in self._size)
        arguments = (left_bgr, np.int64(left_bgr.strides[0]), height, width, out, *sizes, *self._factors)
        with memory.queue:
            self._kernel(grid, _BLOCK, arguments)
