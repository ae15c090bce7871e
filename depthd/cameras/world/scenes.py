"""The named scenes, each a function of a random generator: the same seed gives the same scene."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depthd.cameras.world.room import room
from depthd.cameras.world.solids import Scene
from depthd.cameras.world.staging import Random
from depthd.cameras.world.troubles import TROUBLES
from depthd.errors import UsageError

SCENES: dict[str, Callable[[Random], Scene]] = {"room": room, **TROUBLES}
"""Every scene that `camera.scene` can name."""


def build(name: str, seed: int) -> Scene:
    """A scene of the registry. Raises UsageError for a name that it does not have."""
    if name not in SCENES:
        raise UsageError(f"there is no scene {name!r}", f"choose one of: {', '.join(SCENES)}")
    return SCENES[name](np.random.default_rng(seed))
