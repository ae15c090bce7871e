"""What the alignment takes from a cell, and what a blurred network does to a gate."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fusion_frames import camera_of, fuse, fusion_of, known_frame

from depthd.config import FusionConfig
from depthd.frame import Source
from depthd.fusion.parameters import MonoKind, make_parameters
from depthd.fusion.reference import END_FADE, Cells, Line, Scene, _local_errors


def test_trust_does_not_end_abruptly_at_the_end_of_stereos_range():
    end, steps = 1.2, 2001
    rho = np.linspace(0.9 * end, 1.1 * end, steps)[None]
    ones, nothing = np.ones_like(rho), np.zeros_like(rho)
    cells = Cells(fill=ones, rho=rho, variance=nothing, x=rho, x_all=rho, x_range=nothing)
    parameters = make_parameters(FusionConfig(), camera_of(1, steps), MonoKind.RELATIVE_INVERSE)
    _, trust, _ = _local_errors(cells, ones, Scene(end, 0.1), Line(1.0, 0.0), nothing, 0.05, parameters)
    assert trust.max() == 1.0
    assert trust.min() == 0.0
    step = (rho[0, 1] - rho[0, 0]) / (END_FADE * end)
    assert np.abs(np.diff(trust)).max() <= 1.001 * step


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("seed", range(3))
def test_right_stereo_is_kept_beside_the_edges_that_a_network_blurs(backend, seed):
    """Three of four pixels of a blurred edge, at least; without the wider gate it would be one or two of ten."""
    frame = known_frame(360, 640, seed)
    blurred = cv2.GaussianBlur(frame.mono, (0, 0), 1.5)
    _, planes = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, blurred)
    off = np.abs(blurred / frame.mono - 1.0) > 0.15
    assert (planes.source == Source.MONO_OVERRULED)[off].mean() < 0.25
