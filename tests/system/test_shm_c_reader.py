"""The inline reader of depthd.h, compiled as C and as C++, against writers that are killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from depthd.config import SharedMemoryConfig
from depthd.frame import Camera
from depthd.shm.publisher import Publisher

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STRICT = ("-O2", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
INCLUDE = (f"-I{ROOT / 'kernels'}", f"-I{ROOT / 'kernels' / 'include'}")
C = ("gcc", "-std=c11", "-x", "c")
CXX = ("g++", "-std=c++17", "-x", "c++")
Compile = Callable[..., Path]

pytestmark = pytest.mark.skipif(
    not (shutil.which("gcc") and shutil.which("g++")),
    reason="needs gcc and g++ (apt install build-essential)",
)


@pytest.fixture(scope="module")
def compile_program(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    folder = tmp_path_factory.mktemp("programs")

    def build(compiler: tuple[str, ...], sources: tuple[Path, ...], *options: str) -> Path:
        program = folder / "-".join((sources[0].stem, *compiler[:2], *options)).replace("/", "")
        if not program.exists():
            command = [
                *compiler,
                *STRICT,
                *INCLUDE,
                *options,
                *map(str, sources),
                "-pthread",
                "-lm",
                "-o",
                program,
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        return program

    return build


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"depthd-test-{os.getpid()}-{time.monotonic_ns()}"
    Publisher(
        SharedMemoryConfig(slots=3, planes=(), keep_after_exit=True),
        chosen,
        Camera(32, 24, 20.0, 20.0, 16.0, 12.0, 0.1),
        "left for the writer in C",
    ).close()
    yield chosen
    Path("/dev/shm", chosen).unlink(missing_ok=True)


class CWriter:
    """A writer in C that publishes as fast as it can, and can be killed and started again."""

    def __init__(self, program: Path, name: str) -> None:
        self._command = [str(program), name]
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "attached\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def kill_and_succeed(self) -> None:
        self.kill()
        self._start()


@pytest.fixture
def writer(compile_program: Compile, name: str) -> Iterator[CWriter]:
    program = compile_program(C, (HERE / "shm_torture_writer.c", ROOT / "kernels" / "shm.c"))
    running = CWriter(program, name)
    yield running
    running.kill()


def test_a_hundred_thousand_frames_in_c_cpp_and_python_are_whole_while_writers_are_killed(
    compile_program: Compile, name: str, writer: CWriter
) -> None:
    source = (HERE / "shm_torture_reader.c",)
    programs = [compile_program(C, source), compile_program(CXX, source)]
    commands = [[str(program), name, "16000"] for program in programs for _ in range(3)]
    commands += [[sys.executable, str(HERE / "shm_reader_process.py"), name, "2000"]] * 2
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    while any(reader.poll() is None for reader in readers):
        time.sleep(random.uniform(0.001, 0.03))
        writer.kill_and_succeed()
    seen = [json.loads(reader.communicate()[0]) for reader in readers]
    assert sum(reader["torn"] for reader in seen) == 0
    assert sum(reader["caught"] for reader in seen) > 0  # there was something to accept wrongly
    assert sum(reader["accepted"] + reader["rejected"] for reader in seen) >= 100_000


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")
def test_the_c_reader_is_clean_under_valgrind(compile_program: Compile, name: str, writer: CWriter) -> None:
    program = compile_program(C, (HERE / "shm_torture_reader.c",))
    checker = ["valgrind", "--quiet", "--leak-check=full", "--error-exitcode=9"]
    done = subprocess.run([*checker, program, name, "3000"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["torn"] == 0


@pytest.mark.parametrize("compiler", [C, CXX], ids=["C", "C++"])
def test_the_reader_is_clean_under_address_and_undefined_behaviour_sanitizers(
    compile_program: Compile, name: str, writer: CWriter, compiler: tuple[str, ...]
) -> None:
    options = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    program = compile_program(compiler, (HERE / "shm_torture_reader.c",), *options)
    done = subprocess.run([program, name, "3000"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["torn"] == 0


def test_writer_and_readers_in_one_process_are_clean_under_thread_sanitizer(compile_program: Compile) -> None:
    sources = (HERE / "shm_threads.c", ROOT / "kernels" / "shm.c")
    program = compile_program(C, sources, "-fsanitize=thread")
    done = subprocess.run([program], capture_output=True, text=True, env={**os.environ, "TSAN_OPTIONS": "exitcode=9"})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_a_c_reader_gets_error_codes_with_text(compile_program: Compile, tmp_path: Path) -> None:
    program = compile_program(C, (HERE / "shm_torture_reader.c",))
    for wrong, text in (("nobody-publishes-here", "nobody publishes"), ("a/b", "a name has 1 to 64")):
        done = subprocess.run([program, wrong, "1"], capture_output=True, text=True)
        assert done.returncode == 1
        assert text in done.stderr


def test_the_header_stands_alone_in_every_dialect(compile_program: Compile, tmp_path: Path) -> None:
    empty = tmp_path / "only_the_header.c"
    empty.write_text('#include "depthd.h"\nint main(void) { return 0; }\n')
    for compiler in (
        C,
        CXX,
        ("gcc", "-std=gnu11", "-x", "c"),
        ("gcc", "-std=c17", "-x", "c"),
        ("g++", "-x", "c++"),
    ):
        compile_program(compiler, (empty,), "-Wunused-function", "-Wshadow", "-Wcast-qual", "-Wconversion")
