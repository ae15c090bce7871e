"""export, evaluate, normals, reproject, compare and show, as a user types them, with a real daemon."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]
PLANES = ("--set", "camera.fps=5", "--set", "shared_memory.planes=[left,stereo_depth,mono]")


def said(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_what_a_daemon_publishes_can_be_exported_and_judged(
    start_daemon: Callable, depthd_command: Command, shared_memory_name: str, tmp_path: Path
):
    daemon = start_daemon(*PLANES)
    with daemon.attach() as reader:
        reader.wait(60.0)
    name = ("--name", shared_memory_name)
    clouds = "--save-ply", tmp_path / "s.ply", "--save-fullply", tmp_path / "f.pcd"
    said(depthd_command("export", *name, "--save-depth", tmp_path / "d.png", *clouds))
    millimetres = cv2.imread(str(tmp_path / "d.png"), cv2.IMREAD_UNCHANGED)
    assert millimetres.dtype == np.uint16
    assert millimetres.shape == (376, 672)
    assert (tmp_path / "s.ply").read_bytes().startswith(b"ply")
    assert b"DATA binary" in (tmp_path / "f.pcd").read_bytes()[:400]

    said(depthd_command("export", *name, "--mp4", tmp_path / "p.mp4", "--frames", 3))
    film = cv2.VideoCapture(str(tmp_path / "p.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert film.read()[1].any()

    assert "normal" in said(depthd_command("evaluate", *name, "--plane", "300,20,60,40"))
    assert "error" in said(depthd_command("evaluate", *name, "--distance-mm", 2000, "--at", "300,40"))
    said(depthd_command("normals", *name, "-o", tmp_path / "n.npy"))
    normals = np.load(tmp_path / "n.npy")
    lengths = np.linalg.norm(normals, axis=-1)
    np.testing.assert_allclose(lengths[np.isfinite(lengths)], 1.0, atol=1e-4)
    assert "mono explains" in said(depthd_command("compare", *name, "--quick", "--frames", 3))


def test_a_saved_frame_is_reprojected_into_an_animation(depthd_command: Command, stereo_pair: Path, tmp_path: Path):
    image = pytest.importorskip("PIL.Image")
    pair = stereo_pair / "left.png", stereo_pair / "right.png", "--camera", stereo_pair / "camera.json"
    said(depthd_command("fuse", *pair, "-o", tmp_path / "out"))
    said(depthd_command("reproject", "--frame", tmp_path / "out", "-o", tmp_path / "sway.gif"))
    with image.open(tmp_path / "sway.gif") as animation:
        assert animation.n_frames == 36


def test_truth_is_told_by_source_on_the_virtual_camera(depthd_command: Command):
    settings = "--set", "camera.depth=sensor", "--set", "camera.real_time=false"
    lines = said(depthd_command("evaluate", "--truth", 2, *settings)).splitlines()
    stereo = next(line.split() for line in lines if line.startswith("stereo"))
    assert float(stereo[3]) < 2.0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("export",), "nothing to write"),
        (("evaluate",), "nothing to judge"),
        (("evaluate", "--plane", "1,2", "--frame", "/nonexistent"), "no saved frame"),
        (("evaluate", "--depth", "radar"), "radar"),
        (("export", "--frame", "/nonexistent", "--save-depth", "d.png"), "no saved frame"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(depthd_command: Command, words: tuple[str, ...], told: str):
    result = depthd_command(*words)
    assert result.returncode == 2
    assert told in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_window_without_a_screen_is_refused_in_one_line(depthd_command: Command):
    environment = {key: value for key, value in os.environ.items() if key not in {"DISPLAY", "WAYLAND_DISPLAY"}}
    for words in (("show",), ("run", "--show"), ("compare", "--quick", "--show")):
        result = depthd_command(*words, env=environment)
        assert result.returncode == 1
        assert "depthd view" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def entities_of(recording: Path) -> str:
    """What Rerun itself finds in a file."""
    words = [sys.executable, "-m", "rerun", "rrd", "print", str(recording)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60).stdout


LAID_OUT = ("/camera/left", "/camera/depth", "/stereo", "/source", "/cloud", "/fit/scale", "/latency/", "/share/stereo")


def test_rerun_gets_pictures_depth_cloud_and_plots_in_a_file_and_over_the_network(
    start_daemon: Callable, depthd_command: Command, shared_memory_name: str, tmp_path: Path
):
    pytest.importorskip("rerun", reason="Rerun is missing: pip install rerun-sdk")
    daemon = start_daemon(*PLANES)
    with daemon.attach() as reader:
        reader.wait(60.0)
    export = "export", "--name", shared_memory_name, "--frames", 2, "--rerun"
    said(depthd_command(*export, tmp_path / "run.rrd"))
    written = entities_of(tmp_path / "run.rrd")
    assert [entity for entity in LAID_OUT if entity not in written] == []

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    received = tmp_path / "received.rrd"
    words = [sys.executable, "-m", "rerun", "--port", str(port), "--save", str(received)]
    viewer = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        said(depthd_command(*export, f"rerun+http://127.0.0.1:{port}/proxy"))
    finally:
        viewer.send_signal(signal.SIGINT)
        viewer.wait(30)
    arrived = entities_of(received)
    assert [entity for entity in LAID_OUT if entity not in arrived] == []


def test_a_comparison_is_shown_in_a_window_while_it_is_made(depthd_command: Command):
    if shutil.which("xvfb-run") is None:
        pytest.skip("there is no screen to try on: apt-get install xvfb")
    if "QT" not in cv2.getBuildInformation() and "GTK" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV has no windows")
    words = "--quick", "--show", "--frames", "3", "--set", "camera.depth=sensor", "--set", "camera.real_time=false"
    command = ["xvfb-run", "-a", sys.executable, "-m", "depthd", "compare", *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "mono explains" in result.stdout
