"""Launches a kernel that begins while the one before it ends (programmatic dependent launch): CuPy cannot."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from depthd.errors import DepthdError

_PROGRAMMATIC_STREAM_SERIALIZATION = 6  # CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION


class _Attribute(ctypes.Structure):
    """CUlaunchAttribute; the value is a union of 64 bytes."""

    _fields_ = (
        ("id", ctypes.c_uint),
        ("padding", ctypes.c_uint),
        ("value", ctypes.c_int),
        ("rest", ctypes.c_char * 60),
    )


class _Config(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("attribute_count", ctypes.c_uint),
    )


def launch_overlapping(
    kernel: Any, blocks: int, threads: int, arguments: tuple[Any, ...], shared_bytes: int, stream: int
) -> None:
    """Like a CuPy kernel's call, on a stream by its address. Arguments are CuPy arrays and np.int32.

    The kernel must wait (griddepcontrol.wait) before it touches what the kernel before it writes; what came before
    that one is done. Raises DepthdError.
    """
    attribute = _Attribute(_PROGRAMMATIC_STREAM_SERIALIZATION, 0, 1)
    config = _Config((blocks, 1, 1), (threads, 1, 1), shared_bytes, stream, ctypes.pointer(attribute), 1)
    values = [_value(argument) for argument in arguments]
    pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    status = ctypes.CDLL("libcuda.so.1").cuLaunchKernelEx(
        ctypes.byref(config), ctypes.c_void_p(kernel.kernel.ptr), pointers, None
    )
    if status:
        raise DepthdError(f"the GPU refused a kernel (CUDA error {status})", "look at dmesg, or use device: cpu")


def _value(argument: Any) -> Any:
    if isinstance(argument, np.int32):
        return ctypes.c_int(int(argument))
    return ctypes.c_void_p(int(argument.data.ptr))
