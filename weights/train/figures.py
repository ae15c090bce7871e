"""People, two-wheelers and engines: many parts close together, with holes between them."""

from __future__ import annotations

import math

from train.materials import NOISE, PLAIN, black, colour, hard, material, metal, plain
from train.small_things import tangle
from train.stage import FACING_RIGHT, FACING_VIEWER, UPRIGHT, Stage, turned


def person(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    stage.place(x, y, z, yaw, stage.between(0.85, 1.1))
    skin = plain(stage, "skin", specular=0.05, mirror=0)
    shirt = material(stage, size=0.5, matt=True)
    trousers = material(stage, stage.choose((PLAIN, NOISE)), size=0.6, matt=True)
    hair = material(stage, NOISE, colour(stage, "dark"), size=0.2, specular=0.1, mirror=0)
    shoes, stride = black(stage), stage.between(-0.25, 0.25)
    for side in (-1, 1):
        knee, hip = (side * 0.11, -abs(stride) * 0.3, 0.5), (side * 0.09, 0, 0.92)
        stage.capsule(trousers, hip, knee, 0.085)
        stage.capsule(trousers, knee, (side * 0.12, stride * side, 0.1), 0.06)
        stage.round_box(shoes, (side * 0.12, stride * side - 0.06, 0.05), (0.05, 0.13, 0.05), 0.04)
        elbow = (side * stage.between(0.24, 0.34), stage.between(-0.06, 0.04), 1.15)
        hand = (side * stage.between(0.1, 0.38), -stage.between(0, 0.4), stage.between(0.85, 1.35))
        stage.capsule(shirt, (side * 0.2, 0, 1.42), elbow, 0.055)
        stage.capsule(stage.choose((skin, shirt)), elbow, hand, 0.042)
        stage.ball(skin, (hand[0], hand[1] - 0.03, hand[2]), (0.045, 0.05, 0.06))
    stage.round_box(shirt, (0, 0, 1.2), (0.19, 0.12, 0.32), 0.11)
    stage.capsule(skin, (0, 0, 1.45), (0, 0, 1.58), 0.055)
    stage.ball(skin, (0, -0.01, 1.68), (0.085, 0.1, 0.125))
    stage.ball(skin, (0, -0.11, 1.67), (0.015, 0.02, 0.025))
    stage.ball(hair, (0, 0.02, 1.72), (0.092, 0.1, 0.11))


def machine(stage: Stage, x: float, y: float, z: float, yaw: float, scale: float = 1.0) -> None:
    stage.place(x, y, z, yaw, scale)
    skins = [hard(stage) for _ in range(5)]
    if stage.chance(0.6):
        two_wheeler(stage, skins)
    else:
        engine(stage, skins)


def two_wheeler(stage: Stage, skins: list[int]) -> None:
    """A bicycle where its tubes and tyres are thin, a motorcycle otherwise."""
    radius, reach = stage.between(0.25, 0.36), stage.between(0.45, 0.75)
    tyre, tube = stage.between(0.015, 0.07), stage.between(0.012, 0.035)
    spokes = stage.choose((0, 5, 8, 14, 20))
    rubber = skins[0] if stage.chance(0.2) else black(stage)
    for side in (-1, 1):
        _wheel(stage, rubber, skins[1], side * reach, radius + tyre, radius, tyre, spokes)
    nodes = (
        (-reach, radius),
        (-reach * 0.3, radius * stage.between(0.8, 1.2)),
        (reach * 0.1, radius * 0.9),
        (reach * 0.75, stage.between(0.7, 0.95)),
        (-reach * 0.45, stage.between(0.65, 0.9)),
        (reach * 0.62, stage.between(0.9, 1.15)),
    )
    for start, end in ((0, 1), (1, 4), (1, 3), (4, 3), (0, 4), (3, 5), (1, 2), (2, 3)):
        for y in (0.0,) if tube < 0.02 else (-0.07, 0.07):
            stage.rod(skins[2], (nodes[start][0], y, nodes[start][1]), (nodes[end][0], y, nodes[end][1]), tube)
    bar_x, bar_z = nodes[5][0] - 0.05, nodes[5][1] + 0.03
    for y in (-0.06, 0.06):
        stage.rod(skins[3], (reach, y, radius), (nodes[5][0], y, nodes[5][1]), tube)
    stage.rod(skins[3], (bar_x, -0.35, bar_z), (bar_x, 0.35, bar_z), 0.015)
    if tyre > 0.03 or stage.chance(0.3):
        _motor(stage, skins, reach, bar_x, bar_z)
    else:
        stage.round_box(black(stage), (-reach * 0.45, 0, 0.92), (0.13, 0.07, 0.03))


def _wheel(stage: Stage, rubber: int, rim: int, x: float, z: float, radius: float, tyre: float, spokes: int) -> None:
    stage.torus(rubber, (x, 0, z), radius, tyre, FACING_VIEWER)
    stage.torus(rim, (x, 0, z), radius * 0.82, tyre * 0.4, FACING_VIEWER)
    for spoke in range(spokes):
        angle = spoke * 2 * math.pi / spokes
        end = (x + radius * 0.85 * math.cos(angle), 0, z + radius * 0.85 * math.sin(angle))
        stage.rod(rim, (x, 0, z), end, radius * (0.02 if spokes > 5 else 0.06))
    hub = (0.12, 0.2, 0.12) if spokes else (0.75, 0.8 * tyre / radius, 0.75)
    stage.ball(rim, (x, 0, z), (radius * hub[0], radius * hub[1], radius * hub[2]))
    if stage.chance(0.3):  # a brake disc
        stage.torus(metal(stage), (x, -tyre - 0.02, z), radius * 0.4, 0.012, FACING_VIEWER)


def _motor(stage: Stage, skins: list[int], reach: float, bar_x: float, bar_z: float) -> None:
    """Tank, saddle, engine block with cooling fins, exhaust, lamp, mirrors, mudguards, cables."""
    between = stage.between
    tank = stage.choose((stage.round_box, None))
    if tank:
        tank(skins[4], (reach * 0.2, 0, 0.8), (0.25, 0.13, 0.12), 0.1, turned(0, -0.15))
    else:
        stage.superquadric(skins[4], (reach * 0.2, 0, 0.8), (0.27, 0.14, 0.13), between(2.2, 3.5), turned(0, -0.15))
    stage.round_box(black(stage), (-reach * 0.55, 0, 0.82), (0.3, 0.13, 0.06), 0.05, turned(0, 0.1))
    for _ in range(stage.count(6, 14)):
        at, half = (
            (between(-0.25, 0.3), between(-0.14, 0.14), between(0.22, 0.62)),
            tuple(between(0.03, 0.13) for _ in range(3)),
        )
        stage.choose((stage.round_box, stage.box))(
            stage.choose(skins), at, half, rotation=turned(0, between(-0.5, 0.5))
        )
    fins, lean = metal(stage), turned(0, between(-0.5, 0.5))
    for fin in range(stage.count(0, 8)):
        stage.box(fins, (0.08, 0, 0.42 + 0.025 * fin), (0.1, 0.12, 0.006), lean)
    stage.rod(metal(stage), (0.1, -0.15, 0.3), (-reach * 1.1, -0.2, between(0.25, 0.5)), 0.035, 0.05)
    stage.ball(metal(stage), (reach * 0.95, 0, 0.9), (0.07, 0.1, 0.1))
    for side in (-1, 1):
        stage.cable(skins[3], (bar_x, side * 0.25, bar_z), (bar_x - 0.02, side * 0.32, bar_z + 0.2), 0.006, 2, 0)
        stage.ball(skins[1], (bar_x - 0.02, side * 0.34, bar_z + 0.22), (0.015, 0.06, 0.04))
    for _ in range(stage.count(1, 4)):
        end = (between(-0.1, 0.3), between(-0.1, 0.1), between(0.4, 0.7))
        stage.cable(black(stage), (bar_x, between(-0.2, 0.2), bar_z), end, 0.007, 6, between(-0.1, 0.05))
    if stage.chance(0.4):
        stage.box(skins[4], (-reach * 1.15, 0, 0.7), (0.16, 0.22, 0.16))


def engine(stage: Stage, skins: list[int]) -> None:
    """A heap of blocks, pipes, rings and hoses."""
    between = stage.between
    for _ in range(stage.count(8, 30)):
        kind, skin = stage.rng.random(), stage.choose(skins)
        at = (between(-0.5, 0.5), between(-0.35, 0.35), between(0.05, 0.9))
        if kind < 0.25:
            rotation = turned(stage.choose((0, between(0, 3))), stage.choose((0, 0, between(-1, 1))))
            stage.box(skin, at, (between(0.02, 0.3), between(0.02, 0.2), between(0.02, 0.2)), rotation)
        elif kind < 0.5:
            end = (at[0] + between(-0.6, 0.6), at[1] + between(-0.4, 0.4), max(0, at[2] + between(-0.5, 0.5)))
            stage.rod(skin, at, end, between(0.008, 0.08))
        elif kind < 0.62:
            facing = stage.choose((FACING_VIEWER, FACING_RIGHT, UPRIGHT))
            stage.torus(skin, at, between(0.05, 0.25), between(0.01, 0.05), facing)
        elif kind < 0.75:
            stage.lathe(skin, at, between(0.05, 0.4), between(0.02, 0.15), between(0.05, 0.5))
        elif kind < 0.9:
            half = (between(0.03, 0.2), between(0.03, 0.2), between(0.03, 0.2))
            stage.superquadric(skin, at, half, between(1.5, 8))
        else:
            end = (between(-0.6, 0.6), between(-0.5, 0.5), between(0, 0.8))
            stage.cable(skin, at, end, between(0.004, 0.015), 7, between(0, 0.2))
    tangle(stage, 2.0)
