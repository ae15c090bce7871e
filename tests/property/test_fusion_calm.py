"""Depth that does not flicker, and does not lag behind what moves, in every backend."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_frames import SCALE, SHIFT, fuse, fusion_of, known_frame, relative_error
from hypothesis import given, settings
from hypothesis import strategies as st

from depthd.frame import Array
from depthd.fusion.reference import STEADY_TOLERANCE

pytestmark = pytest.mark.parametrize("backend", ["reference", "cpu"])
SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=3)
HOLE = (slice(30, 60), slice(40, 90))
FRAMES, SETTLED = 16, 6


def with_hole(frame):
    frame.stereo_depth_m[HOLE] = np.nan
    return frame


def run_through(backend: str, frame, monos: list[Array], **config: float) -> list[Array]:
    """The depth of every frame."""
    fusion = fusion_of(backend, frame.camera, **config)
    return [fuse(fusion, frame.camera, frame.stereo_depth_m, mono)[1].depth_m for mono in monos]


@few
@given(seed=SEEDS, noise=st.floats(0.002, 0.01))
def test_filled_depth_flickers_less_than_half_of_what_mono_does(backend, seed, noise):
    frame, random = with_hole(known_frame(seed=seed)), np.random.default_rng(seed)
    unit = frame.mono + SHIFT / SCALE
    monos = [(frame.mono + noise * unit * random.standard_normal(unit.shape)).astype(np.float32) for _ in range(FRAMES)]
    calm, restless = (
        np.median(np.log([depth_m[HOLE] for depth_m in depths][SETTLED:]).std(0))
        for depths in (run_through(backend, frame, monos), run_through(backend, frame, monos, mono_decay=0.0))
    )
    assert calm < 0.5 * restless


@few
@given(seed=SEEDS, nearer=st.floats(1.3, 2.0))
def test_what_moves_is_seen_in_its_first_frame(backend, seed, nearer):
    frame = with_hole(known_frame(seed=seed))
    moved = frame.mono.copy()
    moved[36:54, 50:80] *= nearer
    calm, restless = (
        run_through(backend, frame, [frame.mono] * 4 + [moved], mono_decay=decay)[-1] for decay in (0.85, 0.0)
    )
    np.testing.assert_allclose(calm[40:50, 54:76], restless[40:50, 54:76], rtol=0.5 * STEADY_TOLERANCE)


@few
@given(seed=SEEDS, change=st.floats(-0.02, 0.02))
def test_a_steady_approach_lags_by_a_part_of_the_tolerance(backend, seed, change):
    frame = with_hole(known_frame(seed=seed))
    fusion = fusion_of(backend, frame.camera)
    for step in range(12):
        factor = (1.0 + change) ** step
        stereo = (frame.stereo_depth_m / factor).astype(np.float32)
        mono = ((SCALE * frame.mono + SHIFT) * factor / SCALE - SHIFT / SCALE).astype(np.float32)
        _, planes = fuse(fusion, frame.camera, stereo, mono)
    error = relative_error(planes.depth_m, frame.true_depth_m / factor)[HOLE]
    assert np.median(error) < 0.5 * STEADY_TOLERANCE


@few
@given(seed=SEEDS)
def test_what_is_unknown_now_or_was_before_is_taken_as_it_is(backend, seed):
    frame = with_hole(known_frame(seed=seed))
    spoiled = frame.mono.copy()
    spoiled[40:50, 50:70] = np.nan
    first, second, third = run_through(backend, frame, [frame.mono, spoiled, frame.mono])
    assert np.isfinite(first[HOLE]).all()
    assert np.isnan(second[42:48, 52:68]).all()
    np.testing.assert_allclose(third[HOLE], first[HOLE], rtol=0.02)


@few
@given(seed=SEEDS, size=st.tuples(st.integers(8, 40), st.integers(8, 40)))
def test_a_map_of_another_size_is_not_mixed_with_the_one_before(backend, seed, size):
    random = np.random.default_rng(seed)
    frame = with_hole(known_frame(seed=seed))
    other = random.uniform(1.0, 4.0, size).astype(np.float32)
    fusion, fresh = fusion_of(backend, frame.camera), fusion_of(backend, frame.camera)
    fuse(fusion, frame.camera, frame.stereo_depth_m, frame.mono)
    fuse(fusion, frame.camera, frame.stereo_depth_m, other)
    fusion.reset()
    _, after = fuse(fusion, frame.camera, frame.stereo_depth_m, frame.mono)
    _, alone = fuse(fresh, frame.camera, frame.stereo_depth_m, frame.mono)
    np.testing.assert_array_equal(after.depth_m, alone.depth_m)
