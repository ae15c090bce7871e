"""A transformer in fewer operators computes the same."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import vit_dpt
from onnx import TensorProto, helper, numpy_helper

from depthd.mono.blocks import fuse_blocks
from depthd.mono.model import find_model


def outputs(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    # Without ONNX Runtime's own rewriting, so that what is compared is ours.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, inputs)


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_a_vision_transformer_gives_the_same_map_in_far_fewer_operators(tmp_path: Path) -> None:
    vit_dpt.make(tmp_path / "tiny.onnx", vit_dpt.TINY)
    model = onnx.load(tmp_path / "tiny.onnx")
    inputs = {"pixel_values": np.random.default_rng(0).normal(size=(1, 3, 70, 126)).astype(np.float32)}
    (expected,) = outputs(model, inputs)
    before = kinds(model)
    layers = vit_dpt.TINY.layers
    found = fuse_blocks(model)
    assert found == {
        "LayerNormalization": 0, "MultiHeadAttention": layers, "LayerScale": 2 * layers, "Attention": layers, "Bias": 0,
        "Gelu": layers, "SkipLayerNormalization": 2 * layers,
    }  # fmt: skip
    onnx.checker.check_model(model)
    after = kinds(model)
    assert not {"Softmax", "Erf"} & set(after)
    assert len(after) < len(before) - 20 * layers
    np.testing.assert_allclose(outputs(model, inputs)[0], expected, atol=2e-5)


def spell_out_norms(model: onnx.ModelProto) -> int:
    """As exporters did before opset 17: mean, difference, variance, root, quotient, gain and bias."""
    constants = {"two": 2.0, "epsilon": 1e-6}
    model.graph.initializer.extend(numpy_helper.from_array(np.array(v, np.float32), n) for n, v in constants.items())
    nodes, spelled = [], 0
    for node in model.graph.node:
        if node.op_type != "LayerNormalization":
            nodes.append(node)
            continue
        x, gain, bias, n = *node.input, f"norm{spelled}_"
        spelled += 1
        nodes += [
            helper.make_node("ReduceMean", [x], [n + "mean"], axes=[-1]),
            helper.make_node("Sub", [x, n + "mean"], [n + "apart"]),
            helper.make_node("Pow", [n + "apart", "two"], [n + "square"]),
            helper.make_node("ReduceMean", [n + "square"], [n + "variance"], axes=[-1]),
            helper.make_node("Add", [n + "variance", "epsilon"], [n + "sum"]),
            helper.make_node("Sqrt", [n + "sum"], [n + "deviation"]),
            helper.make_node("Div", [n + "apart", n + "deviation"], [n + "normal"]),
            helper.make_node("Mul", [n + "normal", gain], [n + "scaled"]),
            helper.make_node("Add", [n + "scaled", bias], [node.output[0]]),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return spelled


def test_norms_that_are_spelled_out_become_one_operator_first(tmp_path: Path) -> None:
    vit_dpt.make(tmp_path / "tiny.onnx", vit_dpt.TINY)
    model = onnx.load(tmp_path / "tiny.onnx")
    spelled = spell_out_norms(model)
    onnx.checker.check_model(model)
    inputs = {"pixel_values": np.random.default_rng(0).normal(size=(1, 3, 70, 126)).astype(np.float32)}
    (expected,) = outputs(model, inputs)
    found = fuse_blocks(model)
    assert found["LayerNormalization"] == spelled
    assert found["SkipLayerNormalization"] == 2 * vit_dpt.TINY.layers
    np.testing.assert_allclose(outputs(model, inputs)[0], expected, atol=2e-5)


def dense(name: str, x: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("MatMul", [x, f"{name}_w"], [f"{name}_p"]),
        helper.make_node("Add", [f"{name}_b", f"{name}_p"], [name]),
    ]


def gelu(x: str, out: str, order: str) -> list[onnx.NodeProto]:
    """As PyTorch's exporter spells it (`last`), or with the half first (`first`)."""
    nodes = [
        helper.make_node("Mul", [x, "root_half"], ["scaled"])
        if order == "times"
        else helper.make_node("Div", [x, "root"], ["scaled"]),
        helper.make_node("Erf", ["scaled"], ["erf"], name="erf"),
        helper.make_node("Add", ["erf", "one"], ["plus"]),
    ]
    if order == "first":
        return [
            *nodes,
            helper.make_node("Mul", [x, "half"], ["halved"]),
            helper.make_node("Mul", ["plus", "halved"], [out]),
        ]
    return [*nodes, helper.make_node("Mul", [x, "plus"], ["twice"]), helper.make_node("Mul", ["twice", "half"], [out])]


def model_of(nodes: list[onnx.NodeProto], outs: list[str], width: int = 8) -> onnx.ModelProto:
    random = np.random.default_rng(1)
    weights = {f"{n}_w": random.normal(size=(width, width)) for n in "ab"}
    weights |= {f"{n}_b": random.normal(size=width) for n in "ab"}
    weights |= {
        "scale": random.normal(size=width),
        "gamma": random.normal(size=width),
        "beta": random.normal(size=width),
    }
    weights |= {"one": np.array(1.0), "half": np.array(0.5), "root": np.array(2**0.5), "root_half": np.array(0.5**0.5)}
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 5, width]) for name in ("x", "r") if name in used],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 5, width]) for name in outs],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items() if n in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def same_after_fusing(model: onnx.ModelProto) -> list[str]:
    random = np.random.default_rng(2)
    inputs = {value.name: random.normal(size=(1, 5, 8)).astype(np.float32) for value in model.graph.input}
    expected = outputs(model, inputs)
    fuse_blocks(model)
    onnx.checker.check_model(model)
    for one, other in zip(outputs(model, inputs), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    return kinds(model)


@pytest.mark.parametrize("order", ["first", "last", "times"])
def test_gelu_is_found_however_it_is_spelled(order: str) -> None:
    assert same_after_fusing(model_of(gelu("x", "y", order), ["y"])) == ["Gelu"]
    with_bias = model_of([*dense("a", "x"), *gelu("a", "y", order)], ["y"])
    assert same_after_fusing(with_bias) == ["MatMul", "BiasGelu"]


def test_a_sum_that_is_read_elsewhere_keeps_its_bias() -> None:
    model = model_of([*dense("a", "x"), *gelu("a", "y", "last")], ["a", "y"])
    assert same_after_fusing(model) == ["MatMul", "Add", "Gelu"]


def test_what_only_looks_like_gelu_is_left_alone() -> None:
    model = model_of(gelu("x", "y", "last"), ["y"])
    for weight in model.graph.initializer:
        if weight.name == "half":
            weight.CopyFrom(numpy_helper.from_array(np.float32(0.6), "half"))
    assert "Erf" in same_after_fusing(model)


def test_a_norm_takes_the_residual_and_hands_both_on() -> None:
    nodes = [
        *dense("a", "x"),
        helper.make_node("Add", ["r", "a"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "gamma", "beta"], ["y"], name="norm", epsilon=1e-6),
        helper.make_node("LayerNormalization", ["sum", "gamma", "beta"], ["z"], name="tap", epsilon=1e-6),
    ]
    model = model_of(nodes, ["y", "z", "sum"])
    assert same_after_fusing(model) == ["MatMul", "SkipLayerNormalization", "LayerNormalization"]


def test_a_scale_goes_into_the_weights_unless_they_are_shared() -> None:
    scaled = [*dense("a", "x"), helper.make_node("Mul", ["a", "scale"], ["y"])]
    assert same_after_fusing(model_of(scaled, ["y"])) == ["MatMul", "Add"]
    twice = [*scaled, helper.make_node("MatMul", ["x", "a_w"], ["z"])]
    assert same_after_fusing(model_of(twice, ["y", "z"])) == ["MatMul", "Add", "Mul", "MatMul"]
    read = model_of(scaled, ["a", "y"])
    assert same_after_fusing(read) == ["MatMul", "Add", "Mul"]


def test_a_network_without_blocks_is_left_alone() -> None:
    model = onnx.load(find_model("depthd-small").path)
    before = model.SerializeToString()
    assert not any(fuse_blocks(model).values())
    assert model.SerializeToString() == before
