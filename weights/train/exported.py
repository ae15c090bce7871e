"""The weights of an exported model, back in a network that can learn on."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from train.network import ConvNorm, Network

_LEAST_GAIN = 1e-2
"""A channel whose norm scales by less keeps all of its scale in the weight."""
_RENAMED_PARTS = (
    ("stem.", "encoder.stem."), ("blocks.", "encoder.blocks."), (".dw.", ".depthwise."), (".proj.", ".project."),
    ("p32.", "entry."), ("glob.", "whole."), ("h1.", "head.0."), ("h2.", "head.2."), ("out.", "head.4."),
)  # fmt: skip
"""What the first model's recipe called parts of the network, and what they are called now."""


def load_exported(network: Network, path: Path) -> None:
    """Any depthd-small.onnx. The norms' gains, which export folded, are taken from what the network holds, so that it
    learns at the same rates as one that was not exported. Raises KeyError for another network's file.
    """
    stored = stored_weights(path)
    for name, module in network.named_modules():
        if isinstance(module, ConvNorm):
            folded, gain = stored[f"{name}.weight"], module.gain.data
            gain[gain.abs() < _LEAST_GAIN] = 1.0
            module.weight.data.copy_(folded / gain[:, None, None, None])
            module.bias.data.copy_(stored[f"{name}.bias"])
        elif isinstance(module, torch.nn.Conv2d):
            module.weight.data.copy_(stored[f"{name}.weight"])
            module.bias.data.copy_(stored[f"{name}.bias"])


def stored_weights(path: Path) -> dict[str, Tensor]:
    """Name in network.py -> values, in single precision."""
    initializers = onnx.load(path).graph.initializer
    arrays = {
        tensor.name.removesuffix("_half").removesuffix("_h"): numpy_helper.to_array(tensor) for tensor in initializers
    }
    return {_name_now(name): torch.from_numpy(values.copy()).float() for name, values in arrays.items()}


def _name_now(name: str) -> str:
    """Of a weight that may have the name which the first model's recipe gave it."""
    if name.startswith(("encoder.", "fuse", "entry.", "wide.", "whole.", "head.")):
        return name
    for old, new in _RENAMED_PARTS:
        name = name.replace(old, new, 1) if name.startswith(old) or old[0] == "." else name
    kind, _, rest = name.partition(".")
    scale = kind[1:]
    if kind == "ctx":
        place, _, rest = rest.partition(".")
        return f"wide.{place}.layers.{rest}"
    if kind in ("d16", "d8", "d4", "d2"):
        return f"fuse{scale}.from_coarse.{rest}"
    if kind in ("l16", "l8", "l4", "l2"):
        return f"fuse{scale}.from_encoder.{rest}"
    if kind in ("r8", "r4"):
        rest = f"0.{rest}"
    if kind in ("r16", "r8", "r4"):
        return f"fuse{scale}.units.{rest.replace('.a.', '.first.').replace('.b.', '.second.')}"
    return name
