"""The golden check, and half precision."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import vit_dpt
from onnx.reference import ReferenceEvaluator

from depthd.errors import DepthdError
from depthd.mono import golden, half
from depthd.mono.model import Model, default_card, find_model

RANDOM = np.random.default_rng(0)
SUMS = [2108752, 1903121, 1963348]
EXPECTED = [RANDOM.random((20, 30), np.float32) + i for i in range(3)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Model:
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    vit_dpt.make(path, vit_dpt.TINY)
    return Model("tiny", default_card("tiny.onnx"), path)


def test_the_right_maps_pass() -> None:
    assert golden.compare([m * np.float32(1.0005) for m in EXPECTED], EXPECTED, "fp32").failure == ""


def test_maps_that_are_off_fail_by_their_precision() -> None:
    off = [m * np.float32(1.01) for m in EXPECTED]
    assert golden.compare(off, EXPECTED, "fp16").failure == ""
    assert "off by 0.01" in golden.compare(off, EXPECTED, "fp32").failure


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_value_that_is_not_finite_fails(bad: float) -> None:
    maps = [m.copy() for m in EXPECTED]
    maps[1][3, 4] = bad
    assert "not finite" in golden.compare(maps, EXPECTED, "fp16").failure


def test_the_same_map_for_different_pictures_fails() -> None:
    alike = [np.ones((4, 4), np.float32) * (1 + 0.011 * i) for i in range(3)]
    assert "same map" in golden.compare([alike[1]] * 3, alike, "fp16").failure


def test_pictures_are_fixed_and_different() -> None:
    first, second = golden.golden_pictures(56, 98), golden.golden_pictures(56, 98)
    for one, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, again)
        assert one.shape == (56, 98, 3)
        assert one.std() > 20
    # Seen once, looked at, and written down: another machine or NumPy must make the same.
    assert [int(p.astype(np.int64).sum()) for p in first] == SUMS


def test_reference_maps_tell_the_pictures_apart() -> None:
    maps = golden.reference_maps(find_model("depthd-small"), 96, 160, threads=2)
    assert golden.compare(maps, maps, "fp32").failure == ""
    assert golden.relative_distance(maps[0], maps[1]) > 0.05
    assert golden.relative_distance(maps[1], maps[2]) > 0.05


def test_maps_are_stored_exactly(tmp_path: Path) -> None:
    golden.save_maps(tmp_path / "maps.npz", EXPECTED)
    for stored, expected in zip(golden.load_maps(tmp_path / "maps.npz"), EXPECTED, strict=True):
        np.testing.assert_array_equal(stored, expected)


def in_real_half(path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """ONNX's reference evaluator rounds every float16 result; ONNX Runtime on a CPU does not."""
    evaluator = ReferenceEvaluator(str(path))
    with np.errstate(all="ignore"):
        return [evaluator.run(None, {"pixel_values": one})[0] for one in inputs]


@pytest.mark.parametrize("level", half.LEVELS)
def test_half_precision_of_a_transformer_is_right_at_every_level(tiny: Model, tmp_path: Path, level: int) -> None:
    half.to_half(tiny.path, tmp_path / "half.onnx", level)
    onnx.checker.check_model(onnx.load(tmp_path / "half.onnx"))
    inputs = golden.golden_inputs(tiny, 28, 42)
    result = golden.compare(in_real_half(tmp_path / "half.onnx", inputs), golden.reference_maps(tiny, 28, 42), "fp16")
    assert result.failure == ""
    assert result.worst_error > 1e-6, "nothing was in half precision"


def test_what_must_stay_in_float32_does(tiny: Model, tmp_path: Path) -> None:
    half.to_half(tiny.path, tmp_path / "half.onnx", 1)
    model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "half.onnx"))
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    by_kind: dict[str, set[int]] = {}
    for node in model.graph.node:
        by_kind.setdefault(node.op_type, set()).update(types[o] for o in node.output if o in types)
    for kind in ("LayerNormalization", "Softmax", "Add", "Resize"):
        assert onnx.TensorProto.FLOAT16 not in by_kind[kind], kind
    for kind in ("MatMul", "Conv", "ConvTranspose"):
        assert by_kind[kind] == {onnx.TensorProto.FLOAT16}, kind


def test_sums_that_overflow_in_half_precision_are_right_at_the_second_level(tiny: Model, tmp_path: Path) -> None:
    """A residual stream of 1e5, as attention sinks make them, is beyond float16's 65504."""
    model = onnx.load(tiny.path)
    largest = next(w for w in model.graph.initializer if w.dims == [1, 1, vit_dpt.TINY.hidden])
    values = onnx.numpy_helper.to_array(largest) * 0 + 4e4
    largest.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), largest.name))
    positions = [w for w in model.graph.initializer if w.dims == [1, 1, vit_dpt.TINY.hidden]][1]
    positions.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), positions.name))
    onnx.save(model, tmp_path / "large.onnx")
    large = Model("large", tiny.card, tmp_path / "large.onnx")
    inputs, expected = golden.golden_inputs(large, 28, 42), golden.reference_maps(large, 28, 42)
    failures = []
    for level in (0, 1):
        half.to_half(large.path, tmp_path / "half.onnx", level)
        failures.append(golden.compare(in_real_half(tmp_path / "half.onnx", inputs), expected, "fp16").failure)
    assert failures[0] != ""
    assert failures[1] == ""


def test_weights_stored_in_half_become_plain_weights(tmp_path: Path) -> None:
    small = find_model("depthd-small")
    half.to_half(small.path, tmp_path / "half.onnx")
    pixels = golden.golden_inputs(small, 64, 96)[0]
    session = onnxruntime.InferenceSession(tmp_path / "half.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"input": pixels})[0]
    expected = golden.reference_maps(small, 64, 96)[0]
    assert golden.relative_distance(found.reshape(expected.shape), expected) < 2e-2


def test_a_file_that_cannot_be_converted_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no onnx")
    with pytest.raises(DepthdError, match=r"x\.onnx cannot be turned into half precision"):
        half.to_half(tmp_path / "x.onnx", tmp_path / "half.onnx")


def test_a_value_written_twice_by_the_converter_is_written_once() -> None:
    """As ONNX Runtime's converter before 1.32 leaves it."""
    nodes = [onnx.helper.make_node("Cast", ["x"], ["y"], name="y_node", to=1) for _ in range(2)]
    nodes.append(onnx.helper.make_node("Add", ["y", "y"], ["z"], name="z_node"))
    graph = onnx.helper.make_graph(nodes, "twice", [], [])
    half._drop_repeated(graph)
    assert [node.name for node in graph.node] == ["y_node", "z_node"]
