"""What the daemon is doing at a moment. How long each may take is the service's matter."""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class Phase(Enum):
    """Named as the operator reads it in the journal."""

    OPENING_CAMERA = "opening the camera"
    LOADING_MODEL = "loading the model"
    FIRST_FRAME = "the first frame"
    FRAME = "a frame"
    WAITING = "waiting for the camera"
    STOPPING = "stopping"


class Phases(Protocol):
    def enter(self, phase: Phase) -> None:
        """The daemon is in this phase from now on, with its whole limit before it. Cheap, for every frame."""
