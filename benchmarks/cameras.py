"""What does a camera cost before depth begins? One table for each kind.

The ZED's SDK is the tests' stand-in, so its own time is subtracted: what remains is what depthd does between
the SDK's return and a frame for the pipeline. Decoding and rectification of USB pictures are real.

python benchmarks/cameras.py [--seconds 5] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from depthd.cameras import open_camera
from depthd.cameras.matcher import StereoMatcher
from depthd.cameras.rectify import Rectifier
from depthd.config import MatcherConfig, UvcCameraConfig, VirtualCameraConfig, ZedCameraConfig
from depthd.frame import Camera

MOTORCYCLE = Path(__file__).resolve().parents[1] / "../shared/data/motorcycle"
Row = tuple[str, ...]


def per_call_ms(work: Callable[[], object], seconds: float) -> np.ndarray:
    """Milliseconds of each call, after a warm-up."""
    for _ in range(3):
        work()
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 5:
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return np.array(times)


def percentiles(times_ms: np.ndarray) -> Row:
    return f"{np.percentile(times_ms, 50):.2f}", f"{np.percentile(times_ms, 99):.2f}"


def virtual(seconds: float) -> tuple[str, Row, list[Row]]:
    rows = []
    for resolution in ("VGA", "HD720", "HD1080"):
        camera = open_camera(VirtualCameraConfig(resolution=resolution, real_time=False))
        times = per_call_ms(camera.grab, seconds)
        camera.close()
        rows.append((f"room {resolution}", *percentiles(times), f"{1e3 / times.mean():.1f}"))
    return "Virtual camera: left, right and exact depth", ("scene", "p50 ms", "p99 ms", "frames/s"), rows


def matcher(seconds: float) -> tuple[str, Row, list[Row]]:
    rows = []
    for resolution in ("VGA", "HD720"):
        source = open_camera(VirtualCameraConfig(resolution=resolution, real_time=False))
        frame = source.grab()
        for downscale in (1, 2):
            search = StereoMatcher(frame.camera, MatcherConfig(downscale=downscale))
            times = per_call_ms(lambda s=search, f=frame: s.depth_m(f.left_bgr, f.right_bgr), seconds / 2)
            depth = search.depth_m(frame.left_bgr, frame.right_bgr)
            rows.append(
                (
                    f"room {resolution} 1/{downscale}",
                    *percentiles(times),
                    *accuracy(depth, source.behind_glass_m, frame.camera),
                )
            )
        source.close()
    if MOTORCYCLE.is_dir():
        left, right = (cv2.imread(str(MOTORCYCLE / f"motorcycle_{side}.png")) for side in ("left", "right"))
        disparity = np.load(MOTORCYCLE / "motorcycle_disp.npz")["arr_0"]
        camera = Camera(741, 500, 994.978, 994.978, 311.193, 254.877, 0.193001, 31.086)
        truth = camera.disparity_per_inverse_depth / (disparity + camera.doffs_px)
        truth[~np.isfinite(disparity)] = np.nan
        for downscale in (1, 2):
            search = StereoMatcher(camera, MatcherConfig(maximum_disparity_px=80, downscale=downscale))
            times = per_call_ms(lambda s=search: s.depth_m(left, right), seconds / 2)
            rows.append(
                (
                    f"Motorcycle, 80 px, 1/{downscale}",
                    *percentiles(times),
                    *accuracy(search.depth_m(left, right), truth, camera),
                )
            )
    head = (
        "pictures",
        "p50 ms",
        "p99 ms",
        "coverage",
        "off by > 2 px",
        "median error px",
        "mean relative error",
    )
    return "Matcher (StereoSGBM, three directions)", head, rows


def accuracy(depth_m: np.ndarray, truth_m: np.ndarray, camera: Camera) -> Row:
    known = np.isfinite(truth_m)
    found = np.isfinite(depth_m) & known
    error_px = np.abs(camera.disparity_per_inverse_depth * (1 / depth_m[found] - 1 / truth_m[found]))
    relative = np.abs(depth_m[found] / truth_m[found] - 1).mean()
    share = (error_px > 2).sum() / known.sum()
    return f"{found.sum() / known.sum():.3f}", f"{share:.3f}", f"{np.median(error_px):.2f}", f"{relative:.4f}"


def zed(seconds: float) -> tuple[str, Row, list[Row]]:
    from tests.fakes import pyzed
    from tests.fakes.pyzed.personality import build
    from tests.fakes.pyzed.world import World

    rows = []
    for sdk in ("4.2", "5.2"):
        sl = build(sdk, World())
        inside = [0.0]
        for name in (
            "grab",
            "retrieve_image",
            "retrieve_measure",
            "get_timestamp",
            "get_frame_dropped_count",
        ):
            setattr(sl.Camera, name, timed(getattr(sl.Camera, name), inside))
        sys.modules["pyzed"], sys.modules["pyzed.sl"], pyzed.sl = pyzed, sl, sl
        camera = open_camera(ZedCameraConfig(resolution="HD720", fps=0))
        own = []

        def grab(camera: Any = camera, inside: list[float] = inside, own: list[float] = own) -> None:
            inside[0] = 0.0
            start = time.perf_counter()
            camera.grab().check()
            own.append((time.perf_counter() - start - inside[0]) * 1e3)

        per_call_ms(grab, seconds)
        camera.close()
        how = "BGRA, one conversion" if sdk == "4.2" else "BGR, no copy"
        rows.append((f"SDK {sdk}, CPU memory: {how}", *percentiles(np.array(own[3:]))))
    return "ZED: depthd's own time a frame at 1280x720 (stand-in SDK)", ("path", "p50 ms", "p99 ms"), rows


def timed(function: Callable[..., Any], total: list[float]) -> Callable[..., Any]:
    def wrapped(*arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            total[0] += time.perf_counter() - start

    return wrapped


def uvc(seconds: float) -> tuple[str, Row, list[Row]]:
    from tests.fakes.avi import write_yuyv_avi
    from tests.fakes.raw_stereo import bad_lenses, write_zed_conf

    lenses = bad_lenses(1280, 720)
    rectifier = Rectifier(lenses)
    source = open_camera(VirtualCameraConfig(resolution="HD720", real_time=False))
    frame = source.grab()
    raw = np.hstack([frame.left_bgr, frame.right_bgr])
    source.close()
    left, right = np.empty_like(frame.left_bgr), np.empty_like(frame.left_bgr)

    def rectify() -> None:
        rectifier.left(raw[:, :1280], left)
        rectifier.right(raw[:, 1280:], right)

    rows = []
    times = per_call_ms(rectify, seconds)
    rows.append(("rectification alone", *percentiles(times), f"{1e3 / times.mean():.0f}"))
    with tempfile.TemporaryDirectory() as folder:
        conf = write_zed_conf(Path(folder) / "SN1.conf", lenses, "new")
        videos = {"YUYV": write_yuyv_avi(Path(folder) / "yuyv.avi", [raw] * 8, 60)}
        videos["MJPG"] = Path(folder) / "mjpg.avi"
        writer = cv2.VideoWriter(str(videos["MJPG"]), cv2.VideoWriter.fourcc(*"MJPG"), 60, raw.shape[1::-1])
        for _ in range(8):
            writer.write(raw)
        writer.release()
        for name, video in videos.items():
            config = UvcCameraConfig(device=str(video), calibration=conf, real_time=False, loop=True)
            camera = open_camera(config)
            times = per_call_ms(camera.grab, seconds)
            camera.close()
            rows.append((f"{name} decoded and rectified", *percentiles(times), f"{1e3 / times.mean():.0f}"))
    return "UVC at 2560x720, no matching", ("path", "p50 ms", "p99 ms", "frames/s"), rows


def machine() -> str:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    versions = f"Python {platform.python_version()}, OpenCV {cv2.__version__}"
    return f"{datetime.date.today()}, {os.cpu_count()} cores of {model}, {versions}"


def as_markdown(tables: list[tuple[str, Row, list[Row]]]) -> str:
    lines = ["# Cameras", "", f"`python benchmarks/cameras.py`; {machine()}.", ""]
    for title, head, rows in tables:
        lines += [f"## {title}", "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="For each measurement.")
    parser.add_argument("--markdown", type=Path, help="Also write the tables there.")
    arguments = parser.parse_args()
    cv2.setNumThreads(os.cpu_count() or 1)
    tables = []
    for measure in (zed, uvc, matcher, virtual):
        tables.append(measure(arguments.seconds))
        show(*tables[-1])
    if arguments.markdown:
        arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
        arguments.markdown.write_text(as_markdown(tables))


def show(title: str, head: Row, rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
