from typing import Any

import numpy as np

FIRST: int

def code_of_depth(depth_m: float) -> int: ...
def depth_of_code(code: int) -> float: ...
def depth_codes(plane: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """float32 (height, width), metres -> uint16 of the same shape; see kernels/codec.c."""

def pack(codes: np.ndarray[Any, Any]) -> bytes:
    """uint16, C order -> bytes; see kernels/codec.c."""

def unpack(packed: bytes, count: int) -> np.ndarray[Any, Any]:
    """Raises ValueError unless the bytes hold exactly `count` codes."""
