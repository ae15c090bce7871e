"""How cameras and hands move, and the empty office that most scenes stand in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from depthd.cameras.world.furniture import shell
from depthd.cameras.world.solids import Light, Material, Matrix, Motion, Pose, Solid, quad, translation, yawed

Random = np.random.Generator
EYE_HEIGHT_M = 1.22
LAMPS = (Light((0.0, 2.45, 1.6), 4.4, radius_m=0.35), Light((0.5, 2.3, -0.9), 2.2, radius_m=0.3))
LINOLEUM = Material((0.95, 0.92, 0.88), "carpet", 0.6, specular=0.0)
WOODCHIP = Material((0.93, 0.93, 0.90), "ingrain", 0.35, specular=0.0)
PLASTER = Material((0.88, 0.90, 0.92), "plaster", 0.8, specular=0.0)
WHITE = Material((0.95, 0.95, 0.94), "plaster", 0.8, specular=0.0)


def office(
    width_m: float = 5.4,
    depth_m: float = 4.4,
    floor: Material = LINOLEUM,
    back: Material = WOODCHIP,
    sides: Material = PLASTER,
) -> list[Solid]:
    """Floor, walls, ceiling and its lamp; reaches 1.6 m behind the camera."""
    lamp = Material((1, 1, 1), emission=1.6)
    return [
        *shell(width_m, 2.6, -1.6, depth_m, floor, back, sides, WHITE),
        quad((0.0, 2.59, 1.6), 1.2, 0.6, lamp, "ceiling lamp", pitch=-np.pi / 2),
    ]


def looking(
    height_m: float = EYE_HEIGHT_M, pitch: float = 0.24, sway: float = 1.0, yaw: float = 0.0
) -> Callable[[float], Pose]:
    """Like `handheld`, from another height and in another direction; sway 0 stands still."""

    def pose(seconds: float) -> Pose:
        swayed = handheld(sway * seconds)
        x, y, z = swayed.position
        return replace(
            swayed,
            position=(x, y - EYE_HEIGHT_M + height_m, z),
            pitch=swayed.pitch - 0.24 + pitch,
            yaw=swayed.yaw + yaw,
        )

    return pose


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
        wave = 0.03 * np.sin(2 * np.pi * 0.9 * seconds)
        away, near = np.array([0.75, 0.75, 0.10]), np.array([0.10 + wave, EYE_HEIGHT_M - 0.03, nearest_m])
        return translation(*(away + there * (near - away))) @ yawed(0.4 * wave)

    return motion
