"""How this folder's inner loops are compiled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numba

from depthd.cameras.world.compiled_code import can_be_kept

_numba: Any = numba
# Nothing is allocated in these loops, so arrays need no reference counts: counting them at every call,
# atomically, took
# three quarters of the ray caster's time. Contraction and reciprocals change the last bit only; NaN and
# infinity keep
# their meaning, so no other fast maths.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "arcp", "nsz"}, "_nrt": False}


def compiled(function: Callable[..., Any]) -> Any:
    """Compiles at the first call and keeps the machine code for later processes, where there is a place to
    keep it: a
    service on a read-only file system or a full disk may have none, and compiles at every start.
    """
    if can_be_kept():
        # RuntimeError: Numba finds no folder for it.
        with contextlib.suppress(RuntimeError):
            return _numba.njit(cache=True, **_OPTIONS)(function)
    return _numba.njit(**_OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """For functions that take many arrays: each is seven machine words to a call, so they are folded into
    the caller.
    """
    return _numba.njit(forceinline=True, **_OPTIONS)(function)
