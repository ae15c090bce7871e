"""Which engines to build and which are stale."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.tensorrt_module import make_tensorrt

from depthd import engines, weights
from depthd.errors import UsageError
from depthd.mono import engine_build, engine_cache
from depthd.mono.device import Device
from depthd.mono.model import find_model
from depthd.mono.tensorrt_api import TensorRt
from depthd.paths import WEIGHTS_DIR

GPU = Device("GPU A", "9.0", "580.1")


def no_camera() -> tuple[int, int]:
    raise AssertionError("the camera was opened")


def test_aspects_are_read() -> None:
    assert engines.parse_aspect("16:9", no_camera) == (16, 9)
    assert engines.parse_aspect("square", no_camera) == (1, 1)
    assert engines.parse_aspect("camera", lambda: (672, 376)) == (672, 376)


@pytest.mark.parametrize("text", ["", "16", "16/9", "0:9", "-1:2", "wide", "16:9:1"])
def test_what_is_no_aspect_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no aspect; give WIDTH:HEIGHT"):
        engines.parse_aspect(text, no_camera)


@pytest.mark.parametrize("text", ["", "308,", "a", "308;364", "0", "99999"])
def test_what_are_no_sizes_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="are no sizes"):
        engines.parse_sizes(text)


def test_sizes_are_rounded_to_the_patch_with_a_note() -> None:
    small = find_model("depthd-small")
    notes: list[str] = []
    found = engines.targets(small, [288, 300, 308], (16, 9), notes.append)
    assert [(t.height, t.width) for t in found] == [(288, 512), (288, 544), (320, 544)]
    assert notes == [
        "depthd-small: 300 is no multiple of the patch, built for 544x288",
        "depthd-small: 308 is no multiple of the patch, built for 544x320",
    ]


@pytest.mark.parametrize(("camera", "width"), [((672, 376), 546), ((1920, 1080), 546), ((1280, 720), 546)])
def test_an_engine_built_for_16_to_9_fits_every_zed(camera: tuple[int, int], width: int) -> None:
    from depthd.mono.model import default_card, input_size

    card = default_card("v2.onnx")
    assert engines.size_of(card, 308, (16, 9)) == (308, width)
    assert input_size(card, camera[1], camera[0], 308) == (308, width)


def test_staleness_names_what_differs(tmp_path: Path) -> None:
    api = TensorRt(make_tensorrt(), "tensorrt")
    small = find_model("depthd-small")
    folder = engine_cache.engines_folder(tmp_path)
    key = engine_build.key_for(api, GPU, small, 96, 160, "fp32")
    engine = engine_build.build(api, small, key, folder)
    assert engines.staleness(api, GPU, tmp_path)(engine) == ""
    newer = TensorRt(make_tensorrt("11.2.0"), "tensorrt")
    other = Device("GPU A", "9.0", "590.0")
    said = engines.staleness(newer, other, tmp_path)(engine)
    assert "runtime version is 11.2.0, the engine was built for 11.1.0" in said
    assert "driver is 590.0, the engine was built for 580.1" in said
    assert engines.staleness(None, GPU, tmp_path)(engine) == "TensorRT is not installed"
    engine.plan.write_bytes(b"short")
    assert "is truncated" in engines.staleness(api, GPU, tmp_path)(engine)


def test_the_commands_build_list_and_prune_real_engines(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install tensorrt-rtx")
    shutil.copy(WEIGHTS_DIR / "depthd-small.onnx", tmp_path)
    environment = {**os.environ, "DEPTHD_WEIGHTS": str(tmp_path), "COLUMNS": "200"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", "from depthd.cli_engine import app; app()", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
        assert done.returncode == 0, done.stderr
        return " ".join((done.stdout + done.stderr).split())

    wanted = ("build", "--sizes", "96,100", "--precision", "fp32", "--aspect", "5:3")
    built = run(*wanted)
    assert "100 is no multiple of the patch" in built
    assert built.count("depthd-small-160x96-fp32-") == 1
    assert "is there already" in run(*wanted)
    assert "160x96" in run("list")
    assert run("prune") == ""
    (engine,) = engine_cache.list_engines(tmp_path / "engines")
    engine.plan.write_bytes(b"truncated")
    assert "is truncated" in run("list")
    assert "removed depthd-small-160x96-fp32-" in run("prune")
    assert "no engines in" in run("list")
    assert list((tmp_path / "engines").iterdir()) == []


def test_all_means_every_model_that_can_be_an_engine_and_goes_on_behind_one_that_cannot(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install tensorrt-rtx")
    weights.add(WEIGHTS_DIR / "depthd-small-int8.onnx", "relative_inverse", tmp_path, "a-refused", 32, 96)
    weights.add(WEIGHTS_DIR / "depthd-small.onnx", "relative_inverse", tmp_path, "b-taken", 32, 96)
    command = [sys.executable, "-c", "from depthd.cli_engine import app; app(standalone_mode=False)"]
    wanted = ["build", "--all", "--sizes", "96", "--precision", "fp32", "--folder", str(tmp_path)]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "not every engine of a-refused was built" in done.stderr
    assert "a-refused: " in done.stderr
    assert [engine.model for engine in engine_cache.list_engines(tmp_path / "engines")] == ["b-taken", "depthd-small"]


def test_an_engine_that_is_damaged_is_built_again_without_being_asked(tmp_path: Path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(engines, "find_device", lambda: GPU)
    api = TensorRt(make_tensorrt(), "tensorrt")
    target = engines.Target(find_model("depthd-small"), 96, 160)
    engine, is_new = engines.build(api, target, "fp32", tmp_path, None)
    assert is_new
    assert engines.build(api, target, "fp32", tmp_path, None) == (engine, False)
    for path, text in ((engine.plan, "is truncated"), (engine.golden, "is built again")):
        path.write_bytes(b"short")
        caplog.clear()
        assert engines.build(api, target, "fp32", tmp_path, None) == (engine, True)
        assert text in caplog.text
        assert engines.build(api, target, "fp32", tmp_path, None) == (engine, False)
