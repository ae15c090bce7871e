"""The choice of the device, and what happens when a GPU fails."""

from __future__ import annotations

import builtins
import logging

import numpy as np
import pytest
from fusion_frames import camera_of

from depthd import device, fusion
from depthd.config import FusionConfig
from depthd.errors import DepthdError
from depthd.frame import FusedPlanes, FusionResult
from depthd.fusion.cpu import CpuFusion
from depthd.fusion.fallback import FallbackFusion


@pytest.fixture
def without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name, *rest, **more):
        if name.partition(".")[0] == "cupy":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_auto_takes_the_cpu_without_a_gpu_and_says_why(without_cupy, caplog):
    caplog.set_level(logging.INFO)
    assert device.choose_device("auto") == "cpu"
    assert "CuPy is not installed" in caplog.text


def test_cuda_without_a_gpu_is_an_error_that_says_what_is_missing(without_cupy):
    with pytest.raises(DepthdError, match=r"CuPy is not installed.*pip install"):
        device.choose_device("cuda")
    with pytest.raises(DepthdError, match="CuPy is not installed"):
        fusion.create(FusionConfig(), camera_of(60, 80), "relative_inverse", "cuda")


def test_a_fusion_in_c_is_made_where_there_is_no_gpu(without_cupy):
    assert isinstance(fusion.create(FusionConfig(), camera_of(60, 80), "relative_inverse", "auto"), CpuFusion)


class FailingFusion:
    """As a GPU that was lost."""

    def fuse(self, stereo_depth_m, mono, out) -> FusionResult:
        raise DepthdError("the GPU failed: unspecified launch failure", "look at dmesg")

    def reset(self) -> None:
        raise AssertionError("nobody resets a lost GPU")


def test_a_failing_gpu_is_replaced_once_and_for_all(caplog):
    cpu = fusion.create(FusionConfig(), camera_of(60, 80), "relative_inverse")
    made = []

    def make_second():
        made.append(cpu)
        return cpu

    both = FallbackFusion(FailingFusion(), make_second)
    stereo, mono = np.full((60, 80), 2.0, np.float32), np.ones((60, 80), np.float32)
    out = FusedPlanes.empty(60, 80)
    for _ in range(2):
        assert sum(both.fuse(stereo, mono, out).pixels_per_source) == 60 * 80
    both.reset()
    assert len(made) == 1
    assert "unspecified launch failure" in caplog.text
