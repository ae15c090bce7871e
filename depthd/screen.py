"""What the terminal shows while something long runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from depthd.statistics import Summary


@contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """A line with a spinner that is always the newest; where there is no terminal, one line after another."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda text: console.print(text, markup=False, soft_wrap=True)
        return
    with console.status("") as status:
        yield status.update


def live_text(summary: Summary) -> str:
    """The numbers of the last second in one line."""
    return " | ".join(
        (summary.rate_text(), summary.latency_text(), summary.fit_text(), summary.sources_text())
    )


def print_summary(summary: Summary) -> None:
    """The numbers of a whole run as a table on standard output."""
    console = Console(highlight=False)
    table = Table("stage", "p50 ms", "p99 ms", title=f"{summary.frames} frames, {summary.rate_text()}")
    for stage, latency in summary.latency.items():
        table.add_row(stage, f"{latency.p50_ms:.1f}", f"{latency.p99_ms:.1f}")
    console.print(table)
    console.print(summary.fit_text(), markup=False)
    console.print(summary.sources_text(), markup=False)
