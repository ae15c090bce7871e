"""What the terminal shows while something long runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from depthd.doctor import Finding, Verdict
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
    return " | ".join((summary.rate_text(), summary.latency_text(), summary.fit_text(), summary.sources_text()))


def print_summary(summary: Summary) -> None:
    """The numbers of a whole run as a table on standard output."""
    console = Console(highlight=False)
    table = Table("stage", "p50 ms", "p99 ms", title=f"{summary.frames} frames, {summary.rate_text()}")
    for stage, latency in summary.latency.items():
        table.add_row(stage, f"{latency.p50_ms:.1f}", f"{latency.p99_ms:.1f}")
    console.print(table)
    console.print(summary.fit_text(), markup=False)
    console.print(summary.sources_text(), markup=False)


_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red", Verdict.ABSENT: "dim"}


def print_findings(findings: Sequence[Finding]) -> None:
    """What `depthd doctor` found, as a table on standard output."""
    table = Table("", "what", "found", "how to mend it")
    for finding in findings:
        verdict = f"[{_COLOURS[finding.verdict]}]{finding.verdict.value}[/]"
        table.add_row(verdict, *(escape(text) for text in (finding.name, finding.found, finding.remedy)))
    Console(highlight=False).print(table)


def findings_json(findings: Sequence[Finding]) -> str:
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)
