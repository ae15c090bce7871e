"""Whole scenes. Each fills a stage and returns a function that draws cameras for it."""

from __future__ import annotations

import math
from collections.abc import Callable

from train.figures import machine, person
from train.furniture import big_piece, cabinet, chair, pane, pole, rug, shelf, table_frame
from train.materials import NOISE, PICTURE, PLAIN, SPECKLE, TILES, WOOD, black, colour, hard, material, plain
from train.outside import car, fence, house, street_lamp, tree
from train.rooms import floor, light_anywhere, light_outdoors, light_room, room, wall, workshop_wall
from train.small_things import SMALL_THINGS, scatter, small_thing
from train.stage import FACING_VIEWER, Camera, Cut, Light, Stage, Triple, turned

DrawCamera = Callable[[], Camera]


def lens_width_deg(stage: Stage, narrowest: float = 32, widest: float = 105) -> float:
    """From a portrait lens, as of Middlebury's cameras, to the ZED's widest; two in three are a robot's wide lenses."""
    if stage.chance(0.65):
        return stage.between(max(45, narrowest), widest)
    return math.exp(stage.between(math.log(narrowest), math.log(70)))


def looking(stage: Stage, position: Triple, target: Triple, width_deg: float) -> Camera:
    dx, dy, dz = (b - a for a, b in zip(position, target, strict=True))
    pitch = math.atan2(dz, math.hypot(dx, dy)) + stage.rng.gauss(0, 0.06)
    roll = stage.rng.gauss(0, 0.05) if stage.chance(0.85) else stage.between(-0.4, 0.4)
    return Camera(position, math.atan2(dy, dx), max(-1.3, min(1.0, pitch)), roll, width_deg)


def living_room(stage: Stage) -> DrawCamera:
    between = stage.between
    a, b, height = between(1.3, 4.5), between(1.3, 4.5), between(2.2, 3.4)
    room(stage, (a, b), height)
    for _ in range(stage.count(1, 6)):
        t, side = between(-0.8, 0.8), stage.count(0, 3)
        places = ((t * a, b - 0.35, 0.0), (t * a, 0.35 - b, math.pi), (a - 0.35, t * b, -math.pi / 2),
                  (0.35 - a, t * b, math.pi / 2))  # fmt: skip
        x, y, yaw = places[side]
        big_piece(stage, x, y, 0, yaw + stage.choose((0, 0, between(-0.1, 0.1))))
    for _ in range(stage.count(1, 5)):
        x, y = between(-0.75, 0.75) * a, between(-0.75, 0.75) * b
        big_piece(stage, x, y, 0, stage.choose((0, math.pi / 2, math.pi, stage.any_yaw())))
        if stage.chance(0.35):
            stage.place(x + between(-0.7, 0.7), y + stage.choose((-0.75, 0.75)), 0, stage.any_yaw())
            chair(stage)
    if stage.chance(0.4):
        rug(stage, between(-0.5, 0.5) * a, between(-0.5, 0.5) * b)
    for _ in range(stage.count(0, 4)):
        stage.place(between(-0.9, 0.9) * a, between(-0.9, 0.9) * b, 0, stage.any_yaw())
        small_thing(stage, between(1, 2))
    for _ in range(stage.count(0, 2)):
        _ceiling_lamp(stage, between(-0.6, 0.6) * a, between(-0.6, 0.6) * b, height)
    light_room(stage, (a, b), height)

    def draw() -> Camera:
        if stage.chance(0.7):
            along, out, side = between(-1, 1), between(0.15, 0.6), stage.count(0, 3)
            spots = ((along * (a - 0.25), out - b), (along * (a - 0.25), b - out), (out - a, along * (b - 0.25)),
                     (a - out, along * (b - 0.25)))  # fmt: skip
            x, y = spots[side]
        else:
            x, y = between(-0.85, 0.85) * a, between(-0.85, 0.85) * b
        z = min(height - 0.2, stage.choose((between(0.25, 0.9), between(0.9, 1.8), between(1.8, 2.5)), (3, 6, 1)))
        target = (between(-0.5, 0.5) * a, between(-0.5, 0.5) * b, between(0.1, 1.5))
        return looking(stage, (x, y, z), target, lens_width_deg(stage, 38))

    return draw


def _ceiling_lamp(stage: Stage, x: float, y: float, height: float) -> None:
    stage.place(x, y, 0)
    drop, shade = stage.between(0.2, 0.9), plain(stage, "pale", emission=stage.choose((0, 3)))
    stage.cylinder(black(stage), (0, 0, height - drop), drop, 0.005)
    if stage.chance(0.5):
        stage.cylinder(shade, (0, 0, height - drop - 0.15), 0.15, stage.between(0.1, 0.25), 0.05)
    else:
        stage.ball(shade, (0, 0, height - drop), (0.1, 0.1, 0.1))


def table_top(stage: Stage) -> DrawCamera:
    """Things on a table seen close, with what is behind it."""
    between = stage.between
    height, half = between(0.6, 0.9), (between(0.5, 1.2), between(0.35, 0.8))
    if stage.chance(0.75):
        a, b, ceiling = between(1.2, 3), between(1.0, 2.5), between(2.2, 3)
        room(stage, (a, b), ceiling)
        y = between(-0.3, 1) * max(0, b - half[1] - 0.02)
        for _ in range(stage.count(0, 3)):
            big_piece(stage, between(-0.9, 0.9) * a, b - 0.3, 0, 0)
    else:
        a, b, ceiling, y = 3.0, 3.0, 3.0, 0.0
        floor(stage, material(stage, size=2), (8, 8))
        backdrop = material(stage, stage.choose((None, WOOD, TILES, PICTURE, PLAIN)), mirror=0)
        wall(stage, backdrop, (0, half[1] + between(0.02, 1), 1.2), (4, 2.5), between(-0.3, 0.3))
        if stage.chance(0.3):
            stage.place(0, half[1] + between(0, 0.1), height + 0.5, between(-0.1, 0.1))
            cut = (stage.choose((Cut.LATTICE, Cut.BARS)), between(6, 20), between(6, 20), between(0.05, 0.25))
            stage.quad(material(stage, stage.choose((WOOD, PLAIN)), size=0.3), (0, 0, 0), (1.5, 1), FACING_VIEWER, cut)
    stage.place(0, y, 0)
    free = table_frame(stage, half, height)
    k = between(0.7, 1.6)
    kinds = stage.rng.sample(SMALL_THINGS, 3) if stage.chance(0.3) else SMALL_THINGS
    scatter(stage, (0, y, height), 0, free, stage.count(3, 24), k, kinds)
    if stage.chance(0.35):
        for _ in range(stage.count(2, 9)):
            at = (between(-free[0], free[0]), y + free[1] * between(0.6, 1), height + between(0.1, 0.7))
            stage.place(*at, rotation=turned(between(-0.6, 0.6), between(-0.6, 0.6), between(-0.6, 0.6)))
            small_thing(stage, k)
    light_room(stage, (a, min(b, 2)), ceiling)
    in_room = ceiling < 3

    def draw() -> Camera:
        width_deg = lens_width_deg(stage, 34)
        distance = between(0.4, 1.5) * math.sqrt(k) * (60 / width_deg) ** 0.5
        around = between(-0.9, 0.9)
        x, far = distance * math.sin(around), y - distance * math.cos(around)
        if in_room:
            x, far = max(0.1 - a, min(a - 0.1, x)), max(0.1 - b, far)
        position = (x, far, height + between(0.08, 0.9) * distance)
        target = (between(-0.3, 0.3) * half[0], y + between(-0.3, 0.5) * half[1], height + between(-0.05, 0.25))
        return looking(stage, position, target, width_deg)

    return draw


def over_table(stage: Stage) -> DrawCamera:
    """What a camera sees that stands at the edge of a large table: the top sweeping away, things near and far on it,
    chairs around it, and a furnished room behind.
    """
    between = stage.between
    height, half = between(0.65, 1.0), (between(0.7, 2.5), between(0.4, 1.6))
    a, ceiling = half[0] + between(0.3, 2.5), between(2.3, 3.4)
    front, back = half[1] + between(0.3, 1.5), half[1] + between(0.4, 4.0)
    b = (front + back) / 2
    room(stage, (a, b), ceiling)
    y = front - b
    _along_far_wall(stage, a, b)
    for _ in range(stage.count(0, 3)):
        side, at = stage.sign(), between(-0.6, 1) * half[1] + y
        stage.place(side * (half[0] + between(0, 0.4)), at, 0, -side * math.pi / 2 + between(-0.6, 0.6))
        chair(stage)
    for _ in range(stage.count(0, 3)):
        stage.place(between(-0.9, 0.9) * half[0], y + half[1] + between(-0.1, 0.4), 0, between(-0.6, 0.6))
        chair(stage)
    stage.place(0, y, 0)
    free = table_frame(stage, half, height)
    k = between(0.8, 1.4)
    scatter(stage, (0, y, height), 0, free, stage.count(2, 18), k, SMALL_THINGS)
    for _ in range(stage.count(0, 4)):
        stage.place(between(-0.7, 0.7) * free[0], y - free[1] * between(0.4, 1), height, stage.any_yaw())
        small_thing(stage, k)
    if stage.chance(0.15):
        pane(stage, between(-0.6, 0.6) * free[0], y + between(-0.3, 0.8) * free[1], height, between(-0.6, 0.6), 0.7)
    light_room(stage, (a, b), ceiling)

    def draw() -> Camera:
        position = (between(-0.6, 0.6) * half[0], y - half[1] * between(0.5, 1.15), height + between(0.12, 0.75))
        aim = between(0.3, 1.0)
        target = (between(-0.5, 0.5) * half[0], y + aim * (b - y), height + between(-0.35, 0.35) * aim)
        return looking(stage, position, target, lens_width_deg(stage, 40))

    return draw


def _along_far_wall(stage: Stage, half_width: float, y: float) -> None:
    x = stage.between(-1, -0.5) * half_width
    while x < half_width:
        kind, step = stage.rng.random(), stage.between(0.5, 2.0)
        x += step / 2
        if x > half_width - 0.3:
            return
        if kind < 0.45:
            shelf(stage, x, y - 0.3, 0, stage.choose((0, 0, stage.between(-0.1, 0.1))))
        elif kind < 0.65:
            cabinet(stage, x, y - 0.35, 0, 0)
        elif kind < 0.85:
            big_piece(stage, x, y - stage.between(0.4, 0.8), 0, stage.choose((0, stage.any_yaw())))
        x += step / 2


def floating_clutter(stage: Stage) -> DrawCamera:
    """Anything anywhere: no habit of layout to learn."""
    between = stage.between
    depth, has_floor = between(1, 6), stage.chance(0.6)
    if has_floor:
        floor(stage, material(stage, size=1.5), (30, 30))
    if stage.chance(0.8):
        stage.place(0, depth * between(1.05, 2.2), 1, between(-0.7, 0.7))
        stage.quad(material(stage, size=1.5), (0, 0, 0), (30, 30), turned(0, 0, math.pi / 2 + between(-0.4, 0.4)))
    if stage.chance(0.3):
        side = (stage.sign() * depth * 0.7, depth, 1)
        wall(stage, material(stage, size=1.5), side, (30, 30), math.pi / 2 + between(-0.5, 0.5))
    for _ in range(stage.count(8, 49)):
        y = depth * (0.15 + 0.9 * stage.rng.random() ** 1.3)
        x, z = between(-0.8, 0.8) * y, 1 + between(-0.6, 0.6) * y
        size = y * 10 ** between(-0.7, 0.25)
        rotation = stage.tumbled() if stage.chance(0.6) else turned(stage.any_yaw())
        stage.place(x, y, 0 if has_floor and stage.chance(0.4) else z, rotation=rotation)
        _any_shape(stage, size)
    light_anywhere(stage, depth)

    def draw() -> Camera:
        position = (between(-0.15, 0.15) * depth, 0, 1 + between(-0.3, 0.6))
        target = (between(-0.2, 0.2) * depth, depth, 1 + between(-0.3, 0.3) * depth)
        return looking(stage, position, target, lens_width_deg(stage))

    return draw


def _any_shape(stage: Stage, k: float) -> None:
    between = stage.between
    skin, at = material(stage, size=k * 0.5), (0, 0, 0)
    half = (between(0.05, 0.35) * k, between(0.05, 0.35) * k, between(0.05, 0.35) * k)
    kind = stage.count(0, 11)
    if kind == 0:
        stage.box(skin, at, half)
    elif kind == 1:
        stage.ball(skin, at, half)
    elif kind == 2:
        length = between(0.1, 0.9) * k
        stage.cylinder(skin, (0, 0, -length / 2), length, between(0.01, 0.25) * k, between(0.01, 0.25) * k)
    elif kind == 3:
        cuts = ((Cut.WHOLE, 0, 0, 0), (Cut.DISC, 0, 0, 0), (Cut.FOLIAGE, between(2, 8), between(0, 0.3), 0),
                (Cut.STAR, stage.count(3, 8), 0, 0), (Cut.LATTICE, between(1, 8), between(1, 8), between(0.05, 0.3)),
                (Cut.LEAF, 0, 0, 0))  # fmt: skip
        stage.quad(skin, at, (between(0.1, 0.6) * k, between(0.1, 0.6) * k), stage.tumbled(), stage.choose(cuts))
    elif kind == 4:
        stage.round_box(skin, at, half)
    elif kind == 5:
        stage.torus(skin, at, between(0.1, 0.3) * k, between(0.01, 0.1) * k)
    elif kind == 6:
        stage.blob(skin, at, between(0.1, 0.3) * k, between(0.1, 0.4), between(1, 7))
    elif kind == 7:
        stage.capsule(skin, (-0.3 * k, 0, 0), (0.3 * k, between(-0.2, 0.2) * k, 0), between(0.005, 0.1) * k)
    elif kind == 8:
        stage.superquadric(skin, at, half, 2 ** between(0.1, 3))
    elif kind == 9:
        radius = between(0.05, 0.2) * k
        stage.lathe(skin, at, between(0.2, 0.6) * k, radius, between(0.05, 0.6), stage.choose((0, 0.06 * radius)))
    elif kind == 10:
        stage.drape(skin, at, (half[0] * 1.5, half[1] * 1.5), 0.15 * half[0], between(1, 4))
    else:
        small_thing(stage, k * 1.3)


def street(stage: Stage) -> DrawCamera:
    between = stage.between
    pattern = stage.choose((NOISE, TILES, SPECKLE, PICTURE, PLAIN))
    tint = colour(stage, stage.choose(("grey", "grey", "green", "wood")))
    floor(stage, material(stage, pattern, tint, size=between(1, 5), matt=True), (400, 400))
    half = between(2.5, 8)
    if stage.chance(0.6):
        _kerbs(stage, half)
    for side in (-1, 1):
        y, built = between(-3, 4), stage.chance(0.7)
        while y < 55:
            if built:
                house(stage, side * (half + between(5, 9)), y, stage.choose((0, 0, between(-0.1, 0.1))))
            else:
                tree(stage, side * (half + between(1, 6)), y, 0, between(0.8, 2))
            y += between(7, 20) if built else between(2, 7)
    for _ in range(stage.count(0, 6)):
        yaw = stage.sign() * math.pi / 2 + between(-0.1, 0.1)
        car(stage, stage.sign() * half * between(0.3, 1), between(3, 40), 0, yaw)
    for _ in range(stage.count(0, 5)):
        person(stage, between(-1, 1) * (half + 2), between(2, 25), 0, stage.any_yaw())
    for _ in range(stage.count(0, 6)):
        _outdoor_piece(stage, between(-1, 1) * (half + 2), between(1.5, 18))
    for _ in range(stage.count(0, 4)):
        street_lamp(stage, stage.sign() * (half + between(0, 1)), between(3, 30))
    for _ in range(stage.choose((0, 0, 3))):
        ends = (-half - 4, between(5, 30), between(4, 8)), (half + 4, between(5, 30), between(4, 8))
        stage.place(0, 0, 0)
        stage.cable(black(stage), *ends, 0.02, 8, between(0.1, 0.8))
    for _ in range(stage.count(0, 11)):
        stage.place(between(-6, 6), between(1, 12), 0, stage.any_yaw())
        small_thing(stage, between(1, 3))
    light_outdoors(stage)

    def draw() -> Camera:
        z = stage.choose((between(0.3, 1), between(1, 2), between(2, 5)), (2, 6, 1))
        position = (between(-0.8, 0.8) * half, between(-2, 2), z)
        target = (between(-0.6, 0.6) * half, between(8, 20), between(0.2, 2.2))
        return looking(stage, position, target, lens_width_deg(stage))

    return draw


def _kerbs(stage: Stage, half: float) -> None:
    for side in (-1, 1):
        stage.place(side * (half + 2), 0, 0)
        kerb = material(stage, stage.choose((TILES, NOISE, PLAIN)), colour(stage, "grey"), size=1.5, matt=True)
        stage.box(kerb, (0, 100, 0.07), (2, 150, 0.08))
    stage.place(0, 0, 0)
    paint = material(stage, PLAIN, (0.8, 0.8, 0.8), matt=True)
    for dash in range(stage.choose((0, 10))):
        stage.quad(paint, (0, 3 + 5 * dash, 0.006), (0.08, 1.2))


def _outdoor_piece(stage: Stage, x: float, y: float) -> None:
    kind = stage.count(0, 6)
    if kind == 0:
        tree(stage, x, y + 2, 0, stage.between(0.4, 1.5))
    elif kind == 1:
        fence(stage, x, y, stage.between(-0.8, 0.8))
    elif kind == 2:
        machine(stage, x, y, 0, stage.any_yaw())
    elif kind == 3:
        pole(stage, x, y, 0, 0)
    elif kind == 4:
        person(stage, x, y, 0, stage.any_yaw())
    else:
        big_piece(stage, x, y, 0, stage.any_yaw())


def yard(stage: Stage) -> DrawCamera:
    """A garden or a yard: ground, big things here and there, something far behind."""
    between = stage.between
    pattern = stage.choose((NOISE, PICTURE, SPECKLE, TILES, WOOD))
    floor(stage, material(stage, pattern, size=between(1, 3), matt=True), (200, 200))
    if stage.chance(0.7):
        skin = material(stage, stage.choose((TILES, WOOD, PICTURE, NOISE, PLAIN)), size=1.2, mirror=0)
        wall(stage, skin, (0, between(3, 15), 1.2), (40, between(1, 4)), between(-0.4, 0.4))
    for _ in range(stage.count(4, 15)):
        y = 0.8 + 9 * stage.rng.random() ** 1.4
        _outdoor_piece(stage, between(-1, 1) * (0.5 + y * 0.8), y)
    light_outdoors(stage)

    def draw() -> Camera:
        position = (between(-0.5, 0.5), between(-1, 0), between(0.25, 2.2))
        target = (between(-1, 1), between(2, 7), between(0, 1.3))
        return looking(stage, position, target, lens_width_deg(stage))

    return draw


def workshop(stage: Stage) -> DrawCamera:
    """One or a few big machines that fill the view, before a full wall."""
    between = stage.between
    if stage.chance(0.7):
        a, b = between(1.8, 3.5), between(1.6, 3.5)
        height = between(2.3, 3.5)
        room(stage, (a, b), height)
        light_room(stage, (a, b), height)
        if stage.chance(0.7):
            workshop_wall(stage, a, b)
        else:
            for _ in range(stage.count(1, 5)):
                big_piece(stage, between(-0.85, 0.85) * a, b - between(0.3, 0.6), 0, between(-0.2, 0.2))
    else:
        a, b = 4.0, 4.0
        floor(stage, material(stage, size=2), (100, 100))
        wall(stage, material(stage, size=1.5, mirror=0), (0, between(1, 4), 1.2), (30, 4), between(-0.3, 0.3))
        light_outdoors(stage)
    for number in range(stage.count(1, 3)):
        at = (between(-0.5, 0.5) * (number + 1), between(-0.3, 0.5) * b * 0.6)
        machine(stage, *at, 0, between(-0.8, 0.8) + stage.choose((0, math.pi)), between(0.8, 1.2))
    for _ in range(stage.count(0, 14)):
        stage.place(between(-0.9, 0.9) * a, between(-0.6, 0.9) * b, 0, stage.any_yaw())
        small_thing(stage, between(0.8, 2.5))

    def draw() -> Camera:
        width_deg = lens_width_deg(stage, 32, 95)
        # So far that about two metres fill the picture.
        distance = between(0.6, 1.4) / math.tan(math.radians(width_deg) / 2)
        position = (between(-1, 1) * min(a - 0.3, 1.6), max(0.15 - b, -distance), between(0.4, 1.7))
        return looking(stage, position, (between(-0.4, 0.4), between(0, 0.5), between(0.3, 0.9)), width_deg)

    return draw


def corridor(stage: Stage) -> DrawCamera:
    between = stage.between
    a, b, height = between(0.7, 1.8), between(5, 15), between(2.2, 3.2)
    room(stage, (a, b), height)
    for _ in range(stage.count(2, 9)):
        side = stage.sign()
        stage.choose((cabinet, shelf, big_piece))(
            stage, side * (a - 0.2), between(1.5 - b, b - 0.5), 0, -side * math.pi / 2
        )
    for _ in range(stage.count(0, 3)):
        person(stage, between(-0.7, 0.7) * a, between(1.5 - b, b), 0, stage.any_yaw())
    light_room(stage, (a, b), height)
    for lamp in range(stage.choose((0, 3))):
        power = between(1, 6)
        at = (0.0, -b + 2 * b * (lamp + 0.5) / 3, 0.95 * height)
        stage.lights.append(Light(at, True, (power, power, power), 0.1))

    def draw() -> Camera:
        position = (between(-0.7, 0.7) * a, between(0.2, 2) - b, between(0.5, 1.8))
        target = (between(-0.8, 0.8) * a, between(3 - b, b), between(0.5, 1.6))
        return looking(stage, position, target, lens_width_deg(stage, 45))

    return draw


LAYOUTS: dict[Callable[[Stage], DrawCamera], float] = {
    living_room: 6.0,
    table_top: 4.5,
    over_table: 3.0,
    floating_clutter: 2.5,
    street: 1.2,
    yard: 1.8,
    workshop: 3.2,
    corridor: 1.0,
}
"""How often each is drawn."""


def uprights(stage: Stage, camera: Camera) -> None:
    """Posts, pillars, pipes or a row of bars between the camera and the rest, as door frames and railings stand; some
    lie or lean.
    """
    between = stage.between
    count = stage.choose((1, 2, 3, stage.count(4, 12)), (4, 2, 1, 3))
    distance = math.exp(between(math.log(0.4), math.log(2.5)))
    aside = 0.45 * math.radians(camera.width_deg)
    yaw = camera.yaw + between(-aside, aside)
    along = camera.yaw + math.pi / 2 + between(-0.7, 0.7)
    x, y = camera.position[0] + distance * math.cos(yaw), camera.position[1] + distance * math.sin(yaw)
    middle, gap = camera.position[2] + distance * math.sin(camera.pitch), between(0.06, 0.3) * math.sqrt(distance)
    low, high = (between(0.1, 1.5) if stage.chance(0.3) else 4.0 for _ in range(2))
    lean = between(-0.5, 0.5) if stage.chance(0.2) else between(-0.03, 0.03)
    if stage.chance(0.1):
        lean += math.pi / 2
    wide = 10 ** between(-2.6, -0.6) * (1.0 if count < 4 else 0.4)
    square, spacing = stage.chance(0.5), max(gap, 3 * wide)
    skin = stage.choose((material(stage, size=0.5), material(stage, WOOD, size=0.5), plain(stage), hard(stage)))
    for number in range(count):
        at = spacing * (number - (count - 1) / 2) if count > 3 else between(-1.5, 1.5) * spacing * number
        place = (x + at * math.cos(along), y + at * math.sin(along), middle)
        stage.place(*place, rotation=turned(along, 0, 0) if not lean else turned(along, lean, 0))
        if square:
            stage.box(skin, (0, 0, (high - low) / 2), (wide, wide * between(0.4, 1.5), (high + low) / 2))
        else:
            stage.cylinder(skin, (0, 0, -low), low + high, wide)


def close_thing(stage: Stage, camera: Camera) -> None:
    """Puts one thing very near to the camera."""
    between = stage.between
    distance = between(0.18, 0.6)
    yaw = camera.yaw + between(-0.5, 0.5) * math.radians(camera.width_deg)
    pitch = camera.pitch + between(-0.4, 0.25)
    level = distance * math.cos(pitch)
    x, y, z = camera.position
    at = (x + level * math.cos(yaw), y + level * math.sin(yaw), z + distance * math.sin(pitch) - 0.08)
    tilt = turned(stage.any_yaw(), between(-0.6, 0.6), between(-0.6, 0.6)) if stage.chance(0.6) else None
    stage.place(*at, stage.any_yaw(), rotation=tilt)
    kind = stage.count(0, 9)
    if kind == 0:
        foot, top = ((between(-0.5, 0.5), between(-0.5, 0.5), z) for z in (-0.5, 0.6))
        stage.rod(material(stage), foot, top, between(0.003, 0.03))
    elif kind == 1:
        stage.capsule(
            plain(stage, "skin"), (0, 0, -0.4), (between(-0.1, 0.1), between(-0.1, 0.1), 0.08), between(0.02, 0.05)
        )
    else:
        small_thing(stage, between(0.5, 1) * math.sqrt(distance))
