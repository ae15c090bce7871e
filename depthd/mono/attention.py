"""Attention as one operator for ONNX Runtime, whose CUDA kernel never writes the scores to memory.

Exported graphs spell attention out: reshape to heads, transpose, product, softmax, product, transpose,
reshape. This finds that pattern, whatever scalar factors stand in it, and puts
com.microsoft.MultiHeadAttention there. For ONNX Runtime only; TensorRT finds the pattern itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from depthd.mono.graph import Graph, ints_of

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
    graph = Graph(model.graph)
    fused = 0
    for softmax in [node for node in model.graph.node if node.op_type == "Softmax"]:
        fused += _fuse(graph, softmax)
    if fused:
        graph.finish(model)
    return fused


def _fuse(graph: Graph, softmax: Any) -> bool:
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
    if heads_last is None or heads_last.op_type != "Transpose" or ints_of(heads_last, "perm") != HEADS_FIRST:
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
    attention = graph.own(
        "MultiHeadAttention",
        [query.name, key.name, value.name],
        [merged.output[0]],
        f"{softmax.name}_attention",
        num_heads=query.heads,
        scale=factor * query.factor * key.factor,
    )
    graph.replace(merged, attention)
    return True


def _operand(graph: Graph, name: str) -> _Operand | None:
    """Walks back from a factor of a product to before the split into heads."""
    name, factor = _behind_factors(graph, name)
    order = [0, 1, 2, 3]
    node = graph.producer.get(name)
    while node is not None and node.op_type == "Transpose" and len(ints_of(node, "perm")) == 4:
        order = [ints_of(node, "perm")[axis] for axis in order]
        name, more = _behind_factors(graph, node.input[0])
        factor *= more
        node = graph.producer.get(name)
    if node is None or node.op_type != "Reshape" or order not in ([0, 2, 1, 3], [0, 2, 3, 1]):
        return None
    heads = _heads(graph, node)
    return heads and _Operand(node.input[0], heads, factor, transposed=order == [0, 2, 3, 1])


def _heads(graph: Graph, reshape: Any) -> Any:
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


def _parts(graph: Graph, shape: str) -> list[float | None]:
    """The elements of a shape, which may be put together of parts; None for those that are not constant."""
    value = graph.constant(shape)
    if value is not None:
        return [float(part) for part in value.reshape(-1)]
    node = graph.producer.get(shape)
    return [graph.scalar(name) for name in node.input] if node is not None and node.op_type == "Concat" else []


def _behind_factors(graph: Graph, name: str) -> tuple[str, float]:
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
