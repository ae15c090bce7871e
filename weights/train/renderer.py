"""Casts the pictures of a batch: on the GPU through CuPy, or, slowly, on the CPU. One source for both, in render/."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from train.batch import RECORDS, Batch
from train.textures import PICTURE_TEXELS

SOURCES = Path(__file__).parent / "render"
SAMPLES = 3
"""Rays a pixel for its colour."""
BOUNCES = 2
"""Rays that look for ambient light, a sample."""
_BLOCK = (16, 8)


class Renderer:
    """pictures: the texture atlas, uint8 (n, PICTURE_TEXELS, 3)."""

    def __init__(self, pictures: NDArray[np.uint8], device: str) -> None:
        if pictures.shape[1:] != (PICTURE_TEXELS, 3):
            raise ValueError(f"texture pictures must have the shape (n, {PICTURE_TEXELS}, 3), not {pictures.shape}")
        self.device = device
        self.pictures = torch.from_numpy(pictures).to(device)
        self._kernel: Any = _compile_for_gpu() if device == "cuda" else _compile_for_cpu()

    def __call__(self, batch: Batch, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Linear radiance, float32 (n, 3, height, width), and inverse depth in 1/m, float32 (n, height, width);
        0 is the sky.
        """
        views = batch.views.copy()
        views["focal"] *= width
        views["centre"] *= (width, height)
        tables = [self._upload(table) for table in (*batch.tables()[:4], views)]
        count = len(views)
        radiance = torch.empty(count, 3, height, width, device=self.device)
        inverse_depth = torch.empty(count, height, width, device=self.device)
        arrays = [*tables, self.pictures, radiance, inverse_depth]
        self._run(arrays, count, height, width)
        return radiance, inverse_depth

    def _upload(self, table: NDArray[np.void]) -> torch.Tensor:
        floats = torch.from_numpy(np.ascontiguousarray(table).view(np.float32))
        # From pinned memory nobody waits for the copy.
        return floats.pin_memory().to(self.device, non_blocking=True) if self.device == "cuda" else floats

    def _run(self, arrays: list[torch.Tensor], count: int, height: int, width: int) -> None:
        addresses = [array.data_ptr() for array in arrays]
        if self.device != "cuda":
            pointers = [ctypes.c_void_p(address) for address in addresses]
            self._kernel.render(*pointers, count, height, width, SAMPLES, BOUNCES)
            return
        import cupy

        grid = (-(-width // _BLOCK[0]), -(-height // _BLOCK[1]), count)
        sizes = tuple(np.int32(size) for size in (height, width, SAMPLES, BOUNCES))
        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            self._kernel(grid, (_BLOCK[0] * _BLOCK[1],), (*addresses, *sizes))


def gpu_source() -> str:
    """All of render/ as one text, so that the compiler needs no search path."""
    parts = [
        SOURCES / name for name in ("vector.cuh", "tables.cuh", "shapes.cuh", "patterns.cuh", "light.cuh", "render.cu")
    ]
    lines = [line for part in parts for line in part.read_text().splitlines()]
    return "\n".join(line for line in lines if not line.startswith(('#include "', "#pragma once")))


GPU_OPTIONS = ("--std=c++17", "--use_fast_math")


def _compile_for_gpu() -> Any:
    import cupy

    return cupy.RawModule(code=gpu_source(), options=GPU_OPTIONS).get_function("render")


@cache
def _compile_for_cpu() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "render.so"
        # Not -ffast-math: linked with it, a library makes the whole process round subnormal numbers to zero.
        quick = ("-O2", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math")
        options = ("-std=c++17", *quick, "-shared", "-fPIC", "-DRENDER_ON_CPU")
        subprocess.run(["c++", *options, "-x", "c++", str(SOURCES / "render.cu"), "-o", str(library)], check=True)
        loaded = ctypes.CDLL(str(library))
    for number, record in enumerate(RECORDS):
        if loaded.record_bytes(number) != record.itemsize:
            raise ValueError(f"record {number} of batch.py and of render/tables.cuh differ in size")
    return loaded
