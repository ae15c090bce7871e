"""Pictures to learn from, cast while the student still learns from the ones before.

Casting is arithmetic and learning is memory traffic, so on a GPU the two share the machine better than they follow
each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from train.batch import Batch
from train.network import normalised
from train.renderer import Renderer
from train.sensor import photographed


class Pictures(NamedTuple):
    """inputs: (n, 3, height, width), normalised; inverse_depth: (n, height, width) in 1/m."""

    inputs: Tensor
    inverse_depth: Tensor


class Caster:
    """side_by_side: cast on a stream of its own, which learning goes before; needs a GPU."""

    def __init__(self, renderer: Renderer, supply: Iterator[Batch], side_by_side: bool) -> None:
        self._renderer, self._supply = renderer, supply
        self._stream = torch.cuda.Stream(priority=0) if side_by_side else None
        self._ready: Pictures | None = None
        self._done = torch.cuda.Event() if side_by_side else None
        self._learned: list[torch.cuda.Event] = []

    def learning(self) -> AbstractContextManager[object]:
        """Within it lies everything that learns."""
        if self._stream is None:
            return nullcontext()
        torch.cuda.synchronize()
        return torch.cuda.stream(torch.cuda.Stream(priority=-1))

    def begin(self, height: int, width: int) -> None:
        """Casts the next batch; take() gives it."""
        batch = next(self._supply)
        if self._stream is None:
            self._ready = self._cast(batch, height, width)
            return
        with torch.cuda.stream(self._stream):
            self._ready = self._cast(batch, height, width)
            assert self._done is not None
            self._done.record(self._stream)

    def take(self) -> Pictures:
        pictures, self._ready = self._ready, None
        assert pictures is not None, "begin() comes first"
        if self._done is not None:
            learning = torch.cuda.current_stream()
            learning.wait_event(self._done)
            for tensor in pictures:
                tensor.record_stream(learning)
        return pictures

    def keep_pace(self) -> None:
        """Called after each step: the host runs at most a step ahead of the device, so that pictures do not pile up."""
        if self._stream is None:
            return
        self._learned.append(torch.cuda.Event(blocking=True))
        self._learned[-1].record()
        if len(self._learned) > 2:
            self._learned.pop(0).synchronize()

    @torch.no_grad()
    def _cast(self, batch: Batch, height: int, width: int) -> Pictures:
        radiance, inverse_depth = self._renderer(batch, height, width)
        inputs = normalised(photographed(radiance)).contiguous(memory_format=torch.channels_last)
        return Pictures(inputs, inverse_depth)
