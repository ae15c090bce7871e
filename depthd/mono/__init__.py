"""Monocular depth networks: one file an engine, one card a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depthd.config import MonoConfig
    from depthd.mono.base import MonoEngine


def open_engine(config: MonoConfig) -> MonoEngine:
    """Loads the configured model into the configured engine. Raises DepthdError; `prepare` comes next."""
    from depthd.mono.model import find_model
    from depthd.mono.onnx import OnnxEngine

    return OnnxEngine(find_model(config.model), config.threads, config.short_side_px)
