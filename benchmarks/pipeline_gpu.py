"""From the camera's memory to the slot, on a GPU: python benchmarks/pipeline_gpu.py [--frames 10000] [--network ONNX]

Wall clock of everything between a grabbed frame in page-locked host memory and its published slot: copies to the
device, network (if one is given), fusion, copies into the shared memory, metadata, waking readers. The network that is
not given is replaced by maps that lie on the device already. Different frames come in turn.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from fakes.frames import random_frame

from depthd import fusion as fusions
from depthd.config import FusionConfig, MonoConfig, SharedMemoryConfig
from depthd.frame import Array, Camera, StageTimes, StereoFrame
from depthd.fusion.cuda import CudaFusion
from depthd.gpu import open_gpu
from depthd.mono import open_engine
from depthd.mono.base import MonoEngine
from depthd.mono.model import ModelCard, default_card
from depthd.mono.on_stream import RunsOnStream
from depthd.shm.publisher import Publisher
from depthd.way_cuda import DeviceWay

SIZES = ((1280, 720), (1920, 1080))
FRAME_SETS = 3
"""As many as a camera keeps apart."""


class MapsOnDevice:
    """In place of a network: a map that is on the device already."""

    def __init__(self, gpu: Any, mono: Array) -> None:
        self.map = gpu.empty(mono.shape, np.float32)
        gpu.bring(self.map, mono)
        gpu.synchronize()

    @property
    def card(self) -> ModelCard:
        return default_card("none.onnx")

    def prepare(self, height: int, width: int) -> None:
        pass

    def infer(self, left_bgr: Array) -> Array:
        raise NotImplementedError

    def on_stream(self) -> MapsOnDevice:
        return self

    def enqueue(self, left_bgr: Array) -> None:
        pass

    def close(self) -> None:
        pass


class NoMatcher:
    """The camera has depth."""

    def depth_m(self, left_bgr: Array, right_bgr: Array) -> Array:
        raise NotImplementedError


class Bench:
    """One pipeline between frames in memory and a ring of slots."""

    def __init__(self, width: int, height: int, planes: tuple[str, ...], network: Path | None) -> None:
        focal_px = float(width)
        camera = Camera(width, height, focal_px, focal_px, width / 2, height / 2, 0.12)
        rng = np.random.default_rng(0)
        self.gpu = open_gpu()
        sets = [random_frame(rng, width, height) for _ in range(FRAME_SETS)]
        pictures = [self._pinned(rng.integers(0, 256, (height, width, 3), np.uint8)) for _ in sets]
        self.frames = [
            StereoFrame(index, 1, 1, camera, picture, None, self._pinned(stereo))
            for index, (picture, (stereo, _)) in enumerate(zip(pictures, sets, strict=True))
        ]
        self.engine = self._engine(network, height, width, sets[0][1])
        config = SharedMemoryConfig(slots=4, planes=planes)
        network_map = self.engine.on_stream().map  # type: ignore[attr-defined]
        self.publisher = Publisher(config, f"depthd-bench-{os.getpid()}", camera, "benchmark", network_map.shape)
        parameters = fusions.parameters_of(FusionConfig(), camera, self.engine.card.output_kind)
        self.fusion = CudaFusion(parameters, self.gpu.stream)
        self.way = DeviceWay(self.gpu, NoMatcher(), self.engine, self.fusion, self.publisher, camera)
        self.way._network.reads_picture = network is not None

    def step(self, index: int) -> None:
        """As Pipeline.step, from the grabbed frame on."""
        frame = self.frames[index % FRAME_SETS]
        grabbed_ns = time.monotonic_ns()
        depths = self.way.see(frame)
        with self.publisher.slot() as slot:
            result = self.way.fuse(frame, depths, slot)
            times = StageTimes(1, grabbed_ns, 0, 0, time.monotonic_ns(), 0)
            slot.describe(frame, result, times, 0, self.way.makes_points)

    def close(self) -> None:
        self.way.close()
        self.publisher.close()

    def _engine(self, network: Path | None, height: int, width: int, mono: Array) -> MonoEngine:
        if network is None:
            return MapsOnDevice(self.gpu, mono)
        engine = open_engine(MonoConfig(engine="onnx", model=str(network), providers=("cuda",)), self.gpu)
        engine.prepare(height, width)
        if not isinstance(engine, RunsOnStream) or engine.on_stream() is None:
            raise SystemExit("ONNX Runtime has no CUDA provider here: pip install onnxruntime-gpu")
        return engine

    def _pinned(self, array: Array) -> Array:
        pinned = self.gpu.host(array.shape, array.dtype)
        pinned[...] = array
        return pinned


def main() -> None:
    options = _options()
    lines = [
        "| size | planes | network | p50 µs | p99 µs | p99.9 µs | p99.9/p50 | device bytes | Python bytes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    first = ""
    for width, height in SIZES:
        for planes in ((), ("left", "stereo_depth"), ("left", "stereo_depth", "mono", "xyz")):
            with closing(Bench(width, height, planes, options.network)) as bench:
                first = first or _machine(bench)
                for index in range(200):
                    bench.step(index)
                times_us = measure(bench, options.frames)
                device, python = allocated(bench, 300)
                p50, p99, p999 = np.percentile(times_us, (50, 99, 99.9))
                name = options.network.stem if options.network else "none"
                captured = ", in the graph" if options.network and bench.way._network.captured else ""
                carried = ", ".join(("depth, source, sigma", *planes))
                times = f"{p50:.0f} | {p99:.0f} | {p999:.0f} | {p999 / p50:.2f}"
                lines.append(f"| {width}x{height} | {carried} | {name}{captured} | {times} | {device} | {python} |")
                print(lines[-1], flush=True)
    jitter = np.percentile(launch_and_wait(options.frames), (50, 99, 99.9))
    lines += [
        "",
        f"An empty kernel, launched and waited for, p50 / p99 / p99.9: {' / '.join(f'{t:.0f}' for t in jitter)} µs",
    ]
    text = "\n".join((f"{first}, {options.frames} frames each", "", *lines))
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


def measure(bench: Bench, frames: int) -> Array:
    """Microseconds of each step. Without the garbage collector, which the daemon also keeps out of its frames."""
    times = np.empty(frames)
    with _without_collector():
        for i in range(frames):
            begin_ns = time.perf_counter_ns()
            bench.step(i)
            times[i] = (time.perf_counter_ns() - begin_ns) * 1e-3
    return times


def launch_and_wait(frames: int) -> Array:
    """Microseconds of the least that a frame could do: what the machine itself adds, and how steadily."""
    import cupy

    empty = cupy.RawKernel('extern "C" __global__ void nothing() {}', "nothing")
    times = np.empty(frames)
    with _without_collector(), cupy.cuda.Stream(non_blocking=True) as stream:
        for i in range(-100, frames):
            begin_ns = time.perf_counter_ns()
            empty((1,), (1,), ())
            stream.synchronize()
            times[i] = (time.perf_counter_ns() - begin_ns) * 1e-3
    return times


def allocated(bench: Bench, frames: int) -> tuple[int, int]:
    """Bytes taken and not given back over so many frames: on the device, and by Python."""
    import cupy

    pool = cupy.get_default_memory_pool()
    tracemalloc.start()
    try:
        for i in range(frames):
            bench.step(i)
        gc.collect()
        before = (pool.total_bytes() - cupy.cuda.runtime.memGetInfo()[0], tracemalloc.get_traced_memory()[0])
        for i in range(frames):
            bench.step(i)
        gc.collect()
        after = (pool.total_bytes() - cupy.cuda.runtime.memGetInfo()[0], tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return after[0] - before[0], after[1] - before[1]


@contextmanager
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _machine(bench: Bench) -> str:
    import cupy

    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["name"].decode()
    slots = "registered" if bench.way._slots.registered else "not registered"
    return (
        f"{name}, {os.cpu_count()} CPU cores, {platform.system()} {platform.release()}, {date.today()}; "
        f"shared memory {slots} with CUDA"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument(
        "--network", type=Path, help="an ONNX file, run as the daemon runs it, by ONNX Runtime's CUDA provider"
    )
    parser.add_argument("--output", type=Path, help="a Markdown file for the table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
