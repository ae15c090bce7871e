"""How accurate is `depthd fuse` on Middlebury Motorcycle, with the matcher's range capped and the embedded network?

True depth is focal length * baseline / (disparity + doffs). Near surfaces are those beyond the capped range.

    python benchmarks/motorcycle.py [--max-disparity 48]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from quality.cases import MOTORCYCLE
from rich.console import Console
from rich.table import Table

from depthd.cameras.camera_file import camera_json
from depthd.config import MatcherConfig
from depthd.frame import Array, Camera
from depthd.offline import Fused, Inputs, Stopwatch, fuse_pair

CAMERA = Camera(741, 500, 994.978, 994.978, 311.193, 254.877, 0.193001, doffs_px=31.086)


def fuse(maximum_disparity_px: int) -> Fused:
    with tempfile.TemporaryDirectory() as folder:
        camera_file = Path(folder) / "camera.json"
        camera_file.write_text(camera_json(CAMERA))
        inputs = Inputs(
            MOTORCYCLE / "motorcycle_left.png",
            MOTORCYCLE / "motorcycle_right.png",
            camera_file,
            matcher=MatcherConfig(maximum_disparity_px=maximum_disparity_px),
        )
        return fuse_pair(inputs, Stopwatch())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-disparity", type=int, default=48)
    maximum_disparity_px = parser.parse_args().max_disparity
    fused = fuse(maximum_disparity_px)
    disparity = np.load(MOTORCYCLE / "motorcycle_disp.npz")["arr_0"]
    known = np.isfinite(disparity)
    true_depth_m = CAMERA.disparity_per_inverse_depth / (disparity + CAMERA.doffs_px)
    measured = np.isfinite(fused.stereo_depth_m)
    near = disparity > maximum_disparity_px
    masks = {
        "all": known,
        "near surfaces": known & near,
        "other holes": known & ~near & ~measured,
        "measured": known & ~near & measured,
    }
    table = Table(title=f"relative error of depth on Motorcycle, {maximum_disparity_px} disparities")
    for column in ("pixels", "share", "stereo covers", "stereo error", "fused covers", "fused error"):
        table.add_column(column, justify="left" if column == "pixels" else "right")
    for name, mask in masks.items():
        table.add_row(
            name,
            f"{mask.sum() / known.sum():.3f}",
            *_cells(fused.stereo_depth_m, true_depth_m, mask),
            *_cells(fused.planes.depth_m, true_depth_m, mask),
        )
    Console().print(table)
    fit = fused.result.fit
    Console().print(f"Pearson r {fit.pearson_r:.4f}, residual {100 * fit.residual:.1f} %")


def _cells(depth_m: Array, true_depth_m: Array, mask: Array) -> tuple[str, str]:
    error = np.abs(depth_m / true_depth_m - 1.0)[mask]
    covered = np.isfinite(error)
    return f"{covered.mean():.3f}", f"{error[covered].mean():.3f}" if covered.any() else ""


if __name__ == "__main__":
    main()
