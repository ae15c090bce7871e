"""What is said about a window of frames."""

from __future__ import annotations

import pytest

from depthd.frame import Fit, FitStatus, StageTimes
from depthd.statistics import Window, fit_text, shares, sources_text, stage_durations_ms

MS = 1_000_000


def times_of(captured_ms: float, *, matched_ms: float = 0, mono_ms: float = 30) -> StageTimes:
    """A frame taken then: 2 ms to grab, matching and mono side by side, 3 ms to fuse, 1 ms to publish."""
    start = int(captured_ms * MS)
    grabbed = start + 2 * MS
    matched = grabbed + int(matched_ms * MS) if matched_ms else 0
    inferred = grabbed + int(mono_ms * MS)
    fused = max(matched, inferred) + 3 * MS
    return StageTimes(start, grabbed, matched, inferred, fused, fused + MS)


def test_stages_side_by_side_both_count_from_the_grab_and_fusion_from_the_later():
    assert stage_durations_ms(times_of(1000, matched_ms=50, mono_ms=30)) == pytest.approx(
        {"grab": 2, "match": 50, "mono": 30, "fuse": 3, "publish": 1, "total": 56}
    )


def test_a_stage_that_did_not_run_is_left_out():
    assert "match" not in stage_durations_ms(times_of(1000))


def test_the_rate_is_the_number_of_intervals_over_their_time():
    window = Window()
    for index in range(11):
        window.add(times_of(1000 + 50 * index), Fit(), (0, 1))
    assert window.summary().frames_per_s == pytest.approx(20.0)


def test_one_frame_has_no_rate_and_none_has_no_summary():
    window = Window()
    with pytest.raises(ValueError, match="without a frame"):
        window.summary()
    window.add(times_of(1000), Fit(), (0, 1))
    assert window.summary().frames_per_s == 0.0


def test_percentiles_are_those_of_the_window():
    window = Window()
    for index in range(101):
        window.add(times_of(1000 + index, mono_ms=10 + index), Fit(), (0, 1), {"reader": float(index)})
    latency = window.summary().latency
    assert latency["mono"].p50_ms == pytest.approx(60)
    assert latency["mono"].p99_ms == pytest.approx(109)
    assert latency["reader"].p50_ms == pytest.approx(50)


def test_shares_add_up_to_one_and_an_empty_picture_has_none():
    assert sum(shares((1, 2, 3, 4, 5, 6))) == pytest.approx(1.0)
    assert shares((0, 0)) == (0.0, 0.0)


def test_a_held_fit_shows_its_age_and_a_fresh_one_does_not():
    assert "7 frames old" in fit_text(Fit(0.1, 0.2, 0.03, age_frames=7, status=FitStatus.HELD))
    assert "old" not in fit_text(Fit(0.1, 0.2, 0.03, status=FitStatus.FITTED))


def test_sources_that_gave_nothing_are_not_named():
    assert sources_text((0.0, 0.75, 0.25, 0.0, 0.0, 0.0)) == "stereo 75 % mono_near 25 %"
