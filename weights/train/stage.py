"""A scene under construction: shapes with materials, grouped into objects, and its light.

World axes: x right, y forward, z up, metres. An object is built in its own axes about the point where it stands:
`place` begins one, and every shape after it belongs to it. Scenes are made by the hundred a second, so shapes are plain
tuples until batch.py turns them into tables.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, TypeVar

Triple = tuple[float, float, float]
Quadruple = tuple[float, float, float, float]
Rotation = tuple[Triple, Triple, Triple]
T = TypeVar("T")


class Shape(IntEnum):
    """As in render/shapes.cuh."""

    BALL = 0
    BOX = 1
    FRUSTUM = 2
    QUAD = 4
    ROUND_BOX = 5
    TORUS = 6
    CAPSULE = 7
    BLOB = 8
    LATHE = 9
    DRAPE = 10
    SUPERQUADRIC = 11


class Cut(IntEnum):
    """What is left of a quad, as in render/shapes.cuh."""

    WHOLE = 0
    DISC = 1
    FOLIAGE = 2
    LATTICE = 3
    LEAF = 4
    BARS = 5
    STAR = 6


UPRIGHT: Rotation = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
FACING_VIEWER: Rotation = ((1, 0, 0), (0, 0, -1), (0, 1, 0))
"""Takes a shape's z axis to -y: a quad becomes a wall, a cylinder lies from front to back."""
FACING_RIGHT: Rotation = ((0, 0, 1), (0, 1, 0), (-1, 0, 0))
"""Takes a shape's z axis to x."""


def turned(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Rotation:
    """About z, then y, then x, in radians."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    return (
        (cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        (sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        (-sp, cp * sr, cp * cr),
    )


def pointing(direction: Triple) -> Rotation:
    """A rotation that takes z to this direction."""
    norm = math.hypot(*direction) + 1e-9
    z = (direction[0] / norm, direction[1] / norm, direction[2] / norm)
    helper = (1, 0, 0) if abs(z[0]) < 0.8 else (0, 1, 0)
    x = _cross(helper, z)
    norm = math.hypot(*x)
    x = (x[0] / norm, x[1] / norm, x[2] / norm)
    y = _cross(z, x)
    return ((x[0], y[0], z[0]), (x[1], y[1], z[1]), (x[2], y[2], z[2]))


def _cross(a: Triple, b: Triple) -> Triple:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


class Piece(NamedTuple):
    """One shape in the axes of its object."""

    shape: Shape
    material: int
    centre: Triple
    size: Triple
    rotation: Rotation
    parameter: Quadruple
    seed: float
    object: int


class Frame(NamedTuple):
    """Where an object stands."""

    rotation: Rotation
    position: Triple
    scale: float


class Light(NamedTuple):
    """A lamp at a position, or light from a direction; softness in metres or in radians."""

    position: Triple
    is_lamp: bool
    colour: Triple
    softness: float
    casts_shadow: bool = True


class Camera(NamedTuple):
    position: Triple
    yaw: float
    pitch: float
    roll: float
    width_deg: float
    """Horizontal field of view."""


class Stage:
    """Shapes, materials and light of one scene, and the random numbers that everything in it is drawn from.

    calm: whether most surfaces are plain and nearly grey, as in the rooms that people live in.
    """

    def __init__(self, rng: random.Random, pictures: int) -> None:
        self.rng = rng
        self.between = rng.uniform
        self.calm = rng.random() < 0.4
        self.pictures = pictures
        self.pieces: list[Piece] = []
        self.frames: list[Frame] = []
        self.materials: list[tuple[float, ...]] = []
        self.lights: list[Light] = []
        self.zenith: Triple = (0.6, 0.6, 0.6)
        self.horizon: Triple = (0.6, 0.6, 0.6)
        self.ground: Triple = (0.3, 0.3, 0.3)
        self.cloud_cover = 0.0
        self.cloud_brightness = 1.0
        self.haze = 0.0
        self.occlusion_m = 1.5
        self.ambient = 1.0
        self.place(0, 0, 0)

    # Random draws
    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def choose(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        return self.rng.choices(options, weights)[0] if weights else self.rng.choice(options)

    def count(self, least: int, most: int) -> int:
        """A whole number, both ends included."""
        return self.rng.randint(least, most)

    def sign(self) -> int:
        return self.rng.choice((-1, 1))

    def any_yaw(self) -> float:
        return self.rng.uniform(0, 2 * math.pi)

    def tumbled(self) -> Rotation:
        return turned(self.any_yaw(), self.between(-1.5, 1.5), self.between(-1.5, 1.5))

    # Objects
    def place(
        self, x: float, y: float, z: float, yaw: float = 0.0, scale: float = 1.0, rotation: Rotation | None = None
    ) -> None:
        """Begins an object that stands here."""
        self.frames.append(Frame(rotation or turned(yaw), (x, y, z), scale))

    # Shapes; lengths in metres
    def add(
        self,
        shape: Shape,
        material: int,
        centre: Triple,
        size: Triple = (1, 1, 1),
        rotation: Rotation = UPRIGHT,
        parameter: Quadruple = (0, 0, 0, 0),
    ) -> None:
        seed = self.between(0, 50)
        self.pieces.append(Piece(shape, material, centre, size, rotation, parameter, seed, len(self.frames) - 1))

    def box(self, material: int, centre: Triple, half: Triple, rotation: Rotation = UPRIGHT) -> None:
        self.add(Shape.BOX, material, centre, half, rotation)

    def round_box(
        self, material: int, centre: Triple, half: Triple, rounding: float | None = None, rotation: Rotation = UPRIGHT
    ) -> None:
        least = min(half)
        rounding = least * self.between(0.2, 0.95) if rounding is None else min(rounding, least)
        self.add(Shape.ROUND_BOX, material, centre, rotation=rotation, parameter=(*half, rounding))

    def ball(self, material: int, centre: Triple, radii: Triple, rotation: Rotation = UPRIGHT) -> None:
        self.add(Shape.BALL, material, centre, radii, rotation)

    def superquadric(
        self, material: int, centre: Triple, radii: Triple, power: float, rotation: Rotation = UPRIGHT
    ) -> None:
        self.add(Shape.SUPERQUADRIC, material, centre, rotation=rotation, parameter=(*radii, power))

    def cylinder(
        self, material: int, bottom: Triple, height: float, radius: float, top_radius: float | None = None
    ) -> None:
        """Upright; a cone's stump where the radii differ."""
        x, y, z = bottom
        self.rod(material, bottom, (x, y, z + height), radius, top_radius)

    def rod(self, material: int, start: Triple, end: Triple, radius: float, end_radius: float | None = None) -> None:
        end_radius = radius if end_radius is None else end_radius
        along, centre, half = _between(start, end)
        widest = max(radius, end_radius)
        shares = (radius / widest, end_radius / widest, 0, 0)
        self.add(Shape.FRUSTUM, material, centre, (widest, widest, half), pointing(along), shares)

    def capsule(self, material: int, start: Triple, end: Triple, radius: float) -> None:
        along, centre, half = _between(start, end)
        self.add(Shape.CAPSULE, material, centre, rotation=pointing(along), parameter=(half, radius, 0, 0))

    def torus(
        self, material: int, centre: Triple, radius: float, thickness: float, rotation: Rotation = UPRIGHT
    ) -> None:
        self.add(Shape.TORUS, material, centre, rotation=rotation, parameter=(radius, thickness, 0, 0))

    def blob(self, material: int, centre: Triple, radius: float, bumps: float = 0.2, frequency: float = 3.0) -> None:
        """bumps: their height in radii; frequency: waves a radius."""
        self.add(Shape.BLOB, material, centre, parameter=(radius, bumps * radius, frequency / radius, 0))

    def lathe(
        self, material: int, bottom: Triple, height: float, radius: float, waviness: float, wall: float = 0.0
    ) -> None:
        """A turned body; wall > 0 makes it a vessel that is open above."""
        x, y, z = bottom
        self.add(Shape.LATHE, material, (x, y, z + height / 2), parameter=(height / 2, radius, waviness, wall))

    def drape(
        self,
        material: int,
        centre: Triple,
        half: tuple[float, float],
        fold: float,
        folds: float,
        rotation: Rotation = UPRIGHT,
    ) -> None:
        """A cloth with folds of this height, so many across its width."""
        frequency = math.pi * folds / half[0]
        self.add(Shape.DRAPE, material, centre, rotation=rotation, parameter=(*half, fold, frequency))

    def quad(
        self,
        material: int,
        centre: Triple,
        half: tuple[float, float],
        rotation: Rotation = UPRIGHT,
        cut: Quadruple = (Cut.WHOLE, 0, 0, 0),
    ) -> None:
        self.add(Shape.QUAD, material, centre, (*half, 1), rotation, cut)

    def cable(self, material: int, start: Triple, end: Triple, radius: float, segments: int, sag: float) -> None:
        sway = self.between(-0.15, 0.15)
        last = start
        for k in range(1, segments + 1):
            t = k / segments
            x, y, z = (a + (b - a) * t for a, b in zip(start, end, strict=True))
            here = (
                x + sway * math.sin(math.pi * t),
                y + 0.5 * sway * math.sin(2 * math.pi * t),
                z - 4 * sag * t * (1 - t),
            )
            self.capsule(material, last, here, radius)
            last = here


def _between(start: Triple, end: Triple) -> tuple[Triple, Triple, float]:
    """Direction, middle and half length of a segment."""
    along = (end[0] - start[0], end[1] - start[1], end[2] - start[2])
    centre = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
    return along, centre, math.hypot(*along) / 2
