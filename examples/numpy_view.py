"""How much of each frame is nearer than a metre, computed in place: numpy_view.py [NAME] [FRAMES]."""

import sys

import numpy as np

import depthd
from depthd.frame import Source


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "depthd"
    frames = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with depthd.open(name) as reader:
        for _ in range(frames):
            frame = reader.wait(timeout=5.0)
            near = np.mean(frame.depth < 1.0)  # NaN, unknown, counts as not near
            measured = np.mean(frame.source == Source.STEREO)
            if not frame.valid():
                continue  # the writer came round while we looked; the next frame is newer anyway
            print(
                f"frame {frame.id}: {near:.1%} nearer than 1 m, {measured:.1%} measured by stereo, "
                f"fit {frame.fit.status.name}, {frame.age_s * 1e3:.1f} ms old"
            )


if __name__ == "__main__":
    main()
