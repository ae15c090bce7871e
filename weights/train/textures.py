"""Pictures that cover surfaces, all drawn from random numbers: nobody's photographs.

The kinds follow what makes drawn pictures good teachers of vision: dead leaves and coloured noise with the statistics
of photographs (M. Baradad et al., "Learning to see by looking at noise", NeurIPS 2021), and man-made regularity:
stones, weave, brush strokes, print. Some look deep although they are flat, so that the network learns to doubt them.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 256
LEVELS = 8
PICTURE_TEXELS = sum((SIDE >> level) ** 2 for level in range(LEVELS))
"""Texels of a picture with its mip levels down to 2x2, as in render/patterns.cuh."""

Random = np.random.Generator
Picture = NDArray[np.float32]
"""(SIDE, SIDE, 3), 0..1 as on a screen."""


def spectrum(rng: Random, falloff: float, stretch: float = 1.0) -> NDArray[np.float32]:
    """Tileable noise (SIDE, SIDE), mean 0, deviation 1, of amplitude 1 / frequency**falloff, drawn out along x."""
    fx, fy = np.fft.rfftfreq(SIDE) * SIDE * stretch, np.fft.fftfreq(SIDE) * SIDE
    frequency = np.hypot(fx[None, :], fy[:, None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) / frequency**falloff)
    return (noise / noise.std()).astype(np.float32)


def palette(rng: Random, colours: int) -> NDArray[np.float32]:
    """Colours that lie together, as in one place under one light: (colours, 3)."""
    grey = rng.uniform(0.15, 0.85) + rng.uniform(0.05, 0.3) * rng.standard_normal((colours, 1))
    # Most of the world is nearly grey.
    tint = rng.uniform(0, 0.25) ** 1.5 * rng.standard_normal(3)
    own = rng.uniform(0, 0.3) ** 1.5 * rng.standard_normal((colours, 3))
    return np.clip(grey + tint + own, 0.02, 0.98).astype(np.float32)


def coloured_noise(rng: Random) -> Picture:
    """Noise with the spectrum of photographs, its channels more or less alike."""
    falloff, stretch = rng.uniform(0.4, 1.9), 2 ** rng.uniform(-2, 2) if rng.random() < 0.4 else 1.0
    common, alike = spectrum(rng, falloff, stretch), rng.uniform(0.5, 1.0)
    channels = [alike * common + (1 - alike) * spectrum(rng, falloff, stretch) for _ in range(3)]
    contrast = rng.uniform(0.06, 0.25)
    return np.clip(palette(rng, 1)[0] + contrast * np.stack(channels, -1), 0, 1)


def dead_leaves(rng: Random) -> Picture:
    """Shapes that cover each other, small ones more often than large: A. Lee, D. Mumford and J. Huang, "Occlusion
    models for natural images", IJCV 41, 2001.
    """
    colours, picture = palette(rng, int(rng.integers(3, 12))), np.zeros((SIDE, SIDE, 3), np.float32)
    picture[:] = colours[0]
    kind, shaded = rng.integers(0, 4), rng.random() < 0.5
    least = rng.uniform(2, 10)
    for _ in range(int(rng.integers(60, 500))):
        # Radii with density r**-3.
        radius = min(least / np.sqrt(rng.uniform(0.003, 1)), 110)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        _draw_leaf(rng, mask, int(kind) if kind < 3 else int(rng.integers(0, 3)), radius)
        x, y, width, height = cv2.boundingRect(mask)
        if width == 0:
            continue
        part = np.s_[y : y + height, x : x + width]
        cover = mask[part][..., None].astype(np.float32) / 255
        ink = colours[rng.integers(len(colours))] * rng.uniform(0.75, 1.25)
        if shaded:  # lit from one side, as if round
            ramp = np.linspace(rng.uniform(0.5, 1), rng.uniform(1, 1.4), width, dtype=np.float32)
            ink = ink * ramp[None, :, None]
        picture[part] = picture[part] * (1 - cover) + ink * cover
    return np.clip(picture * (1 + rng.uniform(0, 0.15) * spectrum(rng, rng.uniform(0.3, 1.2)))[..., None], 0, 1)


def _draw_leaf(rng: Random, mask: NDArray[np.uint8], kind: int, radius: float) -> None:
    x, y = (int(v) for v in rng.integers(0, SIDE, 2))
    if kind == 0:
        axes = (max(1, int(radius)), max(1, int(radius * rng.uniform(0.3, 1))))
        cv2.ellipse(mask, (x, y), axes, rng.uniform(0, 360), 0, 360, 255, -1, cv2.LINE_AA)
    elif kind == 1:
        box = ((float(x), float(y)), (radius * rng.uniform(0.4, 2), radius * rng.uniform(0.4, 2)), rng.uniform(0, 90))
        cv2.fillPoly(mask, [cv2.boxPoints(box).astype(np.int32)], 255, cv2.LINE_AA)
    else:
        corners = int(rng.integers(3, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = radius * rng.uniform(0.4, 1.2, corners)
        points = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], -1)
        cv2.fillPoly(mask, [points.astype(np.int32)], 255, cv2.LINE_AA)


def stones(rng: Random) -> Picture:
    """Cells about random points with joints between them: paving, leather, cracked mud, foliage."""
    count = int(rng.integers(20, 400))
    points = rng.uniform(0, SIDE, (count, 2))
    shifts = np.array([(i, j) for i in (-SIDE, 0, SIDE) for j in (-SIDE, 0, SIDE)])
    everywhere = (points[None] + shifts[:, None]).reshape(-1, 2)
    seeds = np.full((3 * SIDE, 3 * SIDE), 255, np.uint8)
    at = np.clip(everywhere + SIDE, 0, 3 * SIDE - 1).astype(int)
    seeds[at[:, 1], at[:, 0]] = 0
    distance, cells = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    middle = np.s_[SIDE : 2 * SIDE, SIDE : 2 * SIDE]
    tones = palette(rng, cells.max() + 1)[cells[middle]]
    joint = cv2.morphologyEx(cells[middle].astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    width = rng.uniform(0.5, 2.5)
    joint_cover = np.clip(cv2.GaussianBlur(joint.astype(np.float32), (0, 0), width) * 2, 0, 1)[..., None]
    bulge = 1 - rng.uniform(0, 0.5) * distance[middle] / max(distance[middle].max(), 1)
    picture = tones * bulge[..., None] * (1 + rng.uniform(0, 0.2) * spectrum(rng, 0.8))[..., None]
    return np.clip(picture * (1 - joint_cover) + palette(rng, 1)[0] * joint_cover * rng.uniform(0.2, 1), 0, 1)


def weave(rng: Random) -> Picture:
    rows, columns = np.indices((SIDE, SIDE), np.float32)
    period = 2 ** rng.uniform(1.5, 4.5)
    over = (np.floor(rows / period) + np.floor(columns / period)) % 2
    thread = np.where(over > 0, np.sin(np.pi * rows / period), np.sin(np.pi * columns / period))
    warp, weft = palette(rng, 2)
    base = np.where((over > 0)[..., None], warp, weft) * (1 + 0.2 * np.abs(thread) - 0.1)[..., None]
    return np.clip(base * (1 + rng.uniform(0.02, 0.2) * spectrum(rng, 0.5))[..., None], 0, 1).astype(np.float32)


def strokes(rng: Random) -> Picture:
    """Grass, fur, straw, scratches: many lines that run much the same way."""
    colours = palette(rng, 6)
    picture = np.zeros((SIDE, SIDE, 3), np.float32)
    picture[:] = colours[0]
    angle, spread, long = rng.uniform(0, np.pi), rng.uniform(0.05, 1.2), rng.uniform(6, 60)
    for _ in range(int(rng.integers(300, 1500))):
        start = rng.uniform(-20, SIDE + 20, 2)
        turn = angle + spread * rng.standard_normal()
        end = start + long * rng.uniform(0.3, 1.2) * np.array([np.cos(turn), np.sin(turn)])
        ink = tuple(float(v) for v in colours[rng.integers(1, 6)] * rng.uniform(0.6, 1.3))
        cv2.line(picture, start.astype(int).tolist(), end.astype(int).tolist(), ink, int(rng.integers(1, 3)))
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 0.6), 0, 1)


def printed_page(rng: Random) -> Picture:
    """Lines of print, a headline, a picture among them."""
    paper, ink = palette(rng, 2)
    picture = np.zeros((SIDE, SIDE, 3), np.float32)
    picture[:] = np.maximum(paper, 0.6) if rng.random() < 0.6 else paper
    letters = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIKLMNOPRSTUVWZ0123456789 ")
    fonts = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
    y, size = 12, rng.uniform(0.25, 2.5)
    while y < SIDE + 20:
        scale = size if rng.random() < 0.85 else 2 * size
        line = "".join(rng.choice(letters, 60))
        mask = np.zeros((SIDE, SIDE), np.uint8)
        place = (int(rng.integers(-10, 40)), int(y))
        cv2.putText(mask, line, place, fonts[rng.integers(4)], scale, 255, max(1, round(scale)), cv2.LINE_AA)
        cover = mask[..., None] / np.float32(255)
        picture = picture * (1 - cover) + ink * cover
        y += 26 * scale + rng.uniform(2, 12)
    if rng.random() < 0.6:
        x, y, side = (int(v) for v in rng.integers((0, 0, 60), (150, 150, 110)))
        picture[y : y + side, x : x + side] = cv2.resize(dead_leaves(rng), (side, side))[: SIDE - y, : SIDE - x]
    return np.clip(picture, 0, 1).astype(np.float32)


def landscape(rng: Random) -> Picture:
    """Ridges one behind the other under a sky: deep to the eye, flat to the hand."""
    rows = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None]
    sky, haze, ground = palette(rng, 3)
    picture = np.broadcast_to(sky * (1 - rows) + haze * rows, (SIDE, SIDE, 3)).copy()
    ridges = int(rng.integers(2, 7))
    for ridge in range(ridges):
        near = (ridge + 1) / ridges
        line = np.cumsum(rng.standard_normal(SIDE)) * rng.uniform(0.5, 3)
        line = cv2.GaussianBlur(line.astype(np.float32)[None], (0, 0), rng.uniform(1, 6))[0]
        height = SIDE * (0.25 + 0.55 * near) + line - line.mean()
        below = np.arange(SIDE)[:, None] > height[None, :]
        tone = haze * (1 - near) + ground * near * rng.uniform(0.6, 1.2)
        rough = tone * (1 + 0.25 * near * spectrum(rng, 0.7))[..., None]
        picture = np.where(below[..., None], rough, picture)
    return np.clip(picture, 0, 1).astype(np.float32)


def warped_marble(rng: Random) -> Picture:
    """Layers folded by noise: wood, marble, smoke, camouflage."""
    fold = spectrum(rng, rng.uniform(1.2, 2.2)) * rng.uniform(0.5, 4)
    layers = np.sin(fold * rng.uniform(1, 6) + rng.uniform(0, 6)) * 0.5 + 0.5
    a, b = palette(rng, 2)
    sharp = np.clip((layers - 0.5) * rng.uniform(1, 8) + 0.5, 0, 1)[..., None]
    return np.clip((a * sharp + b * (1 - sharp)) * (1 + 0.08 * spectrum(rng, 0.5))[..., None], 0, 1).astype(np.float32)


PAINTERS: dict[Callable[[Random], Picture], float] = {
    coloured_noise: 3,
    dead_leaves: 6,
    stones: 3,
    weave: 1.5,
    strokes: 2,
    printed_page: 2,
    landscape: 1,
    warped_marble: 1.5,
}
"""How often each is drawn."""


def texture(seed: int, number: int) -> NDArray[np.uint8]:
    """One picture with its mip levels, uint8 (PICTURE_TEXELS, 3)."""
    rng = np.random.default_rng((seed, number))
    weights = np.array(list(PAINTERS.values()))
    picture = list(PAINTERS)[rng.choice(len(weights), p=weights / weights.sum())](rng)
    return pyramid(np.clip(picture ** rng.uniform(0.7, 1.4), 0, 1))


def pyramid(picture: Picture) -> NDArray[np.uint8]:
    levels, light = [], picture.astype(np.float32) ** 2  # means are taken of light, or far textures grow dark
    for level in range(LEVELS):
        side = SIDE >> level
        small = cv2.resize(light, (side, side), interpolation=cv2.INTER_AREA) if level else light
        levels.append(np.rint(np.sqrt(small) * 255).reshape(-1, 3))
    return np.concatenate(levels).astype(np.uint8)


def atlas(seed: int, count: int, processes: int = 1) -> NDArray[np.uint8]:
    """uint8 (count, PICTURE_TEXELS, 3)."""
    if processes == 1:
        return np.stack([texture(seed, number) for number in range(count)])
    # A process that holds a GPU must not be forked.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        return np.stack(list(pool.map(partial(texture, seed), range(count), chunksize=8)))
