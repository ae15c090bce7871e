"""The judgement of stereo against mono, on frames whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depthd.compare import OVERRULED, REGIONS, RIM, THIN, Collector, Observation, summary_of
from depthd.comparison import fitted_depth_m, kind_of, sample
from depthd.errors import DepthdError
from depthd.export.report import table_of, write_report
from depthd.frame import Fit, FitStatus, Source

SCALE, SHIFT = 2.0, 0.1


def depth_of_a_room(generator: np.random.Generator) -> np.ndarray:
    """240 x 320: a slope from 4 m to 1 m with noise of 1 %, and a pole 5 px wide at 0.8 m."""
    depth_m = np.repeat(np.linspace(4.0, 1.0, 240)[:, None], 320, axis=1)
    depth_m[:, 150:155] = 0.8
    return (depth_m * generator.normal(1.0, 0.01, depth_m.shape)).astype(np.float32)


def observation(
    at_s: float = 0.0, bend: float = 0.0, status: FitStatus = FitStatus.FITTED, shift: float = SHIFT
) -> Observation:
    generator = np.random.default_rng(int(100 * at_s))
    stereo_m = depth_of_a_room(generator)
    exact = np.repeat(np.linspace(4.0, 1.0, 240)[:, None], 320, axis=1)
    exact[:, 150:155] = 0.8
    x = (1 / exact - SHIFT) / SCALE
    mono = (x + bend * (x - x.mean()) ** 2).astype(np.float32)
    stereo_m[:, :8] = np.nan
    source = np.full(stereo_m.shape, Source.STEREO, np.uint8)
    source[100:120, 20:60] = Source.MONO_OVERRULED
    left = np.zeros((240, 320, 3), np.uint8)
    fit = Fit(SCALE, shift, 0.01, 0.99, 0.99, 5000, 0, status)
    return Observation(at_s, left, stereo_m, mono, source, fit)


def judged(*observations: Observation):
    collector = Collector()
    for seen in observations:
        collector.add(seen)
    return collector.judge()


def test_a_right_fit_explains_nearly_everything_and_leaves_the_noise():
    result = judged(*(observation(t) for t in (0.0, 1.0, 2.0, 3.0)))
    assert result.explained > 0.99
    assert result.pearson_r > 0.99
    assert result.all.spread == pytest.approx(0.01, rel=0.15)
    assert abs(result.all.median) < 0.002
    assert result.range_m[0] == pytest.approx(1.0, abs=0.25)
    assert result.range_m[1] == pytest.approx(4.0, abs=0.2)
    assert abs(result.curvature) < 1e-3
    assert "mono explains 99 %" in summary_of(result)[0] or "100 %" in summary_of(result)[0]


def test_a_bent_relation_is_seen_and_named():
    bent = judged(observation(bend=-2.0))
    assert bent.curvature > 0.02
    assert any("bent" in line for line in summary_of(bent))


def test_a_drifting_shift_is_measured_per_minute():
    result = judged(*(observation(t, shift=SHIFT + 0.001 * t) for t in np.linspace(0, 6, 7)))
    median_rho = 1 / 2.5
    assert result.shift_drift == pytest.approx(0.06 / median_rho, rel=0.2)
    assert "shift drifts" in summary_of(result)[0]


def test_frames_of_a_moment_have_no_drift():
    assert math.isnan(judged(observation(0.0), observation(0.1)).shift_drift)


def test_samples_are_told_apart_by_region():
    collector = Collector()
    seen = observation()
    collector.add(seen)
    assert collector.kind is not None
    samples = sample(seen.stereo_depth_m, seen.mono, collector.kind, 4000)
    region = collector.region[0]
    beside_the_pole = (np.abs(samples.columns - 152) > 3) & (np.abs(samples.columns - 152) < 7)
    on_the_pole = (np.abs(samples.columns - 152) <= 1) & (samples.rows < 100)
    assert (region[beside_the_pole & (samples.rows < 100)] >= RIM).mean() > 0.9
    assert (region[on_the_pole] >= THIN).all()
    overruled = (samples.rows >= 100) & (samples.rows < 120) & (samples.columns >= 20) & (samples.columns < 60)
    np.testing.assert_array_equal(region == OVERRULED, overruled)


def test_without_a_fit_there_is_no_judgement_but_a_line():
    with pytest.raises(DepthdError, match="none of 1 frames has a fit"):
        judged(observation(status=FitStatus.UNFIT))


def test_the_kind_of_a_map_is_told_by_its_direction():
    seen = observation()
    assert kind_of(seen.mono, seen.stereo_depth_m) == "relative_inverse"
    assert kind_of(1 / seen.mono, seen.stereo_depth_m) == "metric_depth"


def test_a_fit_that_is_none_gives_no_depth():
    assert np.isnan(fitted_depth_m(np.ones((2, 2), np.float32), "relative_inverse", Fit())).all()


def test_the_report_is_one_page_that_needs_nothing_else(tmp_path):
    pytest.importorskip("matplotlib")
    collector = Collector()
    for t in (0.0, 1.0, 2.0, 3.0):
        collector.add(observation(t))
    result = collector.judge()
    page, picture = write_report(tmp_path / "report.html", collector, result)
    text = page.read_text(encoding="utf-8")
    assert "data:image/png;base64," in text
    assert "http" not in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert {row[0] for row in table_of(result)} >= {"all", "interior", "overruled"}
    assert len(REGIONS) == len(result.by_region)
