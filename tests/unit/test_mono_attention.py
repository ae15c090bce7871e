"""Attention as one operator computes the same as its parts."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import vit_dpt
from onnx import TensorProto, helper, numpy_helper

from depthd.mono.attention import fuse_attention
from depthd.mono.model import find_model

HEADS, WIDTH, TOKENS = 2, 8, 5


def outputs(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def attention(order: list[int], key_order: list[int], scale: float = 0.35) -> onnx.ModelProto:
    """One attention over 2 heads, its heads split with the given transpositions."""
    nodes = []
    for name, permutation in (("q", order), ("k", key_order), ("v", [0, 2, 1, 3])):
        nodes += [
            helper.make_node("Reshape", [name, "split"], [f"{name}4"]),
            helper.make_node("Transpose", [f"{name}4"], [f"{name}h"], perm=permutation),
        ]
    nodes += [
        helper.make_node("Mul", ["qh", "scale"], ["qs"]),
        helper.make_node("MatMul", ["qs", "kh"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "vh"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["last"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["last", "merge"], ["out"]),
    ]
    weights = [
        numpy_helper.from_array(np.array([0, -1, HEADS, WIDTH], np.int64), "split"),
        numpy_helper.from_array(np.array([0, -1, HEADS * WIDTH], np.int64), "merge"),
        numpy_helper.from_array(np.array(scale, np.float32), "scale"),
    ]
    shape = [1, TOKENS, HEADS * WIDTH]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "qkv"],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_attention_of_any_scale_becomes_one_operator() -> None:
    model = attention([0, 2, 1, 3], [0, 2, 3, 1])
    random = np.random.default_rng(0)
    inputs = {name: random.normal(size=(1, TOKENS, HEADS * WIDTH)).astype(np.float32) for name in "qkv"}
    expected = outputs(model, inputs)
    assert fuse_attention(model) == 1
    assert kinds(model) == ["MultiHeadAttention"]
    np.testing.assert_allclose(outputs(model, inputs), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("order", "key_order"),
    [([0, 2, 1, 3], [0, 2, 1, 3]), ([0, 2, 3, 1], [0, 2, 3, 1]), ([0, 1, 2, 3], [0, 1, 3, 2])],
)
def test_what_is_not_attention_over_heads_is_left_alone(order: list[int], key_order: list[int]) -> None:
    model = attention(order, key_order)
    before = model.SerializeToString()
    assert fuse_attention(model) == 0
    assert model.SerializeToString() == before


def test_a_transformer_gives_the_same_map(tmp_path: Path) -> None:
    vit_dpt.make(tmp_path / "tiny.onnx", vit_dpt.TINY)
    model = onnx.load(tmp_path / "tiny.onnx")
    inputs = {"pixel_values": np.random.default_rng(0).normal(size=(1, 3, 70, 126)).astype(np.float32)}
    expected = outputs(model, inputs)
    assert fuse_attention(model) == vit_dpt.TINY.layers
    assert "Softmax" not in kinds(model)
    np.testing.assert_allclose(outputs(model, inputs), expected, atol=1e-5)


def test_a_network_without_attention_is_left_alone() -> None:
    model = onnx.load(find_model("depthd-small").path)
    before = model.SerializeToString()
    assert fuse_attention(model) == 0
    assert model.SerializeToString() == before
