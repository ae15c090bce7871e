"""What every mono engine is to the pipeline."""

from __future__ import annotations

from typing import Protocol

from depthd.frame import Array
from depthd.mono.model import ModelCard


class MonoEngine(Protocol):
    """A loaded network. `open_engine` chooses by configuration."""

    @property
    def title(self) -> str:
        """What runs the network, for the log."""

    @property
    def card(self) -> ModelCard:
        """What the network is and what its output means."""

    def prepare(self, height: int, width: int) -> None:
        """Allocates everything for pictures of this size and runs once to warm up."""

    def infer(self, left_bgr: Array) -> Array:
        """uint8 (height, width, 3) BGR -> float32 (h, w) at the network's own size, aspect kept.

        Larger or smaller is nearer as `card.output_kind` says. The array is reused by the next call.
        """

    def close(self) -> None:
        """Gives everything back."""
