"""How long does the network take? One table: model, size, provider, precision.

    python benchmarks/mono.py                          the embedded model and the yardstick, on the CPU
    python benchmarks/mono.py --provider cuda          the yardstick on a GPU, in and out of GPU memory
    python benchmarks/mono.py --model NAME_OR_FILE     another model

The yardstick has Depth Anything V2 Small's layers and is randomly initialised (benchmarks/vit_dpt.py): it
takes as long as the real one and computes nothing useful. Half precision on a GPU is what `depthd engine
build` makes of the model (depthd/mono/half.py). `network` is the network alone; `all` has the resize and the
copies that a frame needs.
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
import onnx
import onnxruntime
import vit_dpt

from depthd.mono import half
from depthd.mono.attention import fuse_attention
from depthd.mono.model import Model, default_card, find_model, input_size
from depthd.mono.onnx import OnnxEngine, open_session

PICTURE = (720, 1280)
# fp16: as for TensorRT; fp16a: as fp16n, with each attention one operator (depthd/mono/attention.py); fp16n:
# normalisations in float16 too, which ONNX Runtime sums up in float32 itself.
IN_ONNX_RUNTIME = (*half.REDUCING, *half.SAMPLING)
PRECISIONS = {"fp32": None, "fp16": half.ALWAYS_FLOAT32, "fp16n": IN_ONNX_RUNTIME, "fp16a": IN_ONNX_RUNTIME}
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
    parser.add_argument("--model", help="name or .onnx file; default: the embedded model (CPU) and the yardstick")
    parser.add_argument("--sizes", help="short sides in px, separated by commas; default depends on the model")
    parser.add_argument("--runs", type=int, default=0, help="timed runs; default 30 on the CPU, 300 on a GPU")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = list(table(arguments, Path(folder)))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(arguments: argparse.Namespace, folder: Path) -> Iterator[str]:
    def said(line: str) -> str:
        print(line, flush=True)
        return line

    yield said(f"{date.today()}, {machine(arguments.provider)}, ONNX Runtime {onnxruntime.__version__}")
    yield said(f"pictures {PICTURE[1]}x{PICTURE[0]}, {arguments.threads} CPU threads, times in ms (p50 / p99)")
    yield said("")
    yield said(f"{'model':<32} {'size':>9} {'provider':>9} {'type':>5} {'network':>17} {'all':>17}")
    for model, sizes_px in chosen(arguments, folder):
        for short_px in sizes_px:
            size = input_size(model.card, *PICTURE, short_px)
            measure = on_cuda if arguments.provider == "cuda" else on_cpu
            for row in measure(model, size, short_px, arguments, folder):
                yield said(
                    f"{row.model:<32} {f'{size[1]}x{size[0]}':>9} {row.provider:>9} {row.precision:>5} "
                    f"{shown(row.network_ms):>17} {shown(row.all_ms):>17}"
                )


def chosen(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[Model, tuple[int | None, ...]]]:
    """Models with the sizes to measure; None: the size of the card."""
    sizes = tuple(int(part) for part in arguments.sizes.split(",")) if arguments.sizes else None
    if arguments.model:
        yield find_model(arguments.model), sizes or (None,)
        return
    if arguments.provider == "cpu":
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
    """The network from and to GPU memory, plain and captured in a CUDA graph by ONNX Runtime."""
    import cupy

    from depthd.mono.cuda_memory import CudaMemory
    from depthd.mono.onnx_cuda import DeviceBinding

    picture = cupy.asarray(random_picture())
    runs = arguments.runs or 300
    fixed = {
        attention: with_fixed_size(model, size, folder / f"fixed-{attention}.onnx", attention)
        for attention in (False, True)
    }
    expected = None
    for precision, in_float32 in PRECISIONS.items():
        prepared = fixed[precision == "fp16a"]
        if in_float32 is not None:
            half.to_half(prepared.path, folder / "half.onnx", in_float32=in_float32)
            prepared = Model(model.name, model.card, folder / "half.onnx")
        for cuda_graph in (False, True):
            provider = "cuda" + ("+graph" if cuda_graph else "")
            session = open_session(prepared, arguments.threads, ("cuda",), cuda_graph)
            if session.get_providers()[0] != "CUDAExecutionProvider":
                sys.exit("ONNX Runtime has no CUDA provider here: pip install onnxruntime-gpu")
            shape = (1,) * (len(session.get_outputs()[0].shape) - 2) + size
            names = (session.get_inputs()[0].name, session.get_outputs()[0].name)
            binding = DeviceBinding(session, model.card, names, size, shape, PICTURE, CudaMemory())
            try:
                found = cupy.asnumpy(binding.run(picture))
                cupy.cuda.Device().synchronize()
            except Exception as error:
                print(
                    f"{provider} {precision} cannot run: {' '.join(str(error).split())[:200]}",
                    file=sys.stderr,
                )
                continue
            expected = found if expected is None else expected
            off = np.linalg.norm(found - expected) / np.linalg.norm(expected)
            print(f"  {provider} {precision}: off by {off:.1e} (relative L2) from fp32", file=sys.stderr)
            network_ms = timed(binding.run_network, runs)
            yield Row(
                model.name,
                size,
                provider,
                precision,
                network_ms,
                timed(lambda b=binding: b.run(picture), runs),
            )


def with_fixed_size(model: Model, size: tuple[int, int], out: Path, attention: bool = False) -> Model:
    """A copy whose input has this size, so that everything that follows from it is computed when it is
    loaded.
    """
    proto = onnx.load(str(model.path))
    if attention:
        print(f"  {fuse_attention(proto)} attentions became one operator each", file=sys.stderr)
    dimensions = proto.graph.input[0].type.tensor_type.shape.dim
    for dimension, value in zip(dimensions, (1, 3, *size), strict=True):
        dimension.dim_value = value
    for dimension, value in zip(proto.graph.output[0].type.tensor_type.shape.dim[-2:], size, strict=True):
        dimension.dim_value = value
    del proto.graph.value_info[:]
    with contextlib.suppress(Exception):  # only helps; a network that cannot be inferred runs all the same
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    onnx.save(proto, str(out))
    folded = out.with_name(f"folded-{out.name}")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    onnxruntime.InferenceSession(str(out), options, providers=["CPUExecutionProvider"])
    return Model(model.name, model.card, folded)


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
