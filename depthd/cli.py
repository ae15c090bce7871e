"""The `depthd` command: reads the command line and calls. Everything heavy is imported where it is used."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from depthd import cli_capture, cli_compare, cli_look, cli_shm, cli_view, cli_weights
from depthd.errors import Cancelled, DepthdError, UsageError

app = typer.Typer(
    help="Hole-free metric depth from a stereo camera, published in shared memory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Show the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(cli_weights.app, name="weights")
app.command("capture")(cli_capture.capture_command)
app.command()(cli_shm.dump)
app.command()(cli_shm.record)
app.command()(cli_shm.paths)
app.add_typer(cli_shm.bridge_app, name="bridge")
app.command()(cli_view.view)
app.command()(cli_compare.compare)
app.command()(cli_look.export)
app.command()(cli_look.evaluate)
app.command()(cli_look.normals)
app.command()(cli_look.reproject)
app.command()(cli_look.show)

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Overrides one key, for example camera.fps=30. Repeatable."),
]


@app.command()
def run(
    config: ConfigFile = None,
    overrides: Overrides = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Open a window: q ends the daemon, s saves the picture.")
    ] = False,
    grayscale: cli_look.Grayscale = False,
    raw: cli_look.Raw = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start it again if it crashes or hangs, as systemd does for the service.")
    ] = False,
) -> None:
    """Run the daemon in the foreground until SIGTERM or Ctrl-C."""
    from depthd import config as configuration
    from depthd import log
    from depthd.daemon import Daemon

    if show:
        arguments = [word for key in overrides or () for word in ("--set", key)]
        arguments += ["--config", str(config)] if config else []
        arguments += ["--frames", str(frames)] if frames else []
        name = configuration.load(config, overrides).name
        raise typer.Exit(cli_look.run_in_window(name, arguments, grayscale, raw))
    log.configure()
    if restart:
        from depthd import supervisor

        configuration.load(config, overrides)
        raise typer.Exit(supervisor.supervise(supervisor.daemon_command(sys.argv[1:])))
    Daemon(lambda: configuration.load(config, overrides)).run(frames)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE.mcap", help="What `depthd record` wrote, or any recording.")],
    config: ConfigFile = None,
    overrides: Overrides = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end, for ever.")] = False,
    fps: Annotated[float | None, typer.Option(min=0.1, help="Frames a second; default: camera.fps.")] = None,
) -> None:
    """Run the daemon on a recording instead of a camera: `run` with camera.kind=recording."""
    # JSON is YAML: any file name is one value.
    recording = ["camera.kind=recording", f"camera.path={json.dumps(str(file))}", f"camera.loop={json.dumps(loop)}"]
    recording += [f"camera.fps={fps}"] if fps else []
    run(config, [*recording, *(overrides or ())], frames)


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to watch.")] = 10.0,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("out/demo.png"),
) -> None:
    """Show the daemon at work on the virtual camera, as another process sees it."""
    from depthd import screen
    from depthd.demo import run_demo

    with screen.live_line() as show:
        summary = run_demo(seconds, out, show, lambda recent: show(screen.live_text(recent)))
    screen.print_summary(summary)
    typer.echo(f"wrote {out}")


@app.command()
def fuse(
    left: Annotated[Path, typer.Argument(help="Rectified left picture.")],
    right: Annotated[Path, typer.Argument(help="Rectified right picture.")],
    camera: Annotated[
        Path, typer.Option(help="camera.json: width height fx fy cx cy baseline (mm), optional doffs (px).")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")],
    stereo_depth: Annotated[
        Path | None,
        typer.Option(help="float32 .npy in metres instead of the matcher: NaN unmatched, -inf too near, inf too far."),
    ] = None,
    mono: Annotated[
        Path | None,
        typer.Option(help="float32 .npy of any size, larger = nearer, used instead of the network."),
    ] = None,
    max_disparity: Annotated[int | None, typer.Option(min=1, help="Largest disparity to search, in pixels.")] = None,
    model: Annotated[str | None, typer.Option(help="Mono model, by its name in weights/manifest.yaml.")] = None,
) -> None:
    """Fuse one pair of rectified pictures, without a daemon."""
    from depthd import offline, screen
    from depthd.config import MatcherConfig, MonoConfig

    inputs = offline.Inputs(
        left=left,
        right=right,
        camera=camera,
        stereo_depth=stereo_depth,
        mono=mono,
        matcher=MatcherConfig(maximum_disparity_px=max_disparity),
        engine=MonoConfig(model=model) if model else MonoConfig(),
    )
    with screen.live_line() as show:
        stopwatch = offline.Stopwatch(show)
        report = offline.write_results(offline.fuse_pair(inputs, stopwatch), out, stopwatch)
    typer.echo(offline.summary_of(report))
    typer.echo(f"wrote {out}")


@app.command()
def doctor(
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Look at everything that must be right on this machine; exit status 1 where something is wrong."""
    from depthd import config as configuration
    from depthd import doctor as examination
    from depthd import screen

    findings = examination.examine(configuration.load(config, overrides), examination.System())
    if as_json:
        typer.echo(screen.findings_json(findings))
    else:
        screen.print_findings(findings)
    if any(finding.verdict == examination.Verdict.FAIL for finding in findings):
        raise typer.Exit(1)


@config_app.command("show")
def config_show(config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Print the configuration in force as commented YAML."""
    from depthd import config as configuration

    typer.echo(configuration.to_yaml(configuration.load(config, overrides)), nl=False)


def _add_engine_commands(arguments: list[str]) -> None:
    """`depthd engine` imports what a reader does not have, so only where it is called or listed."""
    if not arguments or arguments[0].startswith("-") or arguments[0] == "engine":
        from depthd import cli_engine

        app.add_typer(cli_engine.app, name="engine")


def main() -> None:
    """Exit status 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C; an error is one line on stderr."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        _add_engine_commands(sys.argv[1:])
        app(prog_name="depthd")
    except DepthdError as error:
        print(f"depthd: {error}", file=sys.stderr)
        sys.exit(130 if isinstance(error, Cancelled) else 2 if isinstance(error, UsageError) else 1)
