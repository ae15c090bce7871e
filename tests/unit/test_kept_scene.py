"""What is computed once a scene is kept on disk, and is never worse than computing it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from depthd.cameras.virtual import VirtualCamera
from depthd.cameras.world.kept import MOST_KEPT, file_of, kept_or_made
from depthd.cameras.world.raycast import Surfaces
from depthd.config import VirtualCameraConfig
from depthd.paths import cache_folder


def surfaces(value: int) -> Surfaces:
    return Surfaces(*(np.full(1000, value, kind) for kind in (np.int64, np.float64, np.float64, np.uint8, np.uint8)))


def must_not_be_made() -> Surfaces:
    raise AssertionError("it was kept")


def test_a_kept_scene_gives_the_same_pictures_as_a_fresh_one(tmp_path: Path) -> None:
    config = VirtualCameraConfig(real_time=False, resolution="VGA")
    pictures = []
    for folder in (None, tmp_path, tmp_path):
        camera = VirtualCamera(config, folder)
        frame = camera.grab()
        pictures.append((frame.left_bgr.copy(), frame.right_bgr.copy(), camera.ground_truth_m.copy()))
        camera.close()
    assert len(list(tmp_path.iterdir())) == 1
    for made, again in zip(pictures[0], pictures[2], strict=True):
        assert np.array_equal(made, again)


@pytest.mark.parametrize("damage", [b"", b"not an archive", None])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes | None) -> None:
    file = file_of(tmp_path, "room", 0)
    kept_or_made(file, lambda: surfaces(1))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(bytes(content) if damage is None else damage)
    assert kept_or_made(file, lambda: surfaces(2)).codes[0] == 2
    assert kept_or_made(file, must_not_be_made).codes[0] == 2


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert kept_or_made(file_of(tmp_path / "file", "room", 0), lambda: surfaces(3)).codes[0] == 3


def test_only_the_newest_are_kept_and_nothing_of_a_killed_writer_stays(tmp_path: Path) -> None:
    (tmp_path / ".scene-room-9-x.7.part.npz").write_bytes(b"half")
    os.utime(tmp_path / ".scene-room-9-x.7.part.npz", (1, 1))
    for seed in range(MOST_KEPT + 2):
        kept_or_made(file_of(tmp_path, "room", seed), lambda: surfaces(0))
        os.utime(file_of(tmp_path, "room", seed), (time.time() - 100 + seed,) * 2)
    assert sorted(tmp_path.iterdir()) == [file_of(tmp_path, "room", seed) for seed in range(2, MOST_KEPT + 2)]


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"CACHE_DIRECTORY": "/var/cache/depthd"}, "/var/cache/depthd"),
        ({"CACHE_DIRECTORY": "/var/cache/a:/var/cache/b", "XDG_CACHE_HOME": "/c"}, "/var/cache/a"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/depthd"),
    ],
)
def test_the_cache_is_the_services_or_the_users(environment: dict[str, str], folder: str) -> None:
    assert cache_folder(environment) == Path(folder)
