"""Where the fit starts."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_frames import camera_of

from depthd.config import FusionConfig
from depthd.fusion.parameters import MonoKind, make_parameters
from depthd.fusion.reference import RANGE_END, Samples, Scene, consensus


@pytest.mark.parametrize("seed", range(5))
def test_a_line_that_puts_everything_beyond_the_range_does_not_win(seed):
    """A shallow scene, seen with noise: the right line explains little more than chance does."""
    random = np.random.default_rng(seed)
    x = random.uniform(1.0, 2.0, 400)
    rho = 0.4 + 0.25 * x + random.normal(0.0, 0.06, x.shape)
    parameters = make_parameters(FusionConfig(), camera_of(376, 672), MonoKind.RELATIVE_INVERSE)
    samples = Samples(x, rho, np.ones_like(x))
    line = consensus(samples, Scene(RANGE_END * rho.max(), 0.2 * rho.mean()), None, parameters)
    assert line is not None
    assert (line.at(x) < RANGE_END * rho.max()).mean() > 0.5
