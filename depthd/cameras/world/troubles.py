"""Fifteen scenes, each built round one thing that goes wrong for a stereo camera, for benches and demos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from depthd.cameras.world.furniture import (
    DARK_METAL,
    GLASS,
    STEEL,
    WOOD,
    at,
    bottle,
    cabinet,
    carton,
    chair,
    floor_lamp,
    hand,
    jar,
    mug,
    plant,
    pole,
    poster,
    shelf,
    table,
)
from depthd.cameras.world.room import room
from depthd.cameras.world.solids import (
    Light,
    Material,
    Matrix,
    Optics,
    Pose,
    Scene,
    Solid,
    box,
    capsule,
    frustum,
    moving,
    quad,
    sphere,
    translation,
)
from depthd.cameras.world.staging import (
    EYE_HEIGHT_M,
    LAMPS,
    Random,
    handheld,
    looking,
    office,
    passing_hand,
)

TERRAZZO = Material(texture="speckle", tile_m=0.5)
BRICK = Material(texture="brick", tile_m=0.9)
PARQUET = Material(texture="parquet", tile_m=0.8, specular=0.05)


def furnished(rng: Random) -> list[Solid]:
    """An office with a rack, a cabinet and a chair, for scenes whose trouble lies in front of them."""
    solids = office(floor=PARQUET)
    solids += at(-0.6, 0, 4.38, shelf(rng, 3.0, 1.95, boards=5, columns=3))
    solids += at(1.75, 0, 3.95, cabinet(0.9, 1.1, 0.42, (0.45, 0.40, 0.35)))
    solids += at(1.2, 0, 2.6, chair((0.30, 0.40, 0.50)), -0.6) + at(-2.2, 0, 3.2, plant(rng, 1.1))
    return solids


def lit(solids: list[Solid], **changes: object) -> Scene:
    scene = Scene(tuple(solids), handheld, LAMPS, exposure=lambda seconds: 1.15)
    return replace(scene, **changes)  # type: ignore[arg-type]


def too_near(rng: Random) -> Scene:
    """Things on a table under the lens, nearer than the stereo range."""
    solids = furnished(rng) + at(0.1, 0, 0.95, table(1.9, 1.8, 0.74))
    solids += at(-0.02, 0.74, 0.26, jar(rng, 0.13)) + at(0.15, 0.74, 0.22, bottle(rng, 0.22))
    solids += at(0.32, 0.74, 0.42, carton((0.2, 0.14, 0.14)), 0.5)
    solids += at(-0.25, 0.74, 0.75, bottle(rng, 0.26)) + at(0.45, 0.74, 1.0, mug((0.85, 0.82, 0.75)))
    solids += [sphere((0.02, 0.80, 0.62), 0.06, TERRAZZO, "sphere")]
    return lit(solids, camera_pose=looking(height_m=0.98, pitch=0.18, sway=0.5))


def left_only_band(rng: Random) -> Scene:
    """A wall and pillars close on the left: much of them the right eye does not see."""
    solids = furnished(rng)
    solids += [box((-0.72, 1.3, 0.75), (0.5, 2.6, 0.25), BRICK, "pillar")]
    solids += [box((0.12, 1.1, 0.9), (0.10, 2.2, 0.10), WOOD, "post")]
    solids += [box((0.65, 0.55, 1.2), (0.45, 1.1, 0.3), TERRAZZO, "plinth")]
    solids += at(0.65, 1.1, 1.2, plant(rng, 0.5))
    return lit(solids, camera_pose=looking(sway=0.7, yaw=-0.12))


def glass(rng: Random) -> Scene:
    """A pane, bottles and tumblers of glass before a full shelf."""
    solids = furnished(rng) + at(0.0, 0, 1.2, table(1.8, 0.9, 0.74))
    solids += [box((0.45, 1.15, 1.35), (0.7, 0.75, 0.012), replace(GLASS, colour=(0.9, 0.95, 0.93)), "glass")]
    for x, z, height in ((-0.5, 0.95, 0.26), (-0.25, 1.15, 0.3), (-0.05, 0.9, 0.2), (0.2, 1.0, 0.24)):
        solids += at(x + rng.uniform(-0.02, 0.02), 0.74, z, bottle(rng, height, glass=True, name="glass"))
    solids += at(-0.7, 0.74, 1.2, bottle(rng, 0.25)) + at(0.05, 0.74, 1.3, jar(rng))
    solids += [frustum((-0.35, 0.74, 0.85), 0.035, 0.1, GLASS, "glass", taper=1.2)]
    return lit(solids)


def textureless_wall(rng: Random) -> Scene:
    """Walls, floor and a screen without any structure."""
    blank = Material((0.90, 0.90, 0.88), specular=0.0)
    solids = office(back=blank, sides=blank, floor=replace(blank, colour=(0.62, 0.60, 0.58)))
    solids += [box((-0.7, 0.9, 2.4), (1.5, 1.8, 0.05), replace(blank, colour=(0.75, 0.78, 0.82)), "screen")]
    solids += at(0.9, 0, 2.3, chair((0.55, 0.3, 0.25)), -0.4) + at(1.6, 0, 3.6, carton((0.6, 0.5, 0.4)), 0.3)
    solids += at(0.3, 0, 3.9, floor_lamp())
    return lit(solids)


def repetitive_texture(rng: Random) -> Scene:
    """Stripes, tiles and a checkered floor: every period matches."""
    stripes = Material(texture="stripes", tile_m=0.42)
    solids = office(back=stripes, floor=Material(texture="checker", tile_m=0.8))
    solids += [box((-1.0, 0.9, 2.6), (1.2, 1.8, 0.06), replace(stripes, tile_m=0.28), "fence")]
    solids += [capsule((x, 0, 1.9), (x, 1.3, 1.9), 0.02, STEEL, "bars") for x in np.arange(0.3, 1.9, 0.16)]
    solids += at(0.2, 0, 2.9, chair((0.3, 0.45, 0.35)), 0.2)
    return lit(solids)


def thin_poles(rng: Random) -> Scene:
    """Poles, wires and stands from 3 to 10 mm."""
    solids = furnished(rng)
    for k in range(14):
        x, z = rng.uniform(-1.4, 1.4), rng.uniform(0.9, 2.8)
        solids += at(x, 0, z, pole(rng.uniform(1.2, 2.2), rng.uniform(0.003, 0.010), (STEEL, DARK_METAL)[k % 2]))
    for height in (0.9, 1.25, 1.5):
        ends = (-2.6, height + rng.uniform(-0.2, 0.2), 1.9), (2.6, height, 1.4)
        solids.append(capsule(*ends, 0.004, DARK_METAL, "wire"))
    return lit(solids)


def poster_wall(rng: Random) -> Scene:
    """A picture of a long hall, as large as the wall: flat to stereo, deep to a network."""
    solids = office(depth_m=2.6, floor=PARQUET)
    solids += at(-0.15, 1.3, 2.57, poster(2.6, 2.0)) + at(1.9, 1.4, 2.57, poster(0.7, 1.0, "text"))
    solids += at(-1.9, 0, 2.1, floor_lamp()) + at(1.5, 0, 2.0, chair((0.5, 0.35, 0.3)), -0.5)
    solids += at(-0.9, 0, 1.7, carton((0.4, 0.35, 0.35)), 0.4)
    return lit(solids, camera_pose=looking(pitch=0.08))


def mirror_floor(rng: Random) -> Scene:
    """A polished floor in which the room stands upside down, as deep below as it is high."""
    polished = Material((0.35, 0.34, 0.33), "tiles", 1.2, optics=Optics.MIRROR, reflectivity=0.55)
    solids = office(floor=polished, back=BRICK)
    solids += at(-0.8, 0, 2.6, chair((0.6, 0.25, 0.2)), 0.4) + at(0.7, 0, 2.2, carton((0.5, 0.45, 0.4)), 0.5)
    solids += at(1.7, 0, 3.2, plant(rng, 1.2)) + at(-1.9, 0, 3.4, floor_lamp())
    solids += [sphere((0.1, 0.25, 1.9), 0.25, TERRAZZO, "sphere")]
    return lit(solids, camera_pose=looking(pitch=0.38, sway=0.6))


def low_light(rng: Random) -> Scene:
    """The room at night: a twelfth of the light, and an amplifier's noise."""
    return replace(room(rng), exposure=lambda seconds: 0.09, noise_levels=6.0)


def exposure_change(rng: Random) -> Scene:
    """The lights go on and off, and the camera's exposure overshoots."""

    def exposure(seconds: float) -> float:
        phase = seconds % 4.0
        return 1.15 if phase < 1.5 else (0.12 if phase < 2.0 else (3.2 if phase < 2.4 else 0.7))

    return replace(room(rng), exposure=exposure)


def far_corridor(rng: Random) -> Scene:
    """Thirty metres of corridor with doors: most of it beyond good stereo."""
    solids = [*(solid for solid in office(width_m=2.6, depth_m=30.0, floor=Material(texture="tiles", tile_m=1.2)))]
    door = Material((0.42, 0.30, 0.22), "wood", 0.9)
    lamp = Material((1, 1, 1), emission=1.5)
    for k in range(9):
        side, z = (-1) ** k, 1.5 + 3.1 * k
        solids.append(box((side * 1.28, 1.03, z), (0.05, 2.06, 0.95), door, "door"))
        solids.append(quad((0, 2.59, z + 1.6), 0.3, 1.2, lamp, "ceiling lamp", pitch=-np.pi / 2))
    solids += at(0.85, 0, 4.2, carton((0.5, 0.6, 0.5)), 0.2) + at(
        -0.85, 0, 9.0, cabinet(0.7, 1.2, 0.4, (0.5, 0.5, 0.45))
    )
    lamps = tuple(Light((0.0, 2.4, z), 5.0, radius_m=0.3) for z in (2.0, 10.0, 20.0))
    return lit(solids, lights=lamps, camera_pose=looking(height_m=1.4, pitch=0.08))


def clutter(rng: Random) -> Scene:
    """Sixty things of every shape and size, heaped on the floor and on a table."""
    solids = furnished(rng) + at(-0.9, 0, 2.0, table(1.4, 0.8, 0.74))
    for k in range(60):
        on_table = k % 3 == 0
        x, z = (
            (rng.uniform(-1.5, -0.3), rng.uniform(1.7, 2.3))
            if on_table
            else (rng.uniform(-1.2, 1.9), rng.uniform(1.0, 3.4))
        )
        size = rng.uniform(0.03, 0.09) if on_table else rng.uniform(0.06, 0.2)
        paint = Material(tuple(rng.uniform(0.4, 1.0, 3)), str(rng.choice(["speckle", "label", "fabric", "text"])), 0.3)
        thing = (
            [box((0, size, 0), (2 * size, 2 * size, 1.4 * size), paint, "clutter")],
            [sphere((0, size, 0), size, paint, "clutter")],
            [frustum((0, 0, 0), size, 2.5 * size, paint, "clutter", taper=rng.uniform(0.4, 1.2))],
        )[k % 3 if not on_table else k // 3 % 3]
        solids += at(x, 0.74 if on_table else 0.0, z, thing, rng.uniform(0, 3))
    return lit(solids, camera_pose=looking(height_m=1.35, pitch=0.38))


def hand_passing(rng: Random) -> Scene:
    """A hand that crosses in front of a furnished room again and again."""
    solids = furnished(rng) + at(0.05, 0, 1.5, table(1.8, 0.8, 0.74))
    solids += (
        at(-0.3, 0.74, 1.4, bottle(rng)) + at(0.3, 0.74, 1.5, jar(rng)) + at(0.0, 0.74, 1.7, carton((0.3, 0.2, 0.2)))
    )
    solids += moving(hand(), passing_hand(0.26, 3.0))
    return lit(solids, camera_pose=looking(sway=0.3))


def fast_motion(rng: Random) -> Scene:
    """The camera is swung about, and a ball flies through the room."""

    def swung(seconds: float) -> Pose:
        x, yaw = 0.5 * np.sin(2.9 * seconds), 0.7 * np.sin(2.1 * seconds)
        return Pose((x, EYE_HEIGHT_M + 0.1 * np.sin(5 * seconds), 0.0), yaw, 0.2 + 0.12 * np.sin(4.1 * seconds))

    def thrown(seconds: float) -> Matrix:
        flight = seconds * 1.3 % 1.0
        return translation(2.2 * (2 * flight - 1), 1.0 + 2.4 * flight * (1 - flight), 1.8)

    solids = furnished(rng) + moving([sphere((0, 0, 0), 0.12, TERRAZZO, "ball")], thrown)
    return lit(solids, camera_pose=swung)


def one_plane(rng: Random) -> Scene:
    """A papered wall and nothing else, tilting slowly: no fit is possible when it faces the camera."""

    def tilting(seconds: float) -> Pose:
        return Pose((0.0, 1.3, 0.0), yaw=0.35 * np.sin(0.4 * seconds), pitch=0.0)

    wall = quad((0, 1.3, 1.6), 30.0, 30.0, Material(texture="ingrain", tile_m=0.35, specular=0.0), "wall")
    return Scene((wall,), tilting, (Light((0.4, 2.2, 0.2), 3.0),), exposure=lambda seconds: 1.0)


TROUBLES: dict[str, Callable[[Random], Scene]] = {
    "too_near": too_near,
    "left_only_band": left_only_band,
    "glass": glass,
    "textureless_wall": textureless_wall,
    "repetitive_texture": repetitive_texture,
    "thin_poles": thin_poles,
    "poster": poster_wall,
    "mirror_floor": mirror_floor,
    "low_light": low_light,
    "exposure_change": exposure_change,
    "far_corridor": far_corridor,
    "clutter": clutter,
    "hand_passing": hand_passing,
    "fast_motion": fast_motion,
    "one_plane": one_plane,
}
