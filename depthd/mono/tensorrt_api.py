"""Which TensorRT is here, and what it can: 10.x, 11.x, or TensorRT for RTX, which mirrors it.

Differences are found by capability, not by version, except for the completeness of strong typing. The facts
are NVIDIA's migration notes from 10.x to 11.x and the Python bindings of releases 10.0 to 11.1.
"""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from typing import Any, Literal

from depthd.errors import DepthdError

log = logging.getLogger(__name__)

Flavour = Literal["tensorrt", "tensorrt_rtx"]
FLAVOURS: tuple[Flavour, ...] = ("tensorrt", "tensorrt_rtx")
STRONG_TYPING_COMPLETE = (10, 12)


@dataclass(frozen=True)
class TensorRt:
    """An imported TensorRT."""

    module: Any
    flavour: Flavour

    @property
    def version(self) -> str:
        return str(self.module.__version__)

    @property
    def builds_without_gpu(self) -> bool:
        """TensorRT for RTX compiles for a range of GPUs and finishes on the one that loads the engine."""
        return self.flavour == "tensorrt_rtx"

    @property
    def has_fp16_flag(self) -> bool:
        """Until 10.x a flag lets the builder choose half precision; from 11 on the ONNX says it."""
        return hasattr(self.module.BuilderFlag, "FP16")

    @property
    def types_come_from_onnx(self) -> bool:
        """Whether networks are built strongly typed: always where there is no flag, else where it is
        complete.
        """
        major, minor = (int(part) for part in self.version.split(".")[:2])
        return not self.has_fp16_flag or (major, minor) >= STRONG_TYPING_COMPLETE

    @property
    def network_flags(self) -> int:
        """For create_network. The enum's value is 1 in 10.x and 0 later: always ask."""
        if not self.types_come_from_onnx:
            explicit_batch = getattr(self.module.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
            return 0 if explicit_batch is None else 1 << int(explicit_batch)
        return 1 << int(self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def logger(self) -> Any:
        """An ILogger that passes TensorRT's words to `logging` and keeps the errors in `.errors`."""
        return _logger_class(self.module)()

    def last_error(self, logger: Any) -> str:
        """What TensorRT logged last as an error, in one line."""
        return " ".join(logger.errors[-1].split())[:200] if logger.errors else "it gives no reason"


def find_tensorrt(flavour: Flavour | None = None) -> TensorRt:
    """Imports TensorRT, or TensorRT for RTX where that is all there is. Raises DepthdError."""
    reasons = []
    for name in (flavour,) if flavour else FLAVOURS:
        try:
            return TensorRt(importlib.import_module(name), name)
        except ImportError as error:
            reasons.append(f"{name}: {error}")
        except (OSError, RuntimeError) as error:  # its bindings load shared libraries that may be absent
            reasons.append(f"{name}: {' '.join(str(error).split())[:120]}")
    raise DepthdError(
        f"TensorRT is not installed ({'; '.join(reasons)})",
        "pip install tensorrt (data centre and Jetson: it comes with JetPack) or tensorrt-rtx (GeForce RTX)",
    )


def _logger_class(module: Any) -> type:
    levels = {
        module.ILogger.INTERNAL_ERROR: logging.ERROR,
        module.ILogger.ERROR: logging.ERROR,
        module.ILogger.WARNING: logging.WARNING,
        module.ILogger.INFO: logging.INFO,
        module.ILogger.VERBOSE: logging.DEBUG,
    }

    class Logger(module.ILogger):
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            level = levels.get(severity, logging.INFO)
            if level == logging.ERROR:
                self.errors.append(message)
            # What goes wrong is raised in one line; TensorRT's own words are for who asks for them.
            log.debug("TensorRT: %s", message) if level != logging.WARNING else log.info("TensorRT: %s", message)

    return Logger
