"""Every output kind reaches the fusion as inverse depth up to scale and shift."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthd.mono.kinds import to_relative_inverse
from depthd.mono.model import OutputKind

KINDS = get_args(OutputKind)
AS_INVERSE = ("relative_inverse", "disparity")
depths_m = st.lists(st.floats(0.125, 100.0, width=32), min_size=2, max_size=20)


@pytest.mark.parametrize("kind", KINDS)
@given(depths_m=depths_m, scale=st.floats(0.125, 8.0, width=32))
def test_nearer_is_larger_and_affine_in_inverse_depth(kind: OutputKind, depths_m: list, scale: float) -> None:
    depth_m = np.array([depths_m], np.float32)
    output = scale / depth_m if kind in AS_INVERSE else scale * depth_m
    found = to_relative_inverse(kind, output.astype(np.float32), np.empty_like(depth_m))
    factor = scale if kind in AS_INVERSE else 1 / scale
    np.testing.assert_allclose(found, factor / depth_m, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_stays_unknown(kind: OutputKind) -> None:
    assert np.isnan(to_relative_inverse(kind, np.array([[np.nan]], np.float32), np.empty((1, 1), np.float32))).all()


@pytest.mark.parametrize("kind", ["metric_depth", "relative_depth"])
def test_a_depth_that_is_not_above_zero_is_unknown(kind: OutputKind) -> None:
    mono = np.array([[0.0, -1.0, np.inf, -np.inf, 2.0]], np.float32)
    found = to_relative_inverse(kind, mono, mono)
    assert found is mono
    np.testing.assert_array_equal(found, [[np.nan, np.nan, np.nan, np.nan, 0.5]])
