"""Attention as one operator for ONNX Runtime, whose CUDA kernel never writes the scores to memory.

Exported graphs spell attention out: reshape to heads, transpose, product, softmax, product, transpose,
reshape. This finds that pattern, whatever scalar factors stand in it, and puts
com.microsoft.MultiHeadAttention there. For ONNX Runtime only; TensorRT finds the pattern itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HEADS_FIRST = [0, 2, 1, 3]
"""(picture, token, head, width) <-> (picture, head, token, width)."""


@dataclass(frozen=True)
class _Operand:
    """Query, key or value before it is split into heads: (picture, token, heads * width)."""

    name: str
    heads: int
    factor: float
    transposed: bool


def fuse_attention(model: Any) -> int:
    """Replaces every attention of the onnx model in place; returns how many. The rest of the graph is not
    touched.
    """
    import onnx

    graph = _Graph(model.graph, onnx)
    fused = 0
    for softmax in [node for node in model.graph.node if node.op_type == "Softmax"]:
        fused += _fuse(graph, softmax)
    if fused:
        _drop_unused(model.graph)
        if all(opset.domain != "com.microsoft" for opset in model.opset_import):
            model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return fused


class _Graph:
    """The graph with its edges and its small constants."""

    def __init__(self, graph: Any, onnx: Any) -> None:
        self.graph = graph
        self.onnx = onnx
        self.producer = {out: node for node in graph.node for out in node.output}
        self.consumers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self._weights = {weight.name: weight for weight in graph.initializer}

    def constant(self, name: str) -> Any:
        """The value of a weight or Constant node of at most four elements, else None."""
        weight = self._weights.get(name)
        node = self.producer.get(name)
        if weight is None and node is not None and node.op_type == "Constant":
            weight = next((a.t for a in node.attribute if a.name == "value"), None)
        value = None if weight is None else self.onnx.numpy_helper.to_array(weight)
        return value if value is not None and value.size <= 4 else None

    def scalar(self, name: str) -> float | None:
        value = self.constant(name)
        return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def length(self, name: str) -> int:
        """Of a weight vector; 0 for anything else."""
        weight = self._weights.get(name)
        return int(weight.dims[0]) if weight is not None and len(weight.dims) == 1 else 0

    def only_consumer(self, name: str) -> Any:
        """The node that reads the values; Shape reads none."""
        found = [node for node in self.consumers.get(name, []) if node.op_type != "Shape"]
        return found[0] if len(found) == 1 else None


def _fuse(graph: _Graph, softmax: Any) -> bool:
    scores, factor = _behind_factors(graph, softmax.input[0])
    product = graph.producer.get(scores)
    weighted = graph.only_consumer(softmax.output[0])
    if product is None or product.op_type != "MatMul" or weighted is None or weighted.op_type != "MatMul":
        return False
    if weighted.input[0] != softmax.output[0]:
        return False
    query, key = _operand(graph, product.input[0]), _operand(graph, product.input[1])
    value = _operand(graph, weighted.input[1])
    if query is None or key is None or value is None:
        return False
    heads_last = graph.only_consumer(weighted.output[0])
    if heads_last is not None and heads_last.op_type == "Reshape" and len(_parts(graph, heads_last.input[1])) == 4:
        # PyTorch's exporter gives the product its own shape once more.
        heads_last = graph.only_consumer(heads_last.output[0])
    if heads_last is None or heads_last.op_type != "Transpose" or _permutation(heads_last) != HEADS_FIRST:
        return False
    merged = graph.only_consumer(heads_last.output[0])
    shapes_fit = key.transposed and not query.transposed and not value.transposed and value.factor == 1.0
    if (
        merged is None
        or merged.op_type != "Reshape"
        or not shapes_fit
        or len({query.heads, key.heads, value.heads}) > 1
    ):
        return False
    attention = graph.onnx.helper.make_node(
        "MultiHeadAttention",
        [query.name, key.name, value.name],
        [merged.output[0]],
        name=f"{softmax.name}_attention",
        domain="com.microsoft",
        num_heads=query.heads,
        scale=factor * query.factor * key.factor,
    )
    position = list(graph.graph.node).index(merged)
    graph.graph.node.remove(merged)
    graph.graph.node.insert(position, attention)
    return True


def _operand(graph: _Graph, name: str) -> _Operand | None:
    """Walks back from a factor of a product to before the split into heads."""
    name, factor = _behind_factors(graph, name)
    order = [0, 1, 2, 3]
    node = graph.producer.get(name)
    while node is not None and node.op_type == "Transpose" and len(_permutation(node)) == 4:
        order = [_permutation(node)[axis] for axis in order]
        name, more = _behind_factors(graph, node.input[0])
        factor *= more
        node = graph.producer.get(name)
    if node is None or node.op_type != "Reshape" or order not in ([0, 2, 1, 3], [0, 2, 3, 1]):
        return None
    heads = _heads(graph, node)
    return heads and _Operand(node.input[0], heads, factor, transposed=order == [0, 2, 3, 1])


def _heads(graph: _Graph, reshape: Any) -> Any:
    """Number of heads that a Reshape to (picture, token, heads, width) makes; None if it cannot be told."""
    parts = _parts(graph, reshape.input[1])
    if len(parts) != 4:
        return None
    heads, width = parts[2], parts[3]
    if heads is not None and heads > 0:
        return int(heads)
    # heads = -1: all there are; the bias of the layer before tells how wide they are together.
    before = graph.producer.get(reshape.input[0])
    widths = [graph.length(name) for name in before.input] if before is not None and before.op_type == "Add" else []
    whole = next((length for length in widths if length), 0)
    return whole // int(width) if width is not None and width > 0 and whole % int(width) == 0 and whole else None


def _parts(graph: _Graph, shape: str) -> list[float | None]:
    """The elements of a shape, which may be put together of parts; None for those that are not constant."""
    value = graph.constant(shape)
    if value is not None:
        return [float(part) for part in value.reshape(-1)]
    node = graph.producer.get(shape)
    return [graph.scalar(name) for name in node.input] if node is not None and node.op_type == "Concat" else []


def _behind_factors(graph: _Graph, name: str) -> tuple[str, float]:
    """What stands before multiplications and divisions by scalars, and their product."""
    factor = 1.0
    while (node := graph.producer.get(name)) is not None and node.op_type in ("Mul", "Div"):
        left, right = (graph.scalar(value) for value in node.input)
        if right is not None:
            factor, name = factor * right if node.op_type == "Mul" else factor / right, node.input[0]
        elif left is not None and node.op_type == "Mul":
            factor, name = factor * left, node.input[1]
        else:
            break
    return name, factor


def _permutation(node: Any) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == "perm"), [])


def _drop_unused(graph: Any) -> None:
    """Removes nodes whose outputs nobody reads, and the weights that only they read."""
    while True:
        used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        unused = [node for node in graph.node if not used.intersection(node.output)]
        if not unused:
            break
        for node in unused:
            graph.node.remove(node)
    for weight in [weight for weight in graph.initializer if weight.name not in used]:
        graph.initializer.remove(weight)
