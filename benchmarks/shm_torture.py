"""Does any reader ever accept a torn frame? Readers in C, C++ and Python; the writer is killed at random
moments.

    python benchmarks/shm_torture.py [--acquisitions 10000000] [--python 100000] [--seed N]

Six readers in C and C++ share `acquisitions`, two in Python share `python` of them. Every byte of a frame has
to be the one that its metadata promises. `caught` counts torn copies that the protocol disowned: what would
have been accepted without it. Exit status 1 if one frame was accepted torn.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from depthd.config import SharedMemoryConfig
from depthd.frame import Camera
from depthd.shm.publisher import Publisher

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ROOT / "tests" / "system"
CAMERA = Camera(32, 24, 20.0, 20.0, 16.0, 12.0, 0.1)
NATIVE_READERS, PYTHON_READERS = 6, 2


def main() -> int:
    options = _options()
    random.seed(options.seed)
    name = f"depthd-torture-{os.getpid()}"
    left = SharedMemoryConfig(slots=3, planes=(), keep_after_exit=True)
    Publisher(left, name, CAMERA, "left for the writer in C").close()
    with tempfile.TemporaryDirectory() as folder:
        try:
            seen, writers, seconds = _torture(Path(folder), name, options.acquisitions, options.python)
        finally:
            Path("/dev/shm", name).unlink()
    keys = ("accepted", "rejected", "torn", "caught")
    total = {key: sum(reader[key] for _, reader in seen) for key in keys}
    print(f"{'reader':10} {'accepted':>10} {'disowned':>10} {'of them torn':>12} {'accepted torn':>13}")
    for kind, reader in [*seen, ("all", total)]:
        print(
            f"{kind:10} {reader['accepted']:>10} {reader['rejected']:>10} {reader['caught']:>12} {reader['torn']:>13}"
        )
    print(f"{writers} writers killed in {seconds:.0f} s, {os.cpu_count()} CPUs, seed {options.seed}")
    return 1 if total["torn"] else 0


def _torture(
    folder: Path, name: str, acquisitions: int, in_python: int
) -> tuple[list[tuple[str, dict[str, int]]], int, float]:
    writer_program = _compile(folder, ["gcc", "-std=c11"], "shm_torture_writer.c", str(ROOT / "kernels" / "shm.c"))
    in_c = _compile(folder, ["gcc", "-std=c11"], "shm_torture_reader.c")
    in_cpp = _compile(folder, ["g++", "-std=c++17", "-x", "c++"], "shm_torture_reader.c")
    native = str((acquisitions - in_python) // NATIVE_READERS + 1)
    commands = [("C", [str(in_c), name, native]), ("C++", [str(in_cpp), name, native])] * (NATIVE_READERS // 2)
    script = str(PROGRAMS / "shm_reader_process.py")
    commands += [("Python", [sys.executable, script, name, str(in_python // PYTHON_READERS)])] * PYTHON_READERS
    started = time.monotonic()
    writers = 1
    writer = _start_writer(writer_program, name)
    readers = [(kind, subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for kind, command in commands]
    while any(reader.poll() is None for _, reader in readers):
        time.sleep(random.uniform(0.0, 0.05))
        writer.kill()
        writer.communicate()
        writer = _start_writer(writer_program, name)
        writers += 1
    writer.kill()
    writer.communicate()
    seen = [(kind, json.loads(reader.communicate()[0])) for kind, reader in readers]
    return seen, writers, time.monotonic() - started


def _start_writer(program: Path, name: str) -> subprocess.Popen[str]:
    writer = subprocess.Popen([str(program), name], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    if writer.stdout.readline() != "attached\n":
        raise SystemExit("the writer could not take the object over")
    return writer


def _compile(folder: Path, compiler: list[str], source: str, *more: str) -> Path:
    program = folder / f"{Path(source).stem}-{compiler[0]}"
    include = [f"-I{ROOT / 'kernels'}", f"-I{ROOT / 'kernels' / 'include'}"]
    arguments = [
        *compiler,
        "-O2",
        *include,
        str(PROGRAMS / source),
        *more,
        "-pthread",
        "-lm",
        "-o",
        str(program),
    ]
    subprocess.run(arguments, check=True)
    return program


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--acquisitions", type=int, default=10_000_000)
    parser.add_argument("--python", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
