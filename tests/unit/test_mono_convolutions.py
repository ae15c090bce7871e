"""Convolutions in fewer and cheaper operators compute the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import vit_dpt
from onnx import TensorProto, helper, numpy_helper

from depthd.mono.convolutions import resize_channels_last, simplify_convolutions
from depthd.mono.graph import shapes_of
from depthd.mono.half_network import fix_size
from depthd.mono.model import Model, default_card, find_model

RANDOM = np.random.default_rng(0)


def outputs(model: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: pixels})[0]


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def node(kind: str, inputs: Sequence[str], out: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [out], name=out, **attributes)


def model_of(
    nodes: list[onnx.NodeProto], shape: Sequence[int], weights: dict[str, np.ndarray], out_rank: int = 4
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list("abcd")[:out_rank])],
        [numpy_helper.from_array(v.astype(np.float32) if v.dtype.kind == "f" else v, n) for n, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def same_after(rewrite: Any, model: onnx.ModelProto) -> Any:
    pixels = RANDOM.normal(size=[d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim])
    expected = outputs(model, pixels.astype(np.float32))
    found = rewrite(model, shapes_of(model))
    onnx.checker.check_model(model)
    np.testing.assert_allclose(outputs(model, pixels.astype(np.float32)), expected, atol=2e-5)
    return found


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape)


def patches(**attributes: Any) -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "w", "b"], "c", **{"kernel_shape": [4, 4], "strides": [4, 4], **attributes}),
        node("Reshape", ["c", "flat"], "f"),
        node("Transpose", ["f"], "y", perm=[0, 2, 1]),
    ]
    return model_of(nodes, [1, 3, 8, 12], {"w": normal(5, 3, 4, 4), "b": normal(5), "flat": np.array([1, 5, -1])}, 3)


def test_patches_become_one_product() -> None:
    model = patches()
    assert same_after(simplify_convolutions, model)["Patches"] == 1
    assert kinds(model) == ["Reshape", "Transpose", "Reshape", "MatMul", "Add"]


@pytest.mark.parametrize("attributes", [{"strides": [2, 2]}, {"pads": [2, 2, 2, 2]}, {"auto_pad": "SAME_UPPER"}])
def test_patches_that_overlap_or_are_padded_stay_a_convolution(attributes: dict[str, Any]) -> None:
    model = patches(**attributes)
    assert same_after(simplify_convolutions, model)["Patches"] == 0
    assert kinds(model) == ["Conv", "Reshape", "Transpose"]


def enlarged(sizes: Sequence[int], kernel: int = 1, **attributes: Any) -> onnx.ModelProto:
    attributes = {"mode": "linear", "coordinate_transformation_mode": "align_corners", **attributes}
    nodes = [
        node("Resize", ["x", "", "", "sizes"], "r", **attributes),
        node("Conv", ["r", "w", "b"], "y", kernel_shape=[kernel] * 2),
    ]
    weights = {"w": normal(3, 4, kernel, kernel), "b": normal(3), "sizes": np.array([1, 4, *sizes])}
    return model_of(nodes, [1, 4, 5, 7], weights)


@pytest.mark.parametrize("mode", ["align_corners", "half_pixel", "pytorch_half_pixel", "asymmetric"])
def test_a_pixelwise_convolution_comes_before_more_pixels(mode: str) -> None:
    model = enlarged((11, 13), coordinate_transformation_mode=mode)
    assert same_after(simplify_convolutions, model)["ResizeLast"] == 1
    assert kinds(model) == ["Conv", "Resize"]


@pytest.mark.parametrize(
    "model", [enlarged((3, 4)), enlarged((11, 13), kernel=3), enlarged((11, 13), mode="cubic")], ids=kinds
)
def test_it_stays_behind_fewer_pixels_and_other_resizing(model: onnx.ModelProto) -> None:
    assert same_after(simplify_convolutions, model)["ResizeLast"] == 0


def laid_out(steps: str, *more: onnx.NodeProto, out_channels: int = 6) -> onnx.ModelProto:
    """Twelve tokens of 5 channels as a picture of 3x4 pixels, in either order of the two steps."""
    if steps == "transpose first":
        nodes = [node("Transpose", ["x"], "t", perm=[0, 2, 1]), node("Reshape", ["t", "square"], "p")]
        shape = [1, 5, 3, 4]
    else:
        nodes = [node("Reshape", ["x", "square"], "t"), node("Transpose", ["t"], "p", perm=[0, 3, 1, 2])]
        shape = [1, 3, 4, 5]
    weights = {"w": normal(out_channels, 5, 1, 1), "b": normal(out_channels), "square": np.array(shape)}
    if more:
        weights |= {"up": normal(out_channels, 2, 4, 4), "ub": normal(2)}
    return model_of([*nodes, node("Conv", ["p", "w", "b"], "c" if more else "y"), *more], [1, 12, 5], weights)


@pytest.mark.parametrize("steps", ["transpose first", "reshape first"])
def test_tokens_are_multiplied_before_they_become_a_picture(steps: str) -> None:
    model = laid_out(steps)
    assert same_after(simplify_convolutions, model)["Tokens"] == 1
    assert kinds(model) == ["MatMul", "Add", "Reshape", "Transpose"]


@pytest.mark.parametrize("steps", ["transpose first", "reshape first"])
@pytest.mark.parametrize("largest", [0, 1 << 20])
def test_an_enlargement_without_overlap_is_a_product_too(steps: str, largest: int, monkeypatch) -> None:
    monkeypatch.setattr("depthd.mono.convolutions.LARGEST_JOINED_MATRIX", largest)
    model = laid_out(steps, node("ConvTranspose", ["c", "up", "ub"], "y", strides=[4, 4]))
    assert same_after(simplify_convolutions, model)["Tokens"] == 1
    assert kinds(model).count("MatMul") == (1 if largest else 2)
    assert not {"Conv", "ConvTranspose"} & set(kinds(model))


def test_an_enlargement_that_overlaps_stays() -> None:
    model = laid_out("reshape first", node("ConvTranspose", ["c", "up", "ub"], "y", strides=[2, 2]))
    assert same_after(simplify_convolutions, model)["Tokens"] == 1
    assert kinds(model)[-1] == "ConvTranspose"


def test_one_channel_is_a_product() -> None:
    weights = {"w": normal(1, 4, 1, 1), "b": normal(1)}
    model = model_of([node("Conv", ["x", "w", "b"], "y")], [1, 4, 5, 7], weights)
    assert same_after(simplify_convolutions, model)["OneChannel"] == 1
    assert "Conv" not in kinds(model)


def test_a_bias_that_is_computed_keeps_its_convolution() -> None:
    nodes = [node("Relu", ["b"], "positive"), node("Conv", ["x", "w", "positive"], "y")]
    model = model_of(nodes, [1, 4, 5, 7], {"w": normal(1, 4, 1, 1), "b": normal(1)})
    assert not any(same_after(simplify_convolutions, model).values())


@pytest.mark.parametrize("mode", ["align_corners", "half_pixel", "pytorch_half_pixel", "asymmetric"])
def test_resizing_rows_and_then_columns_with_channels_last_gives_the_same(mode: str) -> None:
    model = enlarged((11, 13), kernel=3, coordinate_transformation_mode=mode)
    assert same_after(resize_channels_last, model) == 1
    assert kinds(model) == ["Transpose", "Reshape", "Resize", "Reshape", "Resize", "Transpose", "Conv"]


def test_a_vision_transformer_gives_the_same_map(tmp_path: Path) -> None:
    vit_dpt.make(tmp_path / "tiny.onnx", vit_dpt.TINY)
    model = Model("tiny", default_card("tiny.onnx"), tmp_path / "tiny.onnx")
    pixels = normal(1, 3, 70, 126).astype(np.float32)
    expected = outputs(onnx.load(model.path), pixels)
    fix_size(model, (70, 126), tmp_path / "fixed.onnx", blocks=True)
    proto = onnx.load(tmp_path / "fixed.onnx")
    found = simplify_convolutions(proto, shapes_of(proto))
    assert found == {"Patches": 1, "ResizeLast": 4, "Tokens": 4, "OneChannel": 1}
    assert resize_channels_last(proto, shapes_of(proto)) == 5
    assert "ConvTranspose" not in kinds(proto)
    np.testing.assert_allclose(outputs(proto, pixels), expected, atol=2e-5)


def test_the_embedded_model_gives_the_same_map_with_channels_last(tmp_path: Path) -> None:
    model = find_model("depthd-small")
    fix_size(model, (96, 160), tmp_path / "fixed.onnx")
    proto = onnx.load(tmp_path / "fixed.onnx")
    pixels = normal(1, 3, 96, 160).astype(np.float32)
    expected = outputs(proto, pixels)
    simplify_convolutions(proto, shapes_of(proto))
    assert resize_channels_last(proto, shapes_of(proto)) == 5
    np.testing.assert_allclose(outputs(proto, pixels), expected, atol=1e-4 * np.abs(expected).max())
