"""A stereo network in place of the matcher: a network that no one planned for is one card and one file."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from depthd.cameras import open_camera
from depthd.cameras.matcher import StereoMatcher
from depthd.config import MatcherConfig, MonoConfig, VirtualCameraConfig
from depthd.errors import DepthdError
from depthd.matchers import open_matcher
from depthd.mono import open_engine
from depthd.mono.model import Model, default_card, find_model
from depthd.mono.stereo import StereoNetwork, depth_of

CANDIDATES = 64


def matching_network(path: Path, candidates: int = CANDIDATES) -> Path:
    """Absolute differences over `candidates` shifts, averaged over 7x7 px; disparity = the soft minimum."""
    nodes, weights = [], []

    def constant(name: str, value: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(value, name))
        return name

    constant("begin", np.array([0], np.int64))
    constant("axis", np.array([3], np.int64))
    costs = []
    for d in range(candidates):
        constant(f"pad{d}", np.array([0, 0, 0, d, 0, 0, 0, 0], np.int64))
        constant(f"end{d}", np.array([-d if d else 2**31], np.int64))
        nodes += [
            helper.make_node("Slice", ["right", "begin", f"end{d}", "axis"], [f"cut{d}"]),
            helper.make_node("Pad", [f"cut{d}", f"pad{d}"], [f"moved{d}"], mode="edge"),
            helper.make_node("Sub", ["left", f"moved{d}"], [f"difference{d}"]),
            helper.make_node("Abs", [f"difference{d}"], [f"absolute{d}"]),
            helper.make_node("ReduceMean", [f"absolute{d}"], [f"mean{d}"], axes=[1], keepdims=1),
        ]
        costs.append(f"mean{d}")
    nodes += [
        helper.make_node("Concat", costs, ["volume"], axis=1),
        helper.make_node("AveragePool", ["volume"], ["smooth"], kernel_shape=[7, 7], pads=[3] * 4),
        helper.make_node("Mul", ["smooth", constant("sharp", np.array(-1000.0, np.float32))], ["score"]),
        helper.make_node("Softmax", ["score"], ["share"], axis=1),
        helper.make_node(
            "Conv",
            ["share", constant("steps", np.arange(candidates, dtype=np.float32).reshape(1, -1, 1, 1))],
            ["disparity"],
        ),
    ]
    shape = [1, 3, "h", "w"]
    graph = helper.make_graph(
        nodes,
        "matching",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("left", "right")],
        [helper.make_tensor_value_info("disparity", TensorProto.FLOAT, [1, 1, "h", "w"])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def stereo_card(**changes: object):
    stereo = {"output_kind": "disparity", "input": "left", "right_input": "right"}
    return default_card("matching.onnx").model_copy(update={**stereo, **changes})


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Model:
    path = matching_network(tmp_path_factory.mktemp("models") / "matching.onnx")
    return Model("matching", stereo_card(), path)


@pytest.fixture(scope="module")
def room():
    """One rendered pair with its true depth."""
    source = open_camera(VirtualCameraConfig(real_time=False, depth="matcher"))
    frame = source.grab()
    yield source.camera, frame.left_bgr.copy(), frame.right_bgr.copy(), source.ground_truth_m.copy()
    source.close()


def test_a_stereo_network_measures_a_rendered_room(network: Model, room) -> None:
    camera, left, right, true_m = room
    depth_m = StereoNetwork(network, camera, short_side_px=378).depth_m(left, right)
    assert depth_m.shape == (camera.height, camera.width)
    measured = np.isfinite(depth_m) & np.isfinite(true_m)
    # Matched like this, plain walls and occlusions are wrong; textured surfaces, more than half of the room,
    # are right.
    assert np.median(np.abs(depth_m[measured] / true_m[measured] - 1)) < 0.05


def test_a_shift_is_measured_as_the_depth_of_that_disparity(network: Model, room) -> None:
    camera, left, _, _ = room
    moved = np.roll(left, -40, axis=1)
    depth_m = StereoNetwork(network, camera, short_side_px=378).depth_m(left, moved)
    expected_m = camera.disparity_per_inverse_depth / 40
    assert np.nanmedian(depth_m[:, 100:-60]) == pytest.approx(expected_m, rel=0.05)


def test_what_is_no_disparity_has_its_hole_class(room) -> None:
    camera = room[0]
    disparity_px = np.full((camera.height, camera.width), 40, np.float32)
    disparity_px[5, 50] = np.nan
    disparity_px[6, 50] = -3
    disparity_px[7, 50] = 0.1
    depth_m = depth_of(disparity_px, camera, np.empty_like(disparity_px))
    assert np.isnan(depth_m[:, :40]).all(), "the match would lie left of the right picture"
    assert np.isnan(depth_m[5, 50])
    assert np.isposinf(depth_m[6:8, 50]).all()
    np.testing.assert_allclose(depth_m[8:, 40:], camera.disparity_per_inverse_depth / 40, rtol=1e-6)


def test_the_configured_matcher_is_opened(network: Model, room, monkeypatch) -> None:
    camera = room[0]
    assert isinstance(open_matcher(MatcherConfig(), camera), StereoMatcher)
    monkeypatch.setattr("depthd.mono.model.find_model", lambda name, folder=None: network)
    assert isinstance(open_matcher(MatcherConfig(model="matching"), camera), StereoNetwork)


def test_a_mono_network_is_no_matcher(room) -> None:
    with pytest.raises(DepthdError, match="depthd-small is no stereo network: its output is relative_inverse"):
        StereoNetwork(find_model("depthd-small"), room[0])


def test_a_stereo_network_is_no_mono_engine(network: Model) -> None:
    with pytest.raises(DepthdError, match="takes left tensor"):
        open_engine(MonoConfig(engine="onnx", model=str(network.path)))


def test_a_card_with_a_wrong_name_is_one_line(network: Model, room) -> None:
    wrong = Model("wrong", stereo_card(right_input="second"), network.path)
    with pytest.raises(DepthdError, match="has inputs left, right, its card names left, second"):
        StereoNetwork(wrong, room[0])
