"""The named scenes, each a function of a random generator: the same seed gives the same scene."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depthd.cameras.world.furniture import (
    at,
    bottle,
    cabinet,
    carton,
    chair,
    floor_lamp,
    hand,
    jar,
    monitor,
    mug,
    plant,
    pole,
    poster,
    shelf,
    shell,
    table,
)
from depthd.cameras.world.solids import (
    Light,
    Material,
    Matrix,
    Motion,
    Pose,
    Scene,
    Solid,
    moving,
    quad,
    sphere,
    translation,
    yawed,
)
from depthd.errors import UsageError

Random = np.random.Generator
EYE_HEIGHT_M = 1.22


def build(name: str, seed: int) -> Scene:
    """A scene of the registry. Raises UsageError for a name that it does not have."""
    if name not in SCENES:
        raise UsageError(f"there is no scene {name!r}", f"choose one of: {', '.join(SCENES)}")
    return SCENES[name](np.random.default_rng(seed))


def handheld(seconds: float) -> Pose:
    """A slow sway, as of somebody who holds the camera and looks about."""
    return Pose(
        (
            0.14 * np.sin(0.50 * seconds),
            EYE_HEIGHT_M + 0.02 * np.sin(0.83 * seconds),
            0.08 * np.sin(0.37 * seconds),
        ),
        yaw=0.12 * np.sin(0.31 * seconds),
        pitch=0.24 + 0.025 * np.sin(0.61 * seconds),
        roll=0.01 * np.sin(0.9 * seconds),
    )


def passing_hand(nearest_m: float, period_s: float) -> Motion:
    """Comes in from the right, waves before the camera at `nearest_m`, and goes; away for half of the
    period.
    """

    def motion(seconds: float) -> Matrix:
        phase = seconds / period_s % 1.0
        there = np.clip(min(phase - 0.25, 0.75 - phase) / 0.12, 0.0, 1.0)
        there = there * there * (3 - 2 * there)
        wave = 0.05 * np.sin(2 * np.pi * 1.1 * seconds)
        away, near = np.array([0.75, 0.75, 0.10]), np.array([0.03 + wave, EYE_HEIGHT_M - 0.02, nearest_m])
        return translation(*(away + there * (near - away))) @ yawed(0.4 * wave)

    return motion


def room(rng: Random) -> Scene:
    """An office corner: a table with bottles in front, a rack behind, a poster, poles, a ball, and a hand
    that comes.
    """
    solids = shell(
        5.4,
        2.6,
        -1.6,
        4.4,
        floor=Material((0.95, 0.92, 0.88), "carpet", 0.6, specular=0.0),
        back=Material((0.93, 0.93, 0.90), "ingrain", 0.35, specular=0.0),
        sides=Material((0.88, 0.90, 0.92), "plaster", 0.8, specular=0.0),
        ceiling=Material((0.95, 0.95, 0.94), "plaster", 0.8, specular=0.0),
    )
    solids += at(-0.55, 0, 4.38, shelf(rng, 3.0, 1.95, boards=5, columns=3))
    solids += at(1.75, 0, 3.95, cabinet(0.9, 1.1, 0.42, (0.35, 0.38, 0.42)))
    solids += at(1.75, 1.1, 4.15, plant(rng, 0.6))
    solids += at(2.69, 1.45, 2.5, poster(1.1, 0.85), np.pi / 2)
    solids += at(-2.69, 1.5, 2.2, poster(0.6, 0.8, "text"), -np.pi / 2)
    solids += at(0.05, 0, 1.25, table(2.3, 1.15, 0.74))
    solids += at(-0.9, 0, 2.35, chair((0.36, 0.40, 0.46)), 0.3)
    solids += at(0.75, 0, 2.45, chair((0.55, 0.30, 0.26)), -0.5)
    solids += at(-1.95, 0, 3.1, floor_lamp())
    solids += at(1.42, 0, 2.2, pole(2.1)) + at(-1.35, 0, 2.75, pole(1.9, 0.006))
    solids += at(2.1, 0, 2.3, carton((0.5, 0.42, 0.4)), 0.4)
    solids += table_top(rng)
    solids += moving([sphere((0, 0.74 + 0.085, 0), 0.085, ball_paint(), "sphere")], rolling_ball)
    solids += moving(hand(), passing_hand(0.19, 9.0))
    solids += [
        quad((0.0, 2.59, 1.6), 1.2, 0.6, Material((1, 1, 1), emission=1.6), "ceiling lamp", pitch=-np.pi / 2)
    ]
    lights = (Light((0.0, 2.45, 1.6), 3.4, radius_m=0.35), Light((-1.9, 1.5, 2.9), 0.35, (1.0, 0.85, 0.65)))
    return Scene(tuple(solids), handheld, lights)


def ball_paint() -> Material:
    return Material((0.95, 0.55, 0.25), "speckle", 0.25, specular=0.3, gloss=50)


def rolling_ball(seconds: float) -> Matrix:
    return translation(0.62 + 0.16 * np.sin(0.7 * seconds), 0, 1.32 + 0.1 * np.cos(0.7 * seconds))


def table_top(rng: Random) -> list[Solid]:
    """Bottles (one of glass), jars, a mug and small things on the room's table."""
    top = 0.74
    jitter = rng.uniform(-0.03, 0.03, 8)
    solids = at(-0.24 + jitter[0], top, 1.02, bottle(rng, 0.25), float(rng.uniform(-1, 1)))
    solids += at(0.02 + jitter[1], top, 0.98, bottle(rng, 0.22, glass=True, name="glass"))
    solids += at(0.27 + jitter[2], top, 1.04, bottle(rng, 0.26), float(rng.uniform(-1, 1)))
    solids += at(-0.14 + jitter[3], top, 0.78, jar(rng)) + at(0.22 + jitter[4], top, 0.80, jar(rng), 0.7)
    solids += at(-0.55 + jitter[5], top, 1.2, mug((0.80, 0.82, 0.86)), float(rng.uniform(0, 6)))
    solids += at(-0.62, top, 0.92, carton((0.24, 0.1, 0.17)), 0.35 + jitter[6])
    solids += at(-0.5, top, 1.6, monitor(), 0.3 + jitter[7])
    return solids


SCENES: dict[str, Callable[[Random], Scene]] = {"room": room}
"""Every scene that `camera.scene` can name."""
