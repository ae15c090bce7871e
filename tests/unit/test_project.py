"""The project's own order: formatting, types, and documents that tell the truth."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
READMES = (ROOT / "README.md", ROOT / "README.ja.md")


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_code_is_formatted():
    result = run_tool("ruff", "format", "--check", ".")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_code_keeps_the_rules_of_the_linter():
    result = run_tool("ruff", "check", "--output-format", "concise", ".")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_types_fit():
    result = run_tool("mypy")
    assert result.returncode == 0, result.stdout + result.stderr


def commands_in(readme: Path) -> list[str]:
    """The lines of the README's shell blocks that call depthd, without comments."""
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.split(" #")[0].strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_depthd_command_in_the_readme_exists_with_its_options(readme: Path):
    calls = [line.split() for line in commands_in(readme) if line.startswith("depthd ")]
    assert calls, "the README shows no command"
    for call in calls:
        words = [word for word in call[1:3] if re.fullmatch(r"[a-z]+", word)]
        subcommand = words if words[0] in {"config", "service"} else words[:1]
        result = run_tool("depthd", *subcommand, "--help")
        assert result.returncode == 0, f"{' '.join(call)}: {result.stderr}"
        for option in (word.split("=")[0] for word in call if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)):
            assert option in result.stdout, f"{' '.join(call)}: {option} is not in its --help"


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_make_target_in_the_readme_exists(readme: Path):
    makefile = (ROOT / "Makefile").read_text()
    targets = [line.split()[1] for line in commands_in(readme) if line.startswith("make ")]
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_both_readmes_show_the_same_commands():
    assert commands_in(READMES[0]) == commands_in(READMES[1])
