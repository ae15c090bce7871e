"""`depthd run --restart`: what systemd does for a service, for a daemon in the foreground.

The daemon is crash-only: stuck in a native call, it ends itself, and its successor takes over the shared
memory object, so that attached readers go on. Here is who starts the successor where there is no systemd.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
STEADY_S = 10.0
"""After a daemon that lived so long (s), pauses begin anew."""
_PR_SET_PDEATHSIG = 1


def supervise(command: Sequence[str]) -> int:
    """Runs the command, and again whenever a signal that nobody sent through here ended it; returns the exit
    status of the last run. SIGTERM, SIGINT and SIGHUP are passed on; the first two also end the supervision.

    A run that ends by itself, with any status, is not repeated: 1 and 2 are for the user to mend.
    """
    child: subprocess.Popen[bytes] | None = None
    stopping = False

    def pass_on(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = stopping or number != signal.SIGHUP
        if child is not None and child.poll() is None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    pause_s = FIRST_PAUSE_S
    while True:
        started = time.monotonic()
        child = subprocess.Popen(command, preexec_fn=_die_with_parent, start_new_session=True)
        if stopping:  # the signal came while there was nobody to pass it on to
            child.terminate()
        status = child.wait()
        if status >= 0 or stopping:
            return max(status, 0) if stopping and status < 0 else status
        if time.monotonic() - started >= STEADY_S:
            pause_s = FIRST_PAUSE_S
        log.warning("depthd ended by %s; started again in %.1f s", signal.Signals(-status).name, pause_s)
        _sleep_unless(lambda: stopping, pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        if stopping:
            return 0


def daemon_command(arguments: Sequence[str]) -> list[str]:
    """The command line of the daemon itself, from that of whoever supervises it."""
    return [sys.executable, "-m", "depthd", *(word for word in arguments if word != "--restart")]


def _sleep_unless(stopped: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not stopped() and (left := end - time.monotonic()) > 0:
        time.sleep(min(0.05, left))


def _die_with_parent() -> None:
    """Whoever kills the supervisor with SIGKILL ends the daemon too."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
