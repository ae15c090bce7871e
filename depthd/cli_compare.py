"""`depthd compare`: a thin command over depthd/compare.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    name: Annotated[str, typer.Option(help="Shared memory of a running daemon.")] = "depthd",
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="Instead: the camera or recording of this configuration."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY.PATH=VALUE", help="Overrides one key of it. Repeatable."),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="More frames, wider range of depths.")] = 30,
    quick: Annotated[bool, typer.Option("--quick", help="Print the numbers, write nothing.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="The report; its figure becomes .png beside it.")] = Path(
        "out/compare.html"
    ),
) -> None:
    """Compare stereo with fitted mono over many frames: terminal, and a report to keep."""
    from rich.console import Console
    from rich.table import Table

    from depthd import compare as comparing
    from depthd import config as configuration
    from depthd import screen
    from depthd.export import report

    if config is None and not overrides:
        observations = comparing.observe_shared_memory(name, frames)
    else:
        observations = comparing.observe_camera(configuration.load(config, overrides), frames)
    collector = comparing.Collector()
    with screen.live_line() as show:
        for number, seen in enumerate(observations, 1):
            collector.add(seen)
            if number == 1 or number % 10 == 0:
                show(f"frame {number} of {frames}")
    judged = collector.judge()
    table = Table("where", "samples", "median", "spread", "5 %", "95 %", box=None, pad_edge=False)
    for row in report.table_of(judged):
        table.add_row(*row)
    Console(highlight=False).print(table)
    for line in comparing.summary_of(judged):
        typer.echo(line)
    if not quick:
        for path in report.write_report(out, collector, judged):
            typer.echo(f"wrote {path}")
