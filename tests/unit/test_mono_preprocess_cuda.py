"""The CUDA kernel's arithmetic, compiled as C, against OpenCV."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

import depthd.mono
from depthd.mono.preprocess_cuda import TAPS

KERNEL = Path(depthd.mono.__file__).parent / "preprocess.cuh"
OPENCV = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


@pytest.fixture(scope="module")
def mono_pixel(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "kernel.c").write_text(
        f'#include "{KERNEL}"\n'
        "void resize(const unsigned char *bgr, long pitch, int h, int w, int oh, int ow, int taps,"
        " float *out) {\n"
        "  for (int c = 0; c < 3; c++) for (int y = 0; y < oh; y++) for (int x = 0; x < ow; x++)\n"
        "    out[(y * ow + x) * 3 + c] ="
        " mono_pixel(bgr, pitch, h, w, oh, ow, y, x, c, taps, 2.0f, 1.0f);\n}\n"
    )
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "kernel.c", "-o", "kernel.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "kernel.so")).resize


def resized(resize, picture: np.ndarray, height: int, width: int, how: str) -> np.ndarray:
    out = np.empty((height, width, 3), np.float32)
    resize(
        picture.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(picture.strides[0]), *picture.shape[:2],
        height, width, TAPS[how], out.ctypes.data_as(ctypes.c_void_p),
    )  # fmt: skip
    return (out - 1) / 2


@pytest.mark.parametrize("how", ["area", "linear", "cubic"])
@pytest.mark.parametrize(
    "size", [(60, 100, 28, 42), (61, 97, 30, 30), (33, 50, 70, 98), (40, 40, 40, 40), (90, 160, 30, 80)]
)
def test_the_kernel_resizes_as_opencv_does(mono_pixel, how: str, size: tuple[int, int, int, int]) -> None:
    height, width, out_height, out_width = size
    if how == "area" and out_height > height:
        pytest.skip("area is for shrinking")
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    found = resized(mono_pixel, picture, out_height, out_width, how)
    expected = cv2.resize(picture, (out_width, out_height), interpolation=OPENCV[how]).astype(np.float32)
    # OpenCV computes in fixed point, and rounds linear interpolation down: one grey level either way.
    assert np.abs(found - expected).max() <= 1
    assert np.abs(found - expected).mean() < 0.3


def test_padded_rows_are_read_by_their_pitch(mono_pixel) -> None:
    padded = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    left = padded[:, :50]
    found = resized(mono_pixel, left, 20, 28, "area")
    np.testing.assert_array_equal(found, resized(mono_pixel, np.ascontiguousarray(left), 20, 28, "area"))
