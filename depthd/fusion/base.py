"""What every fusion backend is to the pipeline."""

from __future__ import annotations

from typing import Protocol

from depthd.frame import Array, FusedPlanes, FusionResult


class Fusion(Protocol):
    """Fits mono to stereo, judges stereo, and merges both. One file in this folder per backend, one
    signature.

    A fusion is made for one camera size and keeps the memory of the last frames' samples; nothing else is
    remembered.
    """

    def fuse(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> FusionResult:
        """Writes the fused frame into `out`.

        stereo_depth_m: float32 (height, width), classes as in depthd.frame. mono: float32 (h, w), any size,
        the network's output as its kind says. Raises ValueError for arrays that break their contract.
        """

    def reset(self) -> None:
        """Forgets the memory, as after a cut."""
