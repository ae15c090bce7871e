"""What fills rooms. `x, y, z` is the point on the floor where a piece stands; its front looks to -y before `yaw`."""

from __future__ import annotations

import math

from train.materials import (
    NOISE,
    PICTURE,
    PLAID,
    PLAIN,
    PRINT,
    STRIPES,
    WOOD,
    black,
    colour,
    glass,
    hard,
    material,
    metal,
    plain,
)  # fmt: skip
from train.small_things import potted_plant, scatter, small_thing
from train.stage import Stage, turned


def chair(stage: Stage, k: float = 1.0) -> None:
    frame, cushion = material(stage, size=0.5 * k), material(stage, size=0.5 * k)
    half, seat, back = stage.between(0.18, 0.26) * k, stage.between(0.4, 0.5) * k, stage.between(0.35, 0.6) * k
    if stage.chance(0.65):
        leg, splay = stage.between(0.012, 0.03) * k, stage.between(0, 0.06) * k
        foot, top = half + splay - leg, half - leg
        for sx in (-1, 1):
            for sy in (-1, 1):
                stage.rod(frame, (sx * foot, sy * foot, 0), (sx * top, sy * top, seat), leg * 0.8, leg)
        if stage.chance(0.5):
            stage.box(frame, (0, 0, seat * stage.between(0.2, 0.5)), (half * 0.98, leg * 0.5, leg * 0.7))
    else:
        stage.cylinder(frame, (0, 0, 0), seat, 0.025 * k)
        for arm in range(5):
            x, y = half * 1.2 * math.cos(arm * 1.2566), half * 1.2 * math.sin(arm * 1.2566)
            stage.rod(frame, (0, 0, 0.1 * k), (x, y, 0.04 * k), 0.02 * k, 0.012 * k)
            stage.ball(frame, (x, y, 0.03 * k), (0.03 * k,) * 3)
    thickness = stage.between(0.01, 0.05) * k
    slab = stage.choose((stage.box, stage.round_box))
    slab(cushion, (0, 0, seat + thickness), (half, half, thickness))
    _chair_back(stage, frame, cushion, half, seat, back, k)
    if stage.chance(0.25):
        for side in (-half, half):
            stage.box(frame, (side, 0, seat + 0.2 * k), (0.02 * k, half * 0.9, 0.015 * k))
            stage.box(frame, (side, -half * 0.8, seat + 0.1 * k), (0.015 * k, 0.015 * k, 0.1 * k))


def _chair_back(stage: Stage, frame: int, cushion: int, half: float, seat: float, back: float, k: float) -> None:
    lean = stage.between(0, 0.25)
    rotation, y = turned(0, 0, -lean), half + back * math.sin(lean) * 0.5
    kind = stage.rng.random()
    if kind < 0.15:
        return
    if kind < 0.55:
        slab = stage.choose((stage.box, stage.round_box))
        size = (half, stage.between(0.01, 0.05) * k, back * stage.between(0.3, 0.5))
        slab(cushion, (0, y, seat + back * 0.6), size, rotation=rotation)
        for side in (-0.8, 0.8):
            stage.box(frame, (side * half, y, seat + back * 0.4), (0.015 * k, 0.012 * k, back * 0.5), rotation)
        return
    bars = stage.count(2, 6)
    for bar in range(bars):
        at = (half * (2 * bar / (bars - 1) - 1) * 0.92, y, seat + back * 0.5)
        stage.box(frame, at, (0.013 * k, 0.012 * k, back * 0.5), rotation)
    rail = (0, y + math.sin(lean) * back * 0.45, seat + back * 0.95)
    stage.box(frame, rail, (half, 0.014 * k, 0.04 * k), rotation)


def table_frame(stage: Stage, half: tuple[float, float], height: float) -> tuple[float, float]:
    """A table without anything on it; returns the half sizes of the free top."""
    width, depth = half
    top = material(stage, stage.choose((WOOD, PLAIN, WOOD, None)), size=max(width, 1))
    legs = top if stage.chance(0.6) else hard(stage)
    thickness, kind = stage.between(0.01, 0.03), stage.rng.random()
    under = height - 2 * thickness
    if kind < 0.2:
        radius = min(width, depth)
        stage.cylinder(top, (0, 0, under), 2 * thickness, radius)
        if stage.chance(0.5):
            stage.cylinder(legs, (0, 0, 0), under, 0.04)
        else:
            stage.lathe(legs, (0, 0, 0), under, 0.05, stage.between(0.1, 0.5))
        stage.cylinder(legs, (0, 0, 0), 0.03, radius * 0.5)
        return radius * 0.68, radius * 0.68
    stage.box(top, (0, 0, height - thickness), (width, depth, thickness))
    leg = stage.between(0.015, 0.05)
    if kind < 0.75:
        for sx in (-1, 1):
            for sy in (-1, 1):
                at = (sx * (width - leg * 1.2), sy * (depth - leg * 1.2))
                stage.box(legs, (*at, under / 2), (leg, leg, under / 2))
    else:
        for sx in (-1, 1):
            stage.box(legs, (sx * (width - leg), 0, under / 2), (leg * 0.7, depth * 0.95, under / 2))
    if stage.chance(0.4):
        stage.box(legs, (0, depth * 0.9, height - 0.15), (width * 0.95, 0.01, 0.12))
    return width * 0.92, depth * 0.92


def table(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    stage.place(x, y, z, yaw)
    height = stage.between(0.4, 1.0)
    free = table_frame(stage, (stage.between(0.3, 0.95), stage.between(0.25, 0.55)), height)
    if stage.chance(0.1):
        cloth = material(stage, size=1, matt=True)
        stage.drape(cloth, (0, 0, height + 0.012), free, 0.008, stage.between(1, 4))
    scatter(stage, (x, y, z + height), yaw, free, stage.count(0, 13), stage.between(0.7, 1.3))


def shelf(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    stage.place(x, y, z, yaw)
    width, depth = stage.between(0.3, 0.9), stage.between(0.12, 0.28)
    height, boards, thickness = stage.between(0.7, 2.2), stage.count(2, 6), 0.012
    skin = material(stage, stage.choose((WOOD, PLAIN, None)), size=1.5)
    if stage.chance(0.3):
        for sx in (-width, width):
            for sy in (-depth, depth):
                stage.box(skin, (sx, sy, height / 2), (0.015, 0.015, height / 2))
    else:
        for sx in (-width, width):
            stage.box(skin, (sx, 0, height / 2), (thickness, depth, height / 2))
        if stage.chance(0.7):
            back = skin if stage.chance(0.6) else material(stage, size=1)
            stage.box(back, (0, depth, height / 2), (width, 0.006, height / 2))
    gap = height / boards * 0.97
    for board in range(boards + 1):
        stage.box(skin, (0, 0, board * gap + 0.02), (width, depth, thickness))
    for board in range(boards):
        above, room, kind = board * gap + 0.02 + thickness, gap * 0.93, stage.rng.random()
        if kind < 0.45:
            stage.place(x, y, z + above, yaw)
            _standing_books(stage, width, depth, room)
        elif kind < 0.92:
            count, k = stage.count(1, 6), min(1.0, room / 0.35)
            scatter(stage, (x, y, z + above), yaw, (width * 0.85, depth * 0.5), count, k)


def _standing_books(stage: Stage, width: float, depth: float, room: float) -> None:
    covers = [material(stage, stage.choose((PLAIN, PLAIN, PRINT, STRIPES, PICTURE)), size=0.25) for _ in range(5)]
    left, end = -width + 0.03, width * stage.between(-0.5, 1)
    while left < end:
        thickness, height = stage.between(0.008, 0.03), room * stage.between(0.55, 0.92)
        lean = stage.between(0.1, 0.4) if stage.chance(0.06) else 0.0
        at = (left + thickness, -depth * stage.between(0, 0.5), height / 2)
        size = (thickness, depth * stage.between(0.5, 0.75), height / 2)
        stage.box(stage.choose(covers), at, size, turned(0, lean))
        left += 2 * thickness + (0.05 if lean else 0.001)


def cabinet(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    stage.place(x, y, z, yaw)
    width, depth, height = stage.between(0.25, 0.9), stage.between(0.2, 0.35), stage.between(0.4, 2.1)
    body = material(stage, stage.choose((WOOD, PLAIN, PLAIN, None)), size=1.2)
    door = body if stage.chance(0.5) else material(stage, stage.choose((WOOD, PLAIN)), size=1.2)
    handle, columns, rows = metal(stage), stage.count(1, 3), stage.count(1, 4)
    stage.box(body, (0, 0, height / 2), (width, depth, height / 2))
    half_width, half_height = width / columns * 0.95, height / rows * 0.46
    for column in range(columns):
        for row in range(rows):
            at = (-width + (2 * column + 1) * width / columns, (row + 0.5) * height / rows)
            stage.box(door, (at[0], -depth - 0.006, at[1]), (half_width, 0.008, half_height))
            grip = (
                at[0] + half_width * stage.choose((0, 0.8)),
                -depth - 0.03,
                at[1] + half_height * stage.choose((0, 0.6)),
            )
            stage.box(handle, grip, (stage.choose((0.05, 0.01)), 0.012, 0.008))
    if height < 1.3 and stage.chance(0.6):
        scatter(stage, (x, y, z + height), yaw, (width * 0.85, depth * 0.7), stage.count(1, 5))


def sofa(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    stage.place(x, y, z, yaw)
    cover = material(stage, stage.choose((PLAIN, NOISE, PLAID, PICTURE)), size=0.8, matt=True)
    width, depth, seats = stage.between(0.4, 1.1), stage.between(0.38, 0.5), stage.count(1, 3)
    stage.round_box(cover, (0, 0, 0.2), (width, depth, 0.18), 0.05)
    stage.round_box(cover, (0, depth - 0.1, 0.5), (width, 0.12, 0.36), 0.1)
    for side in (-1, 1):
        stage.round_box(cover, (side * (width + 0.08), 0, 0.33), (0.1, depth, 0.26), 0.09)
    for seat in range(seats):
        at = -width + (2 * seat + 1) * width / seats
        stage.round_box(cover, (at, -0.06, 0.44), (width / seats * 0.97, depth * 0.85, 0.09), 0.06)
        if stage.chance(0.5):
            pillow = material(stage, size=0.4, matt=True)
            rotation = turned(stage.between(-0.3, 0.3), stage.between(-0.2, 0.2), -0.3)
            stage.superquadric(
                pillow, (at + stage.between(-0.1, 0.1), depth - 0.28, 0.66), (0.2, 0.08, 0.2), 2.6, rotation
            )
    if stage.chance(0.25):
        throw = material(stage, stage.choose((PLAID, NOISE, STRIPES)), size=0.5, matt=True)
        stage.drape(throw, (stage.between(-0.5, 0.5) * width, -0.1, 0.56), (0.3, 0.4), 0.02, stage.between(1, 3))


def bed(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    stage.place(x, y, z, yaw)
    width, height = stage.between(0.4, 0.9), stage.between(0.25, 0.5)
    stage.box(material(stage, size=1.5), (0, 0, height * 0.4), (width, 1.0, height * 0.4))
    linen = plain(stage, "pale", size=1, specular=0, mirror=0)
    stage.round_box(linen, (0, 0, height), (width, 0.98, 0.12), 0.08)
    blanket = material(stage, size=1, matt=True)
    stage.round_box(blanket, (0, -0.3, height + 0.07), (width * 1.03, 0.7, 0.09), 0.07)
    if stage.chance(0.5):
        stage.drape(blanket, (0, -0.3, height + 0.19), (width * 1.03, 0.7), 0.03, stage.between(1, 4))
    stage.box(material(stage, size=1.5), (0, 1.02, height + 0.2), (width, 0.03, height * 0.5 + 0.3))
    for side in (-0.5, 0.5):
        rotation = turned(stage.between(-0.1, 0.1), 0, -0.2)
        stage.superquadric(linen, (side * width, 0.75, height + 0.18), (width * 0.42, 0.18, 0.09), 2.8, rotation)


def stacked_boxes(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    for _ in range(stage.count(1, 4)):
        stage.place(x + stage.between(-0.05, 0.05), y + stage.between(-0.05, 0.05), z, yaw + stage.between(-0.2, 0.2))
        half = (stage.between(0.12, 0.4), stage.between(0.12, 0.4), stage.between(0.08, 0.35))
        skin = material(stage, stage.choose((PLAIN, PRINT, PICTURE, WOOD, None)), size=0.6)
        stage.box(skin, (0, 0, half[2]), half)
        z += 2 * half[2]


def ladder(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    stage.place(x, y, z, rotation=turned(yaw, 0, stage.between(0.05, 0.4)))
    skin, height, half = hard(stage), stage.between(1.2, 2.6), stage.between(0.17, 0.26)
    for side in (-half, half):
        stage.box(skin, (side, 0, height / 2), (0.02, 0.03, height / 2))
    for rung in range(int(height / 0.28)):
        stage.rod(skin, (-half, 0, 0.2 + 0.28 * rung), (half, 0, 0.2 + 0.28 * rung), 0.014)


def tripod(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    stage.place(x, y, z, yaw)
    skin, height = stage.choose((black, metal))(stage), stage.between(0.8, 1.6)
    for leg in range(3):
        foot = (0.4 * math.cos(2.094 * leg), 0.4 * math.sin(2.094 * leg), 0)
        stage.rod(skin, foot, (0, 0, height * 0.8), 0.013)
    stage.cylinder(skin, (0, 0, height * 0.7), height * 0.3, 0.015)
    kind = stage.count(0, 2)
    if kind == 0:
        stage.round_box(skin, (0, 0, height + 0.05), (0.08, 0.05, 0.05), 0.01)
    elif kind == 1:
        tilt = turned(stage.any_yaw(), stage.between(-0.4, 0.4), 1.3)
        stage.quad(material(stage), (0, 0, height), (0.4, 0.35), tilt)


def pole(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    stage.place(x, y, z, yaw)
    radius, height = stage.between(0.004, 0.07), stage.between(0.8, 3.2)
    skin = material(stage, stage.choose((PLAIN, STRIPES, NOISE, WOOD)), size=0.4)
    if stage.chance(0.6):
        stage.cylinder(skin, (0, 0, 0), height, radius, radius * stage.between(0.6, 1))
    else:
        stage.rod(skin, (0, 0, 0), (stage.between(-0.8, 0.8), stage.between(-0.8, 0.8), height), radius)
    if stage.chance(0.4):
        stage.cylinder(material(stage), (0, 0, 0), 0.04, radius * 4)
    if stage.chance(0.3):
        sign = material(stage, stage.choose((PRINT, PLAIN, PICTURE)), size=0.5)
        stage.box(sign, (0, -0.03, height * 0.8), (0.25, 0.01, 0.18))


def curtain(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    """A cloth that hangs, or a screen of cloth that stands in the room."""
    stage.place(x, y, z, yaw)
    half = (stage.between(0.3, 1.0), stage.between(0.6, 1.1))
    skin = material(stage, size=1, matt=True)
    fold = stage.between(0.02, 0.08)
    stage.drape(skin, (0, 0, half[1] + 0.05), half, fold, stage.between(2, 7), turned(0, 0, math.pi / 2))
    stage.rod(metal(stage), (-half[0], 0, 2 * half[1] + 0.07), (half[0], 0, 2 * half[1] + 0.07), 0.012)


def pane(stage: Stage, x: float, y: float, z: float, yaw: float, k: float = 1.0) -> None:
    """A sheet of glass that stands, framed or bare."""
    stage.place(x, y, z, yaw)
    half, thickness = (stage.between(0.25, 0.6) * k, stage.between(0.25, 0.6) * k), 0.006
    stage.box(glass(stage), (0, 0, half[1]), (half[0], thickness, half[1]))
    if stage.chance(0.6):
        frame, width = hard(stage), stage.between(0.006, 0.03)
        for side in (-1, 1):
            stage.box(frame, (side * half[0], 0, half[1]), (width, width, half[1] + width))
            stage.box(frame, (0, 0, (1 + side) * half[1]), (half[0], width, width))


def big_piece(stage: Stage, x: float, y: float, z: float, yaw: float) -> None:
    """Any of those above, or machines and people."""
    from train.figures import machine, person

    kinds = (
        (table, 4), (shelf, 4), (cabinet, 4), (sofa, 2), (bed, 1), ("chair", 5), (machine, 2.5), (ladder, 0.7),
        (tripod, 0.8), (pole, 1.5), ("plant", 1.2), (stacked_boxes, 2), (person, 1.2), ("small", 2), (curtain, 0.6),
        (pane, 0.4),
    )  # fmt: skip
    kind = stage.choose([kind for kind, _ in kinds], [weight for _, weight in kinds])
    if not isinstance(kind, str):
        kind(stage, x, y, z, yaw)
        return
    stage.place(x, y, z, yaw)
    if kind == "chair":
        chair(stage, stage.between(0.85, 1.1))
    elif kind == "plant":
        potted_plant(stage, stage.between(0.9, 1.6))
    else:
        small_thing(stage, stage.between(1, 3))


def rug(stage: Stage, x: float, y: float) -> None:
    stage.place(x, y, 0.004, stage.between(-0.2, 0.2))
    skin = material(stage, stage.choose((NOISE, PLAID, PICTURE, STRIPES)), colour(stage), size=1, matt=True)
    stage.quad(skin, (0, 0, 0), (stage.between(0.5, 1.5), stage.between(0.4, 1.2)))
