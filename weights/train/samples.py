"""A sheet of training pictures with their depth, to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from train.batch import draw_batch
from train.renderer import Renderer
from train.sensor import photographed
from train.settings import Settings

_ACROSS, _SIZE = 6, (160, 224)


def sheet(path: Path, settings: Settings, renderer: Renderer, count: int = 36) -> None:
    """Writes `count` pictures, each above its inverse depth, as a PNG."""
    batch = draw_batch(settings.seed, count // 2, 2, settings.textures)
    radiance, inverse_depth = renderer(batch, *_SIZE)
    torch.manual_seed(settings.seed)
    pictures = (photographed(radiance) * 255).byte().permute(0, 2, 3, 1).cpu().numpy()[..., ::-1]
    near = inverse_depth.flatten(1).quantile(0.97, 1).view(-1, 1, 1).clamp_min(1e-6)
    greys = ((inverse_depth / near).clamp(0, 1) * 255).byte().cpu().numpy()[..., None].repeat(3, -1)
    rows = []
    for first in range(0, count, _ACROSS):
        rows += [np.hstack(list(part[first : first + _ACROSS])) for part in (pictures, greys)]
    cv2.imwrite(str(path), np.vstack(rows))
