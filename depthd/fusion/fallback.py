"""A fusion that goes on on the CPU when the GPU fails: what `device: auto` promises."""

from __future__ import annotations

import logging
from collections.abc import Callable

from depthd.errors import DepthdError
from depthd.frame import Array, FusedPlanes, FusionResult
from depthd.fusion.base import Fusion

log = logging.getLogger(__name__)


class FallbackFusion:
    """See depthd.fusion.base.Fusion. Uses `first` until it raises DepthdError, and from then on what
    `make_second` makes."""

    def __init__(self, first: Fusion, make_second: Callable[[], Fusion]) -> None:
        self._fusion = first
        self._make_second: Callable[[], Fusion] | None = make_second

    def fuse(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> FusionResult:
        try:
            return self._fusion.fuse(stereo_depth_m, mono, out)
        except DepthdError as error:
            if self._make_second is None:
                raise
            log.error("the fusion goes on on the CPU, its memory lost: %s", error)
            self._fusion, self._make_second = self._make_second(), None
            return self._fusion.fuse(stereo_depth_m, mono, out)

    def reset(self) -> None:
        self._fusion.reset()
