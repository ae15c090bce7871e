"""At which size and aspect should the network see a 16:9 picture? One table of its error at several of both.

    python benchmarks/mono_quality.py [--model NAME_OR_FILE]

For each picture, 1/depth = scale * mono + shift is fitted by least squares over all pixels whose depth is
known, and the mean of |depth - true| / true is printed. `square` squeezes the picture to 1:1 before the
network and stretches the map back, with the same number of input pixels as `keep`, so that both cost the
same. Pictures: Middlebury Motorcycle (true depth), a ZED 2i frame (the matcher's own depth, so only where a
matcher works), and rendered rooms (true depth).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import cv2
import numpy as np

from depthd.cameras import open_camera
from depthd.cameras.matcher import StereoMatcher
from depthd.config import MatcherConfig, RecordingCameraConfig, VirtualCameraConfig
from depthd.mono.kinds import to_relative_inverse
from depthd.mono.model import Model, find_model
from depthd.mono.onnx import open_session
from depthd.mono.onnx import run_in as run_session
from depthd.mono.preprocess import Preprocessor

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
AREAS_PX = (192 * 352, 256 * 448, 288 * 512, 384 * 672)
ROOMS = 6


@dataclass(frozen=True)
class Known:
    """A picture with its depth in metres; NaN where it is not known."""

    name: str
    left_bgr: np.ndarray
    depth_m: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="depthd-small")
    model = find_model(parser.parse_args().model)
    pictures = [*motorcycle(), *zed(), *rooms()]
    session = open_session(model)
    names = list(dict.fromkeys(picture.name for picture in pictures))
    print(f"{date.today()}, {model.name}, mean relative depth error in % after a fit in inverse depth\n")
    print(f"{'area':>9} {'aspect':>7} {'16:9 input':>11} " + " ".join(f"{name:>11}" for name in names))
    for area_px in AREAS_PX:
        for square in (False, True):
            errors: dict[str, list[float]] = {name: [] for name in names}
            for picture in pictures:
                size = size_for(model, picture.left_bgr.shape[:2], area_px, square)
                errors[picture.name].append(error_of(model, session, picture, size))
            shown = " ".join(f"{100 * np.mean(errors[name]):>11.1f}" for name in names)
            height, width = size_for(model, (1080, 1920), area_px, square)
            print(f"{area_px:>9} {'square' if square else 'keep':>7} {f'{width}x{height}':>11} {shown}")


def size_for(model: Model, picture: tuple[int, int], area_px: int, square: bool) -> tuple[int, int]:
    """(height, width) of about this area, sides rounded to what the network takes."""
    height, width = (1, 1) if square else picture
    scale = math.sqrt(area_px / (height * width))
    multiple = model.card.size.multiple_px
    return tuple(max(1, round(scale * side / multiple)) * multiple for side in (height, width))


def error_of(model: Model, session: object, picture: Known, size: tuple[int, int]) -> float:
    height, width = picture.left_bgr.shape[:2]
    pixels = Preprocessor(model.card, height, width, *size).run(picture.left_bgr)
    mono = run_session(session, model, pixels)
    mono = to_relative_inverse(model.card.output_kind, mono, mono.copy())
    mono = cv2.resize(mono, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float64)
    known = np.isfinite(picture.depth_m) & np.isfinite(mono)
    x, inverse = mono[known], 1.0 / picture.depth_m[known].astype(np.float64)
    scale, shift = np.polyfit(x, inverse, 1)
    # A fit may cross zero far away; what it then calls behind the camera counts as 100 m.
    depth_m = 1.0 / np.maximum(scale * x + shift, 0.01)
    return float(np.mean(np.abs(depth_m * inverse - 1.0)))


def motorcycle() -> Iterator[Known]:
    folder = DATA / "motorcycle"
    if not folder.is_dir():
        return
    disparity = np.load(folder / "motorcycle_disp.npz")["arr_0"]
    with np.errstate(divide="ignore", invalid="ignore"):
        depth_m = np.where(np.isfinite(disparity), 994.978 * 0.193001 / (disparity + 31.086), np.nan)
    yield Known("motorcycle", cv2.imread(str(folder / "motorcycle_left.png")), depth_m.astype(np.float32))


def zed() -> Iterator[Known]:
    folder = DATA / "zed2i_hd1080"
    if not folder.is_dir():
        return
    source = open_camera(RecordingCameraConfig(path=folder, loop=False, real_time=False))
    frame = source.grab()
    depth_m = StereoMatcher(frame.camera, MatcherConfig()).depth_m(frame.left_bgr, frame.right_bgr)
    yield Known("zed 2i", frame.left_bgr, np.where(np.isfinite(depth_m), depth_m, np.nan))
    source.close()


def rooms() -> Iterator[Known]:
    for seed in range(ROOMS):
        source = open_camera(VirtualCameraConfig(seed=seed, resolution="HD720", real_time=False))
        for _ in range(1 + 7 * seed):
            frame = source.grab()
        true_m = source.ground_truth_m.copy()
        yield Known("rooms", frame.left_bgr.copy(), np.where(np.isfinite(true_m), true_m, np.nan))
        source.close()


if __name__ == "__main__":
    main()
