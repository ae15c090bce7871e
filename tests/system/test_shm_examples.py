"""The programs in examples/, built as their users build them and run against a writer; and asyncio."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import depthd
from depthd import paths
from depthd.config import SharedMemoryConfig
from depthd.frame import Camera, Fit, FusionResult, Source, StageTimes, StereoFrame
from depthd.shm.publisher import Publisher

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CAMERA = Camera(40, 30, 40.0, 40.0, 20.0, 15.0, 0.12)
needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc (apt install build-essential)")


@pytest.fixture
def name() -> Iterator[str]:
    """A camera that sees a wall at 3 m and a ball's nearest point at 0.8 m, at pixel (28, 15)."""
    chosen = f"depthd-test-{os.getpid()}-{time.monotonic_ns()}"
    stop = threading.Event()
    with Publisher(SharedMemoryConfig(), chosen, CAMERA, "wall and ball") as publisher:
        thread = threading.Thread(target=_publish_until, args=(publisher, stop))
        thread.start()
        yield chosen
        stop.set()
        thread.join()


def _publish_until(publisher: Publisher, stop: threading.Event) -> None:
    index = 0
    while not stop.wait(0.01):
        with publisher.slot() as slot:
            slot.planes.depth_m[...], slot.planes.source[...], slot.planes.sigma[...] = (
                3.0,
                Source.STEREO,
                0.01,
            )
            slot.planes.depth_m[15, 28], slot.planes.source[15, 28] = 0.8, Source.MONO_NEAR
            slot.planes.depth_m[0, :] = np.nan
            slot.plane("left")[...] = (10, 20, 30)
            frame = StereoFrame(index, time.monotonic_ns(), 0, CAMERA, None)
            slot.describe(frame, FusionResult(Fit(), (40, 1159, 1, 0, 0, 0)), StageTimes(frame.captured_ns))
        index += 1


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_compiler
def test_the_c_example_finds_the_nearest_obstacle_in_its_box(name: str, tmp_path: Path) -> None:
    program = tmp_path / "nearest_obstacle"
    run(
        "gcc",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        EXAMPLES / "nearest_obstacle.c",
        paths.cflags(),
        "-o",
        program,
    )
    hit = run(program, name, -1, 1, -1, 1, 0.1, 2, 3).splitlines()
    assert len(hit) == 3
    assert "0.800 m at x +0.16 y +0.00 (mono near)" in hit[0]
    assert "box empty" in run(program, name, -1, 0, -1, 1, 0.1, 2, 1)


@needs_compiler
@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="needs pkg-config")
def test_the_cpp_example_writes_the_cloud_and_pkg_config_finds_the_header(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PKG_CONFIG_PATH": str(paths.PKG_CONFIG_DIR)}
    found = subprocess.run(["pkg-config", "--cflags", "depthd >= 1.0"], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    program, cloud = tmp_path / "point_cloud", tmp_path / "cloud.ply"
    options = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
    run("g++", *options, EXAMPLES / "point_cloud.cpp", *found.stdout.split(), "-o", program)
    assert run(program, name, cloud).startswith("1160 points")
    header, _, body = cloud.read_bytes().partition(b"end_header\n")
    assert b"element vertex 1160" in header
    points = np.frombuffer(body, np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)]))
    assert points.shape == (1160,)
    assert (points["rgb"] == (30, 20, 10)).all()
    np.testing.assert_allclose(points["xyz"][:, 2].min(), 0.8, rtol=1e-6)


@needs_compiler
@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")
def test_cmake_finds_the_package(tmp_path: Path) -> None:
    run("cmake", "-S", EXAMPLES, "-B", tmp_path, f"-Ddepthd_DIR={paths.CMAKE_DIR}")
    run("cmake", "--build", tmp_path)
    assert os.access(tmp_path / "nearest_obstacle", os.X_OK)
    assert os.access(tmp_path / "point_cloud", os.X_OK)


def test_the_numpy_example_looks_in_place(name: str) -> None:
    lines = run(sys.executable, EXAMPLES / "numpy_view.py", name, 3).splitlines()
    assert "0.1% nearer than 1 m, 99.9% measured by stereo, fit UNFIT" in lines[0]


def test_the_asyncio_example_prints_frames(name: str) -> None:
    assert len(run(sys.executable, EXAMPLES / "async_reader.py", name, 3).splitlines()) == 3


def test_asyncio_gets_newer_and_newer_frames_while_the_loop_goes_on(name: str) -> None:
    async def take(count: int) -> tuple[list[int], int]:
        ids, beats = [], 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.001)
                beats += 1

        beating = asyncio.create_task(beat())
        with depthd.open(name) as reader:
            async for frame in reader:
                ids.append(frame.id)
                if len(ids) == count:
                    break
        beating.cancel()
        return ids, beats

    ids, beats = asyncio.run(take(5))
    assert ids == sorted(set(ids))
    assert beats > 5


def test_a_cancelled_asyncio_wait_ends(name: str) -> None:
    async def wait_for_nobody() -> None:
        with depthd.open(name) as reader:
            async for _ in reader:
                pass

    async def cancel_it() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait_for_nobody(), 0.1)

    asyncio.run(cancel_it())
