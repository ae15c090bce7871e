"""One pair of pictures without a daemon: what `depthd fuse` does."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from depthd import fusion as fusions
from depthd.cameras.camera_file import load_camera, load_depth, load_pair
from depthd.cameras.matcher import StereoMatcher
from depthd.config import FusionConfig, MatcherConfig, MonoConfig
from depthd.errors import DepthdError, UsageError
from depthd.export.panels import (
    DepthScale,
    depth_picture,
    source_picture,
    with_depth_bar,
    with_source_legend,
    write_picture,
)
from depthd.export.ply import points_of, write_ply
from depthd.files import folder_written_whole
from depthd.frame import Array, Camera, Fit, FitStatus, FusedPlanes, FusionResult, Source
from depthd.mono import open_engine
from depthd.statistics import shares

MONO_MAP_KIND = "relative_inverse"
"""What a mono map given as a file means: larger is nearer."""


@dataclass(frozen=True)
class Inputs:
    """Files and choices of one run. Without stereo depth the matcher runs, without mono the network."""

    left: Path
    right: Path
    camera: Path
    stereo_depth: Path | None = None
    mono: Path | None = None
    matcher: MatcherConfig = field(default_factory=MatcherConfig)
    engine: MonoConfig = field(default_factory=MonoConfig)


@dataclass(frozen=True)
class Fused:
    """One fused pair; `duration_ms` says how long each stage took."""

    camera: Camera
    left_bgr: Array
    stereo_depth_m: Array
    planes: FusedPlanes
    result: FusionResult
    mono_name: str
    duration_ms: dict[str, float]


class Stopwatch:
    """Times named stages and tells someone when each begins."""

    def __init__(self, on_stage: Callable[[str], None] = lambda _: None) -> None:
        self.duration_ms: dict[str, float] = {}
        self._on_stage = on_stage

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._on_stage(name)
        begin = time.perf_counter()
        yield
        self.duration_ms[name] = 1e3 * (time.perf_counter() - begin)


def fuse_pair(inputs: Inputs, stopwatch: Stopwatch) -> Fused:
    """Reads, matches, infers and fuses. Raises DepthdError where an input is wrong or nothing fits."""
    with stopwatch.stage("read"):
        camera = load_camera(inputs.camera)
        left_bgr, right_bgr = load_pair(inputs.left, inputs.right, camera)
    with stopwatch.stage("match"):
        if inputs.stereo_depth is None:
            stereo_depth_m = StereoMatcher(camera, inputs.matcher).depth_m(left_bgr, right_bgr)
        else:
            stereo_depth_m = load_depth(inputs.stereo_depth, camera)
        _check_stereo(stereo_depth_m, inputs.stereo_depth or inputs.left)
    with stopwatch.stage("mono"):
        if inputs.mono is None:
            mono, kind, mono_name = _infer(inputs.engine, left_bgr)
        else:
            mono, kind, mono_name = load_mono(inputs.mono), MONO_MAP_KIND, str(inputs.mono)
    with stopwatch.stage("fuse"):
        planes = FusedPlanes.empty(camera.height, camera.width)
        result = fusions.create(FusionConfig(), camera, kind).fuse(stereo_depth_m, mono, planes)
    if result.fit.status is not FitStatus.FITTED:
        raise DepthdError(
            f"mono from {mono_name} cannot be fitted to the stereo depth ({result.fit.sample_count} samples)",
            "check that pictures, camera file and depth belong together",
        )
    return Fused(camera, left_bgr, stereo_depth_m, planes, result, mono_name, stopwatch.duration_ms)


def write_results(fused: Fused, folder: Path, stopwatch: Stopwatch) -> dict[str, Any]:
    """Writes everything into `folder`, all of it or nothing, and returns what report.json says."""
    planes = fused.planes
    scale = DepthScale.of(planes.depth_m)
    share = shares(fused.result.pixels_per_source)
    with folder_written_whole(folder) as part:
        with stopwatch.stage("write"):
            np.save(part / "depth.npy", planes.depth_m)
            np.save(part / "source.npy", planes.source)
            np.save(part / "sigma.npy", planes.sigma)
            write_picture(part / "fused.png", with_depth_bar(depth_picture(planes.depth_m, scale), scale))
            write_picture(part / "source.png", with_source_legend(source_picture(planes.source), share))
            write_ply(part / "cloud.ply", points_of(planes.depth_m, fused.left_bgr, planes.source, fused.camera))
        report = report_of(fused)
        (part / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return report


def report_of(fused: Fused) -> dict[str, Any]:
    """What report.json says: fit, residual in percent, pixels per source, timings, camera."""
    pixels = fused.result.pixels_per_source
    return {
        "fit": _fit_report(fused.result.fit),
        "residual_percent": _finite(100 * fused.result.fit.residual),
        "pixels_per_source": {source.name.lower(): pixels[source] for source in Source},
        "share_per_source": {
            source.name.lower(): round(share, 6) for source, share in zip(Source, shares(pixels), strict=True)
        },
        "stereo_share": round(float(np.isfinite(fused.stereo_depth_m).mean()), 6),
        "mono": fused.mono_name,
        "camera": asdict(fused.camera),
        "timings_ms": {stage: round(duration, 3) for stage, duration in fused.duration_ms.items()},
    }


def summary_of(report: dict[str, Any]) -> str:
    """The report in a few lines for the terminal."""
    fit, timings = report["fit"], report["timings_ms"]
    shares_text = ", ".join(
        f"{name} {100 * share:.1f} %" for name, share in report["share_per_source"].items() if share
    )
    return "\n".join(
        (
            f"fit: inverse depth = {fit['scale']:.4g} * mono + {fit['shift']:.4g} (1/m)",
            f"Pearson r {fit['pearson_r']:.4f}, residual {report['residual_percent']:.1f} %,"
            f" inliers {100 * fit['inlier_share']:.0f} % of {fit['sample_count']} samples",
            f"pixels: {shares_text}",
            "ms: " + ", ".join(f"{stage} {duration:.1f}" for stage, duration in timings.items()),
        )
    )


def load_mono(path: Path) -> Array:
    """float32 (h, w) of any size, larger = nearer. Raises UsageError for a map that carries nothing."""
    try:
        mono = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UsageError(f"the mono map {path} cannot be read ({error.strerror or error})", "check the path") from error
    except (ValueError, EOFError) as error:
        raise UsageError(f"{path} is not a .npy file", "give a float32 array as numpy.save writes it") from error
    if not isinstance(mono, np.ndarray) or mono.ndim != 2 or mono.dtype != np.float32 or mono.size < 4:
        found = f"{mono.dtype} {mono.shape}" if isinstance(mono, np.ndarray) else "an archive"
        raise UsageError(f"the mono map {path} is {found}", "give one float32 map (height, width)")
    if not np.isfinite(mono).all():
        missing = int((~np.isfinite(mono)).sum())
        raise UsageError(
            f"the mono map {path} has {missing} of {mono.size} values that are not finite",
            "give a map without NaN and infinities",
        )
    if mono.min() == mono.max():
        raise UsageError(f"the mono map {path} is constant", "give a map in which larger means nearer")
    return np.ascontiguousarray(mono)


def _check_stereo(stereo_depth_m: Array, path: Path) -> None:
    if not np.isfinite(stereo_depth_m).any():
        raise DepthdError(
            f"the stereo depth of {path} has no measured pixel",
            "check that left and right are not exchanged, are rectified, and that the disparity range fits",
        )


def _infer(config: MonoConfig, left_bgr: Array) -> tuple[Array, str, str]:
    engine = open_engine(config)
    try:
        engine.prepare(*left_bgr.shape[:2])
        return engine.infer(left_bgr).copy(), engine.card.output_kind, config.model
    finally:
        engine.close()


def _fit_report(fit: Fit) -> dict[str, Any]:
    report = {name: _finite(value) if isinstance(value, float) else value for name, value in asdict(fit).items()}
    return report | {"status": fit.status.name.lower()}


def _finite(value: float) -> float | None:
    """JSON knows no NaN."""
    return value if math.isfinite(value) else None
