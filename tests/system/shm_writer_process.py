"""A writer in a process of its own: python shm_writer_process.py NAME WIDTH HEIGHT SLOTS FRAMES PERIOD_S.

Every byte of every plane of a frame is `camera index modulo 251`, so that a torn frame shows.
FRAMES 0 = for ever.
"""

import sys
import time

import numpy as np

from depthd.config import SharedMemoryConfig
from depthd.frame import Camera, Fit, FusionResult, StageTimes, StereoFrame
from depthd.shm.publisher import Publisher

BYTE_VALUES = 251


def main() -> None:
    name, width, height, slots, frames, period_s = sys.argv[1:7]
    camera = Camera(int(width), int(height), 500.0, 500.0, int(width) / 2, int(height) / 2, 0.12)
    left = np.zeros((camera.height, camera.width, 3), np.uint8)
    with Publisher(SharedMemoryConfig(slots=int(slots)), name, camera, "test writer") as publisher:
        print("attached", flush=True)
        index = 0
        while index < int(frames) or frames == "0":
            frame = StereoFrame(index, time.monotonic_ns(), 0, camera, left)
            value = index % BYTE_VALUES
            with publisher.slot() as slot:
                planes = (slot.planes.depth_m, slot.planes.source, slot.planes.sigma)
                for plane in (*planes, slot.plane("left"), slot.plane("stereo_depth")):
                    plane.view(np.uint8)[...] = value
                slot.describe(frame, FusionResult(Fit(), (index, 0, 0, 0, 0, 0)), StageTimes(frame.captured_ns))
            index += 1
            if float(period_s):
                time.sleep(float(period_s))
        sys.stdin.read()  # until the test lets go


if __name__ == "__main__":
    main()
