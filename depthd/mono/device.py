"""The GPU an engine is built for and runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Device:
    """What an engine depends on. Texts, as they are only compared."""

    name: str
    compute_capability: str
    driver: str


ANY_DEVICE = Device("any", "any", "any")
"""Of engines that the runtime itself checks when it loads them (TensorRT for RTX)."""


def find_device() -> Device | None:
    """The current GPU, or None where there is none or CuPy is not installed."""
    try:
        import cupy
    except ImportError:
        return None
    try:
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        driver = cupy.cuda.runtime.driverGetVersion()
    except cupy.cuda.runtime.CUDARuntimeError:
        return None
    return Device(
        name=properties["name"].decode(),
        compute_capability=f"{properties['major']}.{properties['minor']}",
        driver=_driver_release() or f"CUDA {driver // 1000}.{driver % 1000 // 10}",
    )


def _driver_release() -> str:
    """The kernel module's version; a Jetson has none there."""
    try:
        return Path("/sys/module/nvidia/version").read_text().strip()
    except OSError:
        return ""
