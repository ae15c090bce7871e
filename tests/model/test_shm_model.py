"""Runs the model of the protocol through spin, and each of its mutants, which have to fail."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parent / "seqlock_ring.pml"
ONE_READER = ("-DREADERS=1", "-DFRAMES=5", "-DCRASHES=1")

pytestmark = pytest.mark.skipif(
    not (shutil.which("spin") and shutil.which("cc")),
    reason="needs spin and a C compiler (apt install spin gcc)",
)


def check(folder: Path, *definitions: str) -> str:
    """The verdict of an exhaustive search."""
    for command in (
        ["spin", "-a", *definitions, str(MODEL)],
        ["cc", "-O2", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"],
        ["./pan", "-m100000", "-w22"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "max search depth too small" not in done.stdout
    return done.stdout


def test_one_reader_is_right_whenever_two_writers_die(tmp_path: Path) -> None:
    assert "errors: 0" in check(tmp_path, "-DREADERS=1", "-DFRAMES=6", "-DCRASHES=2")


@pytest.mark.slow
@pytest.mark.timeout(600)  # sixteen million states: half a minute on an idle core
def test_two_readers_are_right_whenever_a_writer_dies(tmp_path: Path) -> None:
    assert "errors: 0" in check(tmp_path, "-DREADERS=2", "-DFRAMES=4", "-DCRASHES=1")


@pytest.mark.parametrize(
    ("left_out", "claim"),
    [
        ("NO_FIRST_CHECK", "a!=255"),
        ("NO_SECOND_CHECK", "a!=255"),
        ("WRITE_THE_NEWEST", "sequence[newest]%2"),
        ("WAIT_WITHOUT_SEEN", "last>id[newest]"),
        ("SILENT_TAKEOVER", "last>id[newest]"),
        ("IDS_FROM_COUNTER", "frame_of_id"),
        ("ANY_OTHER_ID", "its_id>last"),
    ],
)
def test_a_protocol_without_one_of_its_rules_is_found_wrong(tmp_path: Path, left_out: str, claim: str) -> None:
    verdict = check(tmp_path, *ONE_READER, f"-D{left_out}")
    assert "errors: 1" in verdict
    assert claim in verdict.replace(" ", "")
