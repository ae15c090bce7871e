"""Signals end native work in good order."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from depthd.mono.interruptible import run_interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_only_sets_the_event_and_is_reported(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def work(cancel: threading.Event) -> str:
        os.kill(os.getpid(), number)
        return "ended" if cancel.wait(10) else "never heard"

    assert run_interruptible(work) == ("ended", True)
    assert signal.getsignal(number) is before


def test_without_a_signal_the_result_comes_back() -> None:
    assert run_interruptible(lambda cancel: cancel.is_set()) == (False, False)


def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        run_interruptible(lambda _: 1 // 0)


def test_in_another_thread_there_are_no_signals_to_hear() -> None:
    results = []
    thread = threading.Thread(target=lambda: results.append(run_interruptible(lambda _: 1)))
    thread.start()
    thread.join()
    assert results == [(1, False)]


def test_an_ignored_signal_stays_ignored() -> None:
    program = (
        "import os, signal\nfrom depthd.mono.interruptible import run_interruptible\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "def work(cancel):\n    os.kill(os.getpid(), signal.SIGINT)\n    return cancel.wait(0.2)\n"
        "print(run_interruptible(work))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "(False, False)\n", done.stderr
