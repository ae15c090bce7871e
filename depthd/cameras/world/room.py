"""The default scene."""

from __future__ import annotations

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
    table,
)
from depthd.cameras.world.solids import Material, Matrix, Scene, Solid, moving, sphere, translation
from depthd.cameras.world.staging import LAMPS, Random, handheld, office, passing_hand


def room(rng: Random) -> Scene:
    """An office corner: a table with bottles in front, a rack behind, a poster, poles, a ball, and a hand
    that comes.
    """
    solids = office()
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
    solids += moving(hand(), passing_hand(0.24, 9.0))
    return Scene(tuple(solids), handheld, LAMPS, exposure=lambda seconds: 1.15)


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
