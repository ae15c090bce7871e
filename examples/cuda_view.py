"""How near things are, found on the GPU without a copy: cuda_view.py [NAME] [FRAMES]. Needs CuPy."""

import sys

import cupy

import depthd
from depthd.frame import Source


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "depthd"
    frames = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with depthd.open(name, device="cuda") as reader:
        for _ in range(frames):
            frame = reader.wait(timeout=5.0)
            nearest_m = float(cupy.nanmin(frame.depth))  # PyTorch: torch.from_dlpack(frame.depth)
            measured = float((frame.source == Source.STEREO).mean())
            if not frame.valid():
                continue  # the writer came round while we looked; the next frame is newer anyway
            print(f"frame {frame.id}: nearest {nearest_m:.3f} m, {measured:.1%} measured by stereo")


if __name__ == "__main__":
    main()
