"""Compiled code is kept only where there is room."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from depthd.cameras.world.compiled_code import can_be_kept


def test_a_folder_with_room_is_used_and_left_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert can_be_kept()
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a full disk needs root")
def test_a_full_disk_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "full", tmp_path], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
        assert not can_be_kept()
    finally:
        subprocess.run(["umount", tmp_path], check=True)
