"""kernels/fusion_bindings.cpp."""

from depthd.frame import Array
from depthd.fusion.parameters import Parameters

CONSTANTS: dict[str, float]

class Fusion:
    def __init__(self, parameters: Parameters, threads: int) -> None: ...
    def fuse(
        self, stereo_m: Array, mono: Array, depth_m: Array, source: Array, sigma: Array
    ) -> tuple[tuple[float, float, float, float, float, int, int, int], tuple[int, ...]]:
        """(scale, shift, noise, inlier share, r, samples, age, status) and the pixels per source."""
    def reset(self) -> None: ...
