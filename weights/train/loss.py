"""How far a relative inverse depth is from the true one, whatever its scale and shift.

After R. Ranftl et al., "Towards robust monocular depth estimation", TPAMI 2022: both maps are brought to median 0 and
mean deviation 1, then compared, and so are their slopes at four scales.
"""

from __future__ import annotations

import torch
from torch import Tensor

_STRIDE = 13
"""Medians are taken over every 13th pixel: near enough, and quick."""
_GRADIENT_WEIGHT, _GAUGE_WEIGHT = 0.5, 0.2
_LEAST_SPREAD = 0.015
"""A picture whose depth varies less than this share of its nearest is too flat to teach."""
_WITHIN_ARMS_PER_M, _WITHIN_ARMS_SHARE = 6.0, 0.25
"""Where a quarter of the picture is nearer than 1/6 m the camera stands inside something."""


def training_loss(predicted: Tensor, inverse_depth: Tensor, far_weight: float = 0.0) -> Tensor:
    """The mean over the pictures that can teach. Both (n, height, width), float32; inverse_depth in 1/m, 0 = sky."""
    offset = int(torch.randint(0, _STRIDE, ()))
    near = _near(inverse_depth, offset)
    per_picture = shape_loss(predicted, inverse_depth, far_weight, offset)
    # Keeps the output's own zero far away, so that a fit can start from it.
    per_picture = per_picture + _GAUGE_WEIGHT * robust(predicted - inverse_depth / near).mean((1, 2))
    weight = teaches(inverse_depth, offset).float()
    return (per_picture * weight).sum() / weight.sum().clamp_min(1)


def shape_loss(predicted: Tensor, inverse_depth: Tensor, far_weight: float = 0.0, offset: int = 0) -> Tensor:
    """(n,): the same for every scale and shift of either map. far_weight: how much more the farthest pixels count;
    the relative error of depth, which a robot feels, grows with distance for the same error in inverse depth.
    """
    difference = aligned(predicted, offset) - aligned(inverse_depth, offset)
    error = robust(difference)
    if far_weight > 0:
        low = inverse_depth.flatten(1).amin(1).view(-1, 1, 1)
        nearness = ((inverse_depth - low) / (_near(inverse_depth, offset) - low).clamp_min(1e-6)).clamp(0, 1)
        weight = 1 / (1 + far_weight * nearness)
        error = error * (weight / weight.mean((1, 2), keepdim=True))
    loss = error.mean((1, 2))
    for scale in range(4):
        coarse = difference[:, :: 2**scale, :: 2**scale]
        across, down = coarse[:, :, 1:] - coarse[:, :, :-1], coarse[:, 1:] - coarse[:, :-1]
        loss = loss + _GRADIENT_WEIGHT * (robust(across).mean((1, 2)) + robust(down).mean((1, 2)))
    return loss


def aligned(values: Tensor, offset: int = 0) -> Tensor:
    """Each map with median 0 and mean absolute deviation 1."""
    middle, spread = _middle_and_spread(values, offset)
    return (values - middle) / spread.clamp_min(1e-6)


def robust(error: Tensor) -> Tensor:
    """Grows as the error up to 3 deviations, then as its logarithm."""
    size = error.abs()
    return torch.where(size < 3, size, 3 + torch.log1p((size - 3).clamp_min(0)))


def teaches(inverse_depth: Tensor, offset: int = 0) -> Tensor:
    """(n,) bool: whether there is depth to learn in each picture."""
    near = _near(inverse_depth, offset).flatten()
    _, spread = _middle_and_spread(inverse_depth, offset)
    within_arms = (inverse_depth > _WITHIN_ARMS_PER_M).float().mean((1, 2))
    return (spread.flatten() > _LEAST_SPREAD * near) & (within_arms < _WITHIN_ARMS_SHARE) & (near > 1e-3)


def _middle_and_spread(values: Tensor, offset: int) -> tuple[Tensor, Tensor]:
    some = values.flatten(1)[:, offset::_STRIDE]
    middle = some.median(1, keepdim=True).values
    spread = (some - middle).abs().mean(1)
    return middle.view(-1, 1, 1), spread.view(-1, 1, 1)


def _near(inverse_depth: Tensor, offset: int) -> Tensor:
    """What 5 % of the pixels are nearer than, (n, 1, 1)."""
    some = inverse_depth.flatten(1)[:, offset::_STRIDE]
    return some.quantile(0.95, dim=1).view(-1, 1, 1).clamp_min(1e-6)
