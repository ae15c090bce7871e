"""`depthd engine`: thin commands over depthd/engines.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from depthd import engines
from depthd.engines import Target
from depthd.errors import Cancelled, DepthdError
from depthd.mono.engine_build import DEFAULT_SIZES_PX, Runner
from depthd.mono.engine_cache import Precision, engines_folder
from depthd.mono.tensorrt_api import TensorRt, find_tensorrt

app = typer.Typer(help="Build TensorRT engines, and see which can be used here.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Option("--folder", envvar="DEPTHD_WEIGHTS", help="Weights folder; default: the one that comes with depthd."),
]


class Bars:
    """TensorRT's phases as bars, the inner ones below the outer."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, tuple[TaskID, int]] = {}

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        depth = self._tasks[parent][1] + 1 if parent in self._tasks else 0
        self._tasks[name] = self._progress.add_task("  " * depth + name, total=steps), depth

    def step(self, name: str, step: int) -> bool:
        if name in self._tasks:
            self._progress.update(self._tasks[name][0], completed=step + 1)
        return True

    def finish(self, name: str) -> None:
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name)[0])


@app.command()
def build(
    model: Annotated[list[str] | None, typer.Option(help="Name or .onnx file. Repeatable.")] = None,
    sizes: Annotated[str, typer.Option(help="Short sides in px.")] = ",".join(map(str, DEFAULT_SIZES_PX)),
    aspect: Annotated[str, typer.Option(help="WIDTH:HEIGHT, square, or camera (the configured one).")] = "16:9",
    precision: Annotated[Literal["fp16", "fp32"], typer.Option(help="Of the arithmetic.")] = "fp16",
    every: Annotated[bool, typer.Option("--all", help="Every model that is here.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Build engines that are there already, too.")] = False,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="For --aspect camera.")] = None,
    folder: Folder = None,
) -> None:
    """Build engines for this GPU, and check each against ONNX Runtime before it is put in place."""
    api = find_tensorrt()
    shape = engines.parse_aspect(aspect, lambda: _camera_size(config))
    short_sides_px = engines.parse_sizes(sizes)
    run = _runner(api)
    failed = []
    for one in engines.models(model or ["depthd-small"], every, folder):
        try:
            for target in engines.targets(one, short_sides_px, shape, lambda note: typer.echo(note, err=True)):
                _build_one(api, target, precision, folder, run, again)
        except Cancelled:
            raise
        except DepthdError as error:
            if not every:
                raise
            typer.echo(f"{one.name}: {error}", err=True)
            failed.append(one.name)
    if failed:
        raise DepthdError(f"not every engine of {', '.join(failed)} was built", "the reasons are above")


def _build_one(
    api: TensorRt, target: Target, precision: Precision, folder: Path | None, run: Runner | None, again: bool
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        engine, is_new = engines.build(api, target, precision, folder, run, Bars(progress), again)
    typer.echo(f"{engine.plan.name}: {_verdict(engine.worst_error) if is_new else 'is there already'}")


@app.command("list")
def list_command(folder: Folder = None) -> None:
    """Show every engine, and why one cannot be used here."""
    table = Table(box=None, pad_edge=False)
    for title in ("model", "size", "precision", "runtime", "MB", "off by", "usable"):
        table.add_column(title, no_wrap=title in ("model", "size"), overflow="fold")
    for engine, why_not in engines.list_engines(_tensorrt_or_none(), folder):
        key = engine.key
        table.add_row(
            engine.model,
            f"{key.width}x{key.height}",
            key.precision,
            f"{key.runtime} {key.version}",
            f"{engine.size_bytes / 1e6:.1f}",
            "not run yet" if engine.worst_error is None else f"{engine.worst_error:.1e}",
            f"no: {why_not}" if why_not else "yes",
        )
    if table.row_count == 0:
        typer.echo(f"no engines in {engines_folder(folder)}; make some with `depthd engine build`")
        return
    Console().print(table)


@app.command()
def prune(folder: Folder = None) -> None:
    """Remove engines that cannot be used here, and what interrupted builds left."""
    for path, reason in engines.prune(_tensorrt_or_none(), folder):
        typer.echo(f"removed {path.name}: {reason}")


def _verdict(worst_error: float | None) -> str:
    if worst_error is None:
        return "built; there is no GPU to run it here, so it is checked at the first start"
    return f"built and checked, off by {worst_error:.1e} (relative L2) from ONNX Runtime"


def _runner(api: TensorRt) -> Runner | None:
    """Runs plans for the golden check; None without a GPU."""
    from depthd.mono.device import find_device

    if find_device() is None:
        return None
    from depthd.mono.cuda_memory import CudaMemory
    from depthd.mono.tensorrt import run_on

    return run_on(api, CudaMemory())


def _tensorrt_or_none() -> TensorRt | None:
    try:
        return find_tensorrt()
    except DepthdError:
        return None


def _camera_size(path: Path | None) -> tuple[int, int]:
    """(width, height) of the configured camera, which is opened for it."""
    from depthd import config
    from depthd.cameras import open_camera

    source = open_camera(config.load(path).camera)
    try:
        return source.camera.width, source.camera.height
    finally:
        source.close()
