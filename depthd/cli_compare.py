"""`depthd compare`: a thin command over depthd/compare.py."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

TITLE = "depthd compare (q: enough)"


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
    show: Annotated[
        bool, typer.Option("--show", help="Also show each frame in a window (OpenCV); q ends the comparison early.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="The report; its figure becomes .png beside it.")] = Path(
        "out/compare.html"
    ),
) -> None:
    """Compare stereo with fitted mono over many frames: terminal, and a report to keep."""
    from rich.console import Console
    from rich.table import Table

    from depthd import compare as comparing
    from depthd import config as configuration
    from depthd import screen, window
    from depthd.export import report

    if show:
        window.check_windows()

    if config is None and not overrides:
        observations = comparing.observe_shared_memory(name, frames)
    else:
        observations = comparing.observe_camera(configuration.load(config, overrides), frames)
    collector = comparing.Collector()
    with ExitStack() as opened:
        say = opened.enter_context(screen.live_line())
        shown = opened.enter_context(window.Window(TITLE)) if show else None
        for number, seen in enumerate(observations, 1):
            collector.add(seen)
            if number == 1 or number % 10 == 0:
                say(f"frame {number} of {frames}")
            if shown is not None:
                shown.put(comparing.picture_of(seen))
                if shown.key() == window.CLOSED:
                    break
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
