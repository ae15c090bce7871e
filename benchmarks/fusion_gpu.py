"""How long the fusion takes on the GPU: python benchmarks/fusion_gpu.py [--frames 10000] [--output FILE]

Per size: one graph of all four kernels, and of each alone, by device events; the way of a frame from page-locked
host memory to page-locked host memory, by wall clock; the C extension on this CPU; and the floor, the bytes that
must move over the copy bandwidth measured in the same run.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import array_fusion
import numpy as np
from fakes.frames import parameters_for, random_frame

from depthd.frame import Array, FusedPlanes
from depthd.fusion.cpu import CpuFusion
from depthd.fusion.cuda import CudaFusion, import_cupy

SIZES = ((1280, 720), (1920, 1080))
FRAME_SETS = 8
"""Different frames in turn, so that the cache is as cold as in use."""


def main() -> None:
    options = _options()
    cupy = import_cupy()
    bandwidth = copy_bandwidth(cupy)
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["name"].decode()
    lines = [
        f"{name}, {os.cpu_count()} CPU cores, {platform.system()} {platform.release()}, {date.today()}; "
        f"copy bandwidth {bandwidth * 1e-12:.2f} TB/s (read and written), {options.frames} frames each",
        "",
        "| size | what | p50 µs | p99 µs | p99.9 µs | p99.9/p50 | MB moved | of the bandwidth |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for width, height in SIZES:
        for what, times_us, moved in measure(cupy, width, height, options.frames):
            lines.append(row(f"{width}x{height}", what, times_us, moved, bandwidth))
            print(lines[-1], flush=True)
    text = "\n".join(lines)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


def measure(cupy: Any, width: int, height: int, frames: int) -> Iterator[tuple[str, Array, int]]:
    """What was timed, each frame's time in µs, and the bytes that it has to move."""
    p = parameters_for(width, height)
    fusion = CudaFusion(p)
    rng = np.random.default_rng(0)
    host = [random_frame(rng, width, height) for _ in range(FRAME_SETS)]
    device = [tuple(cupy.asarray(array) for array in frame) for frame in host]
    planes = [_planes(cupy.empty, height, width) for _ in host]
    for (stereo, mono), out in zip(device, planes, strict=True):
        fusion.fuse(stereo, mono, out)
    stereo_bytes, mono_bytes = host[0][0].nbytes, host[0][1].nbytes
    cells = p.rows * p.columns
    written = width * height * 7
    # Cells are five floats each, written once and read by the fit; the fit leaves five more for the merge.
    cell_bytes, fit_bytes = 20 * cells, 40 * cells
    empty = cupy.RawKernel('extern "C" __global__ void nothing() {}', "nothing")
    work: list[tuple[str, Callable[[Any, Any, Any], None], int]] = [
        ("an empty kernel", lambda *_: empty((1,), (1,), ()), 0),
        ("steady mono", lambda s, m, o: fusion.launch_steady(m), 3 * mono_bytes),
        ("cells", fusion.launch_cells, stereo_bytes + mono_bytes + cell_bytes),
        ("cells and fit", lambda s, m, o: (fusion.launch_cells(s, m, o), fusion.launch_fit())[0],
         stereo_bytes + mono_bytes + cell_bytes + fit_bytes),
        ("merge", fusion.launch_merge, stereo_bytes + mono_bytes + fit_bytes + written),
        ("all four", fusion.launch_kernels, 2 * stereo_bytes + 5 * mono_bytes + 2 * fit_bytes + cell_bytes + written),
    ]  # fmt: skip
    for what, launch, moved in work:
        graphs = [
            _captured(fusion.stream, launch, stereo, mono, out)
            for (stereo, mono), out in zip(device, planes, strict=True)
        ]
        yield what, _event_times(cupy, fusion.stream, graphs, frames), moved
    yield "page-locked host to page-locked host, wall clock", _host_times(cupy, p, host, frames // 10), 0
    yield "the C extension, wall clock", _cpu_times(p, host, 30), 0
    yield from _array_times(cupy, p, device, planes, 30)


def _array_times(
    cupy: Any, p: Any, device: list[Any], planes: list[Any], frames: int
) -> Iterator[tuple[str, Array, int]]:
    """The same maths without kernels of its own, on the device, by wall clock; what is not there is left out."""
    try:
        fusion = array_fusion.cupy_fusion(cupy, p)
        sets = [(*inputs, out) for inputs, out in zip(device, planes, strict=True)]
        yield "the specification on CuPy arrays, wall clock", _wall_times(fusion, sets, frames), 0
    except Exception as error:  # a yardstick that does not fit this CuPy is told, and the rest goes on
        print(f"the specification does not run on CuPy: {type(error).__name__}: {error}", file=sys.stderr)
    try:
        import torch
    except ImportError:
        return
    core = array_fusion.TorchCore(torch, p)
    tensors = [tuple(torch.from_dlpack(array) for array in inputs) for inputs in device]
    for compiled in (False, True):
        fuse = torch.compile(core.fuse, mode="max-autotune-no-cudagraphs") if compiled else core.fuse
        times = []
        for i in range(frames * 10 + 20):
            torch.cuda.synchronize()
            begin_ns = time.perf_counter_ns()
            fuse(*tensors[i % len(tensors)])
            torch.cuda.synchronize()
            times.append((time.perf_counter_ns() - begin_ns) * 1e-3)
        what = "torch.compile" if compiled else "PyTorch"
        yield f"{what}: only cells, fit steps and merge, wall clock", np.array(times[20:]), 0


def _captured(stream: Any, launch: Any, stereo: Array, mono: Array, out: FusedPlanes) -> Any:
    stream.synchronize()
    with stream:
        stream.begin_capture()
        launch(stereo, mono, out)
        return stream.end_capture()


def _event_times(cupy: Any, stream: Any, graphs: list[Any], frames: int) -> Array:
    events = [(cupy.cuda.Event(), cupy.cuda.Event()) for _ in range(1000)]
    times: list[float] = []
    for _ in range(20):
        for graph in graphs:
            graph.launch(stream)
    while len(times) < frames:
        for i, (begin, end) in enumerate(events):
            begin.record(stream)
            graphs[i % len(graphs)].launch(stream)
            end.record(stream)
        stream.synchronize()
        times += [cupy.cuda.get_elapsed_time(begin, end) * 1e3 for begin, end in events]
    return np.array(times)


def _host_times(cupy: Any, p: Any, host: list[tuple[Array, Array]], frames: int) -> Array:
    import cupyx

    fusion = CudaFusion(p)
    pinned = []
    for stereo, mono in host:
        copies = tuple(cupyx.empty_pinned(array.shape, array.dtype) for array in (stereo, mono))
        for copy, array in zip(copies, (stereo, mono), strict=True):
            copy[...] = array
        pinned.append((*copies, _planes(cupyx.empty_pinned, p.height, p.width)))
    return _wall_times(fusion, pinned, frames)


def _cpu_times(p: Any, host: list[tuple[Array, Array]], frames: int) -> Array:
    out = FusedPlanes.empty(p.height, p.width)
    return _wall_times(CpuFusion(p), [(stereo, mono, out) for stereo, mono in host], frames)


def _wall_times(fusion: Any, sets: list[Any], frames: int) -> Array:
    for arrays in sets * 2:
        fusion.fuse(*arrays)
    times = np.empty(frames)
    for i in range(frames):
        begin_ns = time.perf_counter_ns()
        fusion.fuse(*sets[i % len(sets)])
        times[i] = (time.perf_counter_ns() - begin_ns) * 1e-3
    return times


def copy_bandwidth(cupy: Any) -> float:
    """Bytes read and written per second by a large copy within the device."""
    source = cupy.zeros(1 << 30, np.uint8)
    target = cupy.empty_like(source)
    times = []
    for _ in range(10):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        cupy.copyto(target, source)
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) * 1e-3)
    return 2 * source.nbytes / float(np.median(times))


def row(size: str, what: str, times_us: Array, moved: int, bandwidth: float) -> str:
    p50, p99, p999 = np.percentile(times_us, (50, 99, 99.9))
    share = f"{moved / bandwidth / (p50 * 1e-6):.0%}" if moved else "–"
    megabytes = f"{moved * 1e-6:.1f}" if moved else "–"
    return f"| {size} | {what} | {p50:.1f} | {p99:.1f} | {p999:.1f} | {p999 / p50:.2f} | {megabytes} | {share} |"


def _planes(empty: Callable[..., Array], height: int, width: int) -> FusedPlanes:
    size = (height, width)
    return FusedPlanes(empty(size, np.float32), empty(size, np.uint8), empty(size, np.float16))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--output", type=Path, help="a Markdown file for the table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
