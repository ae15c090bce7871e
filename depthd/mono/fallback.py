"""`mono.engine: auto`: the first engine that can be opened and prepared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from depthd.errors import DepthdError
from depthd.frame import Array
from depthd.mono.base import MonoEngine
from depthd.mono.model import ModelCard, find_model
from depthd.mono.on_stream import DeviceNetwork, RunsOnStream

if TYPE_CHECKING:
    from depthd.config import MonoConfig

log = logging.getLogger(__name__)

Opener = Callable[["MonoConfig"], MonoEngine]


class FirstThatWorks:
    """A MonoEngine that becomes one of several when the picture's size is known.

    Whether there is a TensorRT engine, and whether it passes the golden check, is only known for a size. The
    log says in one line which engine was taken, and why not one before it. The error of the last one is raised.
    """

    def __init__(self, config: MonoConfig, openers: Sequence[Opener]) -> None:
        self._config = config
        self._openers = openers
        self._card = find_model(config.model, folder=config.weights_dir).card
        self._engine: MonoEngine | None = None

    @property
    def title(self) -> str:
        return self._engine.title if self._engine is not None else "none yet"

    @property
    def card(self) -> ModelCard:
        return self._card

    def prepare(self, height: int, width: int) -> None:
        self.close()
        reasons: list[str] = []
        for opener in self._openers[:-1]:
            try:
                self._take(self._prepared(opener, height, width), reasons)
                return
            except DepthdError as error:
                reasons.append(str(error))
        self._take(self._prepared(self._openers[-1], height, width), reasons)

    def _take(self, engine: MonoEngine, reasons: Sequence[str]) -> None:
        self._engine = engine
        log.info("mono engine: %s%s", engine.title, f", since {'; '.join(reasons)}" if reasons else "")

    def infer(self, left_bgr: Array) -> Array:
        if self._engine is None:
            raise RuntimeError("prepare() comes before infer()")
        return self._engine.infer(left_bgr)

    def on_stream(self) -> DeviceNetwork | None:
        return self._engine.on_stream() if isinstance(self._engine, RunsOnStream) else None

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _prepared(self, opener: Opener, height: int, width: int) -> MonoEngine:
        engine = opener(self._config)
        try:
            engine.prepare(height, width)
        except BaseException:
            engine.close()
            raise
        return engine
