"""Built engines on disk."""

import errno
import json
import logging
import subprocess
import sys
from dataclasses import astuple, fields, replace
from pathlib import Path

import numpy as np
import pytest

from depthd.errors import DepthdError
from depthd.mono import engine_cache
from depthd.mono.engine_cache import EngineKey, find_engine, list_engines, place, prune
from depthd.mono.golden import load_maps, save_maps

KEY = EngineKey(
    model_sha256="a" * 64, height=308, width=546, precision="fp16", runtime="tensorrt", version="10.3.0",
    gpu="Orin", compute_capability="8.7", driver="540.4",
)  # fmt: skip
MAPS = [np.eye(3, dtype=np.float32)]


def placed(folder: Path, key: EngineKey = KEY, plan: bytes = b"plan", model: str = "small") -> engine_cache.Engine:
    return place(folder, model, key, plan, lambda path: save_maps(path, MAPS), half_level=1, worst_error=0.001)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_engine_is_found_again_as_it_was_placed(tmp_path: Path) -> None:
    engine = placed(tmp_path)
    found = find_engine(tmp_path, "small", KEY)
    assert found == engine
    assert found.read_plan() == b"plan"
    np.testing.assert_array_equal(load_maps(found.golden), MAPS)


@pytest.mark.parametrize("field", [f.name for f in fields(EngineKey)])
def test_an_engine_of_any_other_key_is_never_used(tmp_path: Path, field: str) -> None:
    placed(tmp_path)
    value = getattr(KEY, field)
    other = replace(KEY, **{field: value + 14 if isinstance(value, int) else f"other {value}"})
    assert find_engine(tmp_path, "small", other) is None
    assert other.digest != KEY.digest


def test_the_log_says_which_field_differs(tmp_path: Path, caplog) -> None:
    placed(tmp_path)
    with caplog.at_level(logging.WARNING):
        find_engine(tmp_path, "small", replace(KEY, driver="580.1", gpu="Thor"))
    assert "GPU is Thor, the engine was built for Orin" in caplog.text
    assert "driver is 580.1, the engine was built for 540.4" in caplog.text


def test_an_engine_of_another_model_is_not_used(tmp_path: Path) -> None:
    placed(tmp_path)
    assert find_engine(tmp_path, "base", KEY) is None


def test_a_truncated_or_damaged_plan_is_refused(tmp_path: Path) -> None:
    engine = placed(tmp_path, plan=b"0123456789")
    engine.plan.write_bytes(b"01234")
    with pytest.raises(DepthdError, match="is truncated: 5 of 10 bytes; build it again"):
        engine.read_plan()
    engine.plan.write_bytes(b"0123456788")
    with pytest.raises(DepthdError, match="is damaged"):
        engine.read_plan()


def test_building_again_replaces_the_engine(tmp_path: Path) -> None:
    placed(tmp_path)
    placed(tmp_path, plan=b"new")
    assert len(list_engines(tmp_path)) == 1
    assert find_engine(tmp_path, "small", KEY).read_plan() == b"new"
    assert len(names(tmp_path)) == 3


def test_building_the_same_again_leaves_it_there(tmp_path: Path) -> None:
    placed(tmp_path)
    before = names(tmp_path)
    assert placed(tmp_path).read_plan() == b"plan"
    assert names(tmp_path) == before


@pytest.mark.parametrize("refuses", ["golden", "plan", "rename"])
def test_a_full_disk_leaves_the_old_engine_and_no_parts(tmp_path: Path, monkeypatch, refuses: str) -> None:
    placed(tmp_path)
    before = names(tmp_path)
    full = OSError(errno.ENOSPC, "No space left on device")

    def refuse(*_: object) -> None:
        raise full

    if refuses != "golden":
        monkeypatch.setattr(Path, {"plan": "write_bytes", "rename": "replace"}[refuses], refuse)
    with pytest.raises(DepthdError, match="No space left on device; make room"):
        place(tmp_path, "small", KEY, b"new", refuse if refuses == "golden" else lambda p: save_maps(p, MAPS))
    monkeypatch.undo()
    assert names(tmp_path) == before
    assert find_engine(tmp_path, "small", KEY).read_plan() == b"plan"


KILL_AT_EVERY_STEP = """
import os, sys
from pathlib import Path
from depthd.mono.engine_cache import EngineKey, place

key = EngineKey(*eval(sys.argv[2]))

def put(folder, text):
    place(folder, "small", key, text.encode(), lambda path: path.write_text(f"maps of {text}"))

def killed_after(steps, folder):
    def count(event, arguments):
        nonlocal steps
        is_step = event in ("open", "os.rename", "os.remove") and str(arguments[0]).startswith(str(folder))
        steps -= is_step
        if is_step and steps < 0:
            os._exit(9)
    sys.addaudithook(count)
    put(folder, "new")
    os._exit(0)

for steps in range(100):
    folder = Path(sys.argv[1], f"{steps:02}")
    put(folder, "old")
    child = os.fork() or killed_after(steps, folder)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def test_a_build_that_is_killed_at_any_step_leaves_the_old_engine_or_the_new_one_whole(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILL_AT_EVERY_STEP, str(tmp_path), repr(astuple(KEY))], check=True)
    found = []
    for folder in sorted(tmp_path.iterdir()):
        engine = find_engine(folder, "small", KEY)
        found.append(engine.read_plan())
        assert engine.golden.read_bytes() == b"maps of " + found[-1]
        prune(folder, lambda _: "")
        assert find_engine(folder, "small", KEY) == engine
        assert len(names(folder)) == 3
    assert len(found) < 100
    assert found.count(b"old") >= 8
    assert found.count(b"new") >= 3
    assert found == sorted(found, reverse=True)


def test_a_description_that_is_garbage_is_no_engine(tmp_path: Path) -> None:
    engine = placed(tmp_path)
    for text in ("", "[]", "{}", json.dumps({"model": "small", "key": {"height": 3}})):
        engine.description.write_text(text)
        assert list_engines(tmp_path) == []


def test_prune_removes_the_stale_and_the_left_over_and_keeps_the_rest(tmp_path: Path) -> None:
    kept = placed(tmp_path)
    stale = placed(tmp_path, replace(KEY, driver="1"))
    (tmp_path / ".x.engine.123.tmp").write_bytes(b"half")
    (tmp_path / "orphan.engine").write_bytes(b"no description")
    (tmp_path / "notes.txt").write_text("mine")
    removed = dict(prune(tmp_path, lambda engine: "another driver" if engine.key.driver == "1" else ""))
    assert removed.pop(stale.plan) == "another driver"
    assert {path.name for path in removed} == {".x.engine.123.tmp", "orphan.engine"}
    assert list_engines(tmp_path) == [kept]
    assert (tmp_path / "notes.txt").exists()


def test_prune_of_a_folder_that_is_not_there_removes_nothing(tmp_path: Path) -> None:
    assert prune(tmp_path / "absent", lambda engine: "stale") == []
