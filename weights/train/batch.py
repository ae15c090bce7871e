"""Scenes as tables of floats, the form in which the ray caster reads them."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.layouts import LAYOUTS, close_thing, uprights
from train.materials import FIELDS
from train.stage import Camera, Shape, Stage

# The fields of render/tables.cuh.
PRIMITIVE = np.dtype(
    [("shape", "f4"), ("material", "f4"), ("to_local", "f4", (3, 4)), ("parameter", "f4", 4), ("size", "f4", 3),
     ("seed", "f4"), ("radius", "f4"), ("spare", "f4")]
)  # fmt: skip
MATERIAL = np.dtype([("fields", "f4", FIELDS)])
GROUP = np.dtype([("centre", "f4", 3), ("radius", "f4"), ("first", "f4"), ("end", "f4"), ("spare", "f4", 2)])
LIGHT = np.dtype(
    [("position", "f4", 3), ("is_lamp", "f4"), ("colour", "f4", 3), ("softness", "f4"), ("casts_shadow", "f4")]
)
SCENE = np.dtype(
    [("first_primitive", "f4"), ("first_material", "f4"), ("first_group", "f4"), ("groups", "f4"), ("sky_gain", "f4"),
     ("lights", "f4"), ("zenith", "f4", 3), ("horizon", "f4", 3), ("ground", "f4", 3), ("cloud_seed", "f4"),
     ("cloud_cover", "f4"), ("cloud_brightness", "f4"), ("occlusion_m", "f4"), ("ambient", "f4"), ("light", LIGHT, 4),
     ("haze", "f4"), ("spare", "f4", 7)]
)  # fmt: skip
VIEW = np.dtype(
    [("scene", "f4"), ("position", "f4", 3), ("right", "f4", 3), ("down", "f4", 3), ("forward", "f4", 3),
     ("focal", "f4"), ("centre", "f4", 2), ("jitter", "f4"), ("spare", "f4", 7)]
)  # fmt: skip
RECORDS = (PRIMITIVE, MATERIAL, GROUP, SCENE, VIEW)
MOST_LIGHTS = 4

_LENGTH_POWER: dict[int, tuple[int, int, int, int]] = {
    # How each parameter grows with the object's scale; other shapes have no lengths among theirs.
    Shape.ROUND_BOX: (1, 1, 1, 1),
    Shape.TORUS: (1, 1, 0, 0),
    Shape.CAPSULE: (1, 1, 0, 0),
    Shape.BLOB: (1, 1, -1, 0),
    Shape.LATHE: (1, 1, 0, 1),
    Shape.DRAPE: (1, 1, 1, -1),
    Shape.SUPERQUADRIC: (1, 1, 1, 0),
}
_LENGTH_POWERS = np.array([_LENGTH_POWER.get(shape, (0, 0, 0, 0)) for shape in range(max(Shape) + 1)])


@dataclass(frozen=True)
class Batch:
    """Tables of some scenes and the views of them. Focal lengths and centres are shares of the picture's sides."""

    primitives: NDArray[np.void]
    materials: NDArray[np.void]
    groups: NDArray[np.void]
    scenes: NDArray[np.void]
    views: NDArray[np.void]

    def tables(self) -> tuple[NDArray[np.void], ...]:
        return self.primitives, self.materials, self.groups, self.scenes, self.views


def draw_batch(seed: int, scenes: int, views_a_scene: int, pictures: int) -> Batch:
    """The same numbers give the same batch. pictures: how many texture pictures there are."""
    rng = random.Random(seed)
    tables: list[tuple[NDArray[np.void], ...]] = []
    rows, views = np.zeros(scenes, SCENE), np.zeros(scenes * views_a_scene, VIEW)
    firsts = np.zeros(3, np.int64)
    for number in range(scenes):
        stage = Stage(rng, pictures)
        layout = stage.choose(tuple(LAYOUTS), tuple(LAYOUTS.values()))
        draw_camera = layout(stage)
        cameras = [draw_camera() for _ in range(views_a_scene)]
        for camera in cameras:
            if stage.chance(0.15):
                close_thing(stage, camera)
            if stage.chance(0.08):
                uprights(stage, camera)
        tables.append(tables_of(stage))
        rows[number] = scene_row(stage, firsts, groups=len(tables[-1][2]))
        firsts += [len(table) for table in tables[-1]]
        for k, camera in enumerate(cameras):
            views[number * views_a_scene + k] = view_row(stage, camera, number)
    return Batch(*(np.concatenate(parts) for parts in zip(*tables, strict=True)), rows, views)


def scene_row(stage: Stage, firsts: NDArray[np.int64], groups: int) -> NDArray[np.void]:
    row = np.zeros((), SCENE)
    row["first_primitive"], row["first_material"], row["first_group"] = firsts
    row["groups"], row["sky_gain"], row["lights"] = groups, 1.0, min(MOST_LIGHTS, len(stage.lights))
    row["zenith"], row["horizon"], row["ground"] = stage.zenith, stage.horizon, stage.ground
    row["cloud_seed"], row["cloud_cover"] = stage.between(0, 90), stage.cloud_cover
    row["cloud_brightness"], row["haze"] = stage.cloud_brightness, stage.haze
    row["occlusion_m"], row["ambient"] = stage.occlusion_m, stage.ambient
    for k, light in enumerate(stage.lights[:MOST_LIGHTS]):
        row["light"][k] = tuple(light)
    return row


def view_row(stage: Stage, camera: Camera, scene: int) -> NDArray[np.void]:
    cy, sy, cp, sp = math.cos(camera.yaw), math.sin(camera.yaw), math.cos(camera.pitch), math.sin(camera.pitch)
    forward = np.array([cy * cp, sy * cp, sp])
    level = np.array([sy, -cy, 0.0])
    down = np.cross(forward, level)
    c, s = math.cos(camera.roll), math.sin(camera.roll)
    row = np.zeros((), VIEW)
    row["scene"], row["position"], row["forward"] = scene, camera.position, forward
    row["right"], row["down"] = c * level + s * down, c * down - s * level
    row["focal"] = 0.5 / math.tan(math.radians(camera.width_deg) / 2)
    # Now and then a crop from the side of a larger picture, whose centre lies elsewhere.
    reach = 0.03 if stage.chance(0.6) else 0.12
    row["centre"] = 0.5 + stage.between(-reach, reach), 0.5 + stage.between(-reach, reach)
    row["jitter"] = stage.rng.random()
    return row


def tables_of(stage: Stage) -> tuple[NDArray[np.void], NDArray[np.void], NDArray[np.void]]:
    """Primitives in the order of their objects, materials, and the objects' bounding balls."""
    pieces, frames = stage.pieces, stage.frames
    shape = np.array([piece.shape for piece in pieces])
    owner = np.array([piece.object for piece in pieces])
    scale = np.array([frame.scale for frame in frames])[owner]
    turn = np.array([frame.rotation for frame in frames], np.float64)[owner]
    origin = np.array([frame.position for frame in frames], np.float64)[owner]
    parameter = np.array([piece.parameter for piece in pieces], np.float64)
    parameter *= scale[:, None] ** _LENGTH_POWERS[shape]
    size = np.array([piece.size for piece in pieces], np.float64)
    rigid = shape >= Shape.ROUND_BOX
    size = np.where(rigid[:, None], 1.0, np.maximum(size * scale[:, None], 1e-5))
    size[shape == Shape.QUAD, 2] = 1.0
    rotation = turn @ np.array([piece.rotation for piece in pieces], np.float64)
    centre = np.array([piece.centre for piece in pieces], np.float64) * scale[:, None]
    centre = np.einsum("nij,nj->ni", turn, centre) + origin
    linear = np.swapaxes(rotation, 1, 2) / size[:, :, None]
    table = np.zeros(len(pieces), PRIMITIVE)
    table["shape"], table["material"] = shape, [piece.material for piece in pieces]
    table["to_local"][:, :, :3] = linear
    table["to_local"][:, :, 3] = -np.einsum("nij,nj->ni", linear, centre)
    table["parameter"], table["size"] = parameter, size
    table["seed"], table["radius"] = [piece.seed for piece in pieces], bounding_radius(shape, size, parameter)
    order = np.argsort(owner, kind="stable")
    table = table[order]
    materials = np.zeros(len(stage.materials), MATERIAL)
    materials["fields"] = stage.materials
    return table, materials, _groups(owner[order], centre[order], table["radius"].astype(np.float64))


def bounding_radius(shape: NDArray[np.int64], size: NDArray[np.float64], parameter: NDArray[np.float64]) -> NDArray:
    """Of the ball about each shape's centre that holds it, in metres."""
    a, b, c, d = parameter.T
    radii = {
        Shape.BALL: size.max(1),
        Shape.BOX: np.linalg.norm(size, axis=1),
        Shape.FRUSTUM: np.hypot(size[:, 0], size[:, 2]),
        Shape.QUAD: np.hypot(size[:, 0], size[:, 1]),
        Shape.ROUND_BOX: np.sqrt(a**2 + b**2 + c**2),
        Shape.TORUS: a + b,
        Shape.CAPSULE: a + b,
        Shape.BLOB: a + 1.6 * b,
        Shape.LATHE: np.hypot(a, b * (1 + c) + 2 * d),
        Shape.DRAPE: np.sqrt(a**2 + b**2 + (c + 0.02) ** 2),
        Shape.SUPERQUADRIC: np.sqrt(a**2 + b**2 + c**2),
    }
    return np.select([shape == kind for kind in radii], list(radii.values())) * 1.001 + 1e-4


def _groups(owner: NDArray[np.int64], centre: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.void]:
    first = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    end = np.r_[first[1:], len(owner)]
    low = np.minimum.reduceat(centre - radius[:, None], first)
    high = np.maximum.reduceat(centre + radius[:, None], first)
    middle = (low + high) / 2
    reach = np.linalg.norm(centre - np.repeat(middle, end - first, 0), axis=1) + radius
    table = np.zeros(len(first), GROUP)
    table["centre"], table["radius"] = middle, np.maximum.reduceat(reach, first)
    table["first"], table["end"] = first, end
    return table
