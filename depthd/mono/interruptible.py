"""Work in native code that Ctrl-C ends in good order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

Result = TypeVar("Result")


def run_interruptible(work: Callable[[threading.Event], Result]) -> tuple[Result, bool]:
    """Runs `work` in a thread of its own and waits for it; returns its result and whether it was to be ended.

    SIGINT and SIGTERM set the event that `work` is given, and do nothing else. As Python's own handlers they would
    raise KeyboardInterrupt in whatever Python code runs in the main thread, which may have been called by native
    code that no exception may pass. Raises what `work` raises.
    """
    cancel = threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work(cancel))
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=body, name="interruptible")
    with _signals_set(cancel):
        worker.start()
        worker.join()
    if errors:
        raise errors[0]
    return results[0], cancel.is_set()


@contextlib.contextmanager
def _signals_set(cancel: threading.Event) -> Iterator[None]:
    """Outside the main thread signals cannot be handled. One that is ignored, as SIGINT in a background job of a
    script, stays so.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, lambda *_: cancel.set())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
