"""The commands as a user types them, above all with input that is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]
RESULTS = {"cloud.ply", "depth.npy", "fused.png", "report.json", "sigma.npy", "source.npy", "source.png"}


@pytest.fixture
def mono_map(stereo_pair: Path, tmp_path: Path) -> Path:
    """A mono map for the rendered pair, at another size than the picture: blurred brightness of disparity."""
    from depthd.cameras.camera_file import load_camera, load_pair
    from depthd.cameras.matcher import StereoMatcher
    from depthd.config import MatcherConfig

    camera = load_camera(stereo_pair / "camera.json")
    left, right = load_pair(stereo_pair / "left.png", stereo_pair / "right.png", camera)
    depth_m = StereoMatcher(camera, MatcherConfig()).depth_m(left, right)
    inverse = np.where(np.isfinite(depth_m), 1 / depth_m, np.nan)
    inverse = np.where(np.isnan(inverse), np.nanmedian(inverse), inverse).astype(np.float32)
    path = tmp_path / "mono.npy"
    np.save(path, 3.0 * cv2.resize(inverse, (200, 112), interpolation=cv2.INTER_AREA) + 5.0)
    return path


def fuse(command: Command, pair: Path, out: Path, *more: object) -> subprocess.CompletedProcess[str]:
    return command("fuse", pair / "left.png", pair / "right.png", "--camera", pair / "camera.json", "-o", out, *more)


def test_fuse_writes_every_result_and_says_how_well_it_fits(depthd_command: Command, stereo_pair: Path, tmp_path: Path):
    result = fuse(depthd_command, stereo_pair, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "Pearson r" in result.stdout
    assert {file.name for file in (tmp_path / "out").iterdir()} == RESULTS
    depth_m = np.load(tmp_path / "out" / "depth.npy")
    source = np.load(tmp_path / "out" / "source.npy")
    sigma = np.load(tmp_path / "out" / "sigma.npy")
    assert (depth_m.dtype, source.dtype, sigma.dtype) == (np.float32, np.uint8, np.float16)
    assert depth_m.shape == source.shape == sigma.shape == (376, 672)
    np.testing.assert_array_equal(np.isnan(depth_m), source == 0)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["fit"]["status"] == "fitted"
    assert sum(report["pixels_per_source"].values()) == depth_m.size
    for name in ("fused.png", "source.png"):
        assert cv2.imread(str(tmp_path / "out" / name)).shape[1] >= 672


def test_fuse_takes_a_mono_map_of_any_size_and_keeps_given_stereo_bit_for_bit(
    depthd_command: Command, stereo_pair: Path, mono_map: Path, tmp_path: Path
):
    first = fuse(depthd_command, stereo_pair, tmp_path / "first", "--mono", mono_map)
    assert first.returncode == 0, first.stderr
    stereo_m = np.load(tmp_path / "first" / "depth.npy")
    stereo_m[:, :60] = np.nan
    stereo_m[300:, 300:400] = -np.inf
    np.save(tmp_path / "stereo.npy", stereo_m)
    second = fuse(
        depthd_command, stereo_pair, tmp_path / "second", "--mono", mono_map, "--stereo-depth",
        tmp_path / "stereo.npy",
    )  # fmt: skip
    assert second.returncode == 0, second.stderr
    depth_m, source = np.load(tmp_path / "second" / "depth.npy"), np.load(tmp_path / "second" / "source.npy")
    kept = source == 1
    assert kept.mean() > 0.5
    np.testing.assert_array_equal(depth_m[kept], stereo_m[kept])
    assert np.isfinite(depth_m[:, :60]).all()


def test_fuse_sees_the_transparent_bottle_and_the_left_band_of_a_real_frame(
    depthd_command: Command, zed2i: Path, tmp_path: Path
):
    result = fuse(depthd_command, zed2i, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    depth_m = np.load(tmp_path / "out" / "depth.npy")
    assert np.isfinite(depth_m).mean() > 0.99
    assert np.isfinite(depth_m[:, :100]).all()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["fit"]["pearson_r"] > 0.8


WrongInput = Callable[[Path, Path], list[Any]]


def arguments_for(pair: Path, **changed: object) -> list[object]:
    """fuse's arguments without -o, some of them changed."""
    inputs: dict[str, object] = {
        "left": pair / "left.png",
        "right": pair / "right.png",
        "camera": pair / "camera.json",
        **changed,
    }
    more = [word for name in ("mono", "stereo_depth", "model") if name in inputs
            for word in (f"--{name.replace('_', '-')}", inputs[name])]  # fmt: skip
    return [inputs["left"], inputs["right"], "--camera", inputs["camera"], *more]


def camera_with(pair: Path, folder: Path, **changes: object) -> Path:
    values = json.loads((pair / "camera.json").read_text()) | changes
    path = folder / "camera.json"
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return path


def file_of(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


def map_of(folder: Path, values: np.ndarray) -> Path:
    np.save(folder / "map.npy", values)
    return folder / "map.npy"


def small_picture(folder: Path) -> Path:
    cv2.imwrite(str(folder / "small.png"), np.zeros((100, 100, 3), np.uint8))
    return folder / "small.png"


NOTHING = np.full((376, 672), np.nan, np.float32)
RAMP = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
WRONG: dict[str, tuple[WrongInput, int, str]] = {
    "a missing picture": (lambda p, t: arguments_for(p, left=t / "none.png"), 2, "none.png"),
    "an unreadable picture": (
        lambda p, t: arguments_for(p, left=file_of(t, "text.png", "no picture")), 2, "text.png"),
    "pictures of different sizes": (lambda p, t: arguments_for(p, right=small_picture(t)), 2, "100x100"),
    "a missing camera file": (lambda p, t: arguments_for(p, camera=t / "none.json"), 2, "none.json"),
    "a camera file that is no JSON": (
        lambda p, t: arguments_for(p, camera=file_of(t, "c.json", "{")), 2, "not JSON"),
    "a camera file without a key": (
        lambda p, t: arguments_for(p, camera=camera_with(p, t, fx=None)), 2, "lacks fx"),
    "a camera file with a wrong type": (
        lambda p, t: arguments_for(p, camera=camera_with(p, t, fx="wide")), 2, "'wide'"),
    "a zero baseline": (lambda p, t: arguments_for(p, camera=camera_with(p, t, baseline=0)), 2, "baseline"),
    "a mono map with NaN": (
        lambda p, t: arguments_for(p, mono=map_of(t, np.where(RAMP > 0.5, np.nan, RAMP))), 2, "not finite"),
    "a constant mono map": (
        lambda p, t: arguments_for(p, mono=map_of(t, np.ones((64, 64), np.float32))), 2, "constant"),
    "a mono map of doubles": (
        lambda p, t: arguments_for(p, mono=map_of(t, RAMP.astype(np.float64))), 2, "float64"),
    "a mono map that is no array": (
        lambda p, t: arguments_for(p, mono=file_of(t, "m.npy", "no array")), 2, "not a .npy file"),
    "stereo depth without a pixel": (
        lambda p, t: arguments_for(p, stereo_depth=map_of(t, NOTHING)), 1, "no measured pixel"),
    "stereo depth of another size": (
        lambda p, t: arguments_for(p, stereo_depth=map_of(t, NOTHING[:, 1:])), 2, "(376, 671)"),
    "negative stereo depth": (
        lambda p, t: arguments_for(p, stereo_depth=map_of(t, np.full_like(NOTHING, -1.0))), 2, "0 or less"),
    "an unknown model": (lambda p, t: arguments_for(p, model="no-such-model"), 2, "no-such-model"),
    "an ONNX file that is none": (
        lambda p, t: arguments_for(p, model=file_of(t, "m.onnx", "no onnx")), 1, "m.onnx"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_ends_in_one_line_and_writes_nothing(
    what: str, depthd_command: Command, stereo_pair: Path, tmp_path: Path
):
    make, status, words = WRONG[what]
    out = tmp_path / "results" / "out"
    result = depthd_command("fuse", *make(stereo_pair, tmp_path), "-o", out)
    lines = [line for line in result.stderr.splitlines() if line.startswith("depthd: ")]
    assert result.returncode == status, result.stderr
    assert len(lines) == 1
    assert result.stderr.splitlines()[-1] == lines[0]
    assert words in lines[0]
    assert "; " in lines[0], "what is wrong, and what to do about it"
    assert "Traceback" not in result.stderr
    assert not out.parent.exists()


def test_results_that_cannot_be_written_end_in_one_line(
    depthd_command: Command, stereo_pair: Path, mono_map: Path, tmp_path: Path
):
    (tmp_path / "file").write_text("mine")
    result = fuse(depthd_command, stereo_pair, tmp_path / "file", "--mono", mono_map)
    assert result.returncode == 1
    assert "is a file" in result.stderr.splitlines()[-1]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "wrong",
    [
        ["fuse"],
        ["run", "--frames", "0"],
        ["no-such-command"],
        ["run", "--set", "camera.fbs=3"],
        ["dump", "--frames", "x"],
    ],
)
def test_a_wrong_command_line_has_exit_status_2(depthd_command: Command, wrong: list[str]):
    result = depthd_command(*wrong)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_dump_says_when_nobody_publishes(depthd_command: Command, shared_memory_name: str):
    result = depthd_command("dump", "--name", shared_memory_name)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "start depthd" in result.stderr


def test_dump_prints_and_saves_frames(depthd_command: Command, start_daemon: Callable[..., Any], tmp_path: Path):
    daemon = start_daemon()
    daemon.attach().close()
    result = depthd_command("dump", "--name", daemon.name, "--frames", "2", "--save", tmp_path / "frames")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert all(word in lines[0] for word in ("frame ", "age ", "latency ", "fit "))
    depth_maps = sorted((tmp_path / "frames").glob("*.depth.npy"))
    assert len(depth_maps) == 2
    assert np.load(depth_maps[0]).dtype == np.float32


def test_a_reader_and_dump_need_no_library_of_the_daemon(shared_memory_name: str):
    heavy = ("cv2", "numba", "onnxruntime", "yaml")
    code = (
        f"import sys\nfor name in {heavy!r}: sys.modules[name] = None\n"
        f"sys.argv = ['depthd', 'dump', '--name', {shared_memory_name!r}]\n"
        "import depthd.cli; depthd.cli.main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "nobody publishes" in result.stderr


def test_config_show_prints_what_is_in_force_and_reads_back(depthd_command: Command, tmp_path: Path):
    shown = depthd_command("config", "show", "--set", "camera.fps=7")
    assert shown.returncode == 0
    assert "fps: 7" in shown.stdout
    (tmp_path / "again.yaml").write_text(shown.stdout)
    assert depthd_command("config", "show", "-c", tmp_path / "again.yaml").stdout == shown.stdout


def test_the_demo_shows_numbers_and_writes_its_picture(depthd_command: Command, tmp_path: Path):
    result = depthd_command("demo", "--seconds", "2", "--out", tmp_path / "demo.png")
    assert result.returncode == 0, result.stderr
    assert "frames/s" in result.stdout
    assert "to reader" in result.stdout
    picture = cv2.imread(str(tmp_path / "demo.png"))
    assert picture.shape[0] > 2 * 376
    assert picture.shape[1] > 2 * 672
    assert not list(Path("/dev/shm").glob("*depthd-demo*"))
