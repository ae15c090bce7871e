"""A coverage-guided fuzzer on the C reader, for as many inputs as take a few seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parent.parent / "kernels"
COMPILERS = ("clang", *(f"clang-{version}" for version in range(25, 12, -1)))
RUNS = int(os.environ.get("DEPTHD_FUZZ_RUNS", 100_000))
SANITIZERS = "-fsanitize=fuzzer,address,undefined"


@pytest.fixture
def fuzzer(tmp_path: Path) -> Path:
    program = tmp_path / "shm_reader_fuzz"
    options = (SANITIZERS, "-fno-sanitize-recover=all", "-g", "-O1", f"-I{KERNELS}", f"-I{KERNELS / 'include'}")
    said = ""
    for compiler in filter(shutil.which, COMPILERS):
        command = [compiler, *options, str(HERE / "shm_reader_fuzz.c"), "-o", str(program)]
        compiled = subprocess.run(command, capture_output=True, text=True, check=False)
        if compiled.returncode == 0:
            return program
        said = compiled.stderr.strip().splitlines()[-1]
    pytest.skip(said or "clang with libFuzzer is missing: apt-get install clang libclang-rt-dev")


def changes(kind: int, *words_and_values: int) -> bytes:
    pairs = zip(words_and_values[::2], words_and_values[1::2], strict=True)
    return bytes((kind,)) + b"".join(word.to_bytes(4, "little") + value.to_bytes(4, "little") for word, value in pairs)


def test_no_bytes_lead_the_c_reader_outside_its_mapping(fuzzer: Path, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    # Nothing changed; version, newest, slot count, a plane's offset and size, each as an attacker would have them.
    for number, seed in enumerate(
        [
            changes(1),
            changes(2),
            changes(1, 3, 2, 33, 2**31, 40, 2**32 - 1),
            changes(2, 17, 2**31, 18, 1),
            changes(1, 166, 2**32 - 64, 168, 2**32 - 1, 162, 65536),
        ]
    ):
        (seeds / str(number)).write_bytes(seed)
    command = [fuzzer, f"-runs={RUNS}", "-max_len=512", "-timeout=20", f"-artifact_prefix={tmp_path}/", seeds]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-6000:]
    assert f"Done {RUNS} runs" in done.stderr
