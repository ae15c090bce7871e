"""Which device the frame is worked on: the GPU where there is a usable one, else the CPU."""

from __future__ import annotations

import logging
from typing import Literal

from depthd.errors import DepthdError

log = logging.getLogger(__name__)

DeviceChoice = Literal["auto", "cuda", "cpu"]
ChosenDevice = Literal["cuda", "cpu"]


def choose_device(wanted: DeviceChoice) -> ChosenDevice:
    """`cuda` raises DepthdError that says what is missing; `auto` takes what is there and logs why."""
    if wanted == "cpu":
        return "cpu"
    try:
        name = usable_gpu()
    except DepthdError as error:
        if wanted == "cuda":
            raise
        log.info("device: cpu, since %s", error.what)
        return "cpu"
    log.info("device: cuda, on %s", name)
    return "cuda"


def usable_gpu() -> str:
    """The name of the current GPU. Raises DepthdError where it, its driver or CuPy is missing."""
    try:
        import cupy
    except ImportError:
        raise DepthdError(
            "CuPy is not installed, which the GPU needs", "pip install cupy-cuda13x, or use device: cpu"
        ) from None
    runtime = cupy.cuda.runtime
    try:
        properties = runtime.getDeviceProperties(runtime.getDevice())
    except runtime.CUDARuntimeError as error:
        raise DepthdError(f"there is no usable GPU ({error})", "install NVIDIA's driver, or use device: cpu") from None
    if properties["major"] < 8:
        raise DepthdError(
            f"the GPU has compute capability {properties['major']}.{properties['minor']}, 8.0 is needed",
            "use device: cpu",
        )
    return str(properties["name"].decode())
