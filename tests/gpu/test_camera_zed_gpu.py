"""The ZED's pictures and depth as GPU arrays: views of the SDK's padded rows, without a copy."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from depthd.cameras import open_camera
from depthd.config import ZedCameraConfig
from tests.fakes import pyzed
from tests.fakes.pyzed.personality import build
from tests.fakes.pyzed.world import World

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
pytestmark = pytest.mark.gpu


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        pytest.skip("no GPU")
    world = World()
    monkeypatch.setitem(sys.modules, "pyzed", pyzed)
    monkeypatch.setitem(sys.modules, "pyzed.sl", build("5.2", world))
    monkeypatch.setattr(pyzed, "sl", sys.modules["pyzed.sl"], raising=False)
    return world


def test_frames_are_views_of_the_sdks_memory(world):
    camera = open_camera(ZedCameraConfig(resolution="VGA", fps=0, memory="gpu", right=True))
    for k in range(4):
        frame = camera.grab().check()
        mats = camera._mats[camera._slot]
        for array, mat in (
            (frame.left_bgr, mats.left),
            (frame.right_bgr, mats.right),
            (frame.depth_m, mats.depth),
        ):
            assert isinstance(array, cupy.ndarray)
            assert array.data.ptr == mat.data.data.ptr
            assert array.strides[0] > array.shape[1] * array.itemsize, "rows are padded"
        shot = world.shot("VGA", k)
        np.testing.assert_array_equal(cupy.asnumpy(frame.left_bgr), shot.left_bgr)
        np.testing.assert_array_equal(cupy.asnumpy(frame.right_bgr), shot.right_bgr)
        depth = cupy.asnumpy(frame.depth_m)
        near = shot.depth_m < 0.3
        np.testing.assert_array_equal(depth[~near], shot.depth_m[~near])
    mats = camera._mats
    camera.close()
    assert all(mat.left.data is None and mat.depth.data is None for mat in mats), "freed before close()"
