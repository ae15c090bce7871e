"""Writes uncompressed YUYV into an AVI file, which is what a ZED sends over USB and no OpenCV writes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def yuyv(bgr: np.ndarray) -> bytes:
    """Packed 4:2:2: Y0 U Y1 V for each two pixels."""
    # Limited range, ITU-R BT.601.
    to_yuv = [[24.966, 128.553, 65.481], [112.0, -74.203, -37.797], [-18.214, -93.786, 112.0]]
    full = bgr @ (np.array(to_yuv).T / 255) + (16, 128, 128)
    packed = np.empty((*bgr.shape[:2], 2), np.uint8)
    packed[..., 0] = full[..., 0].round()
    for k, chroma in enumerate((1, 2)):
        mean = full[..., chroma].reshape(bgr.shape[0], -1, 2).mean(2)
        packed[:, k::2, 1] = mean.round()
    return packed.tobytes()


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def write_yuyv_avi(path: Path, frames: list[np.ndarray], fps: int) -> Path:
    """AVI 1.0 with one stream of format YUY2 and an index."""
    height, width = frames[0].shape[:2]
    size = width * height * 2
    header = struct.pack(
        "<14I", 1_000_000 // fps, size * fps, 0, 0x10, len(frames), 0, 1, size, width, height, 0, 0, 0, 0
    )
    stream = b"vidsYUY2" + struct.pack("<10I", 0, 0, 0, 1, fps, 0, len(frames), size, 0, size)
    stream += struct.pack("<4H", 0, 0, width, height)
    bitmap = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 16, b"YUY2", size, 0, 0, 0, 0)
    lists = b"strl" + _chunk(b"strh", stream) + _chunk(b"strf", bitmap)
    top = b"hdrl" + _chunk(b"avih", header) + _chunk(b"LIST", lists)
    movie, index = b"movi", b""
    for frame in frames:
        index += b"00db" + struct.pack("<III", 0x10, len(movie), size)
        movie += _chunk(b"00db", yuyv(frame))
    body = b"AVI " + _chunk(b"LIST", top) + _chunk(b"LIST", movie) + _chunk(b"idx1", index)
    path.write_bytes(_chunk(b"RIFF", body))
    return path
