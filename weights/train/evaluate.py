"""Scores a network on real pictures that nothing was trained on, beside a ramp over the rows and a constant.

    python -m train.evaluate [MODEL.onnx ...] [--card card.json]        from the folder weights/

Motorcycle (Middlebury 2014, quarter size): depth is 1 / disparity, the offset of the principal points taken as zero;
the fit is least squares in inverse depth over all known pixels. ZED 2i frame: no truth is known, so only pixels count
where depthd's block matcher is sure of itself. The pictures lie at ../shared/data from the project's root.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
TIMED_SIZE = (256, 448)
RUNS = 40
AREA_PX, MULTIPLE_PX = 320 * 448, 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Map = NDArray[np.floating]


@dataclass(frozen=True)
class Real:
    """A real picture and what is known of its disparity, in pixels; NaN where it is not."""

    name: str
    left_bgr: NDArray[np.uint8]
    disparity_px: Map


@dataclass(frozen=True)
class Score:
    """absolute_relative: mean of |depth - true| / true after the fit; pearson_r: of inverse depth; share: of pixels."""

    absolute_relative: float
    pearson_r: float
    share: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, default=[ROOT / "weights" / "depthd-small.onnx"])
    parser.add_argument("--card", type=Path, help="write the first model's scores into this card")
    parser.add_argument("--no-timing", action="store_true")
    options = parser.parse_args()
    pictures = [motorcycle(), zed()]
    header = " ".join(f"{f'{picture.name} AbsRel':>18} {'r':>6}" for picture in pictures)
    print(f"{'model':<28} {header} {'ms':>6} {'MB':>5}")
    for number, path in enumerate(options.models):
        network = Network(path)
        scores = {picture.name: score(network.predict(picture.left_bgr), picture.disparity_px) for picture in pictures}
        milliseconds = float("nan") if options.no_timing else network.milliseconds()
        megabytes = path.stat().st_size / 1e6
        print(f"{path.stem:<28} {_shown(scores)} {milliseconds:>6.1f} {megabytes:>5.2f}")
        if options.card and number == 0:
            write_scores(options.card, scores, milliseconds, megabytes)
    for name, baseline in (("ramp over the rows", ramp), ("constant", constant)):
        scores = {picture.name: score(baseline(picture.disparity_px), picture.disparity_px) for picture in pictures}
        print(f"{name:<28} {_shown(scores)}")
    print("known pixels: " + ", ".join(f"{p.name} {np.isfinite(p.disparity_px).mean():.0%}" for p in pictures))


def _shown(scores: dict[str, Score]) -> str:
    return " ".join(f"{score.absolute_relative:>18.3f} {score.pearson_r:>6.3f}" for score in scores.values())


def score(predicted: Map, disparity_px: Map) -> Score:
    """predicted: relative inverse depth of the same shape as disparity_px."""
    known = np.isfinite(disparity_px) & (disparity_px > 0)
    x, y = predicted[known].astype(np.float64), disparity_px[known].astype(np.float64)
    scale, shift = np.polyfit(x, y, 1) if np.ptp(x) > 0 else (0.0, y.mean())
    # Where the fit nears zero depth has no bound: it is held at twice the farthest that is known.
    fitted = np.maximum(scale * x + shift, 0.5 * y.min())
    r = float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 else 0.0
    return Score(float(np.mean(np.abs(y / fitted - 1))), r, float(known.mean()))


def ramp(disparity_px: Map) -> Map:
    return np.broadcast_to(np.arange(len(disparity_px), dtype=float)[:, None], disparity_px.shape)


def constant(disparity_px: Map) -> Map:
    return np.zeros(disparity_px.shape)


class Network:
    """An exported network on two CPU threads."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def predict(self, left_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Relative inverse depth at the picture's own size."""
        height, width = left_bgr.shape[:2]
        scale = np.sqrt(AREA_PX / (height * width))
        rows, columns = (max(1, round(scale * side / MULTIPLE_PX)) * MULTIPLE_PX for side in (height, width))
        small = cv2.resize(left_bgr, (columns, rows), interpolation=cv2.INTER_AREA)[..., ::-1].astype(np.float32) / 255
        pixels = ((small - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)[None]
        mono = self._session.run(["output"], {"input": np.ascontiguousarray(pixels)})[0][0, 0]
        return cv2.resize(mono, (width, height), interpolation=cv2.INTER_LINEAR)

    def milliseconds(self) -> float:
        """The median over some runs at TIMED_SIZE."""
        pixels = np.random.default_rng(0).standard_normal((1, 3, *TIMED_SIZE), dtype=np.float32)
        seconds = []
        for _ in range(RUNS):
            start = time.perf_counter()
            self._session.run(["output"], {"input": pixels})
            seconds.append(time.perf_counter() - start)
        return float(np.median(seconds[5:]) * 1e3)


def motorcycle() -> Real:
    folder = DATA / "motorcycle"
    disparity = np.load(folder / "motorcycle_disp.npz")["arr_0"].astype(np.float64)
    return Real(
        "Motorcycle",
        cv2.imread(str(folder / "motorcycle_left.png")),
        np.where(np.isfinite(disparity), disparity, np.nan),
    )


def zed() -> Real:
    """Disparity where a block matcher finds the same from both eyes, at half size."""
    folder = DATA / "zed2i_hd1080"
    left, right = (cv2.imread(str(folder / f"{eye}.png")) for eye in ("left", "right"))
    small = [cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for picture in (left, right)]
    disparity = sure_disparity(*small)
    whole = cv2.resize(2 * disparity, left.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return Real("ZED 2i", left, whole)


def sure_disparity(left_bgr: NDArray[np.uint8], right_bgr: NDArray[np.uint8], search_px: int = 160) -> Map:
    """Semi-global matching both ways (H. Hirschmüller, TPAMI 2008); NaN where the two disagree by more than a pixel,
    where a second match is nearly as good, and where there is no texture to match by.
    """
    block = 5
    matcher = cv2.StereoSGBM_create(
        0, search_px, block, 8 * 3 * block**2, 32 * 3 * block**2, uniquenessRatio=30, speckleWindowSize=200,
        speckleRange=2, mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )  # fmt: skip
    from_left = matcher.compute(left_bgr, right_bgr).astype(np.float64) / 16
    mirrored = matcher.compute(np.ascontiguousarray(right_bgr[:, ::-1]), np.ascontiguousarray(left_bgr[:, ::-1]))
    from_right = mirrored[:, ::-1].astype(np.float64) / 16
    columns = np.arange(left_bgr.shape[1])[None] - np.rint(from_left).astype(int)
    other = np.take_along_axis(from_right, np.clip(columns, 0, left_bgr.shape[1] - 1), 1)
    sure = (from_left > 0) & (columns >= 0) & (np.abs(from_left - other) <= 1)
    sure &= textured(left_bgr)
    sure = cv2.erode(sure.astype(np.uint8), np.ones((3, 3))) > 0
    return np.where(sure, from_left, np.nan)


def textured(picture_bgr: NDArray[np.uint8], side_px: int = 9, least_deviation: float = 7.0) -> NDArray[np.bool_]:
    """Where grey levels vary around a pixel."""
    grey = cv2.cvtColor(picture_bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
    mean, square = (cv2.blur(values, (side_px, side_px)) for values in (grey, grey * grey))
    return square - mean * mean >= least_deviation**2


def write_scores(card: Path, scores: dict[str, Score], milliseconds: float, megabytes: float) -> None:
    """Adds the real pictures' scores to a card that training wrote."""
    content = json.loads(card.read_text())
    content["scores_on_real_pictures"] = {
        **{name: {key: round(value, 4) for key, value in asdict(score).items()} for name, score in scores.items()},
        "cpu_two_threads_256x448_ms": round(milliseconds, 1),
        "file_mb": round(megabytes, 2),
    }
    temporary = card.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(card)


if __name__ == "__main__":
    main()
