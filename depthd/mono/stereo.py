"""A stereo network in place of the block matcher: one ONNX file with two pictures in and disparity out."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array, Camera
from depthd.mono.model import Model, input_size
from depthd.mono.onnx import one_line, open_session
from depthd.mono.preprocess import Preprocessor

LEAST_DISPARITY_PX = 0.5
"""Below this, in pixels of the full picture, a surface is too far to be told from infinity."""


class StereoNetwork:
    """Depth of rectified pairs of one camera, as cameras.matcher.StereoMatcher gives it.

    Depth classes: NaN where the match lies outside the right picture (the left-only band) or the network
    gives no finite value; +inf where the disparity (with doffs) is under LEAST_DISPARITY_PX. A network sees
    everything in between, so nothing is called too near. Raises DepthdError for a network that does not take
    two pictures and give one map.
    """

    def __init__(self, model: Model, camera: Camera, threads: int = 2, short_side_px: int | None = None) -> None:
        card = model.card
        if card.output_kind != "disparity" or card.right_input is None:
            raise DepthdError(
                f"{model.name} is no stereo network: its output is {card.output_kind}",
                "give a model whose card says output_kind: disparity and right_input",
            )
        self._model = model
        self._camera = camera
        self._session: Any = open_session(model, threads)
        size = input_size(card, camera.height, camera.width, short_side_px)
        self._eyes = [Preprocessor(card, camera.height, camera.width, *size) for _ in range(2)]
        self._scale = camera.width / size[1]
        names = [i.name for i in self._session.get_inputs()]
        self._names = (card.input or names[0], card.right_input)
        if set(self._names) != set(names):
            raise DepthdError(
                f"{model.path} has inputs {', '.join(names)}, its card names {', '.join(self._names)}",
                "correct the model's card",
            )
        self._output_name = card.output or self._session.get_outputs()[0].name
        self._disparity_px = np.empty((camera.height, camera.width), np.float32)
        self._depth_m = np.empty((camera.height, camera.width), np.float32)

    def depth_m(self, left_bgr: Array, right_bgr: Array) -> Array:
        """uint8 (height, width, 3) twice -> float32 (height, width) in m; written again by the next call."""
        found = self._run(self._eyes[0].run(left_bgr), self._eyes[1].run(right_bgr))
        size = (self._camera.width, self._camera.height)
        # The nearest value: between a near and a far surface nothing may arise that is on neither.
        cv2.resize(found, size, dst=self._disparity_px, interpolation=cv2.INTER_NEAREST)
        self._disparity_px *= self._scale
        return depth_of(self._disparity_px, self._camera, self._depth_m)

    def _run(self, left: Array, right: Array) -> Array:
        try:
            (output,) = self._session.run([self._output_name], dict(zip(self._names, (left, right), strict=True)))
        except Exception as error:  # ONNX Runtime raises a class per error code, all directly below Exception
            raise DepthdError(f"{self._model.name} fails: {one_line(error)}", "choose another model") from None
        if output.ndim < 2 or math.prod(output.shape[:-2]) != 1 or output.dtype != np.float32:
            raise DepthdError(
                f"output {self._output_name} of {self._model.path} is {output.dtype} {tuple(output.shape)}",
                "depthd needs one float32 map of disparities",
            )
        return output.reshape(output.shape[-2:])


def depth_of(disparity_px: Array, camera: Camera, out: Array) -> Array:
    """float32 (height, width) disparities at the camera's size -> metres, with StereoNetwork's hole classes.

    depth = fx * baseline / (disparity + doffs).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(np.float32(camera.disparity_per_inverse_depth), disparity_px + camera.doffs_px, out=out)
        out[disparity_px + camera.doffs_px < LEAST_DISPARITY_PX] = np.inf
        columns_px = np.arange(camera.width, dtype=np.float32)[None, :]
        out[(disparity_px > columns_px) | ~np.isfinite(disparity_px)] = np.nan
    return out
