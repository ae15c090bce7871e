"""Commands that look at frames: export, evaluate, normals, reproject, show. Thin; the work is done
elsewhere.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from depthd.errors import DepthdError, UsageError

if TYPE_CHECKING:
    from depthd.saved import SavedFrame
    from depthd.shm.reader import Frame, Reader

START_LIMIT_S = 120.0

Name = Annotated[str, typer.Option(help="Shared memory of a running daemon.")]
FrameFile = Annotated[
    Path | None,
    typer.Option("--frame", metavar="FILE", help="Instead: a .npz of the live page, or a folder of `depthd fuse`."),
]
Depth = Annotated[str, typer.Option(help="fused or stereo.")]


def export(
    name: Name = "depthd",
    frame: FrameFile = None,
    save_depth: Annotated[Path | None, typer.Option(help="Fused depth: .npy in m, or .png in mm (16 bit).")] = None,
    save_ply: Annotated[Path | None, typer.Option(help="Cloud of stereo depth: .ply or .pcd.")] = None,
    save_fullply: Annotated[Path | None, typer.Option(help="Cloud of fused depth: .ply or .pcd.")] = None,
    mp4: Annotated[Path | None, typer.Option(help="Film of the panels.")] = None,
    rerun: Annotated[
        str | None,
        typer.Option(metavar="FILE|live|URL", help="An .rrd file, Rerun's viewer, or one elsewhere (rerun+http://…)."),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="How many frames films and Rerun get.")] = 100,
    fps: Annotated[float, typer.Option(min=0.1, help="Rate at which the film is played.")] = 15.0,
) -> None:
    """Write what the daemon publishes: depth, point clouds, films, Rerun."""
    if not any((save_depth, save_ply, save_fullply, mp4, rerun)):
        raise UsageError("nothing to write was named", "see `depthd export --help`")
    if save_depth or save_ply or save_fullply:
        _export_one(_frame(name, frame), save_depth, save_ply, save_fullply)
    if mp4:
        from depthd.export.video import write_mp4

        count = write_mp4(mp4, _next_frames(name, frames), fps)
        typer.echo(f"wrote {mp4}: {count} frames")
    if rerun:
        from depthd.export.rerun_log import RerunLog

        with closing(RerunLog(rerun)) as log:
            for seen in _next_frames(name, frames):
                log.add(seen)
        typer.echo(f"gave {frames} frames to {rerun}")


def _export_one(saved: SavedFrame, depth: Path | None, stereo_cloud: Path | None, cloud: Path | None) -> None:
    from depthd.export.clouds import write_cloud
    from depthd.export.files16 import write_depth

    if depth:
        write_depth(depth, saved.depth_m)
        typer.echo(f"wrote {depth}")
    for path, which in ((stereo_cloud, "stereo"), (cloud, "fused")):
        if path:
            typer.echo(f"wrote {path}: {write_cloud(path, saved, which)} points")


def evaluate(
    name: Name = "depthd",
    frame: FrameFile = None,
    plane: Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="Fit a plane to this region.")] = None,
    sphere: Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="Fit a sphere to this region.")] = None,
    depth: Depth = "fused",
    distance_mm: Annotated[
        float | None, typer.Option(min=1.0, help="Distance that you measured, along the optical axis (mm).")
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="X,Y", help="The pixel that you measured.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Picture of the fit's residual.")] = None,
    truth: Annotated[
        int | None,
        typer.Option(min=1, metavar="FRAMES", help="Against the exact depth of the virtual camera."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="For --truth.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="For --truth.")] = None,
) -> None:
    """Judge the depth: is a plane a plane, a sphere a sphere, and a measured distance right?"""
    from depthd import evaluate as evaluation

    if depth not in ("fused", "stereo"):
        raise UsageError(f"--depth {depth} is unknown", "use fused or stereo")
    if truth:
        _print_truth(truth, config, overrides)
        return
    if not (plane or sphere or distance_mm):
        raise UsageError("nothing to judge was named", "give --plane, --sphere, --distance-mm with --at, or --truth")
    saved = _frame(name, frame)
    for kind, text in (("plane", plane), ("sphere", sphere)):
        if not text:
            continue
        region = evaluation.Region.parse(text)
        report = evaluation.fit_shape(saved, region, kind, depth)
        typer.echo("\n".join(evaluation.describe_shape(report)))
        if picture:
            from depthd.export.panels import write_picture
            from depthd.files import written_whole

            with written_whole(picture) as part:
                write_picture(part, evaluation.residual_picture(saved, region, report))
            typer.echo(f"wrote {picture}")
    if distance_mm:
        for line in evaluation.distance_lines(saved, _pixel(at), distance_mm):
            typer.echo(line)


def _print_truth(frames: int, config: Path | None, overrides: list[str] | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from depthd import config as configuration
    from depthd import evaluate as evaluation

    rows = evaluation.against_truth(configuration.load(config, overrides), frames)
    table = Table("source", "share", "median error", "mean error", "within sigma", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            row.name,
            *(f"{100 * v:.2f} %" for v in (row.share, row.median_error, row.mean_error, row.within_sigma)),
        )
    Console(highlight=False).print(table)


def normals(
    out: Annotated[Path, typer.Option("--out", "-o", help="A picture (.png), or .npy with float32 (h, w, 3).")],
    name: Name = "depthd",
    frame: FrameFile = None,
    depth: Depth = "fused",
    window: Annotated[int, typer.Option(min=1, max=31, help="Smoothed over this many pixels.")] = 5,
) -> None:
    """Write the surface normals of a frame."""
    from depthd.export.normals import write_normals
    from depthd.geometry import normals_of

    saved = _frame(name, frame)
    write_normals(out, normals_of(saved.depth_of(depth), saved.camera, window))
    typer.echo(f"wrote {out}")


def reproject(
    out: Annotated[Path, typer.Option("--out", "-o", help="Animated .gif.")],
    name: Name = "depthd",
    frame: FrameFile = None,
    degrees: Annotated[float, typer.Option(min=0.5, max=45.0, help="How far it sways.")] = 12.0,
) -> None:
    """Show a frame from new viewpoints, as an animation."""
    from depthd.export.reproject import write_gif

    write_gif(out, _frame(name, frame), degrees)
    typer.echo(f"wrote {out}")


Grayscale = Annotated[bool, typer.Option("--grayscale", help="With a window: depth in grey, near is bright.")]
Raw = Annotated[bool, typer.Option("--raw", help="With a window: fused depth alone.")]


def show(name: Name = "depthd", grayscale: Grayscale = False, raw: Raw = False) -> None:
    """Show a running daemon in a window (OpenCV): q closes it, s saves the picture."""
    import depthd
    from depthd import window

    window.check_windows()
    with depthd.open(name) as reader:
        window.show(reader, grayscale, raw, lambda: None, typer.echo)


def run_in_window(name: str, arguments: list[str], grayscale: bool, raw: bool) -> int:
    """`depthd run --show`: the daemon in a process of its own, the window in this one; returns the exit
    status.
    """
    from depthd import window

    window.check_windows()
    daemon = subprocess.Popen([sys.executable, "-m", "depthd", "run", *arguments])

    def check() -> None:
        if daemon.poll() is not None:
            raise DepthdError(f"the daemon ended with status {daemon.returncode}", "see what it said above")

    try:
        with _attached(name, check) as reader:
            window.show(reader, grayscale, raw, check, typer.echo)
    finally:
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
        status = daemon.wait()
    return status


def _attached(name: str, check: Callable[[], None]) -> Reader:
    import depthd

    end = time.monotonic() + START_LIMIT_S
    while True:
        check()
        try:
            return depthd.open(name)
        except DepthdError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _frame(name: str, path: Path | None) -> SavedFrame:
    from depthd import saved

    return saved.load(path) if path else saved.next_frame(name)


def _next_frames(name: str, count: int) -> Iterator[Frame]:
    import depthd
    from depthd.shm.errors import Overwritten

    with depthd.open(name) as reader:
        left = count
        while left:
            try:
                frame = reader.wait(timeout=5.0).copy()
            except Overwritten:
                continue
            left -= 1
            yield frame


def _pixel(text: str | None) -> tuple[int, int]:
    try:
        x, y = (int(part) for part in (text or "").split(","))
    except ValueError:
        raise UsageError("--distance-mm needs the pixel that was measured", "add --at x,y") from None
    return x, y
