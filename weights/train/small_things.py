"""Things that stand on a table or lie on a floor. Each is built about the point where it stands, `k` times its usual
size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from train.materials import (
    GRADIENT,
    MARBLE,
    NOISE,
    PICTURE,
    PLAIN,
    PRINT,
    STRIPES,
    TILES,
    WOOD,
    black,
    colour,
    glass,
    hard,
    material,
    metal,
    plain,
)  # fmt: skip
from train.stage import FACING_VIEWER, UPRIGHT, Cut, Stage, Triple, turned

Thing = Callable[[Stage, float], None]


def carton(stage: Stage, k: float = 1.0) -> None:
    x, y, z = stage.between(0.04, 0.25) * k, stage.between(0.04, 0.25) * k, stage.between(0.03, 0.3) * k
    skin = material(stage, stage.choose((None, PRINT, PICTURE, PLAIN)), size=max(x, z) * 1.5)
    stage.box(skin, (0, 0, z), (x, y, z))
    if stage.chance(0.3):
        stage.box(plain(stage), (0, 0, z), (x * 0.12, y * 1.004, z * 1.004))


def open_carton(stage: Stage, k: float = 1.0) -> None:
    x, y, z = stage.between(0.08, 0.25) * k, stage.between(0.08, 0.25) * k, stage.between(0.05, 0.2) * k
    skin, wall = material(stage, stage.choose((PLAIN, NOISE, PRINT)), colour(stage, "wood"), size=x), 0.004 * k
    stage.box(skin, (0, 0, wall), (x, y, wall))
    for side in (-1, 1):
        stage.box(skin, (side * x, 0, z), (wall, y, z))
        stage.box(skin, (0, side * y, z), (x, wall, z))
        lean = stage.between(0.3, 2.4)
        reach = y * 0.45
        stage.box(
            skin,
            (0, side * (y + reach * math.sin(lean)), 2 * z + reach * math.cos(lean)),
            (x, wall, reach),
            turned(0, 0, -side * lean),
        )
    if stage.chance(0.6):
        for _ in range(stage.count(2, 7)):
            radius = stage.between(0.15, 0.4) * min(x, y)
            at = (stage.between(-0.6, 0.6) * x, stage.between(-0.6, 0.6) * y, z * stage.between(0.8, 2.0))
            stage.superquadric(material(stage, size=radius), at, (radius,) * 3, stage.between(1.2, 6), stage.tumbled())


def rounded_block(stage: Stage, k: float = 1.0) -> None:
    x, y, z = stage.between(0.03, 0.2) * k, stage.between(0.03, 0.2) * k, stage.between(0.02, 0.25) * k
    stage.round_box(material(stage, size=x * 2), (0, 0, z), (x, y, z))


def superquadric(stage: Stage, k: float = 1.0) -> None:
    x, y, z = (stage.between(0.03, 0.18) * k for _ in range(3))
    rotation = UPRIGHT if stage.chance(0.6) else stage.tumbled()
    stage.superquadric(material(stage, size=x * 2), (0, 0, z), (x, y, z), 2 ** stage.between(0.1, 3), rotation)


def bottle(stage: Stage, k: float = 1.0) -> None:
    radius, height = stage.between(0.025, 0.06) * k, stage.between(0.12, 0.32) * k
    if stage.chance(0.3):
        skin = glass(stage)
    else:
        pattern, mirror = stage.choose((PLAIN, GRADIENT, None)), stage.choose((0, 0.08, 0.2))
        skin = material(stage, pattern, size=height, specular=stage.between(0.1, 1), mirror=mirror)
    body = stage.between(0.55, 0.75) * height
    stage.cylinder(skin, (0, 0, 0), body, radius)
    shoulder = stage.between(body, height) * 0.5 + height * 0.42
    stage.cylinder(skin, (0, 0, body), shoulder - body, radius, radius * 0.4)
    stage.cylinder(skin, (0, 0, height * 0.8), height * 0.2, radius * 0.38)
    stage.cylinder(plain(stage), (0, 0, height), height * 0.07, radius * 0.42)
    if stage.chance(0.7):
        label = material(stage, stage.choose((PRINT, PICTURE, STRIPES)), size=height * 0.6, wrap_radius=radius)
        stage.cylinder(label, (0, 0, body * 0.2), body * 0.6, radius * 1.015)


def turned_thing(stage: Stage, k: float = 1.0) -> None:
    """Vase, jar, chess piece, bottle: whatever a lathe makes; some hollow."""
    height, radius = stage.between(0.06, 0.4) * k, stage.between(0.02, 0.1) * k
    wall = stage.choose((0.0, 0.0, radius * stage.between(0.04, 0.12)))
    if wall and stage.chance(0.4):
        skin = glass(stage)
    else:
        skin = material(stage, size=height, wrap_radius=stage.choose((0, radius)))
    stage.lathe(skin, (0, 0, 0), height, radius, stage.between(0.05, 0.6), wall)
    if wall and stage.chance(0.4):
        leaves(stage, height * 0.9, k * stage.between(0.15, 0.4), stage.count(5, 20))


def can(stage: Stage, k: float = 1.0) -> None:
    radius, height = stage.between(0.025, 0.09) * k, stage.between(0.06, 0.25) * k
    skin = material(stage, stage.choose((PRINT, PICTURE, None, PLAIN)), size=height, wrap_radius=radius)
    stage.cylinder(skin, (0, 0, 0), height, radius, radius * stage.between(0.85, 1.2))
    if stage.chance(0.5):
        stage.cylinder(metal(stage), (0, 0, height), height * 0.03, radius * 0.93)


def mug(stage: Stage, k: float = 1.0) -> None:
    radius, height = stage.between(0.03, 0.05) * k, stage.between(0.07, 0.12) * k
    skin = material(stage, size=height, wrap_radius=radius)
    stage.lathe(skin, (0, 0, 0), height, radius, stage.between(0, 0.12), radius * 0.1)
    stage.torus(skin, (radius * 1.05, 0, height * 0.5), height * 0.3, radius * 0.16, FACING_VIEWER)
    if stage.chance(0.6):
        stage.cylinder(black(stage), (0, 0, height * 0.1), height * stage.between(0.3, 0.75), radius * 0.9)


def bowl(stage: Stage, k: float = 1.0) -> None:
    radius, height = stage.between(0.06, 0.16) * k, stage.between(0.04, 0.1) * k
    stage.cylinder(material(stage, size=radius * 2), (0, 0, 0), height, radius * stage.between(0.35, 0.6), radius)
    stage.cylinder(plain(stage, "dark"), (0, 0, height * 0.97), height * 0.04, radius * 0.92)
    fruit = material(stage, stage.choose((PLAIN, NOISE)), colour(stage, "vivid"), size=radius)
    for _ in range(stage.count(0, 6)):
        r, angle = radius * stage.between(0.25, 0.42), stage.any_yaw()
        at = (radius * 0.5 * math.cos(angle), radius * 0.5 * math.sin(angle), height + r * 0.5)
        stage.ball(fruit, at, (r, r, r * stage.between(0.8, 1.1)))


def ball(stage: Stage, k: float = 1.0) -> None:
    radius = stage.between(0.03, 0.16) * k
    stage.ball(material(stage, size=radius * 2), (0, 0, radius), (radius,) * 3)


def leaves(stage: Stage, z: float, size: float, count: int) -> None:
    """Leaves on stalks that spread from a point above the object's foot."""
    green = colour(stage, stage.choose(("green", "green", "green", "any")))
    leaf, stalk = material(stage, stage.choose((PLAIN, NOISE, STRIPES)), green, size=0.1), plain(stage, "green")
    with_stalks = stage.chance(0.6)
    cuts = ((Cut.LEAF, 0, 0, 0), (Cut.LEAF, 0, 0, 0), (Cut.DISC, 0, 0, 0), (Cut.FOLIAGE, 3, 0.25, 0))
    for _ in range(count):
        angle, rise, reach = stage.any_yaw(), stage.between(0.1, 1.45), size * stage.between(0.5, 1.2)
        out = reach * math.cos(rise)
        tip = (math.cos(angle) * out, math.sin(angle) * out, z + math.sin(rise) * reach)
        if with_stalks:
            stage.rod(stalk, (0, 0, z), tip, size * 0.01)
        half = (reach * stage.between(0.08, 0.3), reach * stage.between(0.25, 0.5))
        rotation = turned(angle + math.pi / 2, stage.between(-0.6, 0.6), rise - stage.between(0.2, 1.2))
        stage.quad(leaf, tip, half, rotation, stage.choose(cuts))


def potted_plant(stage: Stage, k: float = 1.0) -> None:
    radius, height = stage.between(0.06, 0.2) * k, stage.between(0.08, 0.35) * k
    pot = material(stage, size=height)
    if stage.chance(0.6):
        stage.cylinder(pot, (0, 0, 0), height, radius * stage.between(0.6, 0.9), radius)
    else:
        stage.lathe(pot, (0, 0, 0), height, radius, stage.between(0, 0.3))
    leaves(stage, height, stage.between(0.15, 0.6) * k, stage.count(8, 36))


def books(stage: Stage, k: float = 1.0) -> None:
    z = 0.0
    for _ in range(stage.count(1, 6)):
        thickness = stage.between(0.006, 0.03) * k
        cover = material(stage, stage.choose((PLAIN, PRINT, PICTURE, PLAIN)), size=0.2 * k)
        at = (stage.between(-0.02, 0.02) * k, stage.between(-0.02, 0.02) * k, z + thickness)
        half = (stage.between(0.06, 0.13) * k, stage.between(0.08, 0.17) * k, thickness)
        stage.box(cover, at, half, turned(stage.between(-0.4, 0.4)))
        z += 2 * thickness


def laptop(stage: Stage, k: float = 1.0) -> None:
    shell, width, depth = (
        stage.choose((black, metal))(stage),
        stage.between(0.14, 0.19) * k,
        stage.between(0.1, 0.13) * k,
    )
    stage.box(shell, (0, 0, 0.008 * k), (width, depth, 0.008 * k))
    keys = material(stage, TILES, (0.02,) * 3, (0.1,) * 3, size=0.12 * k)
    stage.box(keys, (0, 0.02 * k, 0.0165 * k), (width * 0.9, depth * 0.5, 0.001 * k))
    lean = stage.between(-0.15, 0.7)
    back, up = math.sin(lean) * depth, math.cos(lean) * depth
    rotation = turned(0, 0, -lean)
    stage.box(shell, (0, depth + back, 0.016 * k + up), (width, 0.005 * k, depth), rotation)
    screen = material(
        stage, stage.choose((PICTURE, PRINT, PLAIN)), size=0.3 * k, emission=stage.choose((0, 0.8, 1.6)), specular=0.3
    )
    stage.box(screen, (0, depth + back - 0.007 * k, 0.016 * k + up), (width * 0.94, 0.001 * k, depth * 0.9), rotation)


def monitor(stage: Stage, k: float = 1.0) -> None:
    width = stage.between(0.2, 0.45) * k
    height, foot = width * stage.between(0.5, 0.65), stage.between(0.08, 0.2) * k
    shell = stage.choose((black, black, metal))(stage)
    stage.cylinder(shell, (0, 0, 0), 0.01 * k, width * 0.4)
    stage.box(shell, (0, 0.02 * k, foot * 0.5 + 0.1 * k), (0.02 * k, 0.012 * k, foot * 0.5 + 0.1 * k))
    stage.box(shell, (0, 0, foot + height), (width, 0.015 * k, height))
    screen = material(
        stage,
        stage.choose((PICTURE, PRINT, PLAIN, PLAIN)),
        colour(stage, stage.choose(("dark", None))),
        size=width * 2,
        emission=stage.choose((0, 0.7, 1.5)),
        specular=0.4,
        mirror=0.05,
    )
    stage.box(screen, (0, -0.016 * k, foot + height), (width * 0.95, 0.001, height * 0.93))


def keyboard(stage: Stage, k: float = 1.0) -> None:
    stage.round_box(stage.choose((black, material))(stage), (0, 0, 0.01 * k), (0.2 * k, 0.07 * k, 0.01 * k), 0.006 * k)
    keys = material(stage, TILES, colour(stage, stage.choose(("dark", "grey"))), colour(stage, "grey"), size=0.15 * k)
    stage.box(keys, (0, 0, 0.018 * k), (0.19 * k, 0.06 * k, 0.004 * k))


def mouse(stage: Stage, k: float = 1.0) -> None:
    stage.ball(stage.choose((black, material))(stage), (0, 0, 0.012 * k), (0.03 * k, 0.05 * k, 0.025 * k))
    end = (stage.between(-0.3, 0.3) * k, 0.5 * k, 0.01)
    stage.cable(black(stage), (0, 0.05 * k, 0.01), end, 0.003 * k, 6, stage.between(-0.02, 0.1))


def desk_lamp(stage: Stage, k: float = 1.0) -> None:
    height, skin = stage.between(0.3, 0.55) * k, hard(stage)
    stage.cylinder(skin, (0, 0, 0), 0.02 * k, stage.between(0.06, 0.1) * k)
    if stage.chance(0.5):
        stage.cylinder(skin, (0, 0, 0), height, 0.008 * k)
        shade = plain(stage, "pale", emission=stage.choose((0, 1.5, 4)))
        radii = stage.between(0.09, 0.17) * k, stage.between(0.05, 0.12) * k
        stage.cylinder(shade, (0, 0, height), stage.between(0.1, 0.22) * k, *radii)
        return
    elbow = (stage.between(-0.15, 0.15) * k, 0.05 * k, height * 0.6)
    head = (stage.between(-0.3, 0.3) * k, -0.15 * k, height)
    stage.rod(skin, (0, 0, 0), elbow, 0.008 * k)
    stage.rod(skin, elbow, head, 0.008 * k)
    stage.rod(skin, head, (head[0], head[1] - 0.08 * k, head[2] - 0.08 * k), 0.02 * k, 0.08 * k)


def cone(stage: Stage, k: float = 1.0) -> None:
    radius, height = stage.between(0.04, 0.16) * k, stage.between(0.12, 0.6) * k
    skin = material(stage, stage.choose((PLAIN, PLAIN, STRIPES, NOISE)), size=height)
    stage.cylinder(skin, (0, 0, 0), height, radius, radius * stage.between(0.02, 0.25))
    if stage.chance(0.4):
        stage.box(plain(stage), (0, 0, 0.01 * k), (radius * 1.2, radius * 1.2, 0.01 * k))


def head(stage: Stage, k: float = 1.0) -> None:
    """A mask or a doll's head."""
    r = stage.between(0.08, 0.18) * k
    tint = colour(stage, stage.choose(("pale", "skin", "any")))
    skin = material(stage, stage.choose((PLAIN, NOISE, PLAIN)), tint, size=r)
    dark = plain(stage, "dark", specular=0.4)
    stage.ball(skin, (0, 0, r * 1.2), (r * 0.8, r * 0.55, r * 1.15))
    stage.ball(skin, (0, -r * 0.55, r * 1.15), (r * 0.14, r * 0.2, r * 0.28))
    for side in (-1, 1):
        eye = dark if stage.chance(0.6) else skin
        stage.ball(eye, (side * r * 0.3, -r * 0.45, r * 1.4), (r * 0.16, r * 0.12, r * 0.09))
        stage.ball(skin, (side * r * 0.8, 0, r * 1.25), (r * 0.12, r * 0.2, r * 0.28))
    stage.ball(dark if stage.chance(0.6) else skin, (0, -r * 0.45, r * 0.7), (r * 0.25, r * 0.12, r * 0.07))


def rock(stage: Stage, k: float = 1.0) -> None:
    r = stage.between(0.04, 0.2) * k
    skin = material(stage, stage.choose((NOISE, PLAIN, MARBLE, PICTURE)), size=r * 3)
    stage.blob(skin, (0, 0, r * 0.8), r, stage.between(0.1, 0.35), stage.between(1.5, 5))


def ring(stage: Stage, k: float = 1.0) -> None:
    r = stage.between(0.04, 0.2) * k
    rotation = stage.choose((UPRIGHT, turned(0, stage.between(-1, 1), 0), FACING_VIEWER))
    stage.torus(material(stage, size=r), (0, 0, r * 0.25), r, r * stage.between(0.08, 0.3), rotation)


def picture_frame(stage: Stage, k: float = 1.0) -> None:
    width, height = stage.between(0.06, 0.2) * k, stage.between(0.08, 0.25) * k
    rotation = turned(0, 0, -stage.between(0.1, 0.35))
    stage.box(plain(stage), (0, 0, height), (width, 0.01 * k, height), rotation)
    picture = material(stage, PICTURE, size=height * 2, specular=0.2)
    stage.box(picture, (0, -0.012 * k, height), (width * 0.85, 0.001, height * 0.85), rotation)


def pencils(stage: Stage, k: float = 1.0) -> None:
    radius, height = stage.between(0.03, 0.05) * k, stage.between(0.08, 0.14) * k
    stage.lathe(material(stage, size=height), (0, 0, 0), height, radius, 0.02, radius * 0.08)
    for _ in range(stage.count(3, 9)):
        foot = (stage.between(-0.5, 0.5) * radius, stage.between(-0.5, 0.5) * radius, 0.02)
        reach = stage.between(-1.4, 1.4) * radius, stage.between(-1.4, 1.4) * radius
        stage.rod(plain(stage), foot, (*reach, height * stage.between(1.3, 2)), 0.004 * k)


def trellis(stage: Stage, k: float = 1.0) -> None:
    cut = (Cut.LATTICE, stage.between(2, 6), stage.between(2, 6), stage.between(0.05, 0.2))
    skin = material(stage, stage.choose((WOOD, PLAIN)))
    stage.quad(skin, (0, 0, 0.2 * k), (0.25 * k, 0.2 * k), turned(stage.between(-0.5, 0.5), 0, math.pi / 2), cut)


def toy(stage: Stage, k: float = 1.0) -> None:
    for _ in range(stage.count(2, 8)):
        skin = plain(stage, "vivid")
        at: Triple = (stage.between(-0.08, 0.08) * k, stage.between(-0.08, 0.08) * k, stage.between(0.02, 0.16) * k)
        half = tuple(stage.between(0.02, 0.07) * k for _ in range(3))
        kind = stage.count(0, 3)
        if kind == 0:
            stage.ball(skin, at, half)
        elif kind == 1:
            stage.round_box(skin, at, half)
        elif kind == 2:
            stage.superquadric(skin, at, half, stage.between(1, 6))
        else:
            end = (
                at[0] + stage.between(-0.1, 0.1) * k,
                at[1] + stage.between(-0.1, 0.1) * k,
                stage.between(0.02, 0.2) * k,
            )
            stage.rod(skin, at, end, stage.between(0.005, 0.03) * k)


def crumpled_cloth(stage: Stage, k: float = 1.0) -> None:
    half = (stage.between(0.08, 0.3) * k, stage.between(0.08, 0.3) * k)
    fold = half[0] * stage.between(0.03, 0.2)
    skin = material(stage, size=half[0] * 2, matt=True)
    stage.drape(skin, (0, 0, fold), half, fold, stage.between(1, 4), turned(stage.any_yaw()))


def tangle(stage: Stage, k: float = 1.0) -> None:
    """Wires and hoses."""
    skins = [black(stage), hard(stage)]
    for _ in range(stage.count(1, 5)):
        start, end = (
            (stage.between(-0.2, 0.2) * k, stage.between(-0.2, 0.2) * k, stage.between(0, 0.15) * k) for _ in range(2)
        )
        stage.cable(stage.choose(skins), start, end, stage.between(0.002, 0.012) * k, 6, stage.between(-0.1, 0.03) * k)


def tool(stage: Stage, k: float = 1.0) -> None:
    """Hammer, spanner, screwdriver: a handle and a head."""
    length, radius = stage.between(0.12, 0.35) * k, stage.between(0.006, 0.02) * k
    yaw = stage.any_yaw()
    end = (math.cos(yaw) * length, math.sin(yaw) * length, radius)
    stage.rod(material(stage, stage.choose((WOOD, PLAIN))), (0, 0, radius), end, radius, radius * stage.between(0.5, 1))
    size = (radius * stage.between(1.5, 4), radius * stage.between(1, 2.5), radius * stage.between(0.5, 2))
    stage.round_box(metal(stage), end, size, rotation=turned(yaw + stage.choose((0, math.pi / 2))))


SMALL_THINGS: Sequence[Thing] = (
    carton, carton, open_carton, rounded_block, superquadric, superquadric, bottle, bottle, turned_thing, turned_thing,
    can, can, mug, bowl, ball, potted_plant, books, books, laptop, monitor, keyboard, mouse, desk_lamp, cone, head,
    rock, ring, picture_frame, pencils, toy, toy, trellis, crumpled_cloth, tangle, tool,
)  # fmt: skip


def small_thing(stage: Stage, k: float = 1.0) -> None:
    stage.choose(SMALL_THINGS)(stage, k)


def scatter(
    stage: Stage,
    centre: Triple,
    yaw: float,
    half: tuple[float, float],
    count: int,
    k: float = 1.0,
    kinds: Sequence[Thing] = SMALL_THINGS,
) -> None:
    """Things that stand on a rectangle, mostly beside each other, some upon each other or fallen."""
    taken: list[tuple[float, float]] = []
    x, y, z = centre
    cosine, sine = math.cos(yaw), math.sin(yaw)
    for _ in range(count):
        for _attempt in range(6):
            a, b = stage.between(-half[0], half[0]), stage.between(-half[1], half[1])
            if all((a - c) ** 2 + (b - d) ** 2 > (0.13 * k) ** 2 for c, d in taken):
                break
        taken.append((a, b))
        at = (x + cosine * a - sine * b, y + sine * a + cosine * b)
        stage.place(*at, z, yaw + stage.choose((0, 0, stage.between(-0.5, 0.5), stage.any_yaw())))
        stage.choose(kinds)(stage, k * stage.between(0.7, 1.3))
        if stage.chance(0.12):
            lean = stage.choose((math.pi / 2, stage.between(-0.4, 0.4)))
            stage.place(
                *at, z + stage.between(0, 0.1), rotation=turned(stage.any_yaw(), lean, stage.between(-0.3, 0.3))
            )
            stage.choose(kinds)(stage, k * stage.between(0.5, 1))
