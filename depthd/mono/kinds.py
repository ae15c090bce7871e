"""What a network's numbers mean to the fusion: one function per output kind.

The fusion fits inverse depth as scale * mono + shift, so every kind is brought to "inverse depth up to scale
and shift, larger is nearer". A new kind of output is one function here and its name in `OutputKind`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depthd.frame import Array
from depthd.mono.model import OutputKind


def to_relative_inverse(kind: OutputKind, mono: Array, out: Array) -> Array:
    """float32 (h, w) of this kind -> the same shape, larger is nearer; NaN = unknown. `out` may be `mono`."""
    return _CONVERSIONS[kind](mono, out)


def _as_it_is(mono: Array, out: Array) -> Array:
    if out is not mono:
        np.copyto(out, mono)
    return out


def _reciprocal(depth: Array, out: Array) -> Array:
    """1/depth; a depth that is not above zero is no depth and becomes NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(np.float32(1.0), depth, out=out)
    out[~((out > 0) & (out < np.inf))] = np.nan
    return out


_CONVERSIONS: dict[OutputKind, Callable[[Array, Array], Array]] = {
    "relative_inverse": _as_it_is,
    "metric_depth": _reciprocal,
    "relative_depth": _reciprocal,
    "disparity": _as_it_is,
}
