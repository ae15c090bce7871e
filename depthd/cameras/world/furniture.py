"""Things that stand in rooms, each a few solids built round the origin of its foot, y up, metres."""

from __future__ import annotations

import numpy as np

from depthd.cameras.world.solids import (
    Material,
    Optics,
    Point,
    Solid,
    box,
    capsule,
    ellipsoid,
    frustum,
    placed,
    quad,
    scaling,
    translation,
    yawed,
)

Random = np.random.Generator
DARK_METAL = Material((0.20, 0.20, 0.22), "brushed", 0.4, specular=0.25, gloss=40)
STEEL = Material((0.72, 0.72, 0.74), "brushed", 0.3, specular=0.5, gloss=60)
WOOD = Material((0.95, 0.92, 0.90), "wood", 0.9, specular=0.08, gloss=50)
CARDBOARD = Material((1.0, 1.0, 1.0), "cardboard", 0.0, specular=0.0)
SKIN = Material((0.92, 0.72, 0.62), "skin", 0.12, specular=0.04, gloss=12)
GLASS = Material((0.84, 0.94, 0.89), optics=Optics.GLASS, specular=0.9, gloss=120)
BLACK_PLASTIC = Material((0.16, 0.16, 0.17), "plaster", 0.3, specular=0.25, gloss=40)


def at(x: float, y: float, z: float, solids: list[Solid], yaw: float = 0.0) -> list[Solid]:
    """Stands a thing on a point of the world."""
    return placed(solids, translation(x, y, z) @ yawed(yaw))


def shell(
    width_m: float,
    height_m: float,
    near_z_m: float,
    far_z_m: float,
    floor: Material,
    back: Material,
    sides: Material,
    ceiling: Material,
) -> list[Solid]:
    """An empty room, x centred; each wall an object of its own."""
    middle, length, half = (near_z_m + far_z_m) / 2, far_z_m - near_z_m, np.pi / 2
    return [
        quad((0, 0, middle), width_m, length, floor, "floor", pitch=half),
        quad((0, height_m, middle), width_m, length, ceiling, "ceiling", pitch=-half),
        quad((0, height_m / 2, far_z_m), width_m, height_m, back, "back wall"),
        quad((0, height_m / 2, near_z_m), width_m, height_m, sides, "wall behind", yaw=2 * half),
        quad((-width_m / 2, height_m / 2, middle), length, height_m, sides, "left wall", yaw=-half),
        quad((width_m / 2, height_m / 2, middle), length, height_m, sides, "right wall", yaw=half),
    ]


def table(width_m: float, depth_m: float, height_m: float, top: Material = WOOD) -> list[Solid]:
    """Four legs and a top, centred over the origin."""
    thickness, leg = 0.035, 0.05
    solids = [box((0, height_m - thickness / 2, 0), (width_m, thickness, depth_m), top, "table")]
    for x in (-1, 1):
        for z in (-1, 1):
            foot = (x * (width_m / 2 - leg), (height_m - thickness) / 2, z * (depth_m / 2 - leg))
            solids.append(box(foot, (leg, height_m - thickness, leg), DARK_METAL, "table"))
    return solids


def shelf(rng: Random, width_m: float, height_m: float, boards: int, columns: int) -> list[Solid]:
    """A metal rack with books, cartons and files on it; its back is at z = 0, it reaches towards -z."""
    depth = 0.36
    solids = []
    for x in np.linspace(-width_m / 2, width_m / 2, columns + 1):
        solids.append(box((x, height_m / 2, -depth + 0.02), (0.045, height_m, 0.03), DARK_METAL, "shelf"))
        solids.append(box((x, height_m / 2, -0.02), (0.045, height_m, 0.03), DARK_METAL, "shelf"))
    solids += [
        box((0, y, -depth / 2), (width_m, 0.035, depth), DARK_METAL, "shelf")
        for y in np.linspace(0.12, height_m - 0.02, boards)
    ]
    gap = (height_m - 0.14) / (boards - 1)
    for level in range(boards - 1):
        for column in range(columns):
            left = -width_m / 2 + column * width_m / columns + 0.05
            contents = load(rng, width_m / columns - 0.10, gap - 0.06)
            solids += at(left, 0.12 + level * gap + 0.018, -depth / 2, contents)
    return solids


def load(rng: Random, width_m: float, height_m: float) -> list[Solid]:
    """What stands on one board of a shelf, from x = 0 to width_m."""
    kind = rng.choice(["books", "cartons", "files", "empty"], p=[0.4, 0.3, 0.2, 0.1])
    if kind == "books":
        return books(rng, width_m * rng.uniform(0.4, 0.85), min(height_m, 0.27))
    if kind == "cartons":
        size = (min(0.34, width_m * 0.55), min(0.24, height_m * 0.8), 0.26)
        first = at(size[0] / 2, 0, 0, carton(size), float(rng.uniform(-0.1, 0.1)))
        second = at(size[0] * 1.62, 0, 0, carton((size[0] * 0.9, size[1] * 0.7, 0.24)))
        return first + (second if rng.random() < 0.6 else [])
    if kind == "files":
        return [
            box(
                (0.04 + 0.085 * k, min(height_m, 0.3) / 2, 0),
                (0.075, min(height_m, 0.3), 0.25),
                ring_binder(rng),
                "files",
            )
            for k in range(int((width_m * 0.7) / 0.085))
        ]
    return []


def ring_binder(rng: Random) -> Material:
    tone = rng.uniform(0.12, 0.75)
    return Material(tuple(tone * rng.uniform(0.85, 1.1, 3)), "label", 0.6, specular=0.1)


def books(rng: Random, width_m: float, height_m: float) -> list[Solid]:
    solids, x = [], 0.0
    while x < width_m:
        thickness, height = rng.uniform(0.02, 0.055), height_m * rng.uniform(0.72, 1.0)
        colour = tuple(rng.uniform(0.25, 1.0, 3) ** rng.uniform(0.4, 1.5))
        cover = Material(colour, str(rng.choice(["label", "fabric", "text"])), 0.22, specular=0.06)
        size = (thickness * 0.96, height, 0.19)
        solids.append(box((x + thickness / 2, height / 2, -0.06), size, cover, "books"))
        x += thickness
    return solids


def carton(size_m: Point) -> list[Solid]:
    return [box((0, size_m[1] / 2, 0), size_m, CARDBOARD, "carton")]


def bottle(rng: Random, height_m: float = 0.24, glass: bool = False, name: str = "bottle") -> list[Solid]:
    """Body, shoulder, neck and cap, with a printed label unless it is of glass."""
    radius = 0.14 * height_m
    hue = tuple(rng.uniform(0.35, 0.9, 3))
    body = GLASS if glass else Material(hue, "plaster", 0.2, specular=0.5, gloss=70)
    cap = Material((0.93, 0.93, 0.92), "plaster", 0.1, specular=0.2)
    solids = [
        frustum((0, 0, 0), radius, 0.62 * height_m, body, name),
        frustum((0, 0.62 * height_m, 0), radius, 0.24 * height_m, body, name, taper=0.42),
        frustum((0, 0.86 * height_m, 0), radius * 0.42, 0.06 * height_m, body, name),
        frustum((0, 0.92 * height_m, 0), radius * 0.46, 0.08 * height_m, cap, name if not glass else "glass cap"),
    ]
    if not glass:
        print_ = Material((1.0, 1.0, 1.0), "label", 0.0, specular=0.15)
        solids.append(frustum((0, 0.16 * height_m, 0), radius * 1.02, 0.36 * height_m, print_, name))
    return solids


def jar(rng: Random, height_m: float = 0.12) -> list[Solid]:
    print_ = Material(tuple(rng.uniform(0.6, 1.0, 3)), "label", 0.0, specular=0.2)
    lid = Material((0.92, 0.92, 0.90), "plaster", 0.1, specular=0.3)
    radius = 0.4 * height_m
    return [
        frustum((0, 0, 0), radius, 0.74 * height_m, print_, "jar"),
        frustum((0, 0.74 * height_m, 0), radius * 0.94, 0.26 * height_m, lid, "jar"),
    ]


def mug(colour: Point) -> list[Solid]:
    clay = Material(colour, "plaster", 0.15, specular=0.35, gloss=60)
    coffee = Material((0.14, 0.09, 0.07), specular=0.4)
    return [
        frustum((0, 0, 0), 0.038, 0.095, clay, "mug", taper=1.08),
        frustum((0, 0.0955, 0), 0.036, 0.0005, coffee, "mug"),
        capsule((0.042, 0.025, 0), (0.066, 0.035, 0), 0.006, clay, "mug"),
        capsule((0.066, 0.035, 0), (0.066, 0.065, 0), 0.006, clay, "mug"),
        capsule((0.066, 0.065, 0), (0.042, 0.078, 0), 0.006, clay, "mug"),
    ]


def chair(colour: Point) -> list[Solid]:
    """Faces -z."""
    seat = Material(colour, "fabric", 0.25)
    solids = [
        box((0, 0.46, 0), (0.46, 0.06, 0.44), seat, "chair"),
        box((0, 0.78, 0.21), (0.44, 0.42, 0.05), seat, "chair"),
    ]
    for x in (-0.2, 0.2):
        solids += [capsule((x, 0.0, z), (x, 0.44, z), 0.014, STEEL, "chair") for z in (-0.19, 0.19)]
        solids.append(capsule((x, 0.44, 0.2), (x, 0.62, 0.22), 0.014, STEEL, "chair"))
    return solids


def cabinet(width_m: float, height_m: float, depth_m: float, colour: Point) -> list[Solid]:
    """Two doors; its front is at z = 0."""
    paint = Material(colour, "plaster", 0.5, specular=0.12)
    solids = [box((0, height_m / 2, depth_m / 2), (width_m, height_m, depth_m), paint, "cabinet")]
    for x in (-width_m / 4, width_m / 4):
        door = (width_m / 2 - 0.015, height_m - 0.08, 0.018)
        solids.append(box((x, height_m / 2 + 0.02, -0.009), door, paint, "cabinet"))
        grip = x * 0.25
        solids.append(capsule((grip, height_m * 0.5, -0.04), (grip, height_m * 0.65, -0.04), 0.007, STEEL, "cabinet"))
    return solids


def floor_lamp(height_m: float = 1.7) -> list[Solid]:
    """A thin pole with a shade."""
    shade = Material((0.95, 0.90, 0.78), "fabric", 0.2, emission=0.9)
    return [
        frustum((0, 0, 0), 0.13, 0.025, DARK_METAL, "lamp"),
        capsule((0, 0.02, 0), (0, height_m - 0.1, 0), 0.011, DARK_METAL, "pole"),
        frustum((0, height_m - 0.25, 0), 0.19, 0.25, shade, "lamp", taper=0.7),
    ]


def pole(height_m: float, radius_m: float = 0.008, material: Material = STEEL) -> list[Solid]:
    return [
        frustum((0, 0, 0), 0.09, 0.015, DARK_METAL, "pole foot"),
        capsule((0, 0.015, 0), (0, height_m, 0), radius_m, material, "pole"),
    ]


def poster(width_m: float, height_m: float, texture: str = "painting") -> list[Solid]:
    """Hangs with its centre on the origin and faces -z."""
    paper = Material((1.0, 1.0, 1.0), texture, 0.0, specular=0.03)
    frame = Material((0.25, 0.17, 0.11), "wood", 0.3)
    return [
        box((0, 0, 0.0), (width_m + 0.06, height_m + 0.06, 0.024), frame, "poster frame"),
        quad((0, 0, -0.0125), width_m, height_m, paper, "poster"),
    ]


def plant(rng: Random, height_m: float = 0.8) -> list[Solid]:
    pot = Material((0.70, 0.42, 0.32), "ingrain", 0.3)
    solids = [frustum((0, 0, 0), 0.11, 0.24, pot, "plant", taper=1.3)]
    for _ in range(14):
        angle, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 1.0)
        length = (height_m - 0.24) * rng.uniform(0.6, 1.0)
        tip = (
            length * np.sin(lean) * np.cos(angle),
            0.24 + length * np.cos(lean),
            length * np.sin(lean) * np.sin(angle),
        )
        green = Material((0.22, rng.uniform(0.4, 0.62), 0.2), "fabric", 0.2, specular=0.1)
        solids.append(capsule((0, 0.2, 0), tip, 0.006, green, "plant"))
        leaf = ellipsoid((0, 0, 0), (0.05, 0.10, 0.008), green, "plant")
        solids += placed([leaf], translation(*tip) @ yawed(angle) @ scaling(1, 1, 1))
    return solids


def monitor() -> list[Solid]:
    """Faces -z."""
    picture = Material((0.95, 0.97, 1.0), "text", 0.0, specular=0.2, emission=0.35)
    return [
        frustum((0, 0, 0), 0.12, 0.012, BLACK_PLASTIC, "monitor"),
        box((0, 0.1, 0.03), (0.05, 0.2, 0.03), BLACK_PLASTIC, "monitor"),
        box((0, 0.33, 0), (0.60, 0.36, 0.035), BLACK_PLASTIC, "monitor"),
        quad((0, 0.33, -0.0185), 0.57, 0.33, picture, "monitor"),
    ]


def hand() -> list[Solid]:
    """An open left-pointing hand on its forearm, palm centre at the origin; fingers up, palm towards -z."""
    solids = [
        ellipsoid((0, 0, 0), (0.045, 0.052, 0.018), SKIN, "hand"),
        capsule((0.005, -0.06, 0.0), (0.08, -0.40, -0.07), 0.034, SKIN, "hand"),
    ]
    for x, length, spread in (
        (-0.033, 0.066, -0.16),
        (-0.011, 0.078, -0.04),
        (0.012, 0.072, 0.08),
        (0.033, 0.055, 0.2),
    ):
        knuckle = (x, 0.040, 0.0)
        middle = (x + 0.5 * length * np.sin(spread), 0.040 + 0.5 * length * np.cos(spread), -0.004)
        tip = (x + length * np.sin(spread), 0.040 + length * np.cos(spread), -0.014)
        solids.append(capsule(knuckle, middle, 0.0095, SKIN, "hand"))
        solids.append(capsule(middle, tip, 0.0085, SKIN, "hand"))
    solids.append(capsule((-0.032, -0.02, -0.004), (-0.066, 0.022, -0.02), 0.0115, SKIN, "hand"))
    return solids
