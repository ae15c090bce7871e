"""Fixtures that several test files share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"


def _data(folder: str) -> Path:
    path = DATA / folder
    if not path.is_dir():
        pytest.skip(f"the real pictures are not here: {path} is missing")
    return path


@pytest.fixture
def zed2i() -> Path:
    """left.png, right.png and camera.json of one real ZED 2i frame."""
    return _data("zed2i_hd1080")


@pytest.fixture
def motorcycle() -> Path:
    """Middlebury Motorcycle: motorcycle_left.png, motorcycle_right.png, motorcycle_disp.npz."""
    return _data("motorcycle")


@pytest.fixture(scope="session")
def stereo_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with left.png, right.png and camera.json: one rendered frame, 672x376."""
    import cv2

    from depthd.cameras import open_camera
    from depthd.cameras.camera_file import camera_json
    from depthd.config import VirtualCameraConfig

    folder = tmp_path_factory.mktemp("pair")
    source = open_camera(VirtualCameraConfig(real_time=False))
    frame = source.grab()
    source.close()
    cv2.imwrite(str(folder / "left.png"), frame.left_bgr)
    cv2.imwrite(str(folder / "right.png"), frame.right_bgr)
    (folder / "camera.json").write_text(camera_json(frame.camera))
    return folder


@pytest.fixture
def shared_memory_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name that no other test uses; its object is removed at the end, whoever made it."""
    name = f"depthd-test-{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**8}"
    yield name
    for left_behind in Path("/dev/shm").glob(f"*{name}*"):
        left_behind.unlink()


@pytest.fixture
def name(shared_memory_name: str) -> str:
    """What tests of the shared memory itself call that name."""
    return shared_memory_name


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def depthd_command() -> Command:
    """Runs `depthd ARGUMENTS` as a user does, in a process of its own."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "depthd", *map(str, arguments)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            **options,  # type: ignore[call-overload]
        )

    return run
