"""Makes a golden object: make_shm_object.py FILE.gz. Run once for each version of the format, never again.

Pixel (row, column, channel) of plane p in frame f is `100 f + 10 p + row + column / 4 + channel / 2`, rounded
down where the plane holds whole numbers; p counts the planes in the order of their ids. The copy on a GPU
(since 1.1) is told as CUDA's, with planes 1 to 7, offset 1000 f, 5000 bytes, and each handle's bytes counted up
from 0.
"""

import gzip
import sys
from pathlib import Path

import numpy as np

from depthd.config import SharedMemoryConfig
from depthd.frame import Camera, Fit, FitStatus, FusionResult, StageTimes, StereoFrame
from depthd.shm.layout import DEVICE_COPY, DEVICE_CUDA, CameraState
from depthd.shm.publisher import Publisher

NAME = "depthd-golden"
CAMERA = Camera(8, 6, 7.5, 7.25, 3.5, 2.5, 0.12, 0.75)


def pattern(frame: int, plane: int, shape: tuple[int, ...]) -> np.ndarray:
    row, column, channel = np.ogrid[: shape[0], : shape[1], : shape[2] if len(shape) > 2 else 1]
    return (100 * frame + 10 * plane + row + column / 4 + channel / 2).reshape(shape)


def device_copy(frame: int) -> np.ndarray:
    record = np.zeros((), DEVICE_COPY)
    record["kind"], record["planes"], record["offset"], record["bytes"] = DEVICE_CUDA, 0b11111110, 1000 * frame, 5000
    for field in ("uuid", "memory", "event"):
        record[field] = np.arange(record[field].size)
    return np.frombuffer(record.tobytes(), np.uint8)


def main() -> None:
    config = SharedMemoryConfig(slots=3, planes=("left", "stereo_depth", "mono", "xyz"))
    with Publisher(config, NAME, CAMERA, "golden camera é", mono_size=(3, 5)) as publisher:
        publisher.set_state(CameraState.RUNNING)
        publisher.count(dropped=4, deadline_misses=5, reconnects=6)
        for index in range(2):
            with publisher.slot() as slot:
                frame = StereoFrame(40 + index, 1, 123456789 + index, CAMERA, None)
                fit = Fit(0.5, -0.25, 0.03125, 0.875, 0.96875, 4096, 2 + index, FitStatus.HELD)
                times = StageTimes(1000 + index, 2000, 3000, 4000, 5000)
                slot.device_copy = device_copy(index)
                slot.describe(frame, FusionResult(fit, (1, 2, 3, 4, 5, 33 + index)), times, dropped=7)
                views = (slot.planes.depth_m, slot.planes.source, slot.planes.sigma)
                optional = ("left", "stereo_depth", "mono", "xyz")
                for number, view in enumerate((*views, *map(slot.plane, optional))):
                    view[...] = pattern(index, number, view.shape).astype(view.dtype)
        Path(sys.argv[1]).write_bytes(gzip.compress(Path("/dev/shm", NAME).read_bytes(), mtime=0))


if __name__ == "__main__":
    main()
