"""The robust scale that is read off a histogram."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthd.fusion.reference import (
    ERROR_MAXIMUM,
    MEDIAN_OF_KEPT,
    MONO_NOISE_MAXIMUM,
    MONO_NOISE_MINIMUM,
    relative_noise,
)

SEEDS = st.integers(0, 2**32 - 1)


def errors(seed: int, noise: float):
    random = np.random.default_rng(seed)
    return random.normal(0.0, noise, 400), random.uniform(0.1, 1.0, 400)


def exact(error, weight) -> float:
    order = np.argsort(np.abs(error))
    reached = np.cumsum(weight[order])
    median = np.abs(error)[order][np.searchsorted(reached, 0.5 * reached[-1])]
    return float(np.clip(median / MEDIAN_OF_KEPT, MONO_NOISE_MINIMUM, MONO_NOISE_MAXIMUM))


@given(seed=SEEDS, noise=st.floats(0.005, 0.2))
def test_it_is_the_weighted_median(seed, noise):
    error, weight = errors(seed, noise)
    assert relative_noise(error, weight, 1.0) == pytest.approx(exact(error, weight), rel=0.05, abs=1e-3)


@given(seed=SEEDS, step=st.floats(1e-9, 1e-6))
def test_a_small_change_of_all_errors_moves_it_as_little(seed, step):
    error, weight = errors(seed, 0.03)
    before, after = (relative_noise(np.abs(error) + moved, weight, 1.0) for moved in (0.0, step))
    assert abs(after - before) <= 20 * step


@given(seed=SEEDS)
def test_errors_without_weight_say_nothing(seed):
    error, weight = errors(seed, 0.03)
    far = np.full(50, 2 * ERROR_MAXIMUM)
    more = relative_noise(np.append(error, far), np.append(weight, np.zeros(50)), 1.0)
    assert more == relative_noise(error, weight, 1.0)
    assert relative_noise(far, np.zeros(50), 0.07) == 0.07
