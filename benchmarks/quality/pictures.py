"""One sheet with every scene: the left picture, stereo, fused depth, and whom depthd believed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depthd.frame import Array, Source
from quality.cases import Case
from quality.methods import Result

TILE = (172, 96)
SHEET_COLUMNS = 2
SOURCE_BGR = {
    Source.INVALID: (0, 0, 0),
    Source.STEREO: (150, 150, 150),
    Source.MONO_NEAR: (60, 60, 230),
    Source.MONO_HOLE: (220, 160, 60),
    Source.MONO_OVERRULED: (60, 200, 240),
    Source.BLEND: (230, 120, 170),
}


class Sheet:
    """Collects the first frame of each scene that is shown to it."""

    def __init__(self) -> None:
        self._rows: dict[str, Array] = {}

    def show(self, case: Case, result: Result) -> None:
        if case.name in self._rows or result.planes is None:
            return
        nearest = np.nanpercentile(1.0 / case.true_depth_m[case.known], 97)
        colours = np.zeros((*result.depth_m.shape, 3), np.uint8)
        for source, bgr in SOURCE_BGR.items():
            colours[result.planes.source == source] = bgr
        depths = (_coloured(depth_m, nearest) for depth_m in (case.stereo_depth_m, result.depth_m))
        tiles = [cv2.resize(tile, TILE, interpolation=cv2.INTER_AREA) for tile in (case.left_bgr, *depths, colours)]
        row = cv2.copyMakeBorder(np.hstack(tiles), 18, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        cv2.putText(row, case.name, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
        self._rows[case.name] = row

    def write(self, path: Path) -> None:
        rows = list(self._rows.values())
        rows += [np.full_like(rows[0], 255)] * (-len(rows) % SHEET_COLUMNS)
        each = len(rows) // SHEET_COLUMNS
        sheet = np.hstack([np.vstack(rows[k * each : (k + 1) * each]) for k in range(SHEET_COLUMNS)])
        cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 54])


def _coloured(depth_m: Array, nearest: float) -> Array:
    """Near is bright; black where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.clip(1.0 / depth_m / nearest, 0.0, 1.0)
    known = np.isfinite(depth_m)
    picture = cv2.applyColorMap((255 * np.where(known, level, 0.0)).astype(np.uint8), cv2.COLORMAP_TURBO)
    picture[~known] = 0
    return picture
