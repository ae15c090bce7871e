"""The ONNX Runtime engine on the CPU."""

import logging
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, checker, helper, save

from depthd.config import MonoConfig
from depthd.errors import DepthdError
from depthd.mono import open_engine
from depthd.mono.model import Model, ModelCard, default_card, find_model
from depthd.mono.onnx import OnnxEngine

PICTURES = Path(__file__).parents[3] / "shared" / "data" / "zed2i_hd1080"
SHAPE = ["n", 3, "h", "w"]


def graph(
    path: Path, nodes: list, inputs: dict[str, list], outputs: dict[str, list], element=TensorProto.FLOAT
) -> Path:
    """Writes an ONNX file of these nodes; a name that starts with `c` is the constant 0.25 of 1x3x1x1."""
    constant = helper.make_tensor("c", TensorProto.FLOAT, [1, 3, 1, 1], [0.25] * 3)
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(name, element, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            [constant],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    checker.check_model(model)
    save(model, path)
    return path


def mean_of_channels(path: Path, shape: list | None = None, output: str = "y") -> Path:
    """A network whose map is the mean over the channels of its input."""
    mean = helper.make_node("ReduceMean", ["x"], [output], axes=[1], keepdims=0)
    return graph(path, [mean], {"x": shape or SHAPE}, {output: ["n", "h", "w"]})


def model_at(path: Path, **changes: object) -> Model:
    return Model(path.stem, default_card(path.name).model_copy(update=changes), path)


def picture(height: int = 60, width: int = 100, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def refusal(path: Path, **changes: object) -> str:
    with pytest.raises(DepthdError) as caught:
        OnnxEngine(model_at(path, **changes)).prepare(60, 100)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_map_is_what_the_network_computes_of_the_preprocessed_picture(tmp_path: Path) -> None:
    engine = OnnxEngine(model_at(mean_of_channels(tmp_path / "mean.onnx")), short_side_px=28)
    engine.prepare(60, 100)
    grey = np.full((60, 100, 3), 128, np.uint8)
    card = engine.card
    expected = np.mean((128 / 255 - np.array(card.mean)) / np.array(card.std))
    found = engine.infer(grey)
    assert found.shape == (28, 42)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_array_is_reused_and_follows_the_picture(tmp_path: Path) -> None:
    engine = OnnxEngine(model_at(mean_of_channels(tmp_path / "mean.onnx")))
    engine.prepare(60, 100)
    first = engine.infer(picture(seed=1))
    before = first.copy()
    second = engine.infer(picture(seed=2))
    assert second.ctypes.data == first.ctypes.data
    assert not np.array_equal(second, before)
    np.testing.assert_array_equal(engine.infer(picture(seed=1)), before)


def test_prepare_may_be_called_again_for_another_size(tmp_path: Path) -> None:
    engine = OnnxEngine(model_at(mean_of_channels(tmp_path / "mean.onnx")), short_side_px=28)
    engine.prepare(60, 100)
    engine.prepare(100, 60)
    assert engine.infer(picture(100, 60)).shape == (42, 28)


def test_a_network_of_fixed_size_runs_at_that_size_and_says_so(tmp_path: Path, caplog) -> None:
    engine = OnnxEngine(model_at(mean_of_channels(tmp_path / "fixed.onnx", [1, 3, 56, 56])))
    with caplog.at_level(logging.WARNING):
        engine.prepare(60, 100)
    assert engine.infer(picture()).shape == (56, 56)
    assert "only takes 56x56 px" in caplog.text


def test_values_that_are_not_finite_are_refused_at_the_start(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sub", ["x", "x"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["nan"]),
        helper.make_node("ReduceMean", ["nan"], ["y"], axes=[1], keepdims=0),
    ]
    path = graph(tmp_path / "nan.onnx", nodes, {"x": SHAPE}, {"y": ["n", "h", "w"]})
    assert "values that are not finite" in refusal(path)


def test_values_that_are_not_finite_later_are_passed_on_and_logged_once(tmp_path: Path, caplog) -> None:
    # log(mean + 0.25): NaN for a dark picture, finite for a light one and for the ramp of the warm-up.
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Add", ["mean", "c"], ["sum"]),
        helper.make_node("Log", ["sum"], ["log"]),
        helper.make_node("Add", ["log", "x"], ["all"]),
        helper.make_node("ReduceMean", ["all"], ["y"], axes=[1], keepdims=0),
    ]
    path = graph(tmp_path / "log.onnx", nodes, {"x": SHAPE}, {"y": ["n", "h", "w"]})
    engine = OnnxEngine(model_at(path))
    engine.prepare(60, 100)
    dark, light = np.zeros((60, 100, 3), np.uint8), np.full((60, 100, 3), 250, np.uint8)
    with caplog.at_level(logging.INFO):
        assert np.isnan(engine.infer(dark)).all()
        assert np.isnan(engine.infer(dark)).all()
        assert np.isfinite(engine.infer(light)).all()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"\x08" * 5000])
def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.onnx"
    path.write_bytes(content)
    assert f"{path} is no model for ONNX Runtime" in refusal(path)


def test_unknown_operators_are_refused_by_name(tmp_path: Path) -> None:
    path = mean_of_channels(tmp_path / "mean.onnx")
    path.write_bytes(path.read_bytes().replace(b"ReduceMean", b"ReduceMood"))
    assert "ReduceMood" in refusal(path)


def test_an_input_of_another_rank_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2], keepdims=0)
    path = graph(tmp_path / "views.onnx", [node], {"x": ["n", "v", 3, "h", "w"]}, {"y": ["n", "h", "w"]})
    assert "depthd needs one float32 input of rank 4" in refusal(path)


def test_a_second_input_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "z"], ["s"]),
        helper.make_node("ReduceMean", ["s"], ["y"], axes=[1]),
    ]
    path = graph(tmp_path / "two.onnx", nodes, {"x": SHAPE, "z": SHAPE}, {"y": ["n", 1, "h", "w"]})
    assert "takes x tensor(float)" in refusal(path)


def test_an_output_that_is_no_map_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    path = graph(tmp_path / "colour.onnx", [node], {"x": SHAPE}, {"y": SHAPE})
    assert "depthd needs one float32 map per picture" in refusal(path)


def test_names_of_a_card_that_the_file_does_not_have_are_refused(tmp_path: Path) -> None:
    path = mean_of_channels(tmp_path / "mean.onnx")
    assert "has no input 'image', only x" in refusal(path, input="image")
    assert "has no output 'depth', only y" in refusal(path, output="depth")


def test_a_network_that_fails_at_this_size_is_refused_when_prepared(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["shape"], value_ints=[1, 3, 7, 9]),
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["y"], axes=[1], keepdims=0),
    ]
    path = graph(tmp_path / "reshape.onnx", nodes, {"x": SHAPE}, {"y": ["n", "h", "w"]})
    assert "fails at" in refusal(path)


def test_a_picture_of_another_size_than_prepared_is_refused(tmp_path: Path) -> None:
    engine = OnnxEngine(model_at(mean_of_channels(tmp_path / "mean.onnx")))
    engine.prepare(60, 100)
    with pytest.raises(ValueError, match="left_bgr is"):
        engine.infer(picture(61, 100))


@pytest.fixture(scope="module")
def real_left() -> np.ndarray:
    import cv2

    if not PICTURES.is_dir():
        pytest.skip("the pictures ../shared/data/zed2i_hd1080 are not here")
    return cv2.imread(str(PICTURES / "left.png"))


@pytest.mark.parametrize("name", ["depthd-small", "depthd-small-int8"])
def test_an_embedded_model_sees_depth_in_a_real_picture(real_left: np.ndarray, name: str) -> None:
    engine = open_engine(MonoConfig(model=name))
    engine.prepare(*real_left.shape[:2])
    mono = engine.infer(real_left).copy()
    assert np.isfinite(mono).all()
    assert mono.std() > 0.1 * mono.mean()
    # The table in front is nearer than the wall behind it.
    assert mono[-40:].mean() > 2 * mono[:40].mean()
    np.testing.assert_array_equal(engine.infer(real_left), mono)
    again = open_engine(MonoConfig(model=name))
    again.prepare(*real_left.shape[:2])
    np.testing.assert_array_equal(again.infer(real_left), mono)


def test_eight_bits_change_a_map_by_little(real_left: np.ndarray) -> None:
    maps = []
    for name in ("depthd-small", "depthd-small-int8"):
        engine = open_engine(MonoConfig(model=name))
        engine.prepare(*real_left.shape[:2])
        maps.append(engine.infer(real_left).ravel().copy())
    assert np.corrcoef(maps)[0, 1] > 0.995


def test_a_model_card_is_offered_for_the_fusion() -> None:
    card = open_engine(MonoConfig()).card
    assert isinstance(card, ModelCard)
    assert card == find_model("depthd-small").card


def test_a_network_with_an_axis_of_views_gets_one_view(tmp_path: Path) -> None:
    """Depth Anything V3: (pictures, views, 3, height, width) -> (pictures, views, height, width), larger is
    farther.
    """
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2], keepdims=0)
    path = graph(tmp_path / "v3.onnx", [node], {"x": ["n", "v", 3, "h", "w"]}, {"y": ["n", "v", "h", "w"]})
    engine = OnnxEngine(model_at(path, views=True, output_kind="relative_depth"), short_side_px=28)
    engine.prepare(60, 100)
    plain = OnnxEngine(model_at(mean_of_channels(tmp_path / "mean.onnx")), short_side_px=28)
    plain.prepare(60, 100)
    np.testing.assert_allclose(engine.infer(picture()), plain.infer(picture()), rtol=1e-5)


def test_providers_that_are_not_here_are_passed_over(tmp_path: Path) -> None:
    model = model_at(mean_of_channels(tmp_path / "mean.onnx"))
    engine = OnnxEngine(model, providers=("tensorrt", "cuda"))
    engine.prepare(60, 100)
    assert engine.provider in ("tensorrt", "cuda", "cpu")
    assert engine.infer(picture()).size > 0
