"""The codes in which planes travel to the browser."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from depthd import _codec
from depthd.web.encode import HALF_DROPPED_BITS, pack_half

Codes = arrays.arrays(np.uint16, st.integers(0, 400), elements=st.sampled_from([0, 1, 2, 16, 17, 700, 65535]))


@given(Codes | arrays.arrays(np.uint16, st.integers(0, 400)))
def test_unpacking_gives_back_what_was_packed(codes: np.ndarray):
    np.testing.assert_array_equal(_codec.unpack(_codec.pack(codes), len(codes)), codes)


@given(st.binary(max_size=300), st.integers(0, 500))
def test_bytes_of_no_packing_are_refused_or_read_whole(data: bytes, count: int):
    with contextlib.suppress(ValueError):
        assert len(_codec.unpack(data, count)) == count


@given(st.floats(0.015625, 400.0, width=32))
def test_a_code_is_within_one_in_8192_of_the_depth(depth_m: float):
    assert _codec.depth_of_code(_codec.code_of_depth(depth_m)) == pytest.approx(depth_m, rel=1.0001 / 8192)


@given(st.floats(0.015625, 400.0, width=32), st.floats(0.015625, 400.0, width=32))
def test_codes_are_in_the_order_of_depths(a: float, b: float):
    assert (_codec.code_of_depth(a) <= _codec.code_of_depth(b)) or a > b


def test_holes_keep_their_kind_and_rows_may_be_padded():
    plane = np.full((3, 8), 2.5, np.float32)
    plane[1, :3] = (np.nan, -np.inf, np.inf)
    plane[2, :2] = (-1.0, 0.0)
    codes = _codec.depth_codes(plane[:, :5])
    assert codes.shape == (3, 5)
    assert codes[1, :3].tolist() == [0, 1, 2]
    assert codes[2, :2].tolist() == [0, 0]
    assert _codec.depth_of_code(int(codes[0, 0])) == 2.5


@given(st.floats(0.0009765625, 60000, width=16))
def test_sigma_is_off_by_at_most_one_in_128(sigma: float):
    code = _codec.unpack(pack_half(np.array([sigma], np.float16)), 1)
    back = (code << HALF_DROPPED_BITS).astype(np.uint16).view(np.float16)[0]
    assert float(back) == pytest.approx(sigma, rel=1 / 127)
