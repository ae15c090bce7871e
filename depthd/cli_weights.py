"""`depthd weights`: thin commands over depthd/weights.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from depthd.errors import DepthdError

app = typer.Typer(help="List, fetch, check and add models.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Option("--folder", envvar="DEPTHD_WEIGHTS", help="Weights folder; default: the one that comes with depthd."),
]


@app.command("list")
def list_command(folder: Folder = None) -> None:
    """Show every model: whether it is here, its licence, and what its output means."""
    from rich.console import Console
    from rich.table import Table

    from depthd import weights

    table = Table(box=None, pad_edge=False)
    for title in ("model", "state", "output", "licence"):
        table.add_column(title, no_wrap=title != "licence", overflow="fold")
    for model in weights.list_models(folder):
        card = model.card
        licence = f"{card.licence} *" if card.ask_licence else card.licence
        table.add_row(model.name, model.state, card.output_kind, licence)
    Console().print(table)
    typer.echo("* fetched only with --accept-license")


@app.command()
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Models from `depthd weights list`.")],
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Fetch a model that is not free for commercial use.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Fetch models from the hub, check them, and put them in place."""
    from depthd import weights

    for name in names:
        typer.echo(
            f"{name}: {weights.pull(name, folder, accept_license, note=lambda text: typer.echo(text, err=True))}"
        )


@app.command()
def verify(folder: Folder = None) -> None:
    """Compute the checksums of all models that are here, and compare."""
    from depthd import weights

    damaged = []
    for model in weights.verify(folder):
        typer.echo(f"{model.name}: {'ok, ' if model.state == 'here' else 'damaged: '}{model.detail}")
        damaged += [model.name] if model.state == "damaged" else []
    if damaged:
        raise DepthdError(f"damaged: {', '.join(damaged)}", f"depthd weights pull {' '.join(damaged)}")


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="An .onnx file.")],
    kind: Annotated[
        str,
        typer.Option(help="relative_inverse, metric_depth or relative_depth; disparity of a stereo network."),
    ],
    name: Annotated[str | None, typer.Option(help="Its name; default: the file's.")] = None,
    multiple: Annotated[int, typer.Option(help="Both sides of the input are multiples of this (px).")] = 14,
    short_side: Annotated[int, typer.Option(help="Short side of the input (px).")] = 518,
    licence: Annotated[str, typer.Option("--license", help="SPDX identifier of its licence.")] = "unknown",
    inputs: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="LEFT RIGHT", help="Names of a stereo network's inputs."),
    ] = None,
    folder: Folder = None,
) -> None:
    """Copy a network of your own into the weights folder, with a card."""
    from depthd import weights

    card = weights.add(file, kind, folder, name, multiple, short_side, licence, inputs)
    key = "matcher.model" if card.right_input else "mono.model"
    typer.echo(f"{card.title}: use it with {key}={card.title}")


@app.command("export-onnx")
def export_onnx(
    checkpoint: Annotated[Path, typer.Argument(metavar="HF_DIR", help="Folder of a transformers checkpoint.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="ONNX file; default: HF_DIR.onnx.")] = None,
) -> None:
    """Turn a Depth Anything checkpoint of transformers into ONNX (needs depthd[export])."""
    from rich.console import Console

    from depthd.mono import export

    out = out or checkpoint.with_suffix(".onnx")
    with Console(stderr=True).status(f"exporting {checkpoint.name}"):
        export.export_onnx(checkpoint, out)
    typer.echo(f"{out}: add it with `depthd weights add {out} --kind relative_inverse` (or metric_depth)")
