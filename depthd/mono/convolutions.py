"""The convolutions around a transformer in fewer and cheaper operators, for ONNX Runtime on a GPU.

What the network computes stays the same. A convolution whose kernels do not overlap is a matrix product of
patches; one of 1x1 pixels is a product of pixels, and may as well come before pixels are made more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from depthd.frame import Array
from depthd.mono.graph import Graph, drop_unused, ints_of

Shapes = Mapping[str, tuple[int, ...]]
"""Of values in a network of fixed size, by name."""

LARGEST_JOINED_MATRIX = 1 << 20
"""Elements; two products in a row become one where the matrix of both is not larger than this."""
CHANNELS_FIRST, CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def simplify_convolutions(model: Any, shapes: Shapes) -> dict[str, int]:
    """Rewrites the onnx model in place; returns how often each rewriting was applied."""
    found = {}
    for name, rewrite in (
        ("Patches", _multiply_patches),
        ("ResizeLast", _resize_last),
        ("Tokens", _multiply_tokens),
        ("OneChannel", _multiply_to_one_channel),
    ):
        found[name] = rewrite(Graph(model.graph), shapes)
        drop_unused(model.graph)
    return found


def resize_channels_last(model: Any, shapes: Shapes) -> int:
    """Writes each bilinear Resize as one of rows and one of columns over pixels whose channels lie together.

    ONNX Runtime turns convolutions to that layout (its option prefer_nhwc), but no Resize; between two
    convolutions every other pair of transpositions cancels. Returns how many were written.
    """
    graph = Graph(model.graph)
    written = 0
    for resize in _nodes(graph, "Resize"):
        sizes = _sizes(graph, resize, shapes)
        if sizes is None:
            continue
        (_, channels, height, width), (_, _, out_height, out_width) = sizes
        x, out, name = resize.input[0], resize.output[0], resize.output[0]
        made = _Made(graph, name)
        last = made.node("Transpose", [x], perm=CHANNELS_LAST)
        rows = made.reshape(last, 1, 1, height, width * channels)
        rows = made.resize(rows, resize, 1, 1, out_height, width * channels)
        columns = made.reshape(rows, 1, out_height, width, channels)
        columns = made.resize(columns, resize, 1, out_height, out_width, channels)
        made.node("Transpose", [columns], out, perm=CHANNELS_FIRST)
        made.take_the_place_of(resize)
        written += 1
    drop_unused(model.graph)
    return written


def _multiply_patches(graph: Graph, shapes: Shapes) -> int:
    """A convolution that steps as far as its kernel is wide, and then makes its pixels a list of tokens."""
    rewritten = 0
    for conv in _nodes(graph, "Conv"):
        shape, weight = shapes.get(conv.input[0], ()), _weight(graph, conv)
        flat = graph.only_consumer(conv.output[0])
        tokens = graph.only_consumer(flat.output[0]) if flat is not None and flat.op_type == "Reshape" else None
        if (
            weight is None
            or not _is_plain(conv, _stride_of_kernel(weight))
            or tokens is None
            or tokens.op_type != "Transpose"
            or ints_of(tokens, "perm") != [0, 2, 1]
            or len(shape) != 4
            or shape[0] != 1
        ):
            continue
        out_channels, channels, kernel, _ = weight.shape
        rows, columns = shape[2] // kernel, shape[3] // kernel
        whole = (rows * kernel, columns * kernel) == shape[2:]
        if kernel < 2 or not whole or shapes.get(flat.output[0]) != (1, out_channels, rows * columns):
            continue
        made = _Made(graph, conv.output[0])
        patches = made.reshape(conv.input[0], 1, channels, rows, kernel, columns, kernel)
        patches = made.node("Transpose", [patches], perm=[0, 2, 4, 1, 3, 5])
        patches = made.reshape(patches, 1, rows * columns, channels * kernel * kernel)
        made.dense(patches, weight.reshape(out_channels, -1).T, _bias(graph, conv), tokens.output[0])
        made.take_the_place_of(conv)
        graph.graph.node.remove(tokens)
        rewritten += 1
    return rewritten


def _resize_last(graph: Graph, shapes: Shapes) -> int:
    """Bilinear weights add up to one, so a 1x1 convolution and its bias pass through: before, there are fewer
    pixels.
    """
    swapped = 0
    for resize in _nodes(graph, "Resize"):
        conv = graph.only_consumer(resize.output[0])
        sizes = _sizes(graph, resize, shapes)
        if sizes is None or conv is None or conv.op_type != "Conv":
            continue
        weight = _weight(graph, conv)
        (_, _, height, width), (_, _, out_height, out_width) = sizes
        if weight is None or not _is_pixelwise(conv, weight) or out_height * out_width <= height * width:
            continue
        made = _Made(graph, resize.output[0])
        narrow = made.like(conv, [resize.input[0], *conv.input[1:]])
        made.resize(narrow, resize, 1, weight.shape[0], out_height, out_width, out=conv.output[0])
        made.take_the_place_of(conv)
        graph.graph.node.remove(resize)
        swapped += 1
    return swapped


def _multiply_tokens(graph: Graph, shapes: Shapes) -> int:
    """1x1 convolutions of tokens that were laid out as a picture for it, with the enlargement that follows."""
    rewritten = 0
    for conv in _nodes(graph, "Conv"):
        weight, tokens = _weight(graph, conv), _tokens_behind(graph, conv.input[0], shapes)
        if weight is None or tokens is None or not _is_pixelwise(conv, weight):
            continue
        rows, columns = shapes[conv.input[0]][2:]
        matrix, bias = weight.reshape(weight.shape[:2]).T, _bias(graph, conv)
        enlarge = graph.only_consumer(conv.output[0])
        by = _weight(graph, enlarge) if enlarge is not None and enlarge.op_type == "ConvTranspose" else None
        made = _Made(graph, conv.output[0])
        if by is None or not _is_plain(enlarge, _stride_of_kernel(by)):
            picture = made.reshape(made.dense(tokens, matrix, bias), 1, rows, columns, matrix.shape[1])
            made.node("Transpose", [picture], conv.output[0], perm=CHANNELS_FIRST)
            made.take_the_place_of(conv)
        else:
            _enlarge(graph, made, enlarge, by, tokens, matrix, bias, rows, columns)
            made.take_the_place_of(conv)
            graph.graph.node.remove(enlarge)
        rewritten += 1
    return rewritten


def _enlarge(
    graph: Graph,
    made: _Made,
    enlarge: Any,
    weight: Array,
    tokens: str,
    matrix: Array,
    bias: Array | None,
    rows: int,
    columns: int,
) -> None:
    """Every token becomes kernel x kernel pixels, in one product with `matrix` where that is not too large."""
    _, channels, kernel, _ = weight.shape
    spread = weight.transpose(0, 2, 3, 1).reshape(weight.shape[0], -1)
    own = _bias(graph, enlarge)
    spread_bias = None if own is None else np.tile(own, kernel * kernel)
    if matrix.shape[0] * spread.shape[1] <= LARGEST_JOINED_MATRIX:
        carried = None if bias is None else bias @ spread
        parts = [part for part in (carried, spread_bias) if part is not None]
        pixels = made.dense(tokens, matrix @ spread, sum(parts) if parts else None)
    else:
        pixels = made.dense(made.dense(tokens, matrix, bias), spread, spread_bias)
    pixels = made.reshape(pixels, 1, rows, columns, kernel, kernel, channels)
    pixels = made.node("Transpose", [pixels], perm=[0, 1, 3, 2, 4, 5])
    pixels = made.reshape(pixels, 1, rows * kernel, columns * kernel, channels)
    made.node("Transpose", [pixels], enlarge.output[0], perm=CHANNELS_FIRST)


def _multiply_to_one_channel(graph: Graph, shapes: Shapes) -> int:
    """1x1 convolutions to one channel, for which a GPU's convolutions are not made."""
    rewritten = 0
    for conv in _nodes(graph, "Conv"):
        weight, shape = _weight(graph, conv), shapes.get(conv.input[0], ())
        if (
            weight is None
            or weight.shape[0] != 1
            or not _is_pixelwise(conv, weight)
            or len(shape) != 4
            or shape[0] != 1
        ):
            continue
        made = _Made(graph, conv.output[0])
        last = made.node("Transpose", [conv.input[0]], perm=CHANNELS_LAST)
        product = made.dense(last, weight.reshape(-1, 1), _bias(graph, conv))
        made.reshape(product, 1, 1, *shape[2:], out=conv.output[0])
        made.take_the_place_of(conv)
        rewritten += 1
    return rewritten


class _Made:
    """New nodes, all named after the value that they replace."""

    def __init__(self, graph: Graph, name: str) -> None:
        self._graph = graph
        self._name = name
        self._nodes: list[Any] = []

    def node(self, kind: str, inputs: list[str], out: str = "", **attributes: Any) -> str:
        out = out or f"{self._name}_{kind}{len(self._nodes)}"
        made = self._graph.onnx.helper.make_node(kind, inputs, [out], name=f"{out}_{kind}", **attributes)
        self._nodes.append(made)
        return out

    def like(self, other: Any, inputs: list[str]) -> str:
        """The same operator on other inputs."""
        out = self.node(other.op_type, inputs)
        self._nodes[-1].attribute.extend(other.attribute)
        return out

    def reshape(self, x: str, *shape: int, out: str = "") -> str:
        return self.node("Reshape", [x, self._weight("shape", np.array(shape, np.int64))], out)

    def resize(self, x: str, like: Any, *sizes: int, out: str = "") -> str:
        made = self.node("Resize", [x, "", "", self._weight("sizes", np.array(sizes, np.int64))], out)
        self._nodes[-1].attribute.extend(like.attribute)
        return made

    def dense(self, x: str, matrix: Array, bias: Array | None, out: str = "") -> str:
        """x times matrix plus bias."""
        inputs = [x, self._weight("matrix", np.ascontiguousarray(matrix))]
        if bias is None:
            return self.node("MatMul", inputs, out)
        return self.node("Add", [self.node("MatMul", inputs), self._weight("bias", bias)], out)

    def take_the_place_of(self, old: Any) -> None:
        position = list(self._graph.graph.node).index(old)
        self._graph.graph.node.remove(old)
        for offset, node in enumerate(self._nodes):
            self._graph.graph.node.insert(position + offset, node)

    def _weight(self, kind: str, value: Array) -> str:
        return self._graph.add_weight(f"{self._name}_{kind}{len(self._nodes)}", value)


def _tokens_behind(graph: Graph, picture: str, shapes: Shapes) -> str | None:
    """The (1, tokens, channels) that were reshaped and transposed to this (1, channels, rows, columns)."""
    last = graph.producer.get(picture)
    first = graph.producer.get(last.input[0]) if last is not None else None
    shape = shapes.get(picture, ())
    if last is None or first is None or len(shape) != 4 or shape[0] != 1:
        return None
    if (last.op_type, first.op_type) == ("Transpose", "Reshape"):
        fits = ints_of(last, "perm") == CHANNELS_FIRST
    else:
        fits = (last.op_type, first.op_type) == ("Reshape", "Transpose") and ints_of(first, "perm") == [0, 2, 1]
    tokens = str(first.input[0])
    return tokens if fits and shapes.get(tokens) == (1, shape[2] * shape[3], shape[1]) else None


def _sizes(graph: Graph, resize: Any, shapes: Shapes) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Shapes before and after a bilinear Resize of height and width, which sizes tell as well as its scales do;
    None for any other.
    """
    before, after = shapes.get(resize.input[0], ()), shapes.get(resize.output[0], ())
    texts = {a.name: a.s.decode() for a in resize.attribute if a.s}
    numbers = {a.name: a.i for a in resize.attribute}
    is_bilinear = texts.get("mode", "nearest") == "linear"
    stays_inside = texts.get("coordinate_transformation_mode") != "tf_crop_and_resize"
    by_sizes = len(resize.input) == 4 and not resize.input[2]
    scales = graph.constant(resize.input[2]) if len(resize.input) > 2 and resize.input[2] else None
    by_sizes |= scales is not None and np.array_equal(scales * np.array(before), after)
    plain = not numbers.get("antialias") and not numbers.get("exclude_outside") and not ints_of(resize, "axes")
    same = len(before) == len(after) == 4 and before[:2] == after[:2] and before[0] == 1
    return (before, after) if is_bilinear and stays_inside and by_sizes and plain and same else None


def _weight(graph: Graph, conv: Any) -> Array | None:
    """The weights of a convolution; None where they or the bias are computed."""
    bias_is_known = len(conv.input) < 3 or graph.is_weight(conv.input[2])
    return graph.weight(conv.input[1]) if bias_is_known else None


def _stride_of_kernel(weight: Array) -> int:
    """The side of a square kernel; 0 if it is none."""
    return int(weight.shape[2]) if weight.ndim == 4 and weight.shape[2] == weight.shape[3] else 0


def _is_pixelwise(conv: Any, weight: Array) -> bool:
    return _stride_of_kernel(weight) == 1 and _is_plain(conv, 1)


def _is_plain(conv: Any, stride: int) -> bool:
    """Whether it has this stride, and neither padding nor groups nor holes."""
    texts = {a.name: a.s.decode() for a in conv.attribute if a.s}
    group = next((a.i for a in conv.attribute if a.name == "group"), 1)
    return (
        stride > 0
        and (ints_of(conv, "strides") or [1, 1]) == [stride, stride]
        and not any(ints_of(conv, "pads"))
        and not any(ints_of(conv, "output_padding"))
        and not ints_of(conv, "output_shape")
        and set(ints_of(conv, "dilations")) <= {1}
        and texts.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
        and group == 1
    )


def _bias(graph: Graph, conv: Any) -> Array | None:
    return graph.vector(conv.input[2]) if len(conv.input) > 2 else None


def _nodes(graph: Graph, kind: str) -> list[Any]:
    return [node for node in graph.graph.node if node.op_type == kind and node.domain in ("", "ai.onnx")]
