"""Running engines, against a stand-in that enforces TensorRT's recorded interface; with the real one where it
is.
"""

import logging
from pathlib import Path

import numpy as np
import pytest
import vit_dpt
from fakes.device_memory import QueuedMemory
from fakes.tensorrt_module import make_tensorrt

from depthd.config import MonoConfig
from depthd.errors import DepthdError
from depthd.mono import engine_cache, fallback, open_engine
from depthd.mono.device import Device, find_device
from depthd.mono.engine_build import build, key_for
from depthd.mono.model import Model, default_card
from depthd.mono.onnx import OnnxEngine
from depthd.mono.tensorrt import Plan, TensorRtEngine, run_on
from depthd.mono.tensorrt_api import TensorRt

GPU = Device("GPU A", "9.0", "580.1")
SHORT_SIDE_PX = 70


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Model:
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    vit_dpt.make(path, vit_dpt.TINY)
    return Model("tiny", default_card("tiny.onnx"), path)


@pytest.fixture(scope="module")
def engines(tiny, tmp_path_factory) -> Path:
    """A folder with one right engine for pictures of 100x180 px."""
    folder = tmp_path_factory.mktemp("engines")
    api = TensorRt(make_tensorrt(), "tensorrt")
    build(api, tiny, key_for(api, GPU, tiny, 70, 126, "fp32"), folder)
    return folder


def engine_of(tiny: Model, folder: Path, memory=None, device=GPU, fault: str = "", **options) -> TensorRtEngine:
    api = TensorRt(make_tensorrt(fault=fault, gpu=device.name), "tensorrt")
    memory = memory or QueuedMemory()
    return TensorRtEngine(api, tiny, folder, device, memory, "fp32", SHORT_SIDE_PX, **options)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (100, 180, 3), np.uint8)


@pytest.mark.parametrize("captures", [True, False])
def test_maps_are_those_of_onnx_runtime_with_and_without_a_graph(tiny, engines, captures: bool) -> None:
    memory = QueuedMemory(captures)
    engine = engine_of(tiny, engines, memory)
    engine.prepare(100, 180)
    portable = OnnxEngine(tiny, short_side_px=SHORT_SIDE_PX)
    portable.prepare(100, 180)
    for seed in range(3):
        np.testing.assert_allclose(engine.infer(picture(seed)), portable.infer(picture(seed)), rtol=1e-5)
    assert memory.launches == (3 if captures else 0)
    engine.close()
    engine.close()


def test_nothing_is_allocated_after_prepare(tiny, engines) -> None:
    memory = QueuedMemory()
    engine = engine_of(tiny, engines, memory)
    engine.prepare(100, 180)
    arrays = len(memory.arrays)
    first = engine.infer(picture(0))
    assert engine.infer(picture(1)).ctypes.data == first.ctypes.data
    assert len(memory.arrays) == arrays


def test_a_size_without_an_engine_says_how_to_build_it(tiny, engines) -> None:
    engine = engine_of(tiny, engines)
    with pytest.raises(DepthdError) as caught:
        engine.prepare(90, 90)
    assert "no fp32 engine of tiny for 70x70 px fits here" in str(caught.value)
    assert "depthd engine build --model tiny --sizes 70 --precision fp32 --aspect 70:70" in str(caught.value)


def test_an_engine_of_another_gpu_is_not_loaded_and_the_log_says_why(tiny, engines, caplog) -> None:
    other = Device("GPU B", "8.7", "580.1")
    with caplog.at_level(logging.WARNING), pytest.raises(DepthdError, match="fits here"):
        engine_of(tiny, engines, device=other).prepare(100, 180)
    assert "GPU is GPU B, the engine was built for GPU A" in caplog.text


@pytest.mark.parametrize("fault", ["nan", "off", "constant"])
def test_an_engine_that_turns_wrong_is_refused_at_the_start(tiny, engines, fault: str) -> None:
    with pytest.raises(DepthdError, match="is refused: it"):
        engine_of(tiny, engines, fault=fault).prepare(100, 180)


def test_a_truncated_plan_is_refused(tiny, engines, tmp_path: Path) -> None:
    engine = placed_copy(engines, tmp_path)
    engine.plan.write_bytes(engine.plan.read_bytes()[:-100])
    with pytest.raises(DepthdError, match="is truncated"):
        engine_of(tiny, tmp_path).prepare(100, 180)


def test_stored_golden_maps_that_are_damaged_are_one_line(tiny, engines, tmp_path: Path) -> None:
    placed_copy(engines, tmp_path).golden.write_bytes(b"PK\x03\x04")
    with pytest.raises(DepthdError, match="cannot be read"):
        engine_of(tiny, tmp_path).prepare(100, 180)


def test_a_plan_that_tensorrt_does_not_take_is_one_line(tiny) -> None:
    api = TensorRt(make_tensorrt(), "tensorrt")
    with pytest.raises(DepthdError, match=r"TensorRT 11\.1\.0 does not take the engine: Serialization assertion"):
        Plan(api, b"no plan", tiny.card, (70, 126), QueuedMemory())


def test_auto_takes_the_first_engine_that_can_be_prepared(tiny, engines, caplog) -> None:
    """The TensorRT engine is wrong here, so the portable one takes over, and the log says why."""
    config = MonoConfig(model=str(tiny.path), short_side_px=SHORT_SIDE_PX)
    engine = fallback.FirstThatWorks(
        config,
        (
            lambda c: engine_of(tiny, engines, fault="nan"),
            lambda c: OnnxEngine(tiny, short_side_px=SHORT_SIDE_PX),
        ),
    )
    with caplog.at_level(logging.INFO):
        engine.prepare(100, 180)
    assert "is refused: it gives values that are not finite" in caplog.text
    assert np.isfinite(engine.infer(picture(0))).all()


def test_auto_prefers_tensorrt(tiny, engines) -> None:
    def never(config):
        raise AssertionError("the portable engine was opened")

    engine = fallback.FirstThatWorks(MonoConfig(model=str(tiny.path)), (lambda c: engine_of(tiny, engines), never))
    engine.prepare(100, 180)
    assert engine.infer(picture(0)).shape == (70, 126)


def test_auto_without_a_gpu_is_the_portable_engine() -> None:
    if find_device() is not None:
        pytest.skip("there is a GPU here")
    engine = open_engine(MonoConfig(engine="auto", short_side_px=96))
    engine.prepare(100, 180)
    assert engine.infer(picture(0)).shape == (96, 160)


def placed_copy(engines: Path, folder: Path) -> engine_cache.Engine:
    (engine,) = engine_cache.list_engines(engines)
    return engine_cache.place(
        folder, engine.model, engine.key, engine.read_plan(),
        lambda path: path.write_bytes(engine.golden.read_bytes()),
    )  # fmt: skip


@pytest.mark.tensorrt
def test_a_real_engine_is_built_checked_and_run_here(tiny, tmp_path: Path) -> None:
    """On a machine with a GPU, CuPy and TensorRT."""
    from depthd.mono.cuda_memory import CudaMemory
    from depthd.mono.tensorrt_api import find_tensorrt

    device = find_device()
    if device is None:
        pytest.skip("no GPU, or CuPy is not installed")
    try:
        api = find_tensorrt()
    except DepthdError as error:
        pytest.skip(str(error))
    for precision in ("fp32", "fp16"):
        key = key_for(api, device, tiny, 70, 126, precision)
        build(api, tiny, key, tmp_path, run=run_on(api, CudaMemory()))
        engine = TensorRtEngine(api, tiny, tmp_path, device, CudaMemory(), precision, SHORT_SIDE_PX)
        engine.prepare(100, 180)
        on_host = engine.infer(picture(0)).copy()
        import cupy

        on_device = cupy.asnumpy(engine.infer(cupy.asarray(picture(0))))
        np.testing.assert_allclose(on_device, on_host, rtol=2e-2, atol=2e-2)
        engine.close()
