"""What a scene is made of: unit shapes in affine frames, materials, lights, and how they move.

World axes: x right, y up, z forward, metres. Each solid is a unit shape in its own local axes; `frame` (4x4)
takes local points to the world and carries size, rotation and position, so a bottle and a wall differ in data
only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Point = tuple[float, float, float]
Motion = Callable[[float], Matrix]
"""Seconds since the scene began -> 4x4 transform in the world."""


class Shape(IntEnum):
    """Unit shapes in local axes."""

    QUAD = 0
    """|x| <= 1, |y| <= 1, z = 0; seen from -z, x is right and y is up."""
    BOX = 1
    """|x|, |y|, |z| <= 1."""
    ELLIPSOID = 2
    """x² + y² + z² = 1."""
    FRUSTUM = 3
    """Capped cone about y: radius 1 at y = 0, `taper` at y = 1; a cylinder with taper 1."""
    CAPSULE = 4
    """All points at distance 1 of the segment from the origin to (0, `length`, 0)."""


class Optics(IntEnum):
    """What light does at a surface."""

    OPAQUE = 0
    GLASS = 1
    """One sees what is behind, tinted."""
    MIRROR = 2
    """One sees the reflection, mixed with the surface's own colour by `reflectivity`."""


@dataclass(frozen=True)
class Material:
    """colour is as seen on a screen (0..1, gamma 2), multiplied with the texture. tile_m: metres that one
    repeat of the texture covers; 0 stretches it once over the whole surface. emission adds light of the
    surface's colour.
    """

    colour: Point = (0.8, 0.8, 0.8)
    texture: str | None = None
    tile_m: float = 0.5
    specular: float = 0.05
    gloss: float = 30.0
    optics: Optics = Optics.OPAQUE
    reflectivity: float = 0.0
    emission: float = 0.0


@dataclass(frozen=True)
class Solid:
    """A unit shape in a frame. size_m: full extents along local axes, for texture repeats; name groups solids
    into one object for masks and benches.
    """

    shape: Shape
    frame: Matrix
    material: Material
    size_m: Point
    name: str = ""
    parameter: float = 1.0
    motion: Motion | None = None

    def placed(self, transform: Matrix) -> Solid:
        return replace(self, frame=transform @ self.frame)


@dataclass(frozen=True)
class Light:
    """A small round lamp. power scales 1/(1 + d²) falloff; radius_m softens its shadows."""

    position: Point
    power: float = 3.0
    colour: Point = (1.0, 0.97, 0.92)
    radius_m: float = 0.15


@dataclass(frozen=True)
class Pose:
    """Where the left eye is and where it looks. yaw turns right, pitch looks down, roll tilts clockwise;
    radians.
    """

    position: Point
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


@dataclass(frozen=True)
class Scene:
    """Everything that a picture depends on, except the camera's optics."""

    solids: tuple[Solid, ...]
    camera_pose: Callable[[float], Pose]
    lights: tuple[Light, ...] = (Light((0.0, 2.4, 1.0)),)
    ambient: Point = (0.42, 0.43, 0.45)
    exposure: Callable[[float], float] = field(default=lambda seconds: 1.0)
    noise_levels: float = 1.2
    """Standard deviation of the sensor's noise in grey levels of the 8-bit picture."""


def translation(x: float, y: float, z: float) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def scaling(x: float, y: float, z: float) -> Matrix:
    return np.diag([x, y, z, 1.0])


def yawed(angle: float) -> Matrix:
    """Turns forward (z) towards right (x)."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, 0, sine, 0], [0, 1, 0, 0], [-sine, 0, cosine, 0], [0, 0, 0, 1.0]])


def pitched(angle: float) -> Matrix:
    """Turns forward (z) towards down (-y)."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0, 0], [0, cosine, -sine, 0], [0, sine, cosine, 0], [0, 0, 0, 1.0]])


def rolled(angle: float) -> Matrix:
    """Turns up (y) towards right (x)."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, sine, 0, 0], [-sine, cosine, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def box(centre: Point, size_m: Point, material: Material, name: str = "", yaw: float = 0.0) -> Solid:
    half = scaling(*(extent / 2 for extent in size_m))
    return Solid(Shape.BOX, translation(*centre) @ yawed(yaw) @ half, material, size_m, name)


def quad(
    centre: Point,
    width_m: float,
    height_m: float,
    material: Material,
    name: str = "",
    yaw: float = 0.0,
    pitch: float = 0.0,
) -> Solid:
    """A rectangle that faces -z before it is turned; pitch = pi/2 lays it down facing up."""
    frame = translation(*centre) @ yawed(yaw) @ pitched(pitch) @ scaling(width_m / 2, height_m / 2, 1.0)
    return Solid(Shape.QUAD, frame, material, (width_m, height_m, 0.0), name)


def ellipsoid(centre: Point, radii_m: Point, material: Material, name: str = "") -> Solid:
    size = tuple(2 * radius for radius in radii_m)
    return Solid(Shape.ELLIPSOID, translation(*centre) @ scaling(*radii_m), material, size, name)  # type: ignore[arg-type]


def sphere(centre: Point, radius_m: float, material: Material, name: str = "") -> Solid:
    return ellipsoid(centre, (radius_m, radius_m, radius_m), material, name)


def frustum(
    base: Point, radius_m: float, height_m: float, material: Material, name: str = "", taper: float = 1.0
) -> Solid:
    """Stands on `base`; its top has radius `taper * radius_m`."""
    frame = translation(*base) @ scaling(radius_m, height_m, radius_m)
    around = 2 * np.pi * radius_m
    return Solid(Shape.FRUSTUM, frame, material, (around, height_m, around), name, parameter=taper)


def capsule(start: Point, end: Point, radius_m: float, material: Material, name: str = "") -> Solid:
    origin = np.asarray(start, float)
    along = np.asarray(end, float) - origin
    length = float(np.linalg.norm(along))
    up = along / length
    helper = np.array([0.0, 0.0, 1.0]) if abs(up[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = np.cross(up, helper)
    right /= np.linalg.norm(right)
    frame = np.eye(4)
    frame[:3, 0], frame[:3, 1], frame[:3, 2] = right * radius_m, up * radius_m, np.cross(right, up) * radius_m
    frame[:3, 3] = origin
    around = 2 * np.pi * radius_m
    return Solid(Shape.CAPSULE, frame, material, (around, length, around), name, parameter=length / radius_m)


def placed(solids: Iterable[Solid], transform: Matrix) -> list[Solid]:
    return [solid.placed(transform) for solid in solids]


def moving(solids: Iterable[Solid], motion: Motion) -> list[Solid]:
    return [replace(solid, motion=motion) for solid in solids]
