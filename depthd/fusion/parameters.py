"""The numbers a fusion works with, derived once from configuration and camera. Inverse depths are in 1/m."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from depthd.config import FusionConfig
from depthd.frame import Array, Camera, FusedPlanes, check_array


class MonoKind(IntEnum):
    """What a network's output means; names as in the model cards."""

    RELATIVE_INVERSE = 0
    METRIC_DEPTH = 1
    RELATIVE_DEPTH = 2

    @classmethod
    def from_card(cls, name: str) -> MonoKind:
        return cls[name.upper()]


MAXIMUM_CELLS = 16_384
"""Cells per frame. A cell is a square of pixels that gives at most one sample to the fit."""

GRID_NODES = 12
"""Steps of the alignment grid along the side of a square picture: as wide as a network's smooth distortions.
"""

GRID_LEVELS = 16
"""Nodes of the alignment grid over the logarithm of inverse depth, so that a correction stops at depth edges.
"""


@dataclass(frozen=True)
class Parameters:
    """Sizes in pixels, cells or grid nodes; grid_step in cells; inverse depths and noise in 1/m; everything
    named relative is a fraction."""

    width: int
    height: int
    cell_px: int
    columns: int
    rows: int
    grid_columns: int
    grid_rows: int
    grid_step: float
    mono_kind: MonoKind
    stereo_noise: float
    stereo_inverse_minimum: float
    stereo_inverse_maximum: float
    inverse_minimum: float
    inverse_maximum: float
    gate_sigmas: float
    gate_minimum: float
    far_claim_factor: float
    near_claim_factor: float
    solid_claim_factor: float
    whole_claim_factor: float
    mono_decay: float
    memory_decay: float
    alignment_decay: float
    minimum_inlier_share: float
    minimum_agreement: float
    minimum_significance: float
    maximum_age_frames: int

    @property
    def independent_share(self) -> float:
        """How many independent samples one cell is worth: mono errors are alike within a node of the
        alignment grid."""
        return 1.0 / self.grid_step**2


CLAIM_FACTORS = {"nearer": (1.0, 1.5, 60.0, 1.0), "stereo": (3.0, 3.0, 60.0, 3.0), "mono": (1.0, 1.0, 0.0, 0.0)}
"""How much wider than the gate stereo may disagree: where it claims farther than mono, where nearer, what the latter
gains where stereo sees a solid surface, and the former where a whole one."""


def make_parameters(config: FusionConfig, camera: Camera, mono_kind: MonoKind) -> Parameters:
    """The parameters of a fusion for this camera, its frames as large as the camera says."""
    cell_px = max(1, math.ceil(math.sqrt(camera.width * camera.height / MAXIMUM_CELLS)))
    columns, rows = -(-camera.width // cell_px), -(-camera.height // cell_px)
    grid_step = max(1.0, math.sqrt(columns * rows) / GRID_NODES)
    far_claim, near_claim, solid_claim, whole_claim = CLAIM_FACTORS[config.prefer]
    return Parameters(
        width=camera.width,
        height=camera.height,
        cell_px=cell_px,
        columns=columns,
        rows=rows,
        grid_columns=int(columns / grid_step) + 2,
        grid_rows=int(rows / grid_step) + 2,
        grid_step=grid_step,
        mono_kind=mono_kind,
        # Without a baseline no stereo value ever comes, and its noise is never asked for.
        stereo_noise=config.stereo_noise_px / (camera.disparity_per_inverse_depth or 1.0),
        stereo_inverse_minimum=1.0 / config.stereo_maximum_depth_m,
        stereo_inverse_maximum=1.0 / config.stereo_minimum_depth_m,
        inverse_minimum=1.0 / config.maximum_depth_m,
        inverse_maximum=1.0 / config.minimum_depth_m,
        gate_sigmas=config.gate_sigmas,
        gate_minimum=config.gate_minimum,
        far_claim_factor=far_claim,
        near_claim_factor=near_claim,
        solid_claim_factor=solid_claim,
        whole_claim_factor=whole_claim,
        mono_decay=config.mono_decay,
        memory_decay=config.memory_decay,
        alignment_decay=config.alignment_decay,
        minimum_inlier_share=config.minimum_inlier_share,
        minimum_agreement=config.minimum_agreement,
        minimum_significance=config.minimum_significance,
        maximum_age_frames=config.maximum_age_frames,
    )


def check_planes(stereo_depth_m: Array, mono: Array, out: FusedPlanes, p: Parameters) -> None:
    """The array contracts of a fusion, in one place for all backends."""
    size = (p.height, p.width)
    check_array("stereo_depth_m", stereo_depth_m, np.float32, size)
    check_array("out.depth_m", out.depth_m, np.float32, size)
    check_array("out.source", out.source, np.uint8, size)
    check_array("out.sigma", out.sigma, np.float16, size)
    if mono.dtype != np.float32 or mono.ndim != 2 or 0 in mono.shape:
        raise ValueError(f"mono is {mono.dtype} {tuple(mono.shape)}, expected float32 (h, w)")
