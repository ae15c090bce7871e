"""From light to the bytes a camera gives: exposure, lens, noise, tone curve, sharpening, compression. Every picture
draws its own strength of each. Nothing here changes geometry.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_LUMINANCE_QUANTISATION = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""Table K.1 of ITU-T T.81, annex K."""
_ONE_IN = 8
"""So many pictures share one that is filtered at random, and one of low resolution."""
_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


class Draw:
    """Random numbers, one a picture, (n, 1, 1, 1)."""

    def __init__(self, like: Tensor) -> None:
        self.count, self.device = len(like), like.device

    def between(self, low: float, high: float) -> Tensor:
        return torch.empty(self.count, 1, 1, 1, device=self.device).uniform_(low, high)

    def chance(self, probability: float) -> Tensor:
        return self.between(0, 1) < probability

    def some(self, probability: float, value: Tensor, otherwise: float = 0.0) -> Tensor:
        return torch.where(self.chance(probability), value, torch.full_like(value, otherwise))


def photographed(radiance: Tensor) -> Tensor:
    """(n, 3, height, width) linear light -> 0..1 in 256 steps, as from a camera. n >= 2, sides multiples of 8."""
    draw = Draw(radiance)
    light = exposed(torch.nan_to_num(radiance, 0, 50, 0).clamp(0, 200), draw)
    light = vignetted(light, draw)
    light = blurred(light, draw.some(0.6, draw.between(0.3, 1.5) ** 1.5))
    light = noisy(light, draw).clamp_min(0)
    picture = toned(light, draw)
    picture = sharpened(picture, draw)
    # The order of the pictures is random, so these need not draw whom they befall.
    few = max(1, len(picture) // _ONE_IN)
    most = picture[few : len(picture) - few]
    picture = torch.cat([randomly_filtered(picture[:few]), most, of_low_resolution(picture[-few:])])
    half = picture[::2]
    picture[::2] = compressed(half, Draw(half).between(20, 95))
    return torch.round(picture.clamp(0, 1) * 255) / 255


def exposed(light: Tensor, draw: Draw) -> Tensor:
    """Automatic exposure with its errors, white balance, and a lamp whose light pulses down the rows of a rolling
    shutter.
    """
    key = torch.exp(torch.log(light.mean(1, keepdim=True) + 2e-3).mean((2, 3), keepdim=True))
    light = light * torch.exp(draw.between(math.log(0.06), math.log(0.45))) / key
    light = light * (1 + 0.25 * (2 * torch.rand(draw.count, 3, 1, 1, device=light.device) - 1))
    rows = torch.linspace(0, 1, light.shape[2], device=light.device).view(1, 1, -1, 1)
    pulse = torch.sin(2 * math.pi * (rows * draw.between(0.5, 4) + draw.between(0, 1)))
    return light * (1 + draw.some(0.1, draw.between(0.02, 0.15)) * pulse)


def vignetted(light: Tensor, draw: Draw) -> Tensor:
    y = torch.linspace(-1, 1, light.shape[2], device=light.device).view(1, 1, -1, 1)
    x = torch.linspace(-1, 1, light.shape[3], device=light.device).view(1, 1, 1, -1)
    return light * (1 - draw.some(0.5, draw.between(0, 0.3)) * (x * x + y * y))


def blurred(picture: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur, one sigma (px) a picture; below 0.05 px none."""
    count, channels, height, width = picture.shape
    taps = torch.arange(-5, 6, device=picture.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (taps[None] / sigma.view(count, 1).clamp_min(0.05)) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    groups = count * channels
    padded = F.pad(picture.reshape(1, groups, height, width), (5, 5, 5, 5), mode="reflect")
    padded = F.conv2d(padded, kernel.view(groups, 1, 1, 11), groups=groups)
    return F.conv2d(padded, kernel.view(groups, 1, 11, 1), groups=groups).view(picture.shape)


def noisy(light: Tensor, draw: Draw) -> Tensor:
    """Photon noise, whose variance grows with the light, and read noise; in some pictures grainy, as after
    denoising.
    """
    strength = draw.some(0.6, draw.between(0, 1) ** 2 * 0.035)
    noise = torch.randn_like(light)
    grainy = blurred(noise, draw.between(0.5, 1.2)) * 2
    noise = torch.where(draw.chance(0.3), grainy, noise)
    return light + noise * torch.sqrt(light.clamp_min(0) * strength * 0.3 + (0.5 * strength) ** 2)


def toned(light: Tensor, draw: Draw) -> Tensor:
    """A shoulder for bright light, gamma, saturation, contrast, brightness."""
    shoulder = draw.between(0, 1)
    picture = light * (1 + 0.3 * shoulder) / (1 + shoulder * light)
    picture = picture.clamp(0, 1) ** (draw.between(0.8, 1.25) / 2.2)
    grey = picture.mean(1, keepdim=True)
    saturation = torch.where(draw.chance(0.08), torch.zeros_like(grey[:, :, :1, :1]), draw.between(0.4, 1.5))
    picture = grey + (picture - grey) * saturation
    return (picture - 0.5) * draw.between(0.65, 1.35) + 0.5 + draw.between(-0.1, 0.1)


def sharpened(picture: Tensor, draw: Draw) -> Tensor:
    """Unsharp masking as cameras do it: the ZED's is strong."""
    amount = draw.some(0.4, draw.between(0.2, 1.8))
    return (picture + amount * (picture - blurred(picture, draw.between(0.7, 1.6)))).clamp(0, 1)


def randomly_filtered(picture: Tensor) -> Tensor:
    """A random 3x3 filter that mixes colours, blended in: texture changes, shapes stay. Z. Xu et al., "Robust and
    generalizable visual representation learning via random convolutions", ICLR 2021.
    """
    count, channels, height, width = picture.shape
    kernel = torch.randn(count * channels, channels, 3, 3, device=picture.device) / math.sqrt(9 * channels)
    flat = F.pad(picture.reshape(1, count * channels, height, width), (1, 1, 1, 1), mode="reflect")
    filtered = F.conv2d(flat, kernel, groups=count).view(picture.shape)
    low, high = filtered.amin((1, 2, 3), keepdim=True), filtered.amax((1, 2, 3), keepdim=True)
    filtered = (filtered - low) / (high - low).clamp_min(1e-3)
    share = Draw(picture).between(0.2, 0.8)
    return picture * (1 - share) + filtered * share


def of_low_resolution(picture: Tensor) -> Tensor:
    factor = 0.45 + 0.45 * torch.rand(()).item()
    small = F.interpolate(picture, scale_factor=factor, mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(small, size=picture.shape[2:], mode="bilinear", align_corners=False)


def compressed(picture: Tensor, quality: Tensor) -> Tensor:
    """What JPEG leaves of a picture: 8x8 cosine transforms, rounded more or less coarsely (quality 1..100)."""
    count, _, height, width = picture.shape
    jpeg = _jpeg(picture.device)
    colours = torch.einsum("ij,bjhw->bihw", jpeg.to_ycbcr, picture * 255) - jpeg.centre
    coarseness = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).view(count, 1, 1, 1) / 100
    step = (jpeg.table * coarseness).clamp_min(1.0)
    blocks = colours.view(count, 3, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5)
    waves = blocks.reshape(count, 3, -1, 64) @ jpeg.cosines.T
    blocks = ((torch.round(waves / step) * step) @ jpeg.cosines).view(count, 3, height // 8, width // 8, 8, 8)
    colours = blocks.permute(0, 1, 2, 4, 3, 5).reshape(count, 3, height, width) + jpeg.centre
    return (torch.einsum("ij,bjhw->bihw", jpeg.from_ycbcr, colours) / 255).clamp(0, 1)


class _Jpeg(NamedTuple):
    """Constants on a device. cosines: one matrix for all 64 waves of a block, for one large product is many times as
    fast as a small one a block. table: coarseness of each wave in each channel at quality 50.
    """

    to_ycbcr: Tensor
    from_ycbcr: Tensor
    centre: Tensor
    cosines: Tensor
    table: Tensor


@cache
def _jpeg(device: torch.device) -> _Jpeg:
    """Made once: a constant that is sent to the device anew waits for all its work."""
    to_ycbcr = torch.tensor(_TO_YCBCR)
    table = torch.tensor(_LUMINANCE_QUANTISATION, dtype=torch.float32)
    table = torch.stack([table, table * 1.6 + 4, table * 1.6 + 4])[None, :, None]
    cosines = _cosine_matrix()
    centre = torch.tensor((128.0, 0, 0)).view(1, 3, 1, 1)
    constants = (to_ycbcr, torch.linalg.inv(to_ycbcr), centre, torch.kron(cosines, cosines), table)
    return _Jpeg(*(constant.to(device) for constant in constants))


def _cosine_matrix() -> Tensor:
    n = torch.arange(8, dtype=torch.float32)
    matrix = torch.cos((2 * n[None] + 1) * n[:, None] * math.pi / 16) * 0.5
    matrix[0] /= math.sqrt(2)
    return matrix
