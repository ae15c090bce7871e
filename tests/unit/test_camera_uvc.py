"""UVC cameras: calibration files of both generations, rectification, real decoding, and plain words where it
is only relative.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthd.cameras import open_camera
from depthd.cameras.base import CameraLost, EndOfRecording
from depthd.cameras.calibration import load_calibration, read_opencv, read_zed
from depthd.cameras.matcher import StereoMatcher
from depthd.cameras.rectify import Rectifier
from depthd.cameras.uvc import ZED_MODES
from depthd.config import MatcherConfig, UvcCameraConfig
from depthd.errors import UsageError
from tests.fakes.avi import write_yuyv_avi
from tests.fakes.raw_stereo import (
    bad_lenses,
    checkerboard,
    photograph,
    speckles,
    write_opencv_yaml,
    write_zed_conf,
)
from tests.fakes.v4l2 import Device

LENSES = bad_lenses()
FRONT = np.array([0.0, 0.0, 1.0])
BOARD = (9, 6)


def rectified(raw: np.ndarray, calibration) -> tuple[np.ndarray, np.ndarray, Rectifier]:
    rectifier = Rectifier(calibration)
    left, right = (np.zeros((calibration.height, calibration.width, 3), np.uint8) for _ in range(2))
    rectifier.left(raw[:, : calibration.width], left)
    rectifier.right(raw[:, calibration.width :], right)
    return left, right, rectifier


def corners(picture: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    found, points = cv2.findChessboardCorners(grey, (BOARD[0] - 1, BOARD[1] - 1))
    assert found, "the whole board must be in the picture"
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
    points = cv2.cornerSubPix(grey, points.astype(np.float32), (5, 5), (-1, -1), criteria)
    return points.reshape(-1, 2)


def uvc(device: Path | str, **changes: object) -> UvcCameraConfig:
    settings = Path("/nonexistent/settings")
    return UvcCameraConfig(**{"device": str(device), "real_time": False, "settings_dir": settings, **changes})


# ---- calibration files


@pytest.mark.parametrize("generation", ["new", "suffixed", "old"])
def test_both_generations_of_zed_files_are_read_as_they_were_meant(tmp_path, generation):
    read = read_zed(write_zed_conf(tmp_path / "SN1.conf", LENSES, generation), 672, 376)
    for name in ("left", "right", "left_distortion", "right_distortion", "rotation", "translation_m"):
        np.testing.assert_allclose(getattr(read, name), getattr(LENSES, name), atol=1e-9, err_msg=name)


def test_a_negative_baseline_means_the_same(tmp_path):
    path = write_zed_conf(tmp_path / "SN1.conf", LENSES, "new")
    path.write_text(path.read_text().replace("Baseline=", "Baseline=-"))
    assert read_zed(path, 672, 376).translation_m[0] == pytest.approx(-0.1199)


def test_coefficients_of_the_calibration_tool_replace_those_of_the_mode(tmp_path):
    path = write_zed_conf(tmp_path / "SN1.conf", LENSES, "new")
    text = path.read_text()
    rational = "".join(
        f"{k}={v}\n" for k, v in zip(["k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"], range(1, 9), strict=True)
    )
    path.write_text(f"{text}[LEFT_DISTO]\n{rational}[RIGHT_DISTO]\n{rational}")
    read = read_zed(path, 672, 376)
    np.testing.assert_array_equal(read.left_distortion, np.arange(1, 9))
    assert not read.fisheye
    path.write_text(f"{text}[LEFT_DISTO]\nk1=1\nk2=2\nk3=3\nk4=4\n[RIGHT_DISTO]\nk1=1\nk2=2\nk3=3\nk4=4\n")
    read = read_zed(path, 672, 376)
    np.testing.assert_array_equal(read.left_distortion, [1, 2, 3, 4])
    assert read.fisheye


@pytest.mark.parametrize(("unit", "metres"), [("mm", 0.001), ("m", 1.0)])
def test_an_opencv_calibration_is_read_in_its_unit(tmp_path, unit, metres):
    read = read_opencv(write_opencv_yaml(tmp_path / "c.yaml", LENSES, metres), metres)
    np.testing.assert_allclose(read.translation_m, LENSES.translation_m)
    np.testing.assert_allclose(read.rotation, LENSES.rotation)
    np.testing.assert_allclose(read.left_distortion, LENSES.left_distortion)


def test_bad_calibrations_are_named(tmp_path):
    conf = write_zed_conf(tmp_path / "SN1.conf", LENSES, "new")
    good = conf.read_text()
    cases = {
        good.replace("fx=", "focal="): "lacks fx in .LEFT_CAM_VGA",
        good.replace(
            "Baseline=119.9", "Baseline=wide"
        ): "Baseline in .STEREO. of .* is 'wide'|baseline in .* is 'wide'",
        good.replace("Baseline=119.9", "Baseline=0"): "the baseline in .* is .* m",
        good.replace("_VGA", "_HD"): "has no calibration for 672x376",
        "no sections": "is not a ZED's calibration file",
    }
    for text, words in cases.items():
        conf.write_text(text)
        with pytest.raises(UsageError, match=words):
            load_calibration(conf, 672, 376)
    with pytest.raises(UsageError, match=r"SN2\.conf cannot be read .*calib\.stereolabs\.com"):
        load_calibration(tmp_path / "SN2.conf", 672, 376)
    with pytest.raises(UsageError, match="a ZED has no pictures 640 px wide"):
        load_calibration(conf, 640, 480)
    yaml = write_opencv_yaml(tmp_path / "c.yaml", LENSES)
    with pytest.raises(UsageError, match="is for 672x376, the pictures are 640x480"):
        load_calibration(yaml, 640, 480)
    with pytest.raises(UsageError, match=r"the baseline in .* is 119\.9.* m; .*calibration_unit"):
        load_calibration(yaml, 672, 376, unit_m=1.0)
    yaml.write_text("%YAML:1.0\n---\nSize: [ 672, 376 ]\n")
    with pytest.raises(UsageError, match="lacks K_LEFT"):
        load_calibration(yaml, 672, 376)
    with pytest.raises(UsageError, match="there is no calibration file"):
        load_calibration(tmp_path / "none.yaml", 672, 376)


# ---- rectification


@pytest.mark.parametrize("fisheye", [False, True])
def test_rows_correspond_after_rectification(fisheye):
    lenses = bad_lenses(fisheye=fisheye)
    raw = photograph(lenses, FRONT, 0.6, checkerboard(0.05, *BOARD))
    left, right, rectifier = rectified(raw, lenses)
    a, b = corners(left), corners(right)
    vertical = a[:, 1] - b[:, 1]
    assert np.sqrt(np.mean(vertical**2)) <= 0.1
    before = corners(raw[:, :672])[:, 1] - corners(raw[:, 672:])[:, 1]
    assert np.sqrt(np.mean(before**2)) > 1, "unrectified, they do not"
    camera = rectifier.camera
    depth = camera.disparity_per_inverse_depth / (a[:, 0] - b[:, 0] + camera.doffs_px)
    assert np.median(depth) == pytest.approx(0.6, rel=0.01)
    assert camera.baseline_m == pytest.approx(np.linalg.norm(lenses.translation_m), rel=1e-6)


@pytest.mark.parametrize("generation", ["new", "old"])
def test_a_wall_before_an_uncorrected_camera_is_measured_in_metres(tmp_path, generation):
    """From the file and the picture to metres: file -> rectification -> matcher."""
    normal = np.array([0.25, -0.1, 0.96])
    normal /= np.linalg.norm(normal)
    video = write_yuyv_avi(tmp_path / "wall.avi", [photograph(LENSES, normal, 0.8, speckles())] * 2, 30)
    conf = write_zed_conf(tmp_path / "SN1.conf", LENSES, generation)
    source = open_camera(uvc(video, calibration=conf))
    frame = source.grab().check()
    depth = StereoMatcher(source.camera, MatcherConfig()).depth_m(frame.left_bgr, frame.right_bgr)
    source.close()
    rows, columns = np.indices(depth.shape)
    camera = source.camera
    rays = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones(depth.shape)], -1)
    turned = left_turn(LENSES) @ normal
    expected = 0.8 / (rays @ turned)
    inner = np.isfinite(depth)
    inner[:, :100] = inner[:, -40:] = inner[:30] = inner[-30:] = False
    assert inner.mean() > 0.5
    error = np.abs(depth / expected - 1)[inner]
    assert np.median(error) < 0.01
    assert np.percentile(error, 90) < 0.02


def left_turn(c) -> np.ndarray:
    eyes = (c.left, c.left_distortion, c.right, c.right_distortion)
    return cv2.stereoRectify(
        *eyes, (c.width, c.height), c.rotation, c.translation_m.reshape(3, 1), flags=1024, alpha=0
    )[0]


# ---- decoding


def frames(count: int, width: int = 1344, height: int = 376) -> list[np.ndarray]:
    rows, columns = np.indices((height, width))
    base = np.stack([columns % 200, rows % 200, (rows + columns) % 200], -1)
    return [np.clip(base / 2 + 12 * k, 0, 255).astype(np.uint8) for k in range(count)]


def write_mjpeg(path: Path, pictures: list[np.ndarray]) -> Path:
    return write_video(path, pictures, "MJPG")


def write_video(path: Path, pictures: list[np.ndarray], codec: str) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 30, pictures[0].shape[1::-1])
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


@pytest.mark.parametrize("write", [write_mjpeg, lambda path, pictures: write_yuyv_avi(path, pictures, 30)])
def test_a_side_by_side_video_is_cut_in_the_middle(tmp_path, write):
    pictures = frames(5)
    flat = replace(
        LENSES,
        left_distortion=np.zeros(5),
        right_distortion=np.zeros(5),
        right=LENSES.left,
        rotation=np.eye(3),
        translation_m=np.array([-0.12, 0, 0]),
    )
    conf = write_zed_conf(tmp_path / "SN1.conf", flat, "new")
    source = open_camera(uvc(write(tmp_path / "v.avi", pictures), calibration=conf))
    for k in range(5):
        frame = source.grab().check()
        assert frame.index == k
        assert frame.depth_m is None
        for got, raw in ((frame.left_bgr, pictures[k][:, :672]), (frame.right_bgr, pictures[k][:, 672:])):
            assert np.abs(got[50:-50, 50:-50].astype(int) - raw[50:-50, 50:-50]).mean() < 8
    with pytest.raises(EndOfRecording):
        source.grab()
    source.close()
    looped = open_camera(uvc(tmp_path / "v.avi", calibration=conf, loop=True))
    assert [looped.grab().index for _ in range(12)] == list(range(12))
    looped.close()


def test_without_calibration_depth_is_unknown_and_the_log_says_so(tmp_path, caplog):
    video = write_mjpeg(tmp_path / "v.avi", frames(2))
    source = open_camera(uvc(video))
    frame = source.grab().check()
    assert frame.right_bgr is None
    assert np.isnan(frame.depth_m).all()
    assert source.camera.baseline_m == 0
    assert "no calibration: depth is relative, not in metres" in caplog.text
    assert "relative only" in source.description
    source.close()


def test_a_webcam_gives_its_whole_picture(tmp_path):
    source = open_camera(uvc(write_mjpeg(tmp_path / "v.avi", frames(2, 640, 480)), layout="mono"))
    assert source.grab().check().left_bgr.shape == (480, 640, 3)
    source.close()


def test_the_calibration_is_found_where_the_zed_tools_keep_it(tmp_path):
    video = write_mjpeg(tmp_path / "v.avi", frames(2))
    settings = tmp_path / "settings"
    settings.mkdir()
    write_zed_conf(settings / "SN123.conf", LENSES, "new")
    source = open_camera(uvc(video, settings_dir=settings))
    assert source.camera.baseline_m == pytest.approx(0.1199, rel=1e-3)
    source.close()
    write_zed_conf(settings / "SN124.conf", replace(LENSES, translation_m=np.array([-0.063, 0, 0])), "new")
    with pytest.raises(UsageError, match=r"calibrations of 2 cameras; set camera\.serial"):
        open_camera(uvc(video, settings_dir=settings))
    source = open_camera(uvc(video, settings_dir=settings, serial=124))
    assert source.camera.baseline_m == pytest.approx(0.063, rel=1e-3)
    source.close()
    with pytest.raises(UsageError, match=r"no .*SN9\.conf; fetch it"):
        open_camera(uvc(video, settings_dir=settings, serial=9))


def test_bad_devices_are_named(tmp_path):
    with pytest.raises(CameraLost, match="there is no camera /dev/video97"):
        open_camera(uvc("/dev/video97"))
    text = tmp_path / "v.avi"
    text.write_text("not a video")
    with pytest.raises(UsageError, match="is not a video that OpenCV can read"):
        open_camera(uvc(text))
    with pytest.raises(UsageError, match=r"does not deliver HD2K at 60 frames/s; set camera.fps to one of 15"):
        open_camera(uvc("/dev/video97", resolution="HD2K", fps=60))
    with pytest.raises(UsageError, match=r"only one of camera.width and camera.height"):
        open_camera(uvc("/dev/video97", width=640))
    odd = tmp_path / "odd.png"
    cv2.imwrite(str(odd), frames(1, 333, 100)[0])
    with pytest.raises(UsageError, match=r"333 px wide, which are not two; set camera.layout to mono"):
        open_camera(uvc(odd))


def test_the_modes_are_those_of_a_zed():
    assert {(w, h) for w, h, _ in ZED_MODES.values()} == {
        (4416, 1242),
        (3840, 1080),
        (2560, 720),
        (1344, 376),
    }


# ---- live devices, which this machine has only as a stand-in


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    device = Device(modes=((640, 480), (1344, 376)))
    monkeypatch.setattr(cv2, "VideoCapture", device.capture)
    yield device
    device.released.set()


def live(**changes: object) -> UvcCameraConfig:
    return uvc("0", **{"resolution": "VGA", "frame_timeout_s": 0.2, **changes})


def test_a_slow_reader_gets_the_newest_frame_and_the_gap_is_counted(device):
    source = open_camera(live())
    first = source.grab().check()
    time.sleep(0.1)
    late = source.grab()
    assert late.index >= first.index + 5
    assert late.left_bgr[0, 0, 0] == late.index % 256
    assert time.monotonic_ns() - late.captured_ns < 100_000_000, "not one that waited in a queue"
    source.close()
    source.close()
    assert device.opened == 0


def grab_for_ever(source) -> None:
    while True:
        source.grab()


@pytest.mark.parametrize(("fault", "words"), [("pull", "stopped delivering"), ("hang", "gave no frame for 0.2 s")])
def test_a_device_that_goes_silent_is_lost_and_comes_back(device, fault, words):
    source = open_camera(live())
    source.grab()
    if fault == "pull":
        device.plugged = False
    else:
        device.hangs.set()
    with pytest.raises(CameraLost, match=words):
        grab_for_ever(source)
    device.hangs.clear()
    device.released.set()
    source.close()
    device.plugged = True
    again = open_camera(live())
    assert again.grab().index >= 0
    again.close()
    assert device.opened == 0


def test_a_device_that_is_held_is_lost_not_wrong(device):
    device.plugged = False
    with pytest.raises(CameraLost, match="does not open; see that no other process holds it"):
        open_camera(live())


def test_a_size_that_the_device_does_not_have_names_those_it_has(device):
    with pytest.raises(UsageError, match="does not deliver 2560x720, but 640x480; choose one of VGA"):
        open_camera(live(resolution="HD720"))
    assert device.opened == 0
