"""The C fusion against the specification."""

from __future__ import annotations

import os

import numpy as np
import pytest
from fusion_frames import camera_of, fuse, fusion_of, known_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from depthd import _fusion  # type: ignore[attr-defined]
from depthd.config import FusionConfig
from depthd.fusion import parameters, reference
from depthd.fusion.cpu import CpuFusion
from depthd.fusion.parameters import MonoKind, make_parameters

SEEDS = st.integers(0, 2**32 - 1)


def noisy_frame(seed: int, height: int, width: int):
    """Everything at once: noise, distortion, holes of every class, outliers, a mono map of another size."""
    random = np.random.default_rng(seed)
    frame = known_frame(height, width, seed)
    shape = frame.mono.shape
    stereo = 1.0 / (1.0 / frame.true_depth_m + random.normal(0, 0.004, shape))
    for value in (np.nan, np.inf, -np.inf):
        stereo[random.random(shape) < 0.05] = value
    wrong = random.random(shape) < 0.1
    stereo[wrong] = 1.0 / random.uniform(0.05, 2.4, wrong.sum())
    rows, columns = np.indices(shape)
    bent = frame.mono * (1 + 0.08 * np.sin(rows / 30) * np.cos(columns / 40)) + random.normal(0, 0.01, shape)
    step = int(random.integers(1, 4))
    return frame.camera, stereo.astype(np.float32), bent[::step, ::step].astype(np.float32)


def test_the_constants_are_those_of_the_specification():
    for name, value in _fusion.CONSTANTS.items():
        told = getattr(reference, name, None)
        told = getattr(parameters, name) if told is None else told
        assert told == pytest.approx(value, rel=1e-6), name


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, size=st.tuples(st.integers(30, 190), st.integers(30, 210)))
def test_c_gives_what_the_specification_gives(seed, size):
    camera, stereo, mono = noisy_frame(seed, *size)
    told, done = fusion_of("reference", camera), fusion_of("cpu", camera)
    for _ in range(3):
        expected, expected_planes = fuse(told, camera, stereo, mono)
        result, planes = fuse(done, camera, stereo, mono)
        assert result.fit.status is expected.fit.status
        assert result.fit.scale == pytest.approx(expected.fit.scale, rel=1e-5, nan_ok=True)
        same = planes.source == expected_planes.source
        assert (~same).mean() <= 2e-4
        np.testing.assert_allclose(planes.depth_m[same], expected_planes.depth_m[same], rtol=2e-5)
        np.testing.assert_allclose(planes.sigma[same], expected_planes.sigma[same], rtol=4e-3)


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (1, 1), (2, 16383), (131, 257), (376, 672)])
def test_any_size_is_worked_like_the_specification(size):
    random = np.random.default_rng(1)
    camera = camera_of(*size)
    mono = np.linspace(0.5, 4.0, size[0] * size[1], dtype=np.float32).reshape(size)
    stereo = (1.0 / (0.3 * mono + 0.1 + random.normal(0, 0.003, size))).astype(np.float32)
    stereo[random.random(size) < 0.2] = np.nan
    expected, expected_planes = fuse(fusion_of("reference", camera), camera, stereo, mono)
    result, planes = fuse(fusion_of("cpu", camera), camera, stereo, mono)
    assert result.fit.status is expected.fit.status
    assert (planes.source != expected_planes.source).mean() <= 2e-4
    np.testing.assert_allclose(planes.depth_m, expected_planes.depth_m, rtol=2e-5)


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS)
def test_the_number_of_threads_does_not_change_a_bit(seed):
    camera, stereo, mono = noisy_frame(seed, 143, 217)
    settings_of_camera = make_parameters(FusionConfig(), camera, MonoKind.RELATIVE_INVERSE)
    planes = [fuse(CpuFusion(settings_of_camera, n), camera, stereo, mono)[1] for n in (1, 2, 5)]
    for other in planes[1:]:
        assert np.array_equal(planes[0].depth_m, other.depth_m, equal_nan=True)
        assert np.array_equal(planes[0].source, other.source)
        assert np.array_equal(planes[0].sigma, other.sigma, equal_nan=True)


def test_a_forked_child_fuses_without_the_threads_it_has_not():
    camera, stereo, mono = noisy_frame(3, 90, 120)
    fusion = CpuFusion(make_parameters(FusionConfig(), camera, MonoKind.RELATIVE_INVERSE), threads=3)
    expected = fuse(fusion, camera, stereo, mono)[1]
    fusion.reset()
    child = os.fork()
    if child == 0:
        planes = fuse(fusion, camera, stereo, mono)[1]
        del fusion
        os._exit(0 if np.array_equal(planes.depth_m, expected.depth_m, equal_nan=True) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@settings(deadline=None, max_examples=6)
@given(seed=SEEDS)
def test_c_follows_the_specification_through_a_covered_lens_and_a_cut(seed):
    camera, stereo, mono = noisy_frame(seed, 96, 128)
    _, other, other_mono = noisy_frame(seed + 1, 96, 128)
    covered = np.full_like(stereo, np.nan)
    told, done = fusion_of("reference", camera), fusion_of("cpu", camera)
    frames = [(stereo, mono), (stereo, mono), (covered, mono), (other, 2.5 * other_mono), (other, 2.5 * other_mono)]
    for depth_m, map_ in frames:
        expected, expected_planes = fuse(told, camera, depth_m, map_)
        result, planes = fuse(done, camera, depth_m, map_)
        assert result.fit.status is expected.fit.status
        same = planes.source == expected_planes.source
        assert (~same).mean() <= 2e-4
        np.testing.assert_allclose(planes.depth_m[same], expected_planes.depth_m[same], rtol=2e-5)
