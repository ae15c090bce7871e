"""`depthd view`: a thin command over depthd/web."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import typer

from depthd.errors import DepthdError, UsageError


def view(
    name: Annotated[str, typer.Option(help="Name of the shared memory.")] = "depthd",
    host: Annotated[
        str,
        typer.Option(
            "--host", "--bind", metavar="ADDRESS", help="Address to listen on; any but loopback needs a token."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0: any free one.")] = 8080,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="DEPTHD_VIEW_TOKEN",
            help="Asked for before anything is shown; default: a new one where needed. Other users of this machine "
            "can read a command line: rather use --token-file, or the variable.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read the token from the first line of this file.")
    ] = None,
    control: Annotated[
        Path | None, typer.Option(metavar="SOCKET", help="The daemon's control.socket, where it is set.")
    ] = None,
    picture: Annotated[
        str, typer.Option(metavar="jpeg|webp", help="webp: half the bytes for thirty times the time; for slow links.")
    ] = "jpeg",
    fps: Annotated[float, typer.Option(min=0.1, max=120.0, help="At most this many frames a second.")] = 30.0,
) -> None:
    """Serve a live page of what the daemon publishes. Reads shared memory only; the daemon pays nothing."""
    try:
        from depthd.web import server
        from depthd.web.access import token_in
        from depthd.web.encode import PICTURES
    except ModuleNotFoundError as missing:
        raise DepthdError(f"the live page needs {missing.name}", "pip install 'depthd[web]'") from None

    if token_file is not None:
        token = token_in(token_file)
    if picture not in PICTURES:
        raise UsageError(f"--picture {picture} is unknown", f"use {' or '.join(PICTURES)}")
    options = server.ViewOptions(name, host, port, token, fps, picture, control)
    warning = server.warning_for(options)
    if warning:
        typer.echo(warning, err=True)
    serving = server.Server(options)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serving.run(lambda url: typer.echo(f"open {url}")))
