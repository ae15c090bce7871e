"""Procedural pictures that cover the surfaces: seeded, tileable, rich enough at every scale for block
matching.

Each function returns float64 (SIDE, SIDE, 3) BGR-free RGB values as seen on a screen (0..1); `pyramid` stores
them as bytes with all their mip levels, because a ray caster samples once a pixel and would alias without.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 512
LEVELS = 10
Picture = NDArray[np.float64]


def fractal(rng: np.random.Generator, falloff: float, stretch: tuple[float, float] = (1.0, 1.0)) -> Picture:
    """Tileable noise (SIDE, SIDE), mean 0, standard deviation 1, with amplitude 1 / frequency**falloff.

    stretch > 1 draws the pattern out along (x, y).
    """
    fx = np.fft.rfftfreq(SIDE) * SIDE * stretch[0]
    fy = np.fft.fftfreq(SIDE) * SIDE * stretch[1]
    frequency = np.hypot(fx[None, :], fy[:, None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) / frequency**falloff)
    return noise / noise.std()


def tinted(grey: Picture, dark: tuple[float, float, float], light: tuple[float, float, float]) -> Picture:
    """Grey 0..1 to a colour between two."""
    grey = np.clip(grey, 0, 1)[..., None]
    return np.asarray(dark) * (1 - grey) + np.asarray(light) * grey


def inked(picture: Picture, ink: Callable[[NDArray[np.uint8]], object], colour: tuple[float, float, float]) -> None:
    """Paints over a picture where `ink` draws white into a black mask (OpenCV smooths lines in bytes
    only).
    """
    mask = np.zeros(picture.shape[:2], np.uint8)
    ink(mask)
    cover = mask[..., None] / 255.0
    picture[:] = picture * (1 - cover) + np.asarray(colour) * cover


def letters(word: str, at: tuple[int, int], size: float, stroke: int) -> Callable[[NDArray[np.uint8]], object]:
    return lambda mask: cv2.putText(mask, word, at, cv2.FONT_HERSHEY_DUPLEX, size, 255, stroke, cv2.LINE_AA)


def disc(centre: tuple[int, int], radius: int) -> Callable[[NDArray[np.uint8]], object]:
    return lambda mask: cv2.circle(mask, centre, radius, 255, -1, cv2.LINE_AA)


def plaster(rng: np.random.Generator) -> Picture:
    return tinted(0.93 + 0.012 * fractal(rng, 0.4) + 0.012 * fractal(rng, 1.5), (0, 0, 0), (1, 1, 1))


def ingrain(rng: np.random.Generator) -> Picture:
    """Woodchip wallpaper: bumps with a lit and a shaded side."""
    bumps = fractal(rng, 0.9)
    return tinted(0.86 + 0.07 * np.clip(bumps - np.roll(bumps, 2, 1), -2, 2), (0, 0, 0), (1, 0.99, 0.96))


def wood(rng: np.random.Generator) -> Picture:
    fibre, rings = fractal(rng, 0.7, (14.0, 1.0)), fractal(rng, 1.4, (9.0, 1.0))
    grey = 0.5 + 0.13 * np.sin(6 * rings) + 0.14 * fibre + 0.03 * fractal(rng, 0.0)
    return tinted(grey, (0.30, 0.21, 0.14), (0.66, 0.50, 0.36))


def parquet(rng: np.random.Generator) -> Picture:
    rows = 6
    picture = wood(rng)
    edges = np.linspace(0, SIDE, rows + 1).astype(int)
    for top, bottom in itertools.pairwise(edges):
        joints = np.sort(rng.choice(np.arange(0, SIDE, 32), 2, replace=False))
        row = np.roll(picture[top:bottom], int(rng.integers(SIDE)), 1) * 0.9
        tones = rng.uniform(0.78, 1.12, 2)
        row[:, joints[0] : joints[1]] *= tones[0]
        row[:, : joints[0]] *= tones[1]
        row[:, joints[1] :] *= tones[1]
        row[:, joints] *= 0.55
        row[:2] *= 0.6
        picture[top:bottom] = row
    return np.clip(picture * 1.15, 0, 1)


def carpet(rng: np.random.Generator) -> Picture:
    grey = 0.55 + 0.13 * fractal(rng, 0.15) + 0.05 * fractal(rng, 1.2)
    return tinted(grey, (0.16, 0.18, 0.22), (0.62, 0.63, 0.66))


def brick(rng: np.random.Generator) -> Picture:
    picture = np.empty((SIDE, SIDE, 3))
    picture[:] = (0.72, 0.70, 0.67)
    height, width = SIDE // 8, SIDE // 4
    for row in range(8):
        for column in range(4):
            tone = rng.uniform(0.75, 1.1)
            brick_face = np.array([0.62, 0.33, 0.25]) * tone * (1 + 0.1 * rng.standard_normal(3))
            columns = (np.arange(4, width - 2) + column * width + row % 2 * width // 2) % SIDE
            picture[row * height + 4 : (row + 1) * height - 2, columns] = brick_face
    return np.clip(picture * (1 + 0.09 * fractal(rng, 0.5))[..., None], 0, 1)


def checker(rng: np.random.Generator) -> Picture:
    rows, columns = np.indices((SIDE, SIDE)) // (SIDE // 4)
    return tinted((rows + columns) % 2 + 0.01 * fractal(rng, 0.0), (0.12, 0.12, 0.13), (0.92, 0.92, 0.9))


def tiles(rng: np.random.Generator) -> Picture:
    picture = tinted(0.8 + 0.05 * fractal(rng, 1.3) + 0.02 * fractal(rng, 0.2), (0, 0, 0), (1.0, 0.98, 0.94))
    step = SIDE // 2
    for line in range(0, SIDE, step):
        picture[line : line + 5] *= 0.6
        picture[:, line : line + 5] *= 0.6
    return picture


def stripes(rng: np.random.Generator) -> Picture:
    """The block matcher's trap: the same bar again and again, without anything else."""
    bars = 0.5 + 0.5 * np.sign(np.sin(np.arange(SIDE) * 2 * np.pi * 8 / SIDE))
    return tinted(np.broadcast_to(bars, (SIDE, SIDE)), (0.25, 0.3, 0.42), (0.88, 0.88, 0.85))


def text(rng: np.random.Generator) -> Picture:
    """A printed page: words of dark strokes in ragged lines."""
    page = np.full((SIDE, SIDE), 0.93)
    for top in range(18, SIDE - 24, 26):
        x = 24
        while x < SIDE - 40:
            for _ in range(int(rng.integers(2, 9))):
                if x > SIDE - 30:
                    break
                glyph = rng.random((5, 3)) < 0.55
                page[top : top + 15, x : x + 9] = np.where(np.kron(glyph, np.ones((3, 3))), 0.12, 0.93)
                x += 12
            x += 12
    return tinted(page + 0.015 * fractal(rng, 0.5), (0, 0, 0), (1, 0.99, 0.97))


def label(rng: np.random.Generator) -> Picture:
    """What is printed round a bottle or on a packet: bands, blobs and lettering."""
    picture = np.ones((SIDE, SIDE, 3)) * rng.uniform(0.75, 0.95, 3)
    for _ in range(14):
        x, y, radius = (int(v) for v in rng.integers((0, 0, 12), (SIDE, SIDE, 80)))
        inked(picture, disc((x, y), radius), tuple(rng.uniform(0.1, 0.95, 3)))
    picture[: SIDE // 8] = rng.uniform(0.1, 0.8, 3)
    picture[-SIDE // 6 :] = rng.uniform(0.1, 0.8, 3)
    for line in range(5):
        at = (int(rng.integers(0, 60)), 110 + 70 * line)
        word = "".join(rng.choice(list("DEPTHZROBOTSEAM"), 9))
        inked(picture, letters(word, at, 1.9, 4), (0.08, 0.08, 0.1))
    return np.clip(picture * (1 + 0.03 * fractal(rng, 0.3))[..., None], 0, 1)


def cardboard(rng: np.random.Generator) -> Picture:
    grey = 0.6 + 0.05 * fractal(rng, 0.5, (1.0, 5.0)) + 0.07 * fractal(rng, 1.3)
    picture = tinted(grey, (0.38, 0.27, 0.16), (0.80, 0.66, 0.47))
    picture[SIDE // 2 - 22 : SIDE // 2 + 22] = picture[SIDE // 2 - 22 : SIDE // 2 + 22] * 0.5 + 0.38
    inked(picture, letters("FRAGILE", (60, 420), 2.4, 6), (0.25, 0.14, 0.1))
    return picture


def fabric(rng: np.random.Generator) -> Picture:
    rows, columns = np.indices((SIDE, SIDE))
    weave = np.where((rows // 3 + columns // 3) % 2, np.sin(rows * np.pi / 3), np.sin(columns * np.pi / 3))
    return tinted(0.72 + 0.07 * weave + 0.06 * fractal(rng, 0.3) + 0.05 * fractal(rng, 1.4), (0, 0, 0), (1, 1, 1))


def speckle(rng: np.random.Generator) -> Picture:
    """Terrazzo: chips of every size, unambiguous for a matcher."""
    chips = np.clip(np.stack([fractal(rng, 0.8) for _ in range(3)], -1) * 0.22 + 0.55, 0.05, 0.98)
    common = 0.13 * fractal(rng, 0.3)[..., None]
    return np.clip(chips * 0.45 + chips.mean(-1, keepdims=True) * 0.55 + common, 0, 1)


def brushed(rng: np.random.Generator) -> Picture:
    return tinted(0.8 + 0.05 * fractal(rng, 0.4, (25.0, 1.0)), (0, 0, 0), (1, 1, 1))


def skin(rng: np.random.Generator) -> Picture:
    picture = tinted(0.8 + 0.04 * fractal(rng, 0.3) + 0.06 * fractal(rng, 1.6), (0, 0, 0), (1, 1, 1))
    picture[..., 1:] *= (1 + 0.03 * fractal(rng, 1.5))[..., None]
    return np.clip(picture, 0, 1)


def painting(rng: np.random.Generator) -> Picture:
    """A long hall in perspective: flat to stereo, deep to a network. Rays into a box, as in the real
    renderer.
    """
    rows, columns = (np.indices((SIDE, SIDE)) - (SIDE - 1) / 2) / (SIDE / 2)
    to_wall = 1.0 / np.maximum(np.abs(columns), 1e-6)
    to_floor = np.where(rows > 0, 0.75, 0.9) / np.maximum(np.abs(rows), 1e-6)
    depth = np.minimum(np.minimum(to_wall, to_floor), 9.0)
    across = np.where(to_wall < to_floor, rows, columns) * depth
    end = depth >= 9.0
    wall = to_wall < to_floor
    slabs = (np.floor(depth * 1.5) + np.floor(across * 2)) % 2
    picture = np.where(wall[..., None], (0.78, 0.66, 0.50), (0.72, 0.70, 0.68)) * np.ones((SIDE, SIDE, 1))
    floor = ~wall & (rows > 0)
    picture[floor] = tinted(slabs, (0.32, 0.16, 0.12), (0.86, 0.80, 0.70))[floor]
    doors = wall & (depth % 1.6 < 0.6) & (across > -0.35)
    picture[doors] = (0.30, 0.34, 0.42)
    picture[end] = (0.97, 0.95, 0.85)
    light = np.clip(1.25 - 0.09 * depth, 0.35, 1.2) * (1 + 0.03 * fractal(rng, 0.6))
    picture = np.clip(picture * light[..., None], 0, 1)
    return cv2.copyMakeBorder(picture[20:-20, 20:-20], 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=(0.12, 0.1, 0.08, 0))


PAINTERS: dict[str, Callable[[np.random.Generator], Picture]] = {
    painter.__name__: painter
    for painter in (
        plaster,
        ingrain,
        wood,
        parquet,
        carpet,
        brick,
        checker,
        tiles,
        stripes,
        text,
        label,
        cardboard,
        fabric,
        speckle,
        brushed,
        skin,
        painting,
    )
}


def pyramid(name: str, seed: int) -> NDArray[np.uint8]:
    """All mip levels of a texture, one after the other: uint8 (texels, 4), RGB and a spare byte."""
    rng = np.random.default_rng([seed, *name.encode()])
    level = np.clip(PAINTERS[name](rng), 0, 1)
    levels = []
    for _ in range(LEVELS):
        rgba = np.zeros((*level.shape[:2], 4), np.uint8)
        # Means are taken of light, not of screen values, or distant texture would grow dark.
        rgba[..., :3] = np.rint(np.clip(level, 0, 1) * 255)
        levels.append(rgba.reshape(-1, 4))
        if level.shape[0] > 1:
            side = level.shape[0] // 2
            level = np.sqrt((level**2).reshape(side, 2, side, 2, 3).mean((1, 3)))
    return np.concatenate(levels)
