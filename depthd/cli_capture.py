"""`depthd capture`: reads the command line and calls."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from depthd.errors import UsageError


def capture_command(
    outdir: Annotated[Path, typer.Option("--outdir", "-o", metavar="DIR", help="Folder for the files.")] = Path(
        "out/capture"
    ),
    input_svo_file: Annotated[
        Path | None,
        typer.Option("--input-svo-file", "--input_svo_file", help="Play an SVO file instead of a camera (ZED SDK)."),
    ] = None,
    ip_address: Annotated[
        str | None,
        typer.Option("--ip-address", "--ip_address", help="Take a ZED's network stream, ip:port (ZED SDK)."),
    ] = None,
    resolution: Annotated[str | None, typer.Option(help="HD2K, HD1200, HD1080, HD720, SVGA or VGA.")] = None,
    confidence_threshold: Annotated[
        int | None,
        typer.Option(
            "--confidence-threshold",
            "--confidence_threshold",
            min=0,
            max=100,
            help="Leave out depth less sure than this; 100 keeps all (ZED SDK).",
        ),
    ] = None,
    frame_rate: Annotated[
        int | None,
        typer.Option("--frame-rate", "--frame_rate", min=1, help="Write at most so many frames a second."),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.0, help="Stop after so long.")] = None,
    record: Annotated[
        str | None, typer.Option(metavar="mp4|svo", help="Write one video; svo needs the ZED SDK.")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Write numbered left and right PNG, depth .npy and camera.json.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Unrectified pictures, no depth.")] = False,
    grayscale: Annotated[bool, typer.Option("--grayscale", help="Write grey pictures.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file (YAML).")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY.PATH=VALUE", help="Overrides one key, for example camera.kind=uvc."),
    ] = None,
) -> None:
    """Write what the camera sees to disk, until Ctrl-C; `camera.kind: recording` plays it again."""
    from depthd import config as configuration
    from depthd import screen
    from depthd.cameras import open_camera
    from depthd.export.capture import CaptureOptions, capture

    if resolution and resolution not in ("HD2K", "HD1200", "HD1080", "HD720", "SVGA", "VGA"):
        raise UsageError(f"--resolution is {resolution!r}", "give HD2K, HD1200, HD1080, HD720, SVGA or VGA")
    needs_sdk = {"svo": input_svo_file, "stream": ip_address, "confidence_threshold": confidence_threshold}
    camera = configuration.load(config, [*(overrides or []), *_camera_keys(needs_sdk, resolution, raw)]).camera
    if camera.kind in ("zed", "recording"):
        camera = camera.model_copy(update={"right": True})
    options = CaptureOptions(
        folder=outdir,
        save=save or record is None,
        record=record,
        grayscale=grayscale,
        raw=raw,
        count=count,
        seconds=seconds,
        maximum_fps=frame_rate,
    )
    stopping: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: stopping.append(number))
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    source = open_camera(camera)
    try:
        with screen.live_line() as show:
            report = capture(source, options, lambda: bool(stopping), show)
    finally:
        source.close()
    typer.echo(report.line())
    typer.echo(f"wrote {outdir}")


def _camera_keys(needs_sdk: dict[str, Any], resolution: str | None, raw: bool) -> list[str]:
    """The options as configuration keys. Those that only the SDK knows choose the ZED."""
    given = {key: value for key, value in needs_sdk.items() if value is not None}
    keys = ["camera.kind=zed"] if given else []
    keys += [f"camera.{key}={value}" for key, value in given.items()]
    if resolution:
        keys.append(f"camera.resolution={resolution}")
    return keys + (["camera.raw=true"] if raw else [])
