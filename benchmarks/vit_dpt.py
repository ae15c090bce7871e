"""Writes networks of Depth Anything's architecture (DINOv2 backbone, DPT head) as ONNX, randomly initialised.

They compute nothing useful, but exactly as much: the yardstick of benchmarks/mono.py where the real weights
are not at hand, and the small one of the tests. `python benchmarks/vit_dpt.py OUT.onnx` writes the shape of
Depth Anything V2 Small (24.8 M parameters). Layers after Oquab et al. 2023 (DINOv2), Ranftl et al. 2021 (DPT)
and github.com/DepthAnything/Depth-Anything-V2 (depth_anything_v2/dpt.py).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Shape:
    """Sizes of a network; the defaults are Depth Anything V2 Small's."""

    hidden: int = 384
    layers: int = 12
    heads: int = 6
    taps: tuple[int, int, int, int] = (2, 5, 8, 11)
    neck: tuple[int, int, int, int] = (48, 96, 192, 384)
    fusion: int = 64
    head: int = 32
    patch_px: int = 14
    positions: int = 37


SMALL = Shape()
TINY = Shape(hidden=32, layers=4, heads=2, taps=(0, 1, 2, 3), neck=(8, 16, 24, 32), fusion=16, head=8, positions=5)


class _Graph:
    """Nodes and weights, with names that tell the layer."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.parameters = 0
        self._random = np.random.default_rng(seed)
        self._count = 0

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        self._count += 1
        out = f"{kind}_{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=out, **attributes))
        return out

    def constant(self, value: np.ndarray) -> str:
        self._count += 1
        name = f"constant_{self._count}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def weight(self, *shape: int, gain: float = 1.0, fan_in: int | None = None) -> str:
        """Normally distributed, so that the variance of the signal stays about one."""
        fan_in = fan_in or int(np.prod(shape[1:]))
        self.parameters += int(np.prod(shape))
        return self.constant((self._random.normal(size=shape) * gain / fan_in**0.5).astype(np.float32))

    def filled(self, value: float, *shape: int) -> str:
        self.parameters += int(np.prod(shape))
        return self.constant(np.full(shape, value, np.float32))

    def dense(self, x: str, inputs: int, outputs: int, gain: float = 1.0) -> str:
        product = self.op("MatMul", x, self.weight(inputs, outputs, gain=gain, fan_in=inputs))
        return self.op("Add", product, self.filled(0.0, outputs))

    def norm(self, x: str, width: int) -> str:
        return self.op("LayerNormalization", x, self.filled(1.0, width), self.filled(0.0, width), axis=-1, epsilon=1e-6)

    def conv(
        self,
        x: str,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        bias: bool = True,
        gain: float = 1.0,
    ) -> str:
        pad = (kernel - 1) // 2 if kernel < 14 else 0
        operands = [x, self.weight(outputs, inputs, kernel, kernel, gain=gain)]
        operands += [self.filled(0.0, outputs)] if bias else []
        return self.op("Conv", *operands, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def enlarge(self, x: str, channels: int, factor: int) -> str:
        weight = self.weight(channels, channels, factor, factor, fan_in=channels)
        return self.op(
            "ConvTranspose",
            x,
            weight,
            self.filled(0.0, channels),
            kernel_shape=[factor] * 2,
            strides=[factor] * 2,
        )

    def resize(self, x: str, sizes: str, cubic: bool = False) -> str:
        mode = "half_pixel" if cubic else "align_corners"
        return self.op(
            "Resize", x, "", "", sizes,
            mode="cubic" if cubic else "linear", coordinate_transformation_mode=mode, cubic_coeff_a=-0.75,
        )  # fmt: skip

    def height_width(self, x: str) -> str:
        return self.op("Slice", self.op("Shape", x), self.integers(2), self.integers(4))

    def joined(self, *parts: str) -> str:
        return self.op("Concat", *parts, axis=0)


def make(path: Path, shape: Shape = SMALL, seed: int = 0) -> int:
    """Writes the network: `pixel_values` (N, 3, H, W) -> `predicted_depth` (N, H, W); returns its parameter
    count.
    """
    g = _Graph(seed)
    grid = g.op("Div", g.height_width("pixel_values"), g.integers(shape.patch_px))
    taps = _backbone(g, shape, grid)
    fused = _neck(g, shape, taps, grid)
    _head(g, shape, fused, grid)
    graph = helper.make_graph(
        g.nodes,
        "vit_dpt",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("predicted_depth", TensorProto.FLOAT, ["n", "h", "w"])],
        g.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return g.parameters


def _backbone(g: _Graph, shape: Shape, grid: str) -> list[str]:
    width = shape.hidden
    patches = g.conv("pixel_values", 3, width, shape.patch_px, shape.patch_px)
    rows = g.op("Reshape", patches, g.integers(0, width, -1))
    tokens = g.op("Transpose", rows, perm=[0, 2, 1])
    batch = g.op("Slice", g.op("Shape", tokens), g.integers(0), g.integers(1))
    first = g.op("Expand", g.weight(1, 1, width, fan_in=1), g.joined(batch, g.integers(1, width)))
    tokens = g.op("Add", g.op("Concat", first, tokens, axis=1), _positions(g, shape, grid))
    taps = []
    for layer in range(shape.layers):
        tokens = _block(g, shape, tokens)
        if layer in shape.taps:
            taps.append(g.norm(tokens, width))
    return taps


def _positions(g: _Graph, shape: Shape, grid: str) -> str:
    """Learned for a square grid, resized to this one."""
    side, width = shape.positions, shape.hidden
    learned = g.weight(1, width, side, side, gain=0.5, fan_in=1)
    resized = g.resize(learned, g.joined(g.integers(1, width), grid), cubic=True)
    rows = g.op("Transpose", g.op("Reshape", resized, g.integers(1, width, -1)), perm=[0, 2, 1])
    return g.op("Concat", g.weight(1, 1, width, gain=0.5, fan_in=1), rows, axis=1)


def _block(g: _Graph, shape: Shape, x: str) -> str:
    width, heads = shape.hidden, shape.heads
    scale = g.constant(np.array((width // heads) ** -0.5, np.float32))
    normed = g.norm(x, width)
    parts = []
    for _ in range(3):
        projected = g.op("Reshape", g.dense(normed, width, width), g.integers(0, -1, heads, width // heads))
        parts.append(g.op("Transpose", projected, perm=[0, 2, 1, 3]))
    query, key, value = parts
    scores = g.op("MatMul", g.op("Mul", query, scale), g.op("Transpose", key, perm=[0, 1, 3, 2]))
    mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1), value)
    merged = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.integers(0, -1, width))
    x = g.op("Add", x, g.op("Mul", g.dense(merged, width, width), g.filled(0.5, width)))
    hidden = _gelu(g, g.dense(g.norm(x, width), width, 4 * width))
    return g.op("Add", x, g.op("Mul", g.dense(hidden, 4 * width, width), g.filled(0.5, width)))


def _gelu(g: _Graph, x: str) -> str:
    half, one, root = (g.constant(np.array(v, np.float32)) for v in (0.5, 1.0, 2**0.5))
    return g.op("Mul", g.op("Mul", x, half), g.op("Add", g.op("Erf", g.op("Div", x, root)), one))


def _neck(g: _Graph, shape: Shape, taps: list[str], grid: str) -> str:
    maps = []
    for level, (tap, width) in enumerate(zip(taps, shape.neck, strict=True)):
        patches = g.op("Slice", tap, g.integers(1), g.integers(2**31), g.integers(1))
        rows = g.op("Transpose", patches, perm=[0, 2, 1])
        square = g.op("Reshape", rows, g.joined(g.integers(0, shape.hidden), grid))
        x = g.conv(square, shape.hidden, width, 1)
        if level < 2:
            x = g.enlarge(x, width, (4, 2)[level])
        elif level == 3:
            x = g.conv(x, width, width, 3, stride=2)
        maps.append(g.conv(x, width, shape.fusion, 3, bias=False))
    fused = ""
    for level in (3, 2, 1, 0):
        x = maps[level]
        if fused:
            x = g.op("Add", fused, _residual(g, x, shape.fusion))
        x = _residual(g, x, shape.fusion)
        target = maps[level - 1] if level else ""
        size = g.height_width(target) if target else g.op("Mul", g.height_width(x), g.integers(2))
        sizes = g.joined(g.op("Slice", g.op("Shape", x), g.integers(0), g.integers(2)), size)
        fused = g.conv(g.resize(x, sizes), shape.fusion, shape.fusion, 1)
    return fused


def _residual(g: _Graph, x: str, width: int) -> str:
    inner = g.conv(g.op("Relu", x), width, width, 3)
    return g.op("Add", x, g.conv(g.op("Relu", inner), width, width, 3, gain=0.5))


def _head(g: _Graph, shape: Shape, x: str, grid: str) -> None:
    x = g.conv(x, shape.fusion, shape.fusion // 2, 3)
    pixels = g.op("Mul", grid, g.integers(shape.patch_px))
    x = g.resize(x, g.joined(g.op("Slice", g.op("Shape", x), g.integers(0), g.integers(2)), pixels))
    x = g.op("Relu", g.conv(x, shape.fusion // 2, shape.head, 3))
    x = g.op("Add", g.conv(x, shape.head, 1, 1), g.constant(np.array(3.0, np.float32)))
    g.nodes.append(helper.make_node("Squeeze", [g.op("Relu", x), g.integers(1)], ["predicted_depth"], name="out"))


if __name__ == "__main__":
    count = make(Path(sys.argv[1]))
    print(f"{sys.argv[1]}: {count / 1e6:.1f} M parameters, randomly initialised")
