"""Trees, cars, houses and fences."""

from __future__ import annotations

import math

from train.materials import (
    NOISE,
    PICTURE,
    PLAIN,
    SPECKLE,
    TILES,
    WINDOWS,
    WOOD,
    black,
    colour,
    material,
    plain,
)  # fmt: skip
from train.stage import FACING_VIEWER, Cut, Stage, turned


def tree(stage: Stage, x: float, y: float, z: float, k: float = 1.0) -> None:
    between = stage.between
    stage.place(x, y, z, stage.any_yaw())
    height, radius, width = between(1.2, 4) * k, between(0.06, 0.3) * k, between(0.6, 2.0) * k
    bark = material(stage, NOISE, colour(stage, "wood"), size=0.3, matt=True)
    stage.rod(bark, (0, 0, 0), (between(-0.2, 0.2), between(-0.2, 0.2), height), radius, radius * 0.6)
    green = colour(stage, stage.choose(("green", "green", "green", "any")))
    crown = material(stage, stage.choose((NOISE, SPECKLE, PICTURE, NOISE)), green, size=0.4, matt=True)
    kind = stage.rng.random()
    if kind < 0.25:
        for tier in range(3):
            bottom = (0, 0, height * (0.4 + 0.35 * tier))
            stage.cylinder(crown, bottom, height * 0.5, width * (1 - 0.25 * tier), 0.02)
    elif kind < 0.6:
        for _ in range(stage.count(3, 8)):
            at = (between(-0.7, 0.7) * width, between(-0.7, 0.7) * width, height + between(-0.2, 0.8) * width)
            stage.blob(crown, at, between(0.3, 0.8) * width, between(0.1, 0.3), between(3, 8))
    else:
        for _ in range(stage.count(14, 39)):
            size, angle, rise = between(0.2, 0.6) * width, stage.any_yaw(), between(-0.6, 1.5)
            out, up = width * math.cos(rise) * between(0.2, 1), width * math.sin(rise) * between(0.2, 1)
            at = (out * math.cos(angle), out * math.sin(angle), height + width * 0.4 + up)
            rotation = turned(stage.any_yaw(), between(-1, 1), between(0, 3))
            stage.quad(crown, at, (size, size), rotation, (Cut.FOLIAGE, between(4, 12), between(0.05, 0.3), 0))
    for _ in range(stage.choose((0, 0, 4))):
        tip = (between(-1, 1) * width, between(-1, 1) * width, height * between(0.8, 1.3))
        stage.rod(bark, (0, 0, height * between(0.4, 0.9)), tip, radius * 0.3, radius * 0.1)


def car(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    stage.place(x, y, z, yaw, stage.between(0.9, 1.15))
    paint = plain(
        stage, stage.choose(("any", "grey", "vivid")), specular=stage.between(0.3, 1), mirror=stage.between(0.05, 0.2)
    )
    glass = material(stage, PLAIN, (0.02, 0.02, 0.03), specular=1, mirror=0.3)
    length, tall = stage.between(1.7, 2.3), stage.choose((0, 0, 0.35, 0.7))
    cabin = length * stage.between(0.45, 0.75)
    stage.round_box(paint, (0, 0, 0.6), (length, 0.85, 0.3), 0.15)
    stage.round_box(glass, (-0.1 * length, 0, 1.05 + tall / 2), (cabin, 0.75, 0.3 + tall / 2), 0.2)
    stage.round_box(paint, (-0.1 * length, 0, 1.33 + tall), (cabin * 0.8, 0.7, 0.05), 0.05)
    for axle in (-0.62 * length, 0.62 * length):
        for side in (-0.8, 0.8):
            stage.rod(black(stage), (axle, side - 0.12, 0.32), (axle, side + 0.12, 0.32), 0.32)
    for side in (-0.6, 0.6):
        lamp = material(stage, PLAIN, (0.8, 0.8, 0.75), emission=stage.choose((0, 2)))
        stage.ball(lamp, (length, side, 0.65), (0.05, 0.15, 0.1))


def house(stage: Stage, x: float, y: float, yaw: float) -> None:
    stage.place(x, y, 0, yaw)
    width, depth, height = stage.between(2, 9), stage.between(2, 8), stage.between(2.5, 18)
    front = material(
        stage,
        stage.choose((WINDOWS, TILES, WINDOWS, PICTURE, PLAIN)),
        colour(stage, stage.choose(("pale", "grey", "wood", "any"))),
        colour(stage, stage.choose(("dark", "dark", "grey"))),
        size=stage.between(1.4, 4),
        matt=True,
    )
    stage.box(front, (0, 0, height / 2), (width, depth, height / 2))
    if stage.chance(0.5):
        stage.box(plain(stage, size=3), (0, 0, height + 0.1), (width * 1.05, depth * 1.05, 0.15))
    if stage.chance(0.5):
        pane = plain(stage, "dark", specular=0.5, mirror=0.15)
        for side in (-depth, depth):
            for _ in range(stage.count(1, 4)):
                at = (stage.between(-0.9, 0.9) * width, side, stage.between(0.6, 2))
                stage.box(pane, at, (stage.between(0.3, 0.8), 0.05, stage.between(0.4, 1.1)))


def fence(stage: Stage, x: float, y: float, yaw: float) -> None:
    stage.place(x, y, 0, yaw)
    half, height = stage.between(1.5, 6), stage.between(0.6, 2)
    skin = material(stage, stage.choose((WOOD, PLAIN, PLAIN)), size=1)
    if stage.chance(0.5):
        lattice = (Cut.LATTICE, half * stage.between(2, 8), height * stage.between(2, 8), stage.between(0.02, 0.1))
        bars = (Cut.BARS, half * stage.between(3, 10), 0, stage.between(0.1, 0.3))
        stage.quad(skin, (0, 0, height / 2), (half, height / 2), FACING_VIEWER, stage.choose((lattice, bars)))
    else:
        boards = min(int(half / stage.between(0.15, 0.5)), 24)
        for board in range(boards):
            stage.box(skin, (-half + 2 * half * board / boards, 0, height / 2), (0.03, 0.015, height / 2))
        for rail in (0.25, 0.8):
            stage.box(skin, (0, 0.02, height * rail), (half, 0.015, 0.03))
    for side in (-half, half):
        stage.box(skin, (side, 0, height / 2), (0.05, 0.05, height / 2))


def street_lamp(stage: Stage, x: float, y: float) -> None:
    stage.place(x, y, 0)
    height, skin = stage.between(3, 7), material(stage)
    stage.cylinder(skin, (0, 0, 0), height, stage.between(0.04, 0.12), 0.04)
    stage.rod(skin, (0, 0, height), (stage.between(-1.5, 1.5), 0, height + 0.2), 0.04)
