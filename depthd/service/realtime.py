"""Real-time set-up of the whole process. What the system refuses is said in one line and is no error."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
from collections.abc import Callable

from depthd.config import RealtimeConfig

log = logging.getLogger(__name__)

WATCHDOG_THREAD = "depthd-watchdog"
_MCL_CURRENT, _MCL_FUTURE = 1, 2


def apply(config: RealtimeConfig) -> None:
    """Sets affinity, scheduling and memory locking for all threads, and freezes the garbage collector.

    To be called once everything is warm: threads and memory made later are not covered, except that
    threads inherit affinity and scheduling from the one that makes them.
    """
    if config.cpu_affinity:
        _try("CPU affinity", _set_affinity, config)
    if config.scheduling == "fifo":
        _try("real-time scheduling", _set_fifo, config)
    if config.lock_memory:
        _try("locking memory", _lock_memory, config)
    if config.freeze_garbage:
        gc.collect()
        gc.freeze()


def _try(name: str, setting: Callable[[RealtimeConfig], None], config: RealtimeConfig) -> None:
    try:
        setting(config)
    except OSError as error:
        log.warning("%s is refused (%s); going on without. %s", name, error.strerror, _REMEDY[setting])


def _set_affinity(config: RealtimeConfig) -> None:
    for thread in _threads():
        os.sched_setaffinity(thread, config.cpu_affinity)


def _set_fifo(config: RealtimeConfig) -> None:
    for thread, name in _threads().items():
        # The watchdog must run even when a real-time thread spins.
        priority = config.priority + (name == WATCHDOG_THREAD)
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))


def _lock_memory(_config: RealtimeConfig) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _threads() -> dict[int, str]:
    threads = {}
    for entry in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{entry}/comm") as comm:
                threads[int(entry)] = comm.read().strip()
        except FileNotFoundError:
            continue  # it ended meanwhile
    return threads


_REMEDY: dict[Callable[[RealtimeConfig], None], str] = {
    _set_affinity: "See realtime.cpu_affinity: does the machine have these CPUs?",
    _set_fifo: "Allow it with LimitRTPRIO= (systemd) or ulimit -r",
    _lock_memory: "Allow it with LimitMEMLOCK=infinity (systemd) or ulimit -l",
}
