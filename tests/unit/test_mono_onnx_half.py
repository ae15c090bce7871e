"""The portable engine in half precision. Here it runs on the CPU: the same file, bindings and checks, no CUDA."""

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import vit_dpt
from fakes.device_memory import QueuedMemory

from depthd import engines
from depthd.config import MonoConfig
from depthd.errors import DepthdError
from depthd.mono import engine_cache, golden, half_network, onnx_half, open_engine
from depthd.mono.fallback import FirstThatWorks
from depthd.mono.model import Model, default_card, find_model
from depthd.mono.onnx import OnnxEngine
from depthd.mono.onnx_half import HalfOnnxEngine

SHORT_PX = 70


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Model:
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    vit_dpt.make(path, vit_dpt.TINY)
    return Model("tiny", default_card("tiny.onnx"), path)


def engine_of(model: Model, folder: Path, memory: QueuedMemory | None = None) -> HalfOnnxEngine:
    return HalfOnnxEngine(model, folder, memory or QueuedMemory(), 1, SHORT_PX, provider="cpu")


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (90, 160, 3), np.uint8)


def test_it_gives_what_float32_gives_within_half_precision(tiny: Model, tmp_path: Path) -> None:
    half, full = engine_of(tiny, tmp_path), OnnxEngine(tiny, 1, SHORT_PX)
    half.prepare(90, 160)
    full.prepare(90, 160)
    for seed in range(3):
        found, expected = half.infer(picture(seed)), full.infer(picture(seed))
        assert found.dtype == np.float32
        assert 0 < golden.relative_distance(found, expected) <= golden.LARGEST_ERROR["fp16"]


def test_the_network_is_converted_once_and_loaded_by_later_starts(tiny: Model, tmp_path: Path, monkeypatch) -> None:
    first = engine_of(tiny, tmp_path)
    first.prepare(90, 160)
    expected = first.infer(picture()).copy()
    (kept,) = engine_cache.list_engines(tmp_path)
    assert (kept.key.runtime, kept.key.precision, kept.key.height, kept.key.width) == ("onnxruntime", "fp16", 70, 126)
    assert kept.worst_error is not None

    def never(*_: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(onnx_half, "convert", never)
    second = engine_of(tiny, tmp_path)
    second.prepare(90, 160)
    np.testing.assert_array_equal(second.infer(picture()), expected)


def test_what_is_kept_is_half_precision_of_a_fixed_size_with_whole_attentions(tiny: Model, tmp_path: Path) -> None:
    engine_of(tiny, tmp_path).prepare(90, 160)
    (kept,) = engine_cache.list_engines(tmp_path)
    proto = onnx.load_from_string(kept.read_plan())
    assert [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 70, 126]
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("Attention") == vit_dpt.TINY.layers
    assert kinds.count("SkipLayerNormalization") == 2 * vit_dpt.TINY.layers
    assert "Shape" not in kinds
    heavy = [w for w in proto.graph.initializer if len(w.dims) >= 2 and int(np.prod(w.dims)) > 1000]
    assert heavy
    assert {w.data_type for w in heavy} == {onnx.TensorProto.FLOAT16}


def test_a_damaged_file_is_made_again_and_the_log_says_so(tiny: Model, tmp_path: Path, caplog) -> None:
    engine_of(tiny, tmp_path).prepare(90, 160)
    (kept,) = engine_cache.list_engines(tmp_path)
    kept.plan.write_bytes(kept.plan.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        engine_of(tiny, tmp_path).prepare(90, 160)
    assert "is truncated" in caplog.text
    (again,) = engine_cache.list_engines(tmp_path)
    assert again.read_plan()


def test_one_that_has_become_wrong_is_made_again(tiny: Model, tmp_path: Path, caplog) -> None:
    engine_of(tiny, tmp_path).prepare(90, 160)
    (kept,) = engine_cache.list_engines(tmp_path)
    golden.save_maps(kept.golden, [2 * one for one in golden.load_maps(kept.golden)])
    with caplog.at_level(logging.WARNING):
        engine_of(tiny, tmp_path).prepare(90, 160)
    assert "is made again: it is off by 0.5" in caplog.text
    caplog.clear()
    engine_of(tiny, tmp_path).prepare(90, 160)
    assert "made again" not in caplog.text


def test_a_folder_that_cannot_be_written_costs_only_the_conversion(tiny: Model, tmp_path: Path, caplog) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    engine = engine_of(tiny, blocked / "engines")
    with caplog.at_level(logging.WARNING):
        engine.prepare(90, 160)
    assert "is not kept" in caplog.text
    assert np.isfinite(engine.infer(picture())).all()


def test_a_recipe_that_is_wrong_is_passed_over(tiny: Model, tmp_path: Path, monkeypatch) -> None:
    good = onnx_half.convert

    def fastest_are_wrong(model: Model, size: tuple[int, int], network: half_network.Network) -> bytes:
        content = good(model, size, network)
        if not network.blocks:
            return content
        proto = onnx.load_from_string(content)
        norm = next(node for node in proto.graph.node if node.op_type == "LayerNormalization")
        scale = next(weight for weight in proto.graph.initializer if weight.name == norm.input[1])
        scale.CopyFrom(onnx.numpy_helper.from_array(np.zeros(scale.dims, np.float16), scale.name))
        return proto.SerializeToString()

    monkeypatch.setattr(onnx_half, "convert", fastest_are_wrong)
    engine_of(tiny, tmp_path).prepare(90, 160)
    (kept,) = engine_cache.list_engines(tmp_path)
    assert kept.half_level == len(half_network.ALIKE)


def test_where_no_recipe_is_right_float32_takes_over(tiny: Model, tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setitem(golden.LARGEST_ERROR, "fp16", 0.0)
    config = MonoConfig(model=str(tiny.path), short_side_px=SHORT_PX)
    engine = FirstThatWorks(
        config, (lambda _: engine_of(tiny, tmp_path), lambda c: OnnxEngine(tiny, 1, c.short_side_px))
    )
    with caplog.at_level(logging.INFO):
        engine.prepare(90, 160)
    assert "tiny in half precision: it is off by" in caplog.text
    assert engine_cache.list_engines(tmp_path) == []
    assert np.isfinite(engine.infer(picture())).all()


def test_a_provider_that_is_not_here_is_refused(tiny: Model, tmp_path: Path) -> None:
    if onnxruntime.get_device() == "GPU":
        pytest.skip("this ONNX Runtime has CUDA")
    engine = HalfOnnxEngine(tiny, tmp_path, QueuedMemory(), 1, SHORT_PX)
    with pytest.raises(DepthdError, match="cuda provider does not load here"):
        engine.prepare(90, 160)


def test_the_embedded_model_is_right_in_half_precision(tmp_path: Path) -> None:
    model = find_model("depthd-small")
    engine = HalfOnnxEngine(model, tmp_path, QueuedMemory(), 2, 192, provider="cpu")
    engine.prepare(180, 320)
    (kept,) = engine_cache.list_engines(tmp_path)
    assert kept.worst_error is not None
    assert kept.worst_error <= golden.LARGEST_ERROR["fp16"]


def test_engine_list_and_prune_know_converted_networks(tmp_path: Path) -> None:
    folder = engine_cache.engines_folder(tmp_path)
    HalfOnnxEngine(find_model("depthd-small"), folder, QueuedMemory(), 2, 96, provider="cpu").prepare(90, 160)
    assert [why for _, why in engines.list_engines(None, tmp_path)] == [""]
    assert engines.prune(None, tmp_path) == []
    description = next(folder.glob("*.json"))
    version = f"{onnxruntime.__version__}, conversion {half_network.CONVERSION}"
    description.write_text(description.read_text().replace(f'"version": "{version}"', '"version": "1.0"'))
    ((_, why),) = engines.list_engines(None, tmp_path)
    assert why == f"runtime version is {version}, the engine was built for 1.0"
    assert len(engines.prune(None, tmp_path)) == 1
    assert list(folder.iterdir()) == []


def test_on_a_cpu_the_portable_engine_stays_in_float32() -> None:
    engine = open_engine(MonoConfig(engine="onnx", providers=("cpu", "cuda")))
    assert isinstance(engine, OnnxEngine)
