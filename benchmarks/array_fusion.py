"""The fusion without kernels of its own, as yardsticks: the specification on CuPy arrays, and its core in PyTorch.

The CuPy version is depthd/fusion/reference.py itself, word for word, with CuPy in NumPy's place (but for one method
that CuPy lacks). PyTorch has another interface, so there only what costs most is written again: cells, the steps of
the fit, and the merge; no consensus, no memory, no alignment. It is a lower bound of what the whole would take.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from depthd.frame import Array
from depthd.fusion import reference
from depthd.fusion.parameters import Parameters

_METHODS = {"cells.rho[cells.measured].max(initial=0.0)": "np.append(cells.rho[cells.measured], 0.0).max()"}
"""What CuPy's arrays cannot do, and the same in other words."""


class _CupyAsNumpy:
    """CuPy, and what it lacks of what the specification uses."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cupy, name, None) or getattr(np, name)

    def lexsort(self, keys: tuple[Array, ...]) -> Array:
        return self._cupy.lexsort(self._cupy.stack([self._cupy.asarray(key).astype(np.int64) for key in keys]))

    def divide(self, a: Any, b: Array, where: Array, out: Array) -> Array:
        return self._cupy.where(where, a / b, out)

    def bincount(self, values: Array, weights: Array | None = None, minlength: int = 0) -> Array:
        return self._cupy.bincount(values, weights, minlength)

    def concatenate(self, arrays: Any) -> Array:
        return self._cupy.concatenate([self._cupy.asarray(array) for array in arrays])

    def append(self, array: Array, value: float) -> Array:
        return self._cupy.append(array, self._cupy.asarray(value))

    def empty(self, shape: Any, dtype: Any = float) -> Array:
        return self._cupy.empty(shape, dtype)


def cupy_fusion(cupy: Any, p: Parameters) -> Any:
    """ReferenceFusion over CuPy arrays; takes and writes arrays on the device."""
    return _with_cupy(cupy).ReferenceFusion(p)


def _with_cupy(cupy: Any) -> ModuleType:
    name = "depthd.fusion.reference_on_cupy"
    text = Path(reference.__file__).read_text()
    for method, function in _METHODS.items():
        assert method in text
        text = text.replace(method, function)
    module = sys.modules[name] = ModuleType(name)
    exec(compile(text, reference.__file__, "exec"), module.__dict__)
    module.np = _CupyAsNumpy(cupy)  # type: ignore[attr-defined]
    module.NOTHING = module.Samples(*(cupy.empty(0) for _ in range(3)))  # type: ignore[attr-defined]
    original = module.Memory

    def memory() -> Any:
        made = original()
        made.samples, made.evidence = cupy.zeros(made.samples.shape), cupy.zeros(1)
        return made

    module.Memory = memory  # type: ignore[attr-defined]
    return module


class TorchCore:
    """Cells, eight steps of iteratively reweighted least squares, and the merge, in float32."""

    def __init__(self, torch: Any, p: Parameters) -> None:
        self.torch, self.p = torch, p

    def fuse(self, stereo_m: Any, mono: Any) -> tuple[Any, Any, Any]:
        """float32 (height, width) and (h, w) on the device -> depth, source, sigma there."""
        torch, p = self.torch, self.p
        x = torch.nn.functional.interpolate(
            mono[None, None], size=(p.height, p.width), mode="bilinear", align_corners=False
        )[0, 0]
        measured = (stereo_m >= 1 / p.stereo_inverse_maximum) & (stereo_m <= 1 / p.stereo_inverse_minimum)
        rho = torch.where(measured, 1 / stereo_m, 0.0)
        count = self._sums(measured.float())
        safe = count.clamp(min=1)
        cell_rho, cell_x = self._sums(rho) / safe, self._sums(torch.where(measured, x, 0.0)) / safe
        variance = (self._sums(rho * rho) / safe - cell_rho**2).clamp(min=0)
        fill = count / p.cell_px**2
        weight = torch.where(fill >= reference.MINIMUM_FILL, fill, 0.0) / (1 + variance / (4 * p.stereo_noise**2))
        scale, shift, noise = self._fit(cell_x, cell_rho, weight)
        predicted = (scale * x + shift).clamp(p.inverse_minimum, p.inverse_maximum)
        sigma = torch.sqrt(p.stereo_noise**2 + (noise * predicted) ** 2)
        gate = torch.maximum(p.gate_sigmas * sigma, p.gate_minimum * predicted)
        nearer_by = rho - predicted
        wrong = (nearer_by < -p.far_claim_factor * gate) | (nearer_by > p.near_claim_factor * gate)
        kept = measured & ~wrong
        depth = torch.where(kept, stereo_m, 1 / predicted)
        source = torch.where(kept, 1, torch.where(measured, 4, 3)).to(torch.uint8)
        relative = torch.where(kept, p.stereo_noise * stereo_m, noise).half()
        return depth, source, relative

    def _fit(self, x: Any, rho: Any, weight: Any) -> tuple[Any, Any, Any]:
        torch, p = self.torch, self.p
        noise, inlier = torch.tensor(reference.MONO_NOISE_START, device=x.device), weight
        scale = shift = predicted = None
        for _ in range(reference.FIT_ITERATIONS):
            if predicted is not None:
                variance = p.stereo_noise**2 + (noise * predicted.clamp(min=p.inverse_minimum)) ** 2
                inside = 1 - (rho - predicted) ** 2 / (variance * reference.TUKEY_FIT**2)
                inlier = weight * inside.clamp(min=0) ** 2 / variance
            total = inlier.sum()
            x_mean, rho_mean = (inlier * x).sum() / total, (inlier * rho).sum() / total
            scale = (inlier * (x - x_mean) * (rho - rho_mean)).sum() / (inlier * (x - x_mean) ** 2).sum()
            shift = rho_mean - scale * x_mean
            predicted = scale * x + shift
            error = (rho / predicted.clamp(min=p.inverse_minimum) - 1).abs()
            noise = (error.flatten().median() / reference.MEDIAN_OF_KEPT).clamp(
                reference.MONO_NOISE_MINIMUM, reference.MONO_NOISE_MAXIMUM
            )
        return scale, shift, noise

    def _sums(self, values: Any) -> Any:
        p = self.p
        padding = (0, p.columns * p.cell_px - p.width, 0, p.rows * p.cell_px - p.height)
        padded = self.torch.nn.functional.pad(values, padding)
        return padded.reshape(p.rows, p.cell_px, p.columns, p.cell_px).sum((1, 3))
