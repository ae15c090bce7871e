"""These tests need an NVIDIA GPU and CuPy, and say so where they are missing."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def cupy() -> Any:
    module = pytest.importorskip("cupy", reason="CuPy is not installed")
    try:
        module.cuda.runtime.getDevice()
    except module.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no usable GPU: {error}")
    return module
