"""Depth and source maps as pictures a person can read: colours, hatched holes, bars in metres, legends."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array, Source

# Viridis rises evenly in brightness and is read the same by colour-blind eyes.
DEPTH_COLOURS = cv2.COLORMAP_VIRIDIS
# Okabe and Ito, "Color Universal Design" (2008), as BGR.
SOURCE_COLOURS_BGR = {
    Source.INVALID: (0, 0, 0),
    Source.STEREO: (178, 114, 0),
    Source.MONO_NEAR: (0, 94, 213),
    Source.MONO_HOLE: (0, 159, 230),
    Source.MONO_OVERRULED: (167, 121, 204),
    Source.BLEND: (115, 158, 0),
}
SOURCE_LABELS = {
    Source.INVALID: "no depth",
    Source.STEREO: "stereo",
    Source.MONO_NEAR: "mono: too near for stereo",
    Source.MONO_HOLE: "mono: stereo has a hole",
    Source.MONO_OVERRULED: "mono: stereo overruled",
    Source.BLEND: "blend at the rim",
}
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE = (255, 255, 255)
_GREY = (90, 90, 90)


class DepthScale:
    """The range of depth that a picture's colours stand for, even in inverse depth: near is bright."""

    def __init__(self, nearest_m: float, farthest_m: float) -> None:
        self.nearest_m = nearest_m
        self.farthest_m = farthest_m

    @classmethod
    def of(cls, depth_m: Array) -> DepthScale:
        """From the 1st to the 99th percentile of what is known; 1 m to 10 m where nothing is."""
        known = depth_m[np.isfinite(depth_m) & (depth_m > 0)]
        if known.size == 0:
            return cls(1.0, 10.0)
        nearest, farthest = (float(value) for value in np.percentile(known, (1, 99)))
        return cls(nearest, max(farthest, nearest * 1.01))

    def level(self, depth_m: Array) -> Array:
        """0 = farthest, 1 = nearest, clipped; not finite where depth is not."""
        far = 1.0 / self.farthest_m
        near = 1.0 / self.nearest_m
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.clip((1.0 / depth_m - far) / (near - far), 0.0, 1.0)

    def depth_at(self, level: float) -> float:
        far = 1.0 / self.farthest_m
        near = 1.0 / self.nearest_m
        return 1.0 / (far + level * (near - far))


def depth_picture(depth_m: Array, scale: DepthScale) -> Array:
    """float32 (height, width) in metres -> uint8 BGR of the same size; holes are black with grey hatching."""
    holes = ~np.isfinite(depth_m)
    level = np.where(holes, 0.0, scale.level(depth_m))
    picture = cv2.applyColorMap((level * 255).astype(np.uint8), DEPTH_COLOURS)
    picture[holes] = _hatching(depth_m.shape)[holes]
    return picture


def source_picture(source: Array) -> Array:
    """uint8 (height, width) of `Source` -> uint8 BGR of the same size."""
    colours = np.zeros((256, 3), np.uint8)
    for value, colour in SOURCE_COLOURS_BGR.items():
        colours[value] = colour
    return colours[source]


def signed_picture(level: Array) -> Array:
    """float -1 to 1 (clipped) -> uint8 BGR: purple, white, orange; not finite: hatched.

    Between the ends of ColorBrewer's PuOr, which colour-blind eyes tell apart.
    """
    below, middle, above = (np.array(colour, np.float64) for colour in ((129, 58, 94), (247, 247, 247), (1, 97, 230)))
    known = np.isfinite(level)
    share = np.clip(np.abs(np.where(known, level, 0.0)), 0.0, 1.0)[..., None]
    end = np.where(np.where(known, level, 0.0)[..., None] > 0, above, below)
    picture = (middle * (1 - share) + end * share).astype(np.uint8)
    picture[~known] = _hatching(level.shape)[~known]
    return picture


def comparison(stereo_depth_m: Array, mono_depth_m: Array, limit: float = 0.2) -> Array:
    """Stereo depth, fitted mono's depth of the same size on the same scale, and how far mono is off, side by side.

    limit: the relative error in inverse depth at which the colours end.
    """
    scale = DepthScale.of(stereo_depth_m)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(np.isfinite(stereo_depth_m), stereo_depth_m / mono_depth_m - 1.0, np.nan)
    title = f"mono against stereo, {-100 * limit:.0f} % (purple) to {100 * limit:.0f} % (orange)"
    return _side_by_side(
        [
            _titled("stereo depth", with_depth_bar(depth_picture(stereo_depth_m, scale), scale)),
            _titled("fitted mono", with_depth_bar(depth_picture(mono_depth_m, scale), scale)),
            _titled(title, signed_picture(error / limit)),
        ]
    )


def with_depth_bar(picture: Array, scale: DepthScale) -> Array:
    """Adds a colour bar in metres at the right."""
    height = picture.shape[0]
    text = _text_scale(height)
    bar_width, label_width = round(28 * text), round(110 * text)
    levels = np.linspace(255, 0, height, dtype=np.uint8)[:, None]
    bar = np.repeat(cv2.applyColorMap(levels, DEPTH_COLOURS), bar_width, axis=1)
    labels = np.zeros((height, label_width, 3), np.uint8)
    for fraction in np.linspace(0.0, 1.0, 6):
        row = round(fraction * (height - 1))
        label = f"{scale.depth_at(1.0 - fraction):.2f} m"
        baseline = int(np.clip(row + 7 * text, 18 * text, height - 6 * text))
        cv2.line(labels, (0, row), (round(6 * text), row), _WHITE, max(1, round(text)))
        _write(labels, label, (round(10 * text), baseline), text)
    return np.concatenate([picture, bar, labels], axis=1)


def with_source_legend(picture: Array, share_per_source: tuple[float, ...] | None = None) -> Array:
    """Adds below what the colours mean, with each source's share in percent where it is given."""
    height, width = picture.shape[:2]
    text = _text_scale(height)
    columns = 2
    row_height = round(30 * text)
    rows = -(-len(SOURCE_LABELS) // columns)
    legend = np.zeros((rows * row_height, width, 3), np.uint8)
    text = min(text, width / columns / 380)
    for place, (source, label) in enumerate(SOURCE_LABELS.items()):
        x = place % columns * (width // columns) + round(10 * text)
        y = place // columns * row_height + row_height // 2
        half = round(9 * text)
        cv2.rectangle(legend, (x, y - half), (x + 2 * half, y + half), SOURCE_COLOURS_BGR[source], -1)
        cv2.rectangle(legend, (x, y - half), (x + 2 * half, y + half), _WHITE, 1)
        share = "" if share_per_source is None else f" {100 * share_per_source[source]:.1f} %"
        _write(legend, label + share, (x + 3 * half, y + round(7 * text)), text)
    return np.concatenate([picture, legend], axis=0)


def overview(
    left_bgr: Array, stereo_depth_m: Array, depth_m: Array, source: Array, share_per_source: tuple[float, ...]
) -> Array:
    """Left picture, stereo depth with its holes, fused depth and source map in one picture, two by two."""
    scale = DepthScale.of(depth_m)
    text = _text_scale(left_bgr.shape[0])
    panels = [
        _titled("left picture", left_bgr, text),
        _titled("stereo depth", with_depth_bar(depth_picture(stereo_depth_m, scale), scale), text),
        _titled("whom each pixel comes from", with_source_legend(source_picture(source), share_per_source), text),
        _titled("fused depth", with_depth_bar(depth_picture(depth_m, scale), scale), text),
    ]
    rows = [_side_by_side(panels[:2]), _side_by_side(panels[2:])]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([_padded(row, row.shape[0], width) for row in rows], axis=0)


def write_picture(path: Path, picture: Array) -> None:
    """Writes in the format of the suffix. Raises DepthdError."""
    if not cv2.imwrite(str(path), picture):
        raise DepthdError(f"cannot write the picture {path}", "check the folder and the free space")


def _titled(title: str, picture: Array, text: float) -> Array:
    strip = np.zeros((round(36 * text), picture.shape[1], 3), np.uint8)
    _write(strip, title, (round(8 * text), round(25 * text)), text)
    return np.concatenate([strip, picture], axis=0)


def _side_by_side(pictures: list[Array]) -> Array:
    height = max(picture.shape[0] for picture in pictures)
    gap = np.zeros((height, 8, 3), np.uint8)
    parts: list[Array] = []
    for picture in pictures:
        parts += [_padded(picture, height, picture.shape[1]), gap]
    return np.concatenate(parts[:-1], axis=1)


def _padded(picture: Array, height: int, width: int) -> Array:
    below, right = height - picture.shape[0], width - picture.shape[1]
    return cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))


def _hatching(shape: tuple[int, ...]) -> Array:
    rows, columns = np.indices(shape, sparse=True)
    stripes = (rows + columns) % 12 < 2
    return np.where(stripes[..., None], np.uint8(_GREY[0]), np.uint8(0)) * np.ones(3, np.uint8)


def _text_scale(height: int) -> float:
    """1 for a picture 480 rows high, so that text keeps its proportion."""
    return max(height / 480, 0.5)


def _write(picture: Array, text: str, at: tuple[int, int], scale: float) -> None:
    cv2.putText(picture, text, at, _FONT, 0.6 * scale, _WHITE, max(1, round(1.2 * scale)), cv2.LINE_AA)
