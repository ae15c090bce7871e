"""Walls, floors and what hangs on them; lamps indoors and light outdoors."""

from __future__ import annotations

import math

from train.furniture import shelf, stacked_boxes
from train.materials import (
    CHECKER,
    GRADIENT,
    MARBLE,
    NOISE,
    PICTURE,
    PLAIN,
    SPECKLE,
    STRIPES,
    TILES,
    WOOD,
    black,
    colour,
    material,
    metal,
    plain,
)  # fmt: skip
from train.small_things import small_thing, tangle
from train.stage import FACING_VIEWER, Light, Stage, Triple, turned


def wall(
    stage: Stage, skin: int, centre: Triple, half: tuple[float, float], yaw: float, rotation: Triple = (0, 0, 0)
) -> None:
    """An upright rectangle that faces local -y."""
    stage.place(*centre, yaw)
    stage.quad(skin, (0, 0, 0), half, FACING_VIEWER)


def floor(stage: Stage, skin: int, half: tuple[float, float]) -> None:
    stage.place(0, 0, 0)
    stage.quad(skin, (0, 0, 0), half)


def room(stage: Stage, half: tuple[float, float], height: float) -> None:
    """Floor, ceiling and four walls about the origin, with things on the walls."""
    a, b = half
    pattern = stage.choose((WOOD, WOOD, TILES, NOISE, PLAIN, PICTURE, CHECKER, MARBLE))
    floor(stage, material(stage, pattern, size=2, mirror=stage.choose((0, 0, 0, stage.between(0.03, 0.55)))), half)
    stage.place(0, 0, 0)
    tint = colour(stage, stage.choose(("pale", "pale", "grey")))
    ceiling = material(stage, stage.choose((PLAIN, PLAIN, NOISE, TILES)), tint, size=2, matt=True)
    stage.quad(ceiling, (0, 0, height), half)
    pattern = stage.choose((PLAIN, PLAIN, NOISE, TILES, STRIPES, PICTURE, WOOD, SPECKLE))
    tint = colour(stage, stage.choose(("pale", "pale", "pale", "any", "grey")))
    paper = material(stage, pattern, tint, size=1.5, mirror=0)
    sides = ((0, b, a, 0.0), (0, -b, a, math.pi), (a, 0, b, -math.pi / 2), (-a, 0, b, math.pi / 2))
    for x, y, width, yaw in sides:
        skin = paper
        if stage.chance(0.25):
            skin = material(stage, stage.choose((PLAIN, NOISE, TILES, WOOD, PICTURE)), size=1.5, mirror=0)
        wall(stage, skin, (x, y, height / 2), (width, height / 2), yaw)
        if stage.chance(0.4):
            stage.place(x, y, 0, yaw)
            stage.box(plain(stage, "pale"), (0, 0, 0.05), (width, 0.015, 0.05))
        for _ in range(stage.count(0, 3)):
            stage.place(x, y, 0, yaw)
            thing_on_wall(stage, stage.between(-0.85, 0.85) * width, height)


def thing_on_wall(stage: Stage, x: float, height: float) -> None:
    """Picture, window, door, pipe, or tools on hooks, on a wall through the object's x axis."""
    kind = stage.rng.random()
    if kind < 0.4:
        half = (stage.between(0.12, 0.6), stage.between(0.12, 0.5))
        z = stage.between(1.1, 1.8)
        stage.box(plain(stage), (x, -0.012, z), (half[0], 0.015, half[1]))
        picture = material(stage, stage.choose((PICTURE, PICTURE, None)), size=half[1] * 2)
        stage.box(picture, (x, -0.03, z), (half[0] * 0.9, 0.003, half[1] * 0.9))
    elif kind < 0.6:
        _window(stage, x)
    elif kind < 0.75:
        stage.box(material(stage, stage.choose((WOOD, PLAIN)), size=1), (x, -0.01, 1.0), (0.42, 0.02, 1.0))
        for side in (-0.46, 0.46):
            stage.box(plain(stage, "pale"), (x + side, -0.02, 1.0), (0.05, 0.03, 1.02))
        stage.ball(metal(stage), (x + 0.34, -0.06, 1.0), (0.03, 0.03, 0.03))
    elif kind < 0.9:
        _hanging_tools(stage, x)
    else:
        end = (x + stage.between(-0.5, 0.5), -0.03, stage.between(0, 1))
        stage.cable(black(stage), (x, -0.02, height), end, stage.between(0.005, 0.03), 5, 0)


def _window(stage: Stage, x: float) -> None:
    half, z = (stage.between(0.3, 0.9), stage.between(0.4, 0.7)), 1.5
    tint = colour(stage, "pale")
    pane = material(stage, stage.choose((PLAIN, PICTURE, GRADIENT)), tint, size=2, emission=stage.between(1, 5))
    frame = plain(stage, "pale")
    stage.box(pane, (x, -0.005, z), (half[0], 0.006, half[1]))
    for side in (-1, 0, 1):
        stage.box(frame, (x + side * half[0], -0.02, z), (0.03, 0.03, half[1]))
    for side in (-1, 1):
        stage.box(frame, (x, -0.02, z + side * half[1]), (half[0], 0.04, 0.03))
    if stage.chance(0.5):
        cloth = material(stage, size=0.5, matt=True)
        for side in (-1, 1):
            at = (x + side * (half[0] + 0.12), -0.09, z)
            stage.drape(cloth, at, (0.2, half[1] * 1.3), 0.035, stage.between(2, 5), turned(0, 0, math.pi / 2))


def _hanging_tools(stage: Stage, x: float) -> None:
    """A board with rods and blocks on hooks, as in a workshop."""
    board, tools = (
        material(stage, stage.choose((WOOD, PLAIN, NOISE)), size=1),
        [metal(stage), plain(stage), plain(stage)],
    )
    stage.box(board, (x, -0.01, 1.4), (0.6, 0.01, 0.4))
    for _ in range(stage.count(4, 12)):
        skin = stage.choose(tools)
        left, top, long = x + stage.between(-0.5, 0.5), stage.between(1.35, 1.75), stage.between(0.1, 0.35)
        stage.rod(skin, (left, -0.03, top), (left + stage.between(-0.04, 0.04), -0.03, top - long), 0.01)
        half = (stage.between(0.01, 0.06), 0.015, stage.between(0.01, 0.05))
        stage.round_box(stage.choose(tools), (left, -0.03, top - stage.choose((0, long))), half)


def workshop_wall(stage: Stage, half_width: float, y: float) -> None:
    """Shelves, boxes, boards and cables along a wall behind the thing that is looked at."""
    x = -half_width
    while x < half_width:
        kind, step = stage.rng.random(), stage.between(0.5, 1.6)
        x += step / 2
        if kind < 0.4:
            shelf(stage, x, y - 0.3, 0, stage.between(-0.05, 0.05))
        elif kind < 0.6:
            stacked_boxes(stage, x, y - 0.4, 0, stage.between(-0.3, 0.3))
        elif kind < 0.8:
            stage.place(x, y, 0)
            _hanging_tools(stage, 0)
        elif kind < 0.9:
            stage.place(x, y - 0.2, stage.between(0, 1.5))
            tangle(stage, stage.between(1, 3))
        else:
            stage.place(x, y - 0.4, 0, stage.any_yaw())
            small_thing(stage, stage.between(1, 3))
        x += step / 2


def light_room(stage: Stage, half: tuple[float, float], height: float) -> None:
    between = stage.between
    stage.occlusion_m, stage.ambient = between(0.5, 2.5), between(0.25, 1.1)
    warmth = between(0.75, 1.25)
    tint = (warmth, 1.0, 2 - warmth)
    stage.zenith = _scaled(tint, 0.55)
    stage.horizon = _scaled(tint, 0.5)
    stage.ground = _scaled(tint, 0.35 * between(0.7, 1.1))
    for _ in range(stage.choose((1, 2, 3), (4, 4, 2))):
        warmth, power = between(0.8, 1.2), 10 ** between(0.1, 0.9)
        at = (between(-0.8, 0.8) * half[0], between(-0.8, 0.8) * half[1], between(0.65, 0.97) * height)
        stage.lights.append(Light(at, True, _scaled((warmth, 1, 2 - warmth), power), between(0.01, 0.35)))
    if stage.chance(0.3):
        direction, power = (between(-1, 1), between(-1, 1), between(0.3, 1.2)), between(0.5, 4)
        sun = Light(direction, False, _scaled((1, 0.95, 0.85), power), between(0.005, 0.05), stage.chance(0.2))
        stage.lights.append(sun)


def light_outdoors(stage: Stage) -> None:
    between = stage.between
    stage.occlusion_m, stage.ambient, stage.ground = between(1, 4), between(0.35, 1.1), colour(stage, "grey")
    kind = stage.rng.random()
    stage.cloud_cover, stage.cloud_brightness = between(0, 1), between(0.6, 1.4)
    if kind < 0.6:
        stage.zenith, stage.horizon = (0.25, 0.45, 0.9), (0.75, 0.85, 1.0)
    elif kind < 0.85:
        grey = between(0.6, 1)
        stage.zenith, stage.horizon = (grey, grey, grey * 1.05), (grey * 1.1,) * 3
    else:
        stage.zenith, stage.horizon = colour(stage, "any"), (1, 0.7, 0.45)
    power = stage.choose((0, between(0.3, 1), between(1, 3.5), between(1, 3.5)))
    if power:
        direction = (between(-1, 1), between(-1, 1), between(0.15, 1.2))
        stage.lights.append(Light(direction, False, _scaled((1, 0.95, 0.85), power), between(0.004, 0.03)))
    if stage.chance(0.4):
        stage.haze = 10 ** between(-3, -1.4)


def light_anywhere(stage: Stage, depth_m: float) -> None:
    """For things that float about: a pale surround, one or two suns."""
    between = stage.between
    stage.occlusion_m, stage.ambient = depth_m * between(0.15, 0.5), between(0.2, 1.1)
    warmth = between(0.8, 1.2)
    stage.zenith, stage.horizon = (0.55 * warmth, 0.55, 0.55 * (2 - warmth)), colour(stage, "pale")
    stage.cloud_cover, stage.cloud_brightness = between(0, 0.8), between(0.5, 1.2)
    for _ in range(stage.count(1, 2)):
        power, direction = between(0.4, 3), (between(-1, 1), between(-1.2, 0.5), between(0.2, 1.2))
        stage.lights.append(Light(direction, False, (power,) * 3, between(0.005, 0.1)))


def _scaled(tint: Triple, factor: float) -> Triple:
    return (tint[0] * factor, tint[1] * factor, tint[2] * factor)
