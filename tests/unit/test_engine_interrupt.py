"""Ctrl-C at every stage of `depthd engine build`, with TensorRT for RTX's real builder."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import vit_dpt

from depthd.mono import engine_cache

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")

PROGRAM = """
import os, signal
from depthd import cli, cli_engine
from depthd.mono import engine_cache, golden, tensorrt_api

left = [SIGNAL]

def interrupted(call):
    def wrapped(*arguments, **named):
        if left:
            os.kill(os.getpid(), left.pop())
        return call(*arguments, **named)
    return wrapped

def with_interrupted_log(make):
    def wrapped(module):
        made = make(module)
        made.log = interrupted(made.log)
        return made
    return wrapped

if STAGE == "golden maps":
    golden.reference_maps = interrupted(golden.reference_maps)
elif STAGE == "native log":
    tensorrt_api._logger_class = with_interrupted_log(tensorrt_api._logger_class)
elif STAGE == "native phase":
    cli_engine.Bars.phase = interrupted(cli_engine.Bars.phase)
else:
    engine_cache.place = interrupted(engine_cache.place)
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["golden maps", "native log", "native phase", "place"])
def test_an_interrupted_build_ends_there_and_leaves_only_whole_engines_of_what_was_asked(
    tmp_path: Path, stage: str, number: signal.Signals
) -> None:
    model = tmp_path / "tiny.onnx"
    vit_dpt.make(model, vit_dpt.TINY)
    program = f"STAGE, SIGNAL = {stage!r}, {int(number)}\n{PROGRAM}"
    arguments = ["engine", "build", "--model", str(model), "--sizes", "70,84", "--precision", "fp32"]
    command = [sys.executable, "-c", program, *arguments, "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 130, done.stderr
    assert "the build was interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    folder = engine_cache.engines_folder(tmp_path)
    left = engine_cache.list_engines(folder)
    assert [(engine.key.height, engine.key.precision) for engine in left] == (
        [(70, "fp32")] if stage == "place" else []
    )
    files = {path for engine in left for path in (engine.plan, engine.golden, engine.description)}
    assert set(folder.glob("*") if folder.is_dir() else []) == files
