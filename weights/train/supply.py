"""Batches of scenes, drawn by other processes while the GPU works, in an order that depends on the seed alone."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from queue import Full
from typing import Any

from train.batch import Batch, draw_batch
from train.settings import Settings

_AHEAD = 3
"""Batches that each process draws ahead."""


@contextmanager
def batches(settings: Settings, first: int = 0) -> Iterator[Iterator[Batch]]:
    """An endless row of batches, from this number on."""
    context = multiprocessing.get_context("spawn")
    queues: list[Queue[Batch]] = [context.Queue(_AHEAD) for _ in range(settings.workers)]
    # Daemons: they end with this process, however it ends.
    workers = [
        context.Process(target=_draw, args=(queue, settings, first + number), daemon=True)
        for number, queue in enumerate(queues)
    ]
    for worker in workers:
        worker.start()
    try:
        yield _in_turn(queues)
    finally:
        for worker in workers:
            worker.terminate()


def _in_turn(queues: list[Any]) -> Iterator[Batch]:
    while True:
        for queue in queues:
            yield queue.get(timeout=120)


def _draw(queue: Any, settings: Settings, number: int) -> None:
    os.nice(5)  # the process that feeds the GPU goes first
    parent = os.getppid()
    while True:
        seed = settings.seed * 10**9 + number
        batch = draw_batch(seed, settings.scenes_a_batch, settings.views_a_scene, settings.textures)
        while not _put(queue, batch):
            if os.getppid() != parent:  # it was killed
                return
        number += settings.workers


def _put(queue: Any, batch: Batch) -> bool:
    try:
        queue.put(batch, timeout=5)
    except Full:
        return False
    return True
