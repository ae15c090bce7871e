"""Real-time set-up in processes of its own: what is granted shows, what is refused is one line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from depthd.service.realtime import WATCHDOG_THREAD

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="real time needs root")

APPLY = """
import logging, os, sys, threading
from depthd._watchdog import Watchdog
from depthd.config import RealtimeConfig
from depthd.service import realtime
logging.basicConfig(format="%(message)s")
dog = Watchdog()
threading.Thread(target=threading.Event().wait, daemon=True).start()
{before}
realtime.apply(RealtimeConfig(**{settings!r}))
for thread, name in realtime._threads().items():
    print(name, os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority,
          sorted(os.sched_getaffinity(thread)))
print(open("/proc/self/status").read())
"""
DROP_RIGHTS = "import resource; resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0)); " + (
    "resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096)); os.setuid(65534)"
)


def apply(before: str = "", **settings: object) -> subprocess.CompletedProcess[str]:
    code = APPLY.format(before=before, settings=settings)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)


def threads(result: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    lines = result.stdout.partition("Name:")[0].splitlines()
    return {line.split()[0]: line.split(maxsplit=3)[1:] for line in lines}


@needs_root
def test_every_thread_gets_fifo_and_the_watchdog_one_more():
    if os.sched_get_priority_max(os.SCHED_FIFO) < 21:
        pytest.skip("no real-time priorities here")
    result = apply(scheduling="fifo", priority=20)
    if "refused" in result.stderr:
        pytest.skip(f"this machine refuses it to root: {result.stderr}")
    found = threads(result)
    assert found.pop(WATCHDOG_THREAD)[:2] == [str(os.SCHED_FIFO), "21"]
    assert {tuple(values[:2]) for values in found.values()} == {(str(os.SCHED_FIFO), "20")}


@needs_root
def test_memory_is_locked():
    result = apply(lock_memory=True)
    if "refused" in result.stderr:
        pytest.skip(f"this machine refuses it to root: {result.stderr}")
    locked = next(line for line in result.stdout.splitlines() if line.startswith("VmLck:"))
    assert int(locked.split()[1]) > 1000


def test_every_thread_stays_on_the_cpus_asked_for():
    cpu = min(os.sched_getaffinity(0))
    assert {values[2] for values in threads(apply(cpu_affinity=(cpu,))).values()} == {f"[{cpu}]"}


@needs_root
def test_what_is_refused_is_one_line_each_with_its_remedy():
    result = apply(DROP_RIGHTS, scheduling="fifo", lock_memory=True, cpu_affinity=(4000,))
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert "CPU affinity is refused" in lines[0]
    assert "LimitRTPRIO" in lines[1]
    assert "LimitMEMLOCK" in lines[2]
    assert {values[0] for values in threads(result).values()} == {str(os.SCHED_OTHER)}
