"""Numbers about the last frames: where the time went, how good the fit is, whom the pixels came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from depthd.frame import Fit, Source, StageTimes


def stage_durations_ms(times: StageTimes) -> dict[str, float]:
    """How long each stage took, in milliseconds. Stages that did not run are left out.

    Matching and mono run side by side, so both count from the grab, and fusion from the later of the two.
    `total` is from the picture being taken to the frame being published.
    """
    both_done_ns = max(times.matched_ns, times.inferred_ns, times.grabbed_ns)
    spans_ns = {
        "grab": (times.captured_ns, times.grabbed_ns),
        "match": (times.grabbed_ns, times.matched_ns),
        "mono": (times.grabbed_ns, times.inferred_ns),
        "fuse": (both_done_ns, times.fused_ns),
        "publish": (times.fused_ns, times.published_ns),
        "total": (times.captured_ns, times.published_ns),
    }
    return {stage: (end - start) / 1e6 for stage, (start, end) in spans_ns.items() if start and end}


@dataclass(frozen=True)
class Latency:
    """Median and 99th percentile of one stage, in milliseconds."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Summary:
    """What a window of frames was like; `share_per_source` is a fraction per `Source`, in its order."""

    frames: int
    frames_per_s: float
    latency: dict[str, Latency]
    fit: Fit
    share_per_source: tuple[float, ...]

    def rate_text(self) -> str:
        return f"{self.frames_per_s:.1f} frames/s"

    def latency_text(self) -> str:
        stages = " ".join(f"{name} {at.p50_ms:.1f}/{at.p99_ms:.1f}" for name, at in self.latency.items())
        return f"ms p50/p99: {stages}"

    def fit_text(self) -> str:
        return fit_text(self.fit)

    def sources_text(self) -> str:
        return sources_text(self.share_per_source)


@dataclass
class Window:
    """Collects frames between two summaries."""

    published_ns: list[int] = field(default_factory=list)
    durations_ms: dict[str, list[float]] = field(default_factory=dict)
    pixels_per_source: tuple[int, ...] = ()
    fit: Fit = field(default_factory=Fit)

    def add(
        self,
        times: StageTimes,
        fit: Fit,
        pixels_per_source: Sequence[int],
        more_ms: Mapping[str, float] | None = None,
    ) -> None:
        """Takes one frame in; `more_ms` are durations beyond the writer's own, for example a reader's."""
        self.published_ns.append(times.published_ns)
        for stage, duration_ms in {**stage_durations_ms(times), **(more_ms or {})}.items():
            self.durations_ms.setdefault(stage, []).append(duration_ms)
        self.pixels_per_source = tuple(pixels_per_source)
        self.fit = fit

    def __len__(self) -> int:
        return len(self.published_ns)

    def summary(self) -> Summary:
        """Raises ValueError while no frame was added."""
        if not self.published_ns:
            raise ValueError("a window without a frame has no summary")
        elapsed_s = (self.published_ns[-1] - self.published_ns[0]) / 1e9
        latency = {
            stage: Latency(*(float(value) for value in np.percentile(values, (50, 99))))
            for stage, values in self.durations_ms.items()
        }
        return Summary(
            frames=len(self),
            frames_per_s=(len(self) - 1) / elapsed_s if elapsed_s > 0 else 0.0,
            latency=latency,
            fit=self.fit,
            share_per_source=shares(self.pixels_per_source),
        )


def shares(pixels_per_source: Sequence[int]) -> tuple[float, ...]:
    """Fractions of the picture, in the order of `Source`; zeros for an empty picture."""
    total = sum(pixels_per_source)
    return tuple(pixels / total if total else 0.0 for pixels in pixels_per_source)


def fit_text(fit: Fit) -> str:
    """For example 'fit FITTED: scale 0.131 shift 0.052 residual 3.1 %'."""
    age = f", {fit.age_frames} frames old" if fit.age_frames else ""
    line = f"scale {fit.scale:.4g} shift {fit.shift:.4g} residual {100 * fit.residual:.1f} %"
    return f"fit {fit.status.name}{age}: {line}"


def sources_text(share_per_source: Sequence[float]) -> str:
    """For example 'stereo 71 % mono_near 4 % …', without the sources that gave nothing."""
    parts = [
        f"{source.name.lower()} {100 * share:.0f} %"
        for source, share in zip(Source, share_per_source, strict=False)
        if share > 0
    ]
    return " ".join(parts) or "no pixel"
