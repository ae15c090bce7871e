"""The blocks of a transformer in fewer operators, for ONNX Runtime on a GPU, where each costs a launch.

What a block computes stays the same; only sums and factors move into the operators beside them. For ONNX
Runtime only (its own operators, domain com.microsoft); TensorRT finds these patterns itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from depthd.mono.attention import fuse_attention
from depthd.mono.graph import Graph, drop_unused

HALF_OF_A_PERCENT = 5e-3
"""Constants of a pattern may have been rounded to half precision."""


def fuse_blocks(model: Any) -> dict[str, int]:
    """Rewrites the onnx model in place; returns how often each operator took the place of several."""
    found = {"LayerNormalization": _restore_norms(model), "MultiHeadAttention": fuse_attention(model)}
    for name, fuse in (
        ("LayerScale", _fold_layer_scales),
        ("Attention", _join_projections),
        ("Bias", _give_attentions_their_biases),
        ("Gelu", _fuse_gelus),
        ("SkipLayerNormalization", _fuse_residual_norms),
    ):
        graph = Graph(model.graph)
        found[name] = fuse(graph)
        if found[name]:
            graph.finish(model)
    return found


def _restore_norms(model: Any) -> int:
    """Norms that an export below opset 17 spelled out become one operator again, by ONNX Runtime's own finder."""
    from onnxruntime.transformers.fusion_layernorm import FusionLayerNormalization
    from onnxruntime.transformers.onnx_model import OnnxModel

    wrapped = OnnxModel(model)
    finder = FusionLayerNormalization(wrapped)
    finder.apply()
    restored = len(finder.nodes_to_add)
    if restored:
        wrapped.topological_sort()
        drop_unused(model.graph)
    return restored


def _fold_layer_scales(graph: Graph) -> int:
    """(x W + b) * s  ->  x (W s) + (b s), where s is a vector of weights."""
    folded = 0
    for scale in [node for node in graph.graph.node if node.op_type == "Mul"]:
        for factor, out in (scale.input, reversed(scale.input)):
            values, dense = graph.vector(factor), _dense(graph, out)
            if values is None or dense is None or graph.only_consumer(out) is not scale:
                continue
            product, bias = dense
            matrix = graph.matrix(product.input[1])
            if matrix is None or graph.uses(bias) > 1 or matrix.shape[1] != values.size:
                continue
            graph.add_weight(product.input[1], matrix * values)
            graph.add_weight(bias, graph.vector(bias) * values)
            graph.producer[out].output[0] = scale.output[0]
            graph.graph.node.remove(scale)
            folded += 1
            break
    return folded


def _join_projections(graph: Graph) -> int:
    """Query, key and value of the same tokens come from one product instead of three."""
    joined = 0
    for attention in [node for node in graph.graph.node if node.op_type == "MultiHeadAttention"]:
        dense = [one for one in (_dense(graph, name) for name in attention.input) if one is not None]
        matrices = [graph.matrix(product.input[1]) for product, _ in dense]
        same_tokens = len({product.input[0] for product, _ in dense}) == 1
        if len(attention.input) != 3 or len(dense) != 3 or not same_tokens or any(one is None for one in matrices):
            continue
        if len({one.shape for one in matrices}) != 1 or matrices[0].shape[0] != matrices[0].shape[1]:
            continue
        name = attention.name
        weights = graph.add_weight(f"{name}_weights", np.concatenate(matrices, axis=1))
        bias = graph.add_weight(f"{name}_bias", np.concatenate([graph.vector(bias) for _, bias in dense]))
        made = graph.own("Attention", [dense[0][0].input[0], weights, bias], list(attention.output), name)
        made.attribute.extend(attention.attribute)
        graph.replace(attention, made)
        joined += 1
    return joined


def _give_attentions_their_biases(graph: Graph) -> int:
    """Three sums before an attention become its fourth input."""
    given = 0
    for attention in [node for node in graph.graph.node if node.op_type == "MultiHeadAttention"]:
        dense = [_dense(graph, name) for name in attention.input]
        if len(dense) != 3 or any(one is None for one in dense):
            continue
        biases = [graph.vector(bias) for _, bias in dense]  # type: ignore[misc]
        joined = np.concatenate(biases)
        attention.input[:] = [product.output[0] for product, _ in dense]  # type: ignore[misc]
        attention.input.append(graph.add_weight(f"{attention.name}_bias", joined))
        given += 1
    return given


def _fuse_gelus(graph: Graph) -> int:
    """x/2 (1 + erf(x / sqrt 2)), in whatever order it is spelled, and the bias before it."""
    fused = 0
    for erf in [node for node in graph.graph.node if node.op_type == "Erf"]:
        x = _behind_root_of_two(graph, erf.input[0])
        plus_one = graph.only_consumer(erf.output[0])
        if x is None or plus_one is None or plus_one.op_type != "Add" or not _has_scalar(graph, plus_one, 1.0):
            continue
        last = _gelus_last(graph, plus_one, x)
        if last is None:
            continue
        dense = _dense(graph, x)
        inside = {id(node) for node in (erf, plus_one, last)} | {id(node) for node in graph.consumers[x]}
        if dense is not None and x not in graph.results and all(id(node) in inside for node in graph.consumers[x]):
            made = graph.own("BiasGelu", [dense[0].output[0], dense[1]], [last.output[0]], f"{erf.name}_gelu")
        else:
            made = graph.own("Gelu", [x], [last.output[0]], f"{erf.name}_gelu")
        graph.replace(last, made)
        fused += 1
    return fused


def _fuse_residual_norms(graph: Graph) -> int:
    """residual + (product + bias), and the norm of that sum: one operator with both results."""
    fused = 0
    for norm in [node for node in graph.graph.node if node.op_type == "LayerNormalization"]:
        total = graph.producer.get(norm.input[0])
        if total is None or total.op_type != "Add" or len(norm.input) != 3 or len(norm.output) != 1:
            continue
        for name, residual in (total.input, reversed(total.input)):
            dense = _dense(graph, name)
            if dense is None or graph.only_consumer(name) is not total or graph.is_weight(residual):
                continue
            product, bias = dense
            inputs = [product.output[0], residual, norm.input[1], norm.input[2], bias]
            outputs = [norm.output[0], "", "", total.output[0]]
            epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
            graph.replace(total, graph.own("SkipLayerNormalization", inputs, outputs, norm.name, epsilon=epsilon))
            graph.graph.node.remove(norm)
            del graph.producer[total.output[0]]  # a second norm of the same sum reads the sum
            fused += 1
            break
    return fused


def _dense(graph: Graph, name: str) -> tuple[Any, str] | None:
    """(the product, the name of the bias) of which `name` is the sum."""
    node = graph.producer.get(name)
    if node is None or node.op_type != "Add":
        return None
    for bias, product in (node.input, reversed(node.input)):
        source = graph.producer.get(product)
        if graph.vector(bias) is not None and source is not None and source.op_type == "MatMul":
            return source, bias
    return None


def _behind_root_of_two(graph: Graph, name: str) -> str | None:
    node = graph.producer.get(name)
    if node is None or node.op_type not in ("Div", "Mul"):
        return None
    wanted = math.sqrt(2) if node.op_type == "Div" else math.sqrt(0.5)
    return str(node.input[0]) if _is_scalar(graph, node.input[1], wanted) else None


def _gelus_last(graph: Graph, plus_one: Any, x: str) -> Any:
    """The second of the two products of x, 1/2 and the sum; None if these are not what is multiplied."""
    first = graph.only_consumer(plus_one.output[0])
    if first is None or first.op_type != "Mul":
        return None
    other = next(name for name in first.input if name != plus_one.output[0])
    if other == x:
        last = graph.only_consumer(first.output[0])
        return last if last is not None and last.op_type == "Mul" and _has_scalar(graph, last, 0.5) else None
    half = graph.producer.get(other)
    is_half_of_x = half is not None and half.op_type == "Mul" and x in half.input and _has_scalar(graph, half, 0.5)
    return first if is_half_of_x else None


def _has_scalar(graph: Graph, node: Any, value: float) -> bool:
    return any(_is_scalar(graph, name, value) for name in node.input)


def _is_scalar(graph: Graph, name: str, value: float) -> bool:
    found = graph.scalar(name)
    return found is not None and abs(found - value) <= HALF_OF_A_PERCENT * value
