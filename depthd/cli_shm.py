"""Commands that read the shared memory, as any other program does: dump, record, bridge, paths."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated

import typer

from depthd.errors import UsageError

Name = Annotated[str, typer.Option(help="Name of the shared memory.")]
Frames = Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")]


def dump(
    name: Name = "depthd",
    frames: Frames = None,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Save every frame's planes as .npy.")] = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="Print rates and latencies at the end instead of every frame.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs, a line a frame.")] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove what dead writers left behind, and do nothing else.")
    ] = False,
    killed: Annotated[
        bool, typer.Option("--killed", help="With --clean: not what was kept on purpose at a clean stop.")
    ] = False,
) -> None:
    """Attach to a running daemon and print every frame: id, age, latency, fit."""
    import depthd
    from depthd import dump as dumping
    from depthd.shm import inspect

    if killed and not clean:
        raise UsageError("--killed says what --clean removes", "give both")
    if clean:
        removed = inspect.clean(only_killed=killed)
        typer.echo("\n".join(f"removed {left_behind}" for left_behind in removed) or "nothing was left behind")
        return
    if stats and frames is None:
        raise UsageError("--stats has no end", "say how many frames with --frames")
    statistics = inspect.FrameStatistics()
    with depthd.open(name) as reader:
        for frame, seen_ns in dumping.frames_of(reader, frames):
            statistics.add(frame, seen_ns)
            if save is not None:
                dumping.save(frame, save)
            if not stats:
                line = json.dumps(inspect.frame_as_dict(frame, seen_ns)) if as_json else None
                typer.echo(line or dumping.line_of(frame, seen_ns))
    if stats:
        typer.echo(json.dumps(statistics.summary()) if as_json else statistics.table())


def record(
    file: Annotated[Path, typer.Argument(metavar="FILE.mcap", help="What to write; it must not end short.")],
    name: Name = "depthd",
    frames: Frames = None,
    points: Annotated[bool, typer.Option("--points", help="Record a point cloud too.")] = False,
) -> None:
    """Record what the daemon publishes as ROS 2 messages (MCAP); Ctrl-C ends a whole file."""
    import depthd
    from depthd.export import mcap

    signal.signal(signal.SIGINT, signal.default_int_handler)
    with depthd.open(name) as reader, mcap.McapRecorder(file, name, points) as recorder:
        mcap.record(reader, recorder, frames)
    typer.echo(f"wrote {file}")


bridge_app = typer.Typer(help="Send frames to other machines.", no_args_is_help=True)


@bridge_app.callback()
def bridge() -> None:
    """Send frames to other machines."""


@bridge_app.command("zenoh")
def bridge_zenoh(
    name: Name = "depthd",
    frames: Frames = None,
    stream: Annotated[
        list[str] | None, typer.Option(help="What to send; may be repeated. Default: what is compressed.")
    ] = None,
    rate_hz: Annotated[float | None, typer.Option(min=0.1, help="At most this many frames a second.")] = None,
    domain: Annotated[int, typer.Option(min=0, help="ROS_DOMAIN_ID.")] = 0,
    listen: Annotated[list[str] | None, typer.Option(help="Endpoint such as tcp/0.0.0.0:7447.")] = None,
    connect: Annotated[list[str] | None, typer.Option(help="Endpoint such as tcp/192.168.1.2:7447.")] = None,
) -> None:
    """Publish frames over zenoh under the keys of rmw_zenoh, so that ROS 2 nodes subscribe without our code."""
    import depthd
    from depthd.bridge import zenoh

    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = zenoh.BridgeOptions(
        streams=tuple(stream) if stream else zenoh.DEFAULT_STREAMS,
        rate_hz=rate_hz,
        domain=domain,
        listen=tuple(listen or ()),
        connect=tuple(connect or ()),
    )
    with depthd.open(name) as reader, zenoh.ZenohBridge(name, options) as sender:
        sent = zenoh.run(reader, sender, frames)
    typer.echo(f"sent {sent} frames")


def paths(
    cflags: Annotated[bool, typer.Option("--cflags", help="Print what a C compiler needs to find depthd.h.")] = False,
) -> None:
    """Print where depthd keeps what other programs need."""
    from depthd import paths as where

    if cflags:
        typer.echo(where.cflags())
        return
    for label, folder in (
        ("pkg-config", where.PKG_CONFIG_DIR),
        ("cmake", where.CMAKE_DIR),
        ("configuration", where.CONFIG_DIR),
        ("weights", where.WEIGHTS_DIR),
    ):
        typer.echo(f"{label:14} {folder}")
