"""From a camera picture to what a network takes, on the CPU, without allocating."""

from __future__ import annotations

import cv2
import numpy as np

from depthd.frame import Array, check_array
from depthd.mono.model import Interpolation, ModelCard

_INTERPOLATION: dict[Interpolation, int] = {
    "area": cv2.INTER_AREA,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
}


class Preprocessor:
    """Resizes and normalises pictures of one size into one buffer.

    `buffer` is float32 (1, 3, out_height, out_width), RGB: (value / 255 - mean) / std. The resize works on 8
    bits, so each value is within half of 1/255 of the same resize in floating point, before the division by
    std.
    """

    def __init__(self, card: ModelCard, height: int, width: int, out_height: int, out_width: int) -> None:
        self.picture_size = (height, width)
        self._out_size = (out_width, out_height)
        self._interpolation = _INTERPOLATION[card.shrink if out_height * out_width <= height * width else card.enlarge]
        self._resized = np.empty((out_height, out_width, 3), np.uint8)
        self._plane = np.empty((out_height, out_width), np.uint8)
        self._tables = _normalisation_tables(card)
        self.buffer = np.empty((1, 3, out_height, out_width), np.float32)

    def run(self, left_bgr: Array) -> Array:
        """uint8 (height, width, 3) BGR -> `buffer`. Raises ValueError for another shape or dtype."""
        check_array("left_bgr", left_bgr, np.uint8, (*self.picture_size, 3))
        cv2.resize(left_bgr, self._out_size, dst=self._resized, interpolation=self._interpolation)
        for rgb_channel in range(3):
            cv2.extractChannel(self._resized, 2 - rgb_channel, dst=self._plane)
            cv2.LUT(self._plane, self._tables[rgb_channel], dst=self.buffer[0, rgb_channel])
        return self.buffer


def _normalisation_tables(card: ModelCard) -> Array:
    """float32 (3, 256): the normalised value of each byte, per RGB channel."""
    values = np.arange(256, dtype=np.float64) / 255.0
    tables = (values - np.array(card.mean)[:, None]) / np.array(card.std)[:, None]
    return tables.astype(np.float32)
