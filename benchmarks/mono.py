"""How long does the network take? One table: model, size, provider, precision.

    python benchmarks/mono.py                          the embedded model and the yardstick, on the CPU
    python benchmarks/mono.py --provider cuda          the yardstick on a GPU, in and out of GPU memory
    python benchmarks/mono.py --model NAME_OR_FILE     another model

The yardstick has Depth Anything V2 Small's layers and is randomly initialised (benchmarks/vit_dpt.py): it
takes as long as the real one and computes nothing useful. On a GPU: `fp16` leaves norms in float32 as TensorRT
engines do, `fp16b` has fewer operators (depthd/mono/blocks.py, convolutions.py), `fp16c` also has channels
last, `daemon` is the engine that depthd takes by itself. `network` is the network alone; `all` has the resize
and the copies that a frame needs, from a picture in GPU memory except for `from host`.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import onnxruntime
import vit_dpt

from depthd.mono import engine_cache
from depthd.mono.half_network import ALIKE, CUDA_OPTIONS, RECIPES, convert, fix_size
from depthd.mono.model import Model, default_card, find_model, input_size
from depthd.mono.onnx import OnnxEngine, open_session
from depthd.mono.onnx_cuda import DeviceBinding
from depthd.mono.onnx_half import HalfOnnxEngine

PICTURE = (720, 1280)
WAYS: dict[str, dict[str, str]] = {
    "cuda": {},
    "cuda+graph": {},
    "cuda+graph+nhwc": {"prefer_nhwc": "1"},
    "cuda+graph+nhwc+bias": {"prefer_nhwc": "1", "fuse_conv_bias": "1"},
}
"""Options of ONNX Runtime's CUDA provider: one captured graph, channels last, biases within convolutions."""
SIZES_PX = (308, 364, 406, 518)


@dataclass(frozen=True)
class Row:
    """One line of the table; times in ms."""

    model: str
    size: tuple[int, int]
    provider: str
    precision: str
    network_ms: tuple[float, float] | None
    all_ms: tuple[float, float] | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--model", help="name, .onnx file, or yardstick; default: the embedded model (CPU) and the yardstick"
    )
    parser.add_argument("--sizes", help="short sides in px, separated by commas; default depends on the model")
    parser.add_argument("--runs", type=int, default=0, help="timed runs; default 30 on the CPU, 300 on a GPU")
    parser.add_argument("--daemon", action="store_true", help="on a GPU: only the engine that depthd takes by itself")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    if arguments.provider == "cuda":
        with contextlib.suppress(ImportError):
            import torch  # noqa: F401  (its CUDA libraries serve ONNX Runtime, too)
    with tempfile.TemporaryDirectory() as folder:
        lines = list(table(arguments, Path(folder)))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(arguments: argparse.Namespace, folder: Path) -> Iterator[str]:
    def shown_too(line: str) -> str:
        print(line, flush=True)
        return line

    yield shown_too(f"{date.today()}, {machine(arguments.provider)}, ONNX Runtime {onnxruntime.__version__}")
    yield shown_too(f"pictures {PICTURE[1]}x{PICTURE[0]}, {arguments.threads} CPU threads, times in ms (p50 / p99)")
    yield shown_too("")
    yield shown_too(f"{'model':<32} {'size':>9} {'provider':>20} {'type':>5} {'network':>17} {'all':>17}")
    for model, sizes_px in chosen(arguments, folder):
        for short_px in sizes_px:
            size = input_size(model.card, *PICTURE, short_px)
            measure = on_cuda if arguments.provider == "cuda" else on_cpu
            for row in measure(model, size, short_px, arguments, folder):
                yield shown_too(
                    f"{row.model:<32} {f'{size[1]}x{size[0]}':>9} {row.provider:>20} {row.precision:>5} "
                    f"{shown(row.network_ms):>17} {shown(row.all_ms):>17}"
                )


def chosen(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[Model, tuple[int | None, ...]]]:
    """Models with the sizes to measure; None: the size of the card."""
    sizes = tuple(int(part) for part in arguments.sizes.split(",")) if arguments.sizes else None
    if arguments.model and arguments.model != "yardstick":
        yield find_model(arguments.model), sizes or (None,)
        return
    if arguments.provider == "cpu" and not arguments.model:
        yield find_model("depthd-small"), sizes or (192, 256, 288, 384)
    yardstick = folder / "yardstick.onnx"
    parameters = vit_dpt.make(yardstick)
    name = f"V2 Small's shape, random, {parameters / 1e6:.1f} M"
    # 294x518 is what a 16:9 picture becomes at the size that the reach is set for.
    default = (294,) if arguments.provider == "cpu" else (294, *SIZES_PX)
    yield Model(name, default_card("yardstick.onnx"), yardstick), sizes or default


def on_cpu(
    model: Model, size: tuple[int, int], short_px: int | None, arguments: argparse.Namespace, folder: Path
) -> Iterator[Row]:
    engine = OnnxEngine(model, arguments.threads, short_px)
    engine.prepare(*PICTURE)
    picture = random_picture()
    pixels = np.zeros((1, 3, *size), np.float32)
    session = open_session(model, arguments.threads)
    name = session.get_inputs()[0].name
    runs = arguments.runs or 30
    network_ms = timed(lambda: session.run(None, {name: pixels}), runs)
    yield Row(model.name, size, "cpu", "fp32", network_ms, timed(lambda: engine.infer(picture), runs))


def on_cuda(
    model: Model, size: tuple[int, int], short_px: int | None, arguments: argparse.Namespace, folder: Path
) -> Iterator[Row]:
    """Ways to run the network from and to GPU memory, and last the engine that the daemon takes.

    The ways are measured at the first size only; they are what the engine was chosen from.
    """
    import cupy

    from depthd.mono.cuda_memory import CudaMemory

    runs = arguments.runs or 300
    picture = cupy.asarray(random_picture())
    if not arguments.daemon and not (folder / "measured").exists():
        (folder / "measured").touch()
        expected = None
        for precision, content in contents(model, size, folder):
            for provider, options in WAYS.items():
                try:
                    binding = bound(model, content, size, provider, options, arguments.threads)
                    found = cupy.asnumpy(binding.run(picture))
                    cupy.cuda.Device().synchronize()
                except Exception as error:
                    said(f"{provider} {precision} cannot run: {' '.join(str(error).split())[:200]}")
                    continue
                expected = found if expected is None else expected
                off = np.linalg.norm(found - expected) / np.linalg.norm(expected)
                said(f"{provider} {precision}: off by {off:.1e} (relative L2) from the first row")
                network_ms = timed(binding.run_network, runs)
                yield Row(
                    model.name, size, provider, precision, network_ms, timed(lambda b=binding: b.run(picture), runs)
                )
    engine = HalfOnnxEngine(model, folder / "engines", CudaMemory(), arguments.threads, short_px)
    engine.prepare(*PICTURE)
    kept = next(one for one in engine_cache.list_engines(folder / "engines") if (one.key.height, one.key.width) == size)
    said(f"engine of {model.name}: recipe {kept.half_level}, off by {kept.worst_error:.1e} from the CPU in float32")
    on_host = random_picture()
    network_ms = timed(engine.binding.run_network, runs)
    yield Row(model.name, size, "daemon", "fp16", network_ms, timed(lambda: engine.infer(picture), runs))
    yield Row(model.name, size, "from host", "fp16", None, timed(lambda: engine.infer(on_host), runs))


def contents(model: Model, size: tuple[int, int], folder: Path) -> Iterator[tuple[str, bytes]]:
    """The network of fixed size in float32, and as each recipe that is worth a row makes it."""
    fix_size(model, size, folder / "fixed.onnx")
    yield "fp32", (folder / "fixed.onnx").read_bytes()
    for name, recipe in (("fp16", RECIPES[len(ALIKE)]), ("fp16b", ALIKE[0]), ("fp16c", ALIKE[1])):
        yield name, convert(model, size, recipe.network)


def bound(
    model: Model, content: bytes, size: tuple[int, int], provider: str, options: dict[str, str], threads: int
) -> DeviceBinding:
    from depthd.mono.cuda_memory import CudaMemory

    session = open_session(model, threads, ("cuda",), "graph" in provider, content, {**CUDA_OPTIONS, **options})
    if session.get_providers()[0] != "CUDAExecutionProvider":
        sys.exit("ONNX Runtime's CUDA provider does not load here: pip install onnxruntime-gpu")
    shape = (1,) * (len(session.get_outputs()[0].shape) - 2) + size
    names = (session.get_inputs()[0].name, session.get_outputs()[0].name)
    return DeviceBinding(session, model.card, names, size, shape, PICTURE, CudaMemory())


def said(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def timed(run: Callable[[], object], runs: int) -> tuple[float, float]:
    """(median, 99th percentile) in ms, after a tenth as many runs to warm up."""
    for _ in range(max(3, runs // 10)):
        run()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - begin))
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))


def shown(times_ms: tuple[float, float] | None) -> str:
    return "-" if times_ms is None else f"{times_ms[0]:.2f} / {times_ms[1]:.2f}"


def random_picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*PICTURE, 3), np.uint8)


def machine(provider: str) -> str:
    cpu = platform.machine()
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text()
        cpu = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), cpu)
    if provider != "cuda":
        return cpu
    from depthd.mono.device import find_device

    device = find_device()
    return f"{device.name}, driver {device.driver}, {cpu}" if device else cpu


if __name__ == "__main__":
    main()
