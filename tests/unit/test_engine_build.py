"""Building engines: with the real TensorRT for RTX where it is installed, and with the stand-in for the
others.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import vit_dpt
from fakes.device_memory import QueuedMemory
from fakes.tensorrt_module import make_tensorrt

from depthd.errors import DepthdError
from depthd.mono import engine_build, engine_cache, half
from depthd.mono.device import Device
from depthd.mono.engine_build import BuildCancelled, build, key_for
from depthd.mono.model import Model, default_card, find_model
from depthd.mono.tensorrt import run_on
from depthd.mono.tensorrt_api import TensorRt, find_tensorrt

HEIGHT, WIDTH = 70, 126
GPU = Device("GPU A", "9.0", "580.1")
VERSIONS = ["10.3.0", "10.16.0", "11.1.0"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Model:
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    vit_dpt.make(path, vit_dpt.TINY)
    return Model("tiny", default_card("tiny.onnx"), path)


@pytest.fixture(scope="module")
def rtx() -> TensorRt:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install tensorrt-rtx")
    return find_tensorrt("tensorrt_rtx")


def stand_in(version: str = "11.1.0", fault: str = "") -> TensorRt:
    return TensorRt(make_tensorrt(version, fault=fault), "tensorrt")


def runner(api: TensorRt):
    """Executes plans of the stand-in."""
    return run_on(api, QueuedMemory())


class Steps:
    """Hears the progress and ends the build after `limit` steps."""

    def __init__(self, limit: int = 10**9) -> None:
        self.phases: list[str] = []
        self.steps = 0
        self.limit = limit

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        self.phases.append(name)

    def step(self, name: str, step: int) -> bool:
        self.steps += 1
        return self.steps < self.limit

    def finish(self, name: str) -> None:
        pass


def built(api: TensorRt, model: Model, folder: Path, precision: str = "fp16", **options: object):
    key = key_for(api, GPU, model, HEIGHT, WIDTH, precision)
    return build(api, model, key, folder, **options)


# The real builder and ONNX parser, which work without a GPU.


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_real_engine_is_built_from_a_transformer_and_read_back(rtx, tiny, tmp_path, precision) -> None:
    steps = Steps()
    engine = built(rtx, tiny, tmp_path, precision, progress=steps)
    key = key_for(rtx, None, tiny, HEIGHT, WIDTH, precision)
    found = engine_cache.find_engine(tmp_path, "tiny", key)
    assert found == engine
    assert found.size_bytes > 100_000
    assert steps.phases
    # The vendor's header check knows the plan as one of its own; a damaged header it calls malformed.
    runtime = rtx.module.Runtime(rtx.logger())
    malformed = 32
    assert not int(runtime.get_engine_validity(found.read_plan())[1]) & malformed


def test_a_real_half_precision_engine_is_smaller(rtx, tiny, tmp_path: Path) -> None:
    full, half_ = built(rtx, tiny, tmp_path, "fp32"), built(rtx, tiny, tmp_path, "fp16")
    assert half_.size_bytes < full.size_bytes
    assert half_.key != full.key


def test_a_real_engine_is_built_from_the_embedded_model(rtx, tmp_path: Path) -> None:
    small = find_model("depthd-small")
    key = key_for(rtx, None, small, 160, 288, "fp16")
    engine = build(rtx, small, key, tmp_path)
    assert engine.size_bytes > 5_000_000
    assert engine.worst_error is None, "nothing has run it"


def test_an_operator_that_the_real_parser_does_not_know_is_named(rtx, tiny, tmp_path: Path) -> None:
    path = tmp_path / "unknown.onnx"
    path.write_bytes(tiny.path.read_bytes().replace(b"Softmax", b"Softmin"))
    with pytest.raises(DepthdError) as caught:
        built(rtx, Model("unknown", tiny.card, path), tmp_path / "engines", "fp32")
    assert "Softmin" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_real_build_that_is_cancelled_leaves_the_old_engine(rtx, tiny, tmp_path: Path) -> None:
    engine = built(rtx, tiny, tmp_path)
    before = engine.plan.stat().st_mtime_ns
    with pytest.raises(BuildCancelled):
        built(rtx, tiny, tmp_path, progress=Steps(limit=20))
    assert engine.plan.stat().st_mtime_ns == before
    assert engine_cache.list_engines(tmp_path) == [engine]


def test_control_c_ends_a_real_build(rtx, tiny, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from depthd.mono.engine_build import BuildCancelled, build, key_for\n"
        "from depthd.mono.model import Model, default_card\n"
        "from depthd.mono.tensorrt_api import find_tensorrt\n"
        "class Interrupts:\n"
        "    def phase(self, *_): os.kill(os.getpid(), signal.SIGINT)\n"
        "    def step(self, *_): return True\n"
        "    def finish(self, *_): pass\n"
        "api = find_tensorrt('tensorrt_rtx')\n"
        "model = Model('tiny', default_card('tiny.onnx'), Path(sys.argv[1]))\n"
        f"key = key_for(api, None, model, {HEIGHT}, {WIDTH}, 'fp32')\n"
        "try: build(api, model, key, Path(sys.argv[2]), progress=Interrupts())\n"
        "except BuildCancelled as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(tiny.path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "the build was interrupted" in done.stdout, done.stderr
    assert engine_cache.list_engines(tmp_path) == []


# Every version, with the stand-in.


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_version_builds_and_passes_the_golden_check(tiny, tmp_path, version, precision) -> None:
    api = stand_in(version)
    engine = built(api, tiny, tmp_path, precision, run=runner(api))
    assert engine.worst_error < (1e-3 if precision == "fp32" else 2e-2)
    assert engine.half_level == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_more_stays_in_float32_until_the_golden_check_is_passed(tiny, tmp_path: Path, version: str) -> None:
    api = stand_in(version, fault="half overflows")
    engine = built(api, tiny, tmp_path, "fp16", run=runner(api))
    assert engine.half_level == 1
    assert api.module.builds == 2


@pytest.mark.parametrize(("fault", "said"), [("nan", "not finite"), ("off", "off by 0.05"), ("constant", "off by")])
def test_a_wrong_engine_is_never_put_in_place(tiny, tmp_path: Path, fault: str, said: str) -> None:
    api = stand_in(fault=fault)
    with pytest.raises(DepthdError, match=said):
        built(api, tiny, tmp_path, "fp16", run=runner(api))
    assert api.module.builds == len(half.LEVELS)
    assert engine_cache.list_engines(tmp_path) == []


def test_the_timing_cache_is_kept_and_a_strange_one_is_replaced(tiny, tmp_path: Path) -> None:
    api = stand_in()
    cache = tmp_path / "timing-11.1.0.cache"
    cache.write_bytes(b"of another version")
    built(api, tiny, tmp_path, "fp32")
    assert cache.read_bytes() == b"11.1.0"


def test_ordinary_tensorrt_needs_a_gpu(tiny) -> None:
    with pytest.raises(DepthdError, match="no GPU is found, which tensorrt needs"):
        key_for(stand_in(), None, tiny, HEIGHT, WIDTH, "fp16")


def test_a_file_that_is_no_onnx_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no onnx")
    with pytest.raises(DepthdError, match="is no model for ONNX Runtime"):
        built(stand_in(), Model("bad", default_card("bad.onnx"), path), tmp_path, "fp32")


def test_a_folder_that_cannot_be_written_is_known_before_the_build(tiny, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    steps = Steps()
    with pytest.raises(DepthdError, match=r"cannot write the engine into .*/file/engines: Not a directory"):
        built(stand_in(), tiny, tmp_path / "file" / "engines", "fp32", progress=steps)
    assert steps.phases == []


def test_a_model_with_data_beside_it_has_another_key_when_the_data_changes(tiny, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"graph")
    (tmp_path / "m.data").write_bytes(b"weights")
    card = default_card("m.onnx").model_copy(update={"data_files": {"m.data": None}})
    first = engine_build.model_checksum(Model("m", card, path))
    (tmp_path / "m.data").write_bytes(b"other weights")
    os.utime(tmp_path / "m.data", ns=(1, 1))
    assert engine_build.model_checksum(Model("m", card, path)) != first


def test_no_tensorrt_says_what_to_install(monkeypatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DepthdError, match=r"TensorRT is not installed .*pip install tensorrt"):
        find_tensorrt()
