"""A reader on the GPU: shm_cuda_reader.py NAME FRAMES. One line a frame: its id and a checksum of each plane."""

from __future__ import annotations

import sys
import zlib

import cupy

import depthd

PLANES = ("depth", "source", "sigma", "left", "stereo_depth", "mono", "xyz")


def main() -> None:
    with depthd.open(sys.argv[1], device="cuda") as reader:
        print("open", flush=True)
        for _ in range(int(sys.argv[2])):
            frame = reader.wait(timeout=20.0)
            arrays = {name: getattr(frame, name) for name in PLANES}
            assert all(isinstance(array, cupy.ndarray) for array in arrays.values())
            assert cupy.from_dlpack(arrays["depth"]).data.ptr == arrays["depth"].data.ptr
            sums = [zlib.crc32(cupy.asnumpy(array).tobytes()) for array in arrays.values()]
            print(frame.id, frame.valid(), *sums, flush=True)
            sys.stdin.readline()


if __name__ == "__main__":
    main()
