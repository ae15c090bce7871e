"""Pictures to choose a checkpoint by: depthd's virtual camera, another renderer with other rooms, textures and light.

Rendered pictures of the training kind go on getting better long after real ones have stopped; those of a renderer that
the network has never seen are nearer to the question. None is trained on.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from train.network import normalised

HEIGHT, WIDTH = 256, 448
FOCAL_PX = (250.0, 480.0)
"""Of the ZED 2i, and of a longer lens."""
_LEAST_ERROR = 0.02
"""Nobody is chosen for a still smaller error on an easy picture."""
FIRST_SEED = 7001
"""Far from the seeds of tests and benchmarks, whose scenes stay unseen."""


def make(path: Path) -> int:
    """Renders the set into an .npz file (some minutes on two cores); how many pictures it holds. Needs depthd."""
    from depthd.cameras.world.render import Renderer
    from depthd.cameras.world.scenes import SCENES, build
    from depthd.frame import Camera

    pictures, depths = [], []
    for number, name in enumerate(SCENES):
        seed = FIRST_SEED + number
        focal_px = FOCAL_PX[number % 2]
        camera = Camera(WIDTH, HEIGHT, focal_px, focal_px, WIDTH / 2, HEIGHT / 2, 0.12)
        renderer = Renderer(build(name, seed), camera, seed)
        left, right = (np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in range(2))
        for frame in range(2):
            renderer.render(0.8 + 2.7 * frame, frame, left, right)
            pictures.append(left[..., ::-1].copy())
            depths.append(renderer.left.depth_m.astype(np.float16))
        renderer.close()
    np.savez_compressed(path, pictures=np.stack(pictures), depth_m=np.stack(depths))
    return len(pictures)


class Validation:
    """The set on a device. error() is what the rule that chooses a checkpoint goes by."""

    def __init__(self, path: Path, device: str) -> None:
        stored = np.load(path)
        pictures = torch.from_numpy(stored["pictures"].transpose(0, 3, 1, 2).copy()).float() / 255
        self.inputs = normalised(pictures.to(device))
        self.depth_m: NDArray[np.float64] = stored["depth_m"].astype(np.float64)

    @torch.no_grad()
    def error(self, network: torch.nn.Module) -> float:
        """See typical_error."""
        outputs = torch.cat([network(part)[:, 0] for part in self.inputs.split(8)]).float().cpu().numpy()
        return typical_error(outputs, self.depth_m)


def typical_error(outputs: Iterable[NDArray[np.float32]], depths_m: Iterable[NDArray[np.float64]]) -> float:
    """Geometric mean over the pictures of the relative error of depth: a picture with a hand before the lens, whose
    error is ten times the others', counts as one picture.
    """
    pairs = zip(outputs, depths_m, strict=True)
    errors = [relative_error(output.astype(np.float64), depth_m) for output, depth_m in pairs]
    return float(np.exp(np.mean(np.log(np.maximum(errors, _LEAST_ERROR)))))


def relative_error(mono: NDArray[np.float64], depth_m: NDArray[np.float64]) -> float:
    """Mean of |depth - true| / true after least squares in inverse depth, where there is depth.

    A fit beyond twice the farthest counts as that.
    """
    known = np.isfinite(depth_m) & (depth_m > 0)
    x, inverse = mono[known], 1 / depth_m[known]
    if np.ptp(x) == 0:
        scale, shift = 0.0, inverse.mean()
    else:
        scale, shift = np.polyfit(x, inverse, 1)
    return float(np.mean(np.abs(inverse / np.maximum(scale * x + shift, 0.5 * inverse.min()) - 1)))


if __name__ == "__main__":
    import sys

    print(make(Path(sys.argv[1])), "pictures")
