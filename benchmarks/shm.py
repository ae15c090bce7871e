"""How long from publishing a frame until a reader is awake and sees it? depthd beside other ways, all in one
run.

    python benchmarks/shm.py [--rates 30 60 1000] [--readers 1 8] [--seconds 6] [--only TEXT...]

Prints one table. At 1,000 frames/s the pixels are not written anew, so that the copy does not use up the
machine; transports that copy the pixels are left out there. Rows whose library is not installed say so.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from shm_transports import HEIGHT, TRANSPORTS, WIDTH, build_c_reader, read

NEEDS = {"iceoryx2, Python": "iceoryx2", "zenoh, Python": "zenoh"}
SLOW_FROM_HZ = 500.0
WARM_UP_S = 1.5


def main() -> None:
    options = _options()
    if options.read:
        print(json.dumps(read(options.read, options.name, options.seconds)))
        return
    print(f"{WIDTH}x{HEIGHT} float32 + uint8, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print(
        f"{'transport':22} {'readers':>7} {'rate/s':>7} {'frames':>7} {'p50 us':>9} {'p99 us':>9} "
        f"{'writer p50 us':>13} {'copies':>15}"
    )
    with tempfile.TemporaryDirectory() as folder:
        c_reader = build_c_reader(Path(folder))
        for rate in options.rates:
            for readers in options.readers:
                for transport in TRANSPORTS:
                    if any(text in transport for text in options.only):
                        _print_row(transport, readers, rate, options.seconds, c_reader)


def _print_row(transport: str, readers: int, rate: float, seconds: float, c_reader: Path) -> None:
    start = f"{transport:22} {readers:>7} {rate:>7.0f} "
    if transport in NEEDS and importlib.util.find_spec(NEEDS[transport]) is None:
        print(f"{start}{NEEDS[transport]} is not installed")
        return
    if TRANSPORTS[transport].copies != "zero" and rate > SLOW_FROM_HZ:
        print(f"{start}left out: {rate * 4.6:.0f} MB/s a reader")
        return
    latencies, writer_ns = measure(transport, readers, rate, seconds, c_reader)
    if not len(latencies):
        print(f"{start}nothing arrived")
        return
    p50, p99 = np.percentile(latencies, [50, 99]) / 1e3
    print(
        f"{start}{len(latencies):>7} {p50:>9.1f} {p99:>9.1f} {np.median(writer_ns) / 1e3:>13.1f} "
        f"{TRANSPORTS[transport].copies:>15}",
        flush=True,
    )


def measure(transport: str, readers: int, rate: float, seconds: float, c_reader: Path) -> tuple[np.ndarray, np.ndarray]:
    """Latencies of all readers, and what publishing cost the writer beyond filling the pixels
    (nanoseconds).
    """
    name = f"depthd-bench-{os.getpid()}-{time.monotonic_ns()}"
    writer = TRANSPORTS[transport](name, readers)
    if transport == "depthd, C":
        command = [str(c_reader), name, str(seconds)]
    else:
        command = [sys.executable, __file__, "--read", transport, "--name", name, "--seconds", str(seconds)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(readers)]
    if hasattr(writer, "accept"):
        writer.accept()
    costs = _publish_until_done(writer, processes, rate)
    writer.close()
    parse = np.loadtxt if transport == "depthd, C" else _from_json
    outputs = [process.communicate()[0] for process in processes]
    latencies = [parse(output.splitlines(), ndmin=1) if output else np.empty(0) for output in outputs]
    return np.concatenate(latencies), np.array(costs)


def _from_json(lines: list[str], ndmin: int) -> np.ndarray:
    return np.array(json.loads(lines[0]), np.float64)


def _publish_until_done(writer: object, processes: list[subprocess.Popen[str]], rate: float) -> list[int]:
    depth = np.random.default_rng(0).random((HEIGHT, WIDTH), np.float32)
    source = np.ones((HEIGHT, WIDTH), np.uint8)

    def fill(depth_out: np.ndarray, source_out: np.ndarray) -> None:
        np.copyto(depth_out.reshape(HEIGHT, WIDTH), depth)
        np.copyto(source_out.reshape(HEIGHT, WIDTH), source)

    costs: list[int] = []
    next_s = time.monotonic()
    alive, look_s = True, 0.0
    while alive:
        try:
            costs.append(writer.publish(fill if rate < SLOW_FROM_HZ else None))  # type: ignore[attr-defined]
        except OSError:
            break  # a reader has closed its connection: it is done
        next_s = max(next_s + 1.0 / rate, time.monotonic() - 0.1)
        time.sleep(max(0.0, next_s - time.monotonic()))
        if time.monotonic() > look_s:
            alive, look_s = any(process.poll() is None for process in processes), time.monotonic() + 0.5
    return costs[int(WARM_UP_S * rate) :] or costs


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[30.0, 60.0, 1000.0])
    parser.add_argument("--readers", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose name holds one of these")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
