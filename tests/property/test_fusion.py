"""What a fusion promises, in every backend."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_frames import (
    SCALE,
    SHIFT,
    camera_of,
    fuse,
    fusion_of,
    known_frame,
    relative_error,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from depthd.frame import FitStatus, Source

pytestmark = pytest.mark.parametrize("backend", ["reference", "cpu"])
SEEDS = st.integers(0, 2**32 - 1)
MAXIMUM_DEPTH_M = 40.0
MINIMUM_DEPTH_M = 0.1
few = settings(deadline=None, max_examples=15)


@few
@given(seed=SEEDS)
def test_without_noise_the_true_line_is_found_and_every_hole_filled(backend, seed):
    frame = known_frame(seed=seed)
    frame.stereo_depth_m[20:50, 30:70] = np.nan
    result, planes = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, frame.mono)
    assert result.fit.status is FitStatus.FITTED
    assert result.fit.scale == pytest.approx(SCALE, rel=1e-3)
    assert result.fit.shift == pytest.approx(SHIFT, abs=1e-3)
    assert relative_error(planes.depth_m, frame.true_depth_m).max() < 0.01


@few
@given(seed=SEEDS, share=st.floats(0.05, 0.4))
def test_gross_outliers_neither_move_the_line_nor_stay_in_the_picture(backend, seed, share):
    frame = known_frame(seed=seed)
    random = np.random.default_rng(seed)
    wrong = random.random(frame.mono.shape) < share
    frame.stereo_depth_m[wrong] = 1.0 / random.uniform(0.05, 2.4, wrong.sum())
    result, planes = fuse(
        fusion_of(backend, frame.camera, prefer="mono"), frame.camera, frame.stereo_depth_m, frame.mono
    )
    assert result.fit.scale == pytest.approx(SCALE, rel=0.03)
    assert np.median(relative_error(planes.depth_m, frame.true_depth_m)[wrong]) < 0.05


@few
@given(seed=SEEDS)
def test_wrong_values_that_agree_beyond_the_range_do_not_win(backend, seed):
    frame = known_frame(seed=seed)
    random = np.random.default_rng(seed)
    frame.mono = np.minimum(frame.mono, 2.5)
    frame.mono[60:] = random.uniform(4.0, 6.0, frame.mono[60:].shape)
    frame.stereo_depth_m = (1.0 / (SCALE * frame.mono + SHIFT)).astype(np.float32)
    frame.stereo_depth_m[60:] = 1.0 / random.normal(0.5, 0.02, frame.mono[60:].shape)
    result, _ = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, frame.mono)
    assert result.fit.scale == pytest.approx(SCALE, rel=0.1)


@few
@given(seed=SEEDS, factor=st.floats(0.01, 1000.0), offset=st.floats(-5.0, 5.0))
def test_the_units_of_mono_do_not_matter(backend, seed, factor, offset):
    frame = known_frame(seed=seed)
    frame.stereo_depth_m[10:60, 20:60] = np.nan
    other = (factor * (frame.mono + offset)).astype(np.float32)
    _, one = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, frame.mono)
    _, two = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, other)
    np.testing.assert_allclose(two.depth_m, one.depth_m, rtol=2e-3)


def random_stereo(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    stereo = (1.0 / random.uniform(0.01, 12.0, shape)).astype(np.float32)
    strange = random.choice([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-30, 1e30], shape)
    return np.where(random.random(shape) < random.random(), strange, stereo).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(
    seed=SEEDS,
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    mono_size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    spoiled=st.floats(0.0, 1.0),
)
def test_any_frame_gives_a_whole_and_honest_picture(backend, seed, size, mono_size, spoiled):
    random = np.random.default_rng(seed)
    camera = camera_of(*size)
    stereo = random_stereo(random, size)
    mono = random.normal(1.0, 2.0, mono_size).astype(np.float32)
    mono[random.random(mono_size) < spoiled * random.random()] = random.choice([np.nan, np.inf, -np.inf])
    result, planes = fuse(fusion_of(backend, camera), camera, stereo, mono)

    unknown = planes.source == Source.INVALID
    kept = planes.source == Source.STEREO
    filled = ~unknown & ~kept
    assert planes.source.max() <= max(Source)
    assert np.array_equal(unknown, np.isnan(planes.depth_m))
    assert np.array_equal(unknown, np.isnan(planes.sigma))
    assert np.array_equal(planes.depth_m[kept].view(np.uint32), stereo[kept].view(np.uint32))
    assert (planes.depth_m[filled] >= np.float32(MINIMUM_DEPTH_M) * 0.999).all()
    assert (planes.depth_m[filled] <= np.float32(MAXIMUM_DEPTH_M) * 1.001).all()
    assert (planes.sigma[~unknown] > 0).all()
    assert result.pixels_per_source == tuple(np.bincount(planes.source.ravel(), minlength=6))


@few
@given(seed=SEEDS)
def test_the_hole_class_names_the_source(backend, seed):
    frame = known_frame(seed=seed)
    frame.stereo_depth_m[10:40, 10:40] = -np.inf
    frame.stereo_depth_m[10:40, 60:90] = np.nan
    frame.stereo_depth_m[60:90, 60:90] = np.inf
    _, planes = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, frame.mono)
    inside = (slice(16, 34), slice(16, 34))
    assert set(np.unique(planes.source[inside])) <= {Source.MONO_NEAR, Source.BLEND}
    assert planes.source[25, 25] == Source.MONO_NEAR
    assert planes.source[25, 75] == Source.MONO_HOLE
    assert planes.source[75, 75] == Source.MONO_HOLE


HOPELESS = {
    "constant mono": lambda mono, random: np.full_like(mono, 1.5),
    "mono of noise": lambda mono, random: random.uniform(0.0, 6.0, mono.shape),
    "mono upside down": lambda mono, random: -mono,
    "mono that is not a number": lambda mono, random: np.full_like(mono, np.nan),
}


@pytest.mark.parametrize("trouble", HOPELESS)
@few
@given(seed=SEEDS)
def test_hopeless_mono_is_never_fitted_and_leaves_stereo_alone(backend, trouble, seed):
    frame = known_frame(seed=seed)
    frame.stereo_depth_m[10:40, 10:40] = np.nan
    mono = HOPELESS[trouble](frame.mono, np.random.default_rng(seed)).astype(np.float32)
    result, planes = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, mono)
    assert result.fit.status is FitStatus.UNFIT
    assert np.isnan(result.fit.scale)
    assert np.array_equal(planes.depth_m, frame.stereo_depth_m, equal_nan=True)


@few
@given(seed=SEEDS, depth_m=st.floats(0.4, 10.0))
def test_one_blank_wall_is_never_fitted(backend, seed, depth_m):
    frame = known_frame(seed=seed)
    random = np.random.default_rng(seed)
    stereo = (depth_m * (1 + random.normal(0, 0.01, frame.mono.shape))).astype(np.float32)
    mono = (2.0 + random.normal(0, 0.02, frame.mono.shape)).astype(np.float32)
    result, _ = fuse(fusion_of(backend, frame.camera), frame.camera, stereo, mono)
    assert result.fit.status is FitStatus.UNFIT


@few
@given(seed=SEEDS)
def test_mostly_wrong_stereo_is_never_fitted(backend, seed):
    frame = known_frame(seed=seed)
    random = np.random.default_rng(seed)
    wrong = random.random(frame.mono.shape) < 0.85
    frame.stereo_depth_m[wrong] = 1.0 / random.uniform(0.05, 2.4, wrong.sum())
    result, _ = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, frame.mono)
    assert result.fit.status is FitStatus.UNFIT


def test_a_covered_lens_holds_the_last_fit_until_it_is_too_old(backend):
    frame = known_frame()
    fusion = fusion_of(backend, frame.camera, maximum_age_frames=3)
    good, _ = fuse(fusion, frame.camera, frame.stereo_depth_m, frame.mono)
    covered = np.full_like(frame.stereo_depth_m, np.nan)
    fits = [fuse(fusion, frame.camera, covered, frame.mono)[0].fit for _ in range(5)]
    assert [fit.status.name for fit in fits] == ["HELD"] * 3 + ["UNFIT"] * 2
    assert [fit.age_frames for fit in fits[:3]] == [1, 2, 3]
    assert fits[0].scale == good.fit.scale


def test_a_held_fit_that_the_frame_speaks_against_is_not_used(backend):
    frame = known_frame()
    fusion = fusion_of(backend, frame.camera)
    fuse(fusion, frame.camera, frame.stereo_depth_m, frame.mono)
    result, planes = fuse(fusion, frame.camera, frame.stereo_depth_m, np.full_like(frame.mono, 1.5))
    assert result.fit.status is FitStatus.UNFIT
    assert np.array_equal(planes.depth_m, frame.stereo_depth_m)


def test_reset_forgets_everything(backend):
    frame = known_frame()
    fusion = fusion_of(backend, frame.camera)
    first, planes = fuse(fusion, frame.camera, frame.stereo_depth_m, frame.mono)
    fuse(fusion, frame.camera, known_frame(seed=5).stereo_depth_m, known_frame(seed=5).mono)
    fusion.reset()
    again, planes_again = fuse(fusion, frame.camera, frame.stereo_depth_m, frame.mono)
    assert again == first
    assert np.array_equal(planes_again.depth_m, planes.depth_m)


def test_the_same_frame_again_changes_next_to_nothing(backend):
    frame = known_frame()
    frame.stereo_depth_m[10:60, 20:60] = np.nan
    fusion = fusion_of(backend, frame.camera)
    first, planes = fuse(fusion, frame.camera, frame.stereo_depth_m, frame.mono)
    second, planes_again = fuse(fusion, frame.camera, frame.stereo_depth_m, frame.mono)
    assert second.fit.scale == pytest.approx(first.fit.scale, rel=1e-4)
    np.testing.assert_allclose(planes_again.depth_m, planes.depth_m, rtol=2e-3)


@few
@given(seed=SEEDS, change=st.floats(1.5, 4.0))
def test_a_cut_does_not_bleed_the_old_scale_into_the_new_scene(backend, seed, change):
    frame, other = known_frame(seed=seed), known_frame(seed=seed + 1)
    fusion = fusion_of(backend, frame.camera)
    for _ in range(5):
        fuse(fusion, frame.camera, frame.stereo_depth_m, frame.mono)
    result, _ = fuse(fusion, frame.camera, other.stereo_depth_m, (change * other.mono).astype(np.float32))
    assert result.fit.scale == pytest.approx(SCALE / change, rel=0.02)


def test_memory_covers_distances_that_this_frame_does_not_show(backend):
    wide, narrow = known_frame(), known_frame()
    far = narrow.mono < 1.6
    narrow.stereo_depth_m[~far] = np.nan
    bent = (narrow.mono * np.where(far, 1.0 + 0.1 * (narrow.mono - 1.0), 1.0)).astype(np.float32)
    alone, _ = fuse(fusion_of(backend, narrow.camera), narrow.camera, narrow.stereo_depth_m, bent)
    fusion = fusion_of(backend, wide.camera)
    for _ in range(8):
        fuse(fusion, wide.camera, wide.stereo_depth_m, wide.mono)
    helped, _ = fuse(fusion, narrow.camera, narrow.stereo_depth_m, bent)
    assert abs(helped.fit.scale / SCALE - 1) < abs(alone.fit.scale / SCALE - 1)


@few
@given(seed=SEEDS, drift=st.floats(0.8, 1.25))
def test_metric_depth_is_fitted_by_its_scale_alone(backend, seed, drift):
    frame = known_frame(seed=seed)
    frame.stereo_depth_m[20:50, 30:70] = np.nan
    mono = (frame.true_depth_m * drift).astype(np.float32)
    fusion = fusion_of(backend, frame.camera, "metric_depth")
    result, planes = fuse(fusion, frame.camera, frame.stereo_depth_m, mono)
    assert result.fit.scale == pytest.approx(drift, rel=1e-3)
    assert result.fit.shift == 0.0
    assert relative_error(planes.depth_m, frame.true_depth_m).max() < 0.01


@few
@given(seed=SEEDS, unit=st.floats(0.1, 50.0))
def test_relative_depth_is_inverted_before_it_is_fitted(backend, seed, unit):
    frame = known_frame(seed=seed)
    frame.stereo_depth_m[20:50, 30:70] = np.nan
    mono = (frame.true_depth_m * unit).astype(np.float32)
    fusion = fusion_of(backend, frame.camera, "relative_depth")
    result, planes = fuse(fusion, frame.camera, frame.stereo_depth_m, mono)
    assert result.fit.scale == pytest.approx(unit, rel=2e-3)
    assert relative_error(planes.depth_m, frame.true_depth_m).max() < 0.01


def contradicting_frame(factor: float):
    """A patch in the middle whose stereo says `factor` times the distance that mono says."""
    frame = known_frame()
    frame.stereo_depth_m[40:56, 50:70] *= factor
    return frame, (slice(44, 52), slice(54, 66))


@pytest.mark.parametrize(
    ("prefer", "farther_is_overruled", "nearer_is_overruled"),
    [("nearer", True, False), ("stereo", False, False), ("mono", True, True)],
)
def test_the_safety_choice_decides_contradictions(backend, prefer, farther_is_overruled, nearer_is_overruled):
    for factor, overruled in ((1.3, farther_is_overruled), (0.87, nearer_is_overruled)):
        frame, inside = contradicting_frame(factor)
        fusion = fusion_of(backend, frame.camera, prefer=prefer, gate_sigmas=2.0, gate_minimum=0.1)
        _, planes = fuse(fusion, frame.camera, frame.stereo_depth_m, frame.mono)
        share = (planes.source[inside] == Source.MONO_OVERRULED).mean()
        assert (share > 0.9) == overruled, (factor, share)


def test_a_farther_claim_is_overruled_sooner_where_stereo_has_gaps(backend):
    frame, inside = contradicting_frame(1.17)
    _, whole = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, frame.mono)
    frame.stereo_depth_m[36:60:2, 46:74] = np.nan
    _, with_gaps = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, frame.mono)
    assert np.all(whole.source[inside] == Source.STEREO)
    assert np.all(with_gaps.source[inside][1::2] == Source.MONO_OVERRULED)


@pytest.mark.parametrize("name", ["stereo_depth_m", "mono", "out.depth_m", "out.source", "out.sigma"])
def test_an_array_that_breaks_its_contract_is_named(backend, name):
    from fusion_frames import poisoned

    frame = known_frame()
    planes = poisoned(frame.camera)
    arrays = {"stereo_depth_m": frame.stereo_depth_m, "mono": frame.mono}
    if name.startswith("out."):
        field = name.removeprefix("out.")
        setattr(planes, field, getattr(planes, field)[:-1])
    else:
        arrays[name] = arrays[name].astype(np.float64)
    with pytest.raises(ValueError, match=name):
        fusion_of(backend, frame.camera).fuse(arrays["stereo_depth_m"], arrays["mono"], planes)


@few
@example(seed=47707013)  # there the thing is the nearest of the scene
@given(seed=SEEDS)
def test_a_solid_thing_that_mono_misses_is_kept_unless_mono_is_preferred(backend, seed):
    frame = known_frame(seed=seed)
    frame.mono[30:70, 50:90] = 1.5
    frame.stereo_depth_m = (1.0 / (SCALE * frame.mono + SHIFT)).astype(np.float32)
    frame.stereo_depth_m[30:70, 50:90] /= 2.0
    inside = (slice(36, 64), slice(56, 84))
    for prefer, kept in (("nearer", True), ("stereo", True), ("mono", False)):
        _, planes = fuse(
            fusion_of(backend, frame.camera, prefer=prefer), frame.camera, frame.stereo_depth_m, frame.mono
        )
        assert np.all((planes.source[inside] == Source.STEREO) == kept), prefer


@few
@given(seed=SEEDS)
def test_overruled_pixels_claim_at_least_the_disagreement(backend, seed):
    frame = known_frame(seed=seed)
    random = np.random.default_rng(seed)
    wrong = random.random(frame.mono.shape) < 0.15
    frame.stereo_depth_m[wrong] = 1.0 / random.uniform(0.05, 2.4, wrong.sum())
    _, planes = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, frame.mono)
    overruled = planes.source == Source.MONO_OVERRULED
    difference = np.abs(planes.depth_m / frame.stereo_depth_m - 1.0)[overruled]
    assert overruled.any()
    assert np.all(planes.sigma[overruled].astype(float) >= 0.99 * difference)


@few
@given(seed=SEEDS, near_m=st.floats(0.11, 0.2))
def test_a_third_of_wild_values_does_not_hide_a_good_fit(backend, seed, near_m):
    """However far off they lie, they count as so many samples and not by their distance."""
    frame = known_frame(seed=seed)
    frame.stereo_depth_m[:, ::3] = near_m
    frame.stereo_depth_m[0] = 0.105
    result, _ = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, frame.mono)
    assert result.fit.status is FitStatus.FITTED
    assert result.fit.scale == pytest.approx(SCALE, rel=0.03)


@few
@given(seed=SEEDS)
def test_a_crowd_at_one_distance_does_not_win_by_a_flat_line(backend, seed):
    """Half of the pixels show one distance whatever mono says: a reflection."""
    frame = known_frame(seed=seed)
    random = np.random.default_rng(seed)
    crowd = random.random(frame.mono.shape) < 0.5
    frame.stereo_depth_m[crowd] = 3.0
    result, _ = fuse(fusion_of(backend, frame.camera), frame.camera, frame.stereo_depth_m, frame.mono)
    assert result.fit.status is not FitStatus.FITTED or result.fit.scale == pytest.approx(SCALE, rel=0.1)
